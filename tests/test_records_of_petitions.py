"""Records of real petitions, by the command, read back and compared with the text itself: some thousand, and 100,000.

What stands in the records is found again in the text as the tokenizer cuts it, without the token store or
any other part of the program that made them.
"""

import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from creating import within_three_standard_errors
from real_data import PETITIONS, needs
from samples import MECAB_VOCABULARY

from morphbert.cli.create_pretraining_data import main
from morphbert.corpus.sentences import split_sentences
from morphbert.data.example_message import parse_example
from morphbert.data.records import read_records
from morphbert.text.loading import load_tokenizer

LENGTH, PREDICTIONS = 128, 20
# Pieces by which a segment is looked up in the text.
_KEY = 4

pytestmark = needs(PETITIONS)


class Text:
    """The pieces of all documents, with a 0 around each, as bytes, and where runs of four begin."""

    def __init__(self, documents, tokenizer):
        pieces = [0]
        for document in documents:
            for sentence in document:
                pieces += tokenizer.encode(sentence).ids
            pieces.append(0)
        self.pieces = np.array(pieces, np.uint16)
        self._bytes = self.pieces.tobytes()
        self._places = defaultdict(list)
        for place in range(len(pieces) - _KEY):
            self._places[self._bytes[2 * place : 2 * (place + _KEY)]].append(place)

    def places(self, run):
        """Where a run of at least four pieces stands."""
        wanted = run.astype(np.uint16).tobytes()
        found = self._places.get(wanted[: 2 * _KEY], ())
        return [place for place in found if self._bytes[2 * place : 2 * place + len(wanted)] == wanted]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(str(MECAB_VOCABULARY))


@pytest.fixture(scope="module", params=[60, pytest.param(1400, marks=pytest.mark.slow)])
def documents(request):
    with gzip.open(PETITIONS, "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line, _ in zip(stream, range(request.param), strict=False)]
    made = [
        [s for part in text.splitlines() for s in split_sentences(" ".join(part.split()))] for text in texts
    ]
    return [document for document in made if document]


@pytest.fixture(scope="module")
def records(documents, tmp_path_factory):
    """The features of all records by name, each an array [N, values]."""
    folder = tmp_path_factory.mktemp("petitions")
    (folder / "in.txt").write_text("\n\n".join(map("\n".join, documents)), encoding="utf-8")
    flags = [
        f"--input_file={folder / 'in.txt'}",
        f"--vocab_file={MECAB_VOCABULARY}",
        f"--output_file={folder / 'out'}",
        "--num_shards=3",
        "--do_whole_word_mask",
        f"--max_seq_length={LENGTH}",
        f"--max_predictions_per_seq={PREDICTIONS}",
    ]
    assert main(flags) == 0
    parsed = []
    for path in sorted(Path(folder).glob("out-?????-of-00003")):
        with open(path, "rb") as stream:
            parsed += [parse_example(record) for record in read_records(stream)]
    assert len(parsed) > (4000 if len(documents) < 100 else 100_000)
    return {name: np.array([record[name] for record in parsed]) for name in parsed[0]}


@pytest.fixture(scope="module")
def real(records):
    """[N, P] which of the predictions are no padding."""
    return records["masked_lm_weights"] == 1


@pytest.fixture(scope="module")
def unmasked(records, real):
    """[N, L] the pieces, the masked ones put back."""
    ids = records["input_ids"].copy()
    rows, slots = np.nonzero(real)
    ids[rows, records["masked_lm_positions"][rows, slots]] = records["masked_lm_ids"][rows, slots]
    return ids


def test_labels_are_a_fair_coin(records):
    labels = records["next_sentence_labels"][:, 0]
    assert within_three_standard_errors(labels.sum(), len(labels), 0.5)


def test_form_and_lengths(records, unmasked, tokenizer):
    """`[CLS] A [SEP] B [SEP]`, neither of them empty, and nothing but padding after that."""
    cls, sep = tokenizer.vocab["[CLS]"], tokenizer.vocab["[SEP]"]
    lengths = records["input_mask"].sum(axis=1)
    columns = np.arange(LENGTH)
    assert (records["input_mask"] == (columns < lengths[:, None])).all()
    assert not unmasked[columns >= lengths[:, None]].any()
    assert (unmasked[:, 0] == cls).all()
    assert ((unmasked == sep).sum(axis=1) == 2).all()
    assert ((unmasked == cls).sum(axis=1) == 1).all()
    end_of_first = (unmasked == sep).argmax(axis=1)
    assert end_of_first.min() > 1
    assert (unmasked[np.arange(len(lengths)), lengths - 1] == sep).all()
    assert (lengths - 1 - end_of_first).min() > 1
    second = (columns > end_of_first[:, None]) & (columns < lengths[:, None])
    assert (records["segment_ids"] == second).all()
    assert (lengths > LENGTH - 8).mean() > 0.6


def test_fifteen_in_a_hundred_are_predicted(records, real):
    lengths = records["input_mask"].sum(axis=1)
    wanted = np.clip(np.rint(lengths * 0.15), 1, PREDICTIONS)
    made = real.sum(axis=1)
    # A word too long for what is left of the number is passed over.
    assert (made <= wanted).all()
    assert made.sum() / wanted.sum() > 0.98
    assert 0.145 < made.sum() / lengths.sum() < 0.152


def test_eighty_ten_ten(records, real, tokenizer):
    rows, slots = np.nonzero(real)
    now = records["input_ids"][rows, records["masked_lm_positions"][rows, slots]]
    then = records["masked_lm_ids"][rows, slots]
    total = len(now)
    # A random piece is now and then the one that stood there.
    same = 0.1 + 0.1 / len(tokenizer.vocab)
    assert within_three_standard_errors((now == tokenizer.vocab["[MASK]"]).sum(), total, 0.8)
    assert within_three_standard_errors((now == then).sum(), total, same)
    drawn = now[(now != then) & (now != tokenizer.vocab["[MASK]"])]
    special = [
        n for token, n in tokenizer.vocab.items() if token[0] == "[" and token[-1] == "]" and token[1:-1]
    ]
    assert not np.isin(drawn, special).any()
    # Each piece is drawn as often as the others: Poisson, so that exp(-mean) of them are not drawn at all.
    drawable = len(tokenizer.vocab) - len(special)
    share = np.exp(-len(drawn) / drawable)
    assert within_three_standard_errors(drawable - len(np.unique(drawn)), drawable, share)


def test_no_word_is_half_masked(records, real, unmasked, tokenizer):
    """A word as `##` shows it: what stands between a bare piece and the next one, within one segment."""
    tokens = tokenizer.vocabulary.tokens
    continues = np.array([token.startswith("##") and token != "##" for token in tokens])
    special = np.isin(unmasked, [tokenizer.vocab[t] for t in ("[CLS]", "[SEP]", "[PAD]")])
    after_special = np.roll(special, 1, axis=1)
    starts = special | after_special | ~continues[unmasked]
    word = np.cumsum(starts.reshape(-1)) - 1
    masked = np.zeros(unmasked.shape, bool)
    rows, slots = np.nonzero(real)
    masked[rows, records["masked_lm_positions"][rows, slots]] = True
    assert not masked[special].any()
    sizes = np.bincount(word)
    of_word = np.bincount(word, masked.reshape(-1), len(sizes))
    assert np.isin(of_word / sizes, (0, 1)).all()
    assert (of_word > 1).sum() > len(records["input_ids"])


def test_segments_are_runs_of_one_document_and_nothing_is_lost(records, unmasked, documents, tokenizer):
    text = Text(documents, tokenizer)
    labels = records["next_sentence_labels"][:, 0]
    lengths = records["input_mask"].sum(axis=1)
    ends = (unmasked == tokenizer.vocab["[SEP]"]).argmax(axis=1)
    seen = text.pieces == 0
    first_places = np.full(len(labels), -1)
    copies = 0
    for row, (end, length, label) in enumerate(
        zip(ends.tolist(), lengths.tolist(), labels.tolist(), strict=True)
    ):
        first, second = unmasked[row, 1:end], unmasked[row, end + 1 : length - 1]
        both = np.concatenate([first, second])
        if label == 0 and len(both) >= _KEY:
            places = text.places(both)
            assert places, f"record {row}: label 0, and B does not follow A in a document"
            run = both
        else:
            assert len(second) < _KEY or text.places(second), f"record {row}: B is no run of one document"
            if len(first) < _KEY:
                continue
            places, run = text.places(first), first
            assert places, f"record {row}: A is no run of one document"
            copies += bool(len(both) >= _KEY and text.places(both))
        first_places[row] = places[0]
        for place in places:
            seen[place : place + len(run)] = True
    # Petitions are copied from each other: a random B may be what follows A in a copy.
    assert copies < 0.002 * labels.sum()
    assert seen.all(), f"{(~seen).sum()} pieces of the text are in no record"
    # The order of the records tells nothing about that of the text.
    known = first_places >= 0
    correlation = np.corrcoef(np.flatnonzero(known), first_places[known])[0, 1]
    assert abs(correlation) < 4 / known.sum() ** 0.5
