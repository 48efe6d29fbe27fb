"""Real Korean corpora and labelled data, which the tests read where they are and this repository does not contain.

They are looked for in `shared/data` beside the checkout, or in the folder that MORPHBERT_DATA names. Tests of the same
behaviour on small texts of the repository's own run everywhere.
"""

import os
from pathlib import Path

import pytest
from samples import ROOT

DATA = Path(os.environ.get("MORPHBERT_DATA") or ROOT.parent / "shared" / "data")
PETITIONS = DATA / "corpus" / "petitions.jsonl.gz"
REVIEWS = DATA / "corpus" / "movie_reviews.txt.gz"
KORQUAD = DATA / "korquad" / "KorQuAD_v1.0_dev.json"
KLUE_NER = DATA / "klue" / "klue-ner-v1.1_dev.tsv"
# What each is, and where it comes from.
SOURCES = {
    PETITIONS: "petitions to the Blue House, JSON Lines with `title` and `text`, of lovit/petitions_archive on GitHub",
    REVIEWS: "film reviews, one per line and an empty line between films, of the raw files of e9t/nsmc on GitHub",
    KORQUAD: "the development file of KorQuAD 1.0, of korquad.github.io",
    KLUE_NER: "the development file of KLUE-NER, of KLUE-benchmark/KLUE on GitHub",
}


def needs(path: Path):
    """Returns a mark that skips a test without one of the files, and says where it can be had."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path} is missing: {SOURCES[path]}")
