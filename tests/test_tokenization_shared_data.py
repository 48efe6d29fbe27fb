"""On all the real text: google-research/bert's tokens, Hugging Face's, the engine's own boundaries, KorQuAD's answers.

The quick tests take a sample; those marked slow take everything.
"""

import gzip
import hashlib
import json
import unicodedata
from pathlib import Path

import mecab_ko
import pytest
from real_data import DATA, KORQUAD, needs

from morphbert.text.analyzers import MARK, MecabAnalyzer
from morphbert.text.loading import bert_tokenizer, load_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.vocab.figures import answer_ceiling

REPOSITORY = Path(__file__).parent.parent
FOLDER = str(REPOSITORY / "vocab" / "ko-mecab-8k")
VOCABULARY = FOLDER + "/vocab.txt"
GOLDEN = REPOSITORY / "tests" / "golden" / "tokenization_shared_data.json"
FILES = (
    "corpus/petitions.jsonl.gz",
    "corpus/movie_reviews.txt.gz",
    "nsmc/ratings_train.txt.gz",
    "nsmc/ratings_test.txt.gz",
    "korquad/KorQuAD_v1.0_dev.json",
    "korsts/sts-train.tsv",
    "korsts/sts-dev.tsv",
    "korsts/sts-test.tsv",
    "klue/klue-ner-v1.1_dev.tsv",
)

pytestmark = needs(KORQUAD)
sampled = pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow, id="all"), pytest.param(401, id="sample")]
)


def texts(name, every=1):
    """Every n-th text of a file: a petition's title or text, a line, a paragraph or a question."""
    return (text for number, text in enumerate(_texts(name)) if number % every == 0)


def _texts(name):
    path = DATA / name
    if name.endswith(".json"):
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                yield paragraph["context"]
                yield from (question["question"] for question in paragraph["qas"])
        return
    opener = gzip.open if name.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            if name.endswith(".jsonl.gz"):
                row = json.loads(line)
                yield row["title"]
                yield row["text"]
            else:
                yield line


def digest(tokenize, name, every):
    """One hash of all tokens; the recorded ones are of google-research/bert's tokenizer."""
    result = hashlib.sha256()
    for text in texts(name, every):
        result.update(("\0".join(tokenize(text)) + "\n").encode("utf-8", "surrogatepass"))
    return result.hexdigest()


@sampled
@pytest.mark.parametrize("do_lower_case", [False, True])
def test_without_analyser_google_research_berts_tokens(do_lower_case, every):
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))
    tokenizer = bert_tokenizer(load_vocabulary(VOCABULARY), do_lower_case)
    assert tokenizer.vocabulary.sha256 == expected["vocabulary"]
    casing = "uncased" if do_lower_case else "cased"
    for name in FILES:
        assert digest(tokenizer.tokenize, name, every) == expected[casing][f"{name} {every}"], name


@pytest.mark.parity
@sampled
@pytest.mark.parametrize("do_lower_case", [False, True])
def test_without_analyser_hugging_faces_tokens(do_lower_case, every):
    transformers = pytest.importorskip("transformers")
    ours = bert_tokenizer(load_vocabulary(VOCABULARY), do_lower_case)
    theirs = transformers.BertTokenizer(VOCABULARY, do_lower_case=do_lower_case)
    compared = 0
    for name in FILES:
        for text in texts(name, every):
            if not differs_in_hugging_face(text):
                compared += 1
                assert ours.tokenize(text) == theirs.tokenize(text)
    assert compared > 2000


def differs_in_hugging_face(text):
    """Where it and google-research/bert part, and we follow the latter.

    Hugging Face's limit for a word is 100 characters and not 200, it drops private-use and unassigned characters, and
    it knows no final sigma.
    """
    return max(map(len, text.split()), default=0) > 100 or any(
        char == "Σ" or (char > "\ud7ff" and unicodedata.category(char) in ("Co", "Cn", "Cs")) for char in text
    )


@sampled
def test_with_mecab_the_engines_own_boundaries(every):
    tagger = mecab_ko.Tagger('-F "%pe " -U "%pe " -E ""')
    analyzer, normalize = MecabAnalyzer(), Normalizer("nfc")
    for name in FILES:
        for text in map(normalize, texts(name, every)):
            marked = analyzer.mark(text).encode()
            ends = [len(part) for part in marked.split(MARK.encode())[:-1]]
            total = 0
            for index, size in enumerate(ends):
                ends[index] = total = total + size
            assert ends == list(map(int, tagger.parse(text).split()))


@pytest.mark.parametrize("name", ["ko-mecab-8k", "ko-mecab-32k"])
def test_korquad_answers_end_where_tokens_end(name):
    """An answer maps to tokens, and those back to exactly its characters; the report counts the same."""
    tokenizer = load_tokenizer(str(REPOSITORY / "vocab" / name))
    questions = found = 0
    paragraphs = {}
    for article in json.loads((DATA / FILES[4]).read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            offsets = tokenizer.encode(context).offsets
            first = {start: index for index, (start, _) in enumerate(offsets)}
            last = {end: index for index, (_, end) in enumerate(offsets)}
            for question in paragraph["qas"]:
                answer = question["answers"][0]
                start = answer["answer_start"]
                end = start + len(answer["text"])
                questions += 1
                paragraphs.setdefault(context, []).append((start, end))
                if start in first and end in last:
                    found += 1
                    assert context[offsets[first[start]][0] : offsets[last[end]][1]] == answer["text"]
    assert questions == 5774
    assert found / questions >= 0.99
    ceiling = answer_ceiling(tokenizer, paragraphs.items())
    assert (ceiling.answers, ceiling.reachable) == (questions, found)
