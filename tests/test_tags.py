"""Tags of characters ↔ labels of pieces, on invented texts and on all of KLUE-NER."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_data import KLUE_NER, needs
from samples import MECAB_VOCABULARY

from morphbert.errors import MorphbertError
from morphbert.finetune.tags import (
    character_tags,
    first_of,
    label_tags,
    labels_in,
    piece_label,
    piece_labels,
)
from morphbert.formats.tags import TaggedText, entities_of, read_tagged, read_untagged
from morphbert.text.loading import load_tokenizer

TAGGED = """## 머리말
## 예문-1\t<김철수:PS>는 <3일:DT> <부산역:LC>에
김\tB-PS
철\tI-PS
수\tI-PS
는\tO
 \tO
3\tB-DT
일\tI-DT
 \tO
부\tB-LC
산\tI-LC
역\tI-LC
에\tO

## 예문-2
#\tO
1\tB-QT
위\tI-QT
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_the_format_of_klue_is_read(tmp_path):
    texts, statistics = read_tagged(str(write(tmp_path / "a.tsv", TAGGED)))
    assert [text.text for text in texts] == ["김철수는 3일 부산역에", "#1위"]
    assert [text.id for text in texts] == ["예문-1", "예문-2"]
    assert [entity.text for entity in entities_of(texts[0].text, texts[0].tags)] == [
        "김철수",
        "3일",
        "부산역",
    ]
    assert str(statistics) == "2 texts, 4 entities (1 DT, 1 LC, 1 PS, 1 QT)"


def test_texts_without_tags_are_numbered_over_all_files(tmp_path):
    one, other = write(tmp_path / "a.txt", "부산역에\r\n\n"), write(tmp_path / "b.txt", "1위")
    expected = [TaggedText("1", "부산역에"), TaggedText("2", ""), TaggedText("3", "1위")]
    assert read_untagged(f"{one},{other}") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("김 B-PS\n", "line 1 is '김 B-PS'"),
        ("김철수\tB-PS\n", "line 1 is '김철수\\tB-PS'"),
        ("김\tPERSON\n", "O, B-TYPE or I-TYPE"),
        ("document\tlabel\n재미있다\t1\n", "line 1 is 'document\\tlabel'"),
        ('{"data": []}\n', "KLUE-NER"),
        ("\n\n", "has no text"),
    ],
)
def test_other_files_are_named(tmp_path, text, message):
    with pytest.raises(MorphbertError, match=re.escape(message)):
        read_tagged(str(write(tmp_path / "a.tsv", text)))


def test_an_entity_without_a_beginning_gets_one(tmp_path):
    texts, statistics = read_tagged(str(write(tmp_path / "a.tsv", "김\tI-PS\n씨\tI-OG\n")))
    assert texts[0].tags == ("B-PS", "B-OG")
    assert "2 tags I- without a beginning became B-" in str(statistics)


@pytest.mark.parametrize(
    ("tags", "label"),
    [
        (["B-PS", "I-PS", "I-PS"], "B-PS"),
        (["O", "O"], "O"),
        (["I-PS", "O", "O"], "I-PS:1|O"),
        (["B-QT", "I-QT", "B-QT", "I-QT"], "B-QT:2|B-QT"),
        (["O", "B-LC", "I-LC", "O"], "O:1|B-LC:2|O"),
    ],
)
def test_labels_of_pieces(tags, label):
    assert piece_label(tags) == label
    assert label_tags(label, len(tags)) == tags
    assert first_of(label) == tags[0]


def test_the_labels_to_tell_apart():
    assert labels_in(["I-PS:1|O", "O", "B-LC"]) == ("B-LC", "I-LC", "B-PS", "I-PS", "O", "I-PS:1|O")


@st.composite
def tagged_texts(draw):
    """Words and spaces of any cut, with entities that may begin and end anywhere but in a space's last character."""
    text, tags = "", []
    for _ in range(draw(st.integers(1, 6))):
        words = draw(st.text("가나다 1", min_size=1, max_size=6))
        kind = draw(st.sampled_from(["O", "PS", "LC"]))
        text += words
        tags += ["O"] * len(words) if kind == "O" else [f"B-{kind}", *[f"I-{kind}"] * (len(words) - 1)]
    return text, tags


@settings(max_examples=300, deadline=None)
@given(tagged_texts(), st.data())
def test_tags_survive_any_pieces(tagged, data):
    """Pieces that leave out nothing but spaces: all tags that stand on characters of pieces come back."""
    text, tags = tagged
    offsets, place = [], 0
    while place < len(text):
        if text[place] == " ":
            place += 1
            continue
        end = place + 1
        while end < len(text) and text[end] != " " and data.draw(st.booleans()):
            end += 1
        offsets.append((place, end))
        place = end
    found = character_tags(text, offsets, piece_labels(offsets, tags))
    assert len(found) == len(text)
    for start, end in offsets:
        assert found[start:end] == tags[start:end]


@needs(KLUE_NER)
def test_every_tag_of_klue_ner_survives():
    """All 5,000 sentences, spaces too, by pieces that straddle tags as well."""
    texts, statistics = read_tagged(str(KLUE_NER))
    assert statistics.texts == 5000
    assert statistics.mended == 0
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    straddling = 0
    for text in texts:
        offsets = tokenizer.encode(text.text).offsets
        labels = piece_labels(offsets, text.tags)
        straddling += sum("|" in label for label in labels)
        assert tuple(character_tags(text.text, offsets, labels)) == text.tags, text.id
    assert 0 < straddling < 100
