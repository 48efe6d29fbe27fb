"""`run_ner.py`: names in texts, by a tag for each character."""

import json

import numpy as np
import pytest
from browser import check_report, needs_browser
from samples import MECAB_VOCABULARY
from tasks import figures, ner_texts, tiny_flags, training, write_ner, write_split

from morphbert.cli.run_ner import main
from morphbert.finetune import text_windows
from morphbert.formats.tags import TaggedText
from morphbert.text.loading import load_tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_split(tmp_path_factory.mktemp("ner"), write_ner, ner_texts(), 40, ".tsv")


trained = training(main, ".tsv", "--num_train_steps=60", "--learning_rate=5e-3", "--eval_every=30")


def test_it_learns_names_and_places(trained):
    found = figures(trained)
    assert found["entity_f1"] > 0.9
    assert found["character_f1"] > 0.9
    assert "<svg" in (trained / "report.html").read_text(encoding="utf-8")


@needs_browser
def test_its_page_in_a_browser(trained, tmp_path):
    check_report(trained / "report.html", tmp_path, "평가 결과")


def test_new_texts_are_tagged_with_their_own_characters(trained, tmp_path):
    """An empty text, one of spaces, and one of several windows among them."""
    long = "박지성은 대전에 갔다. " * 12
    lines = ["이영희은  부산에 갔다.", "", "   ", long.rstrip()]
    (tmp_path / "new.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = [f"--output_dir={trained}", f"--predict_file={tmp_path}/new.txt", "--do_predict"]
    assert main([*flags, "--max_seq_length=32", "--strategy=cpu"]) == 0
    rows = [
        json.loads(line) for line in (trained / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [row["text"] for row in rows] == lines
    for row in rows:
        assert len(row["tags"]) == len(row["text"])
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
    assert [(e["text"], e["type"]) for e in rows[0]["entities"]] == [("이영희", "PS"), ("부산", "LC")]
    assert [e["text"] for e in rows[3]["entities"]].count("대전") > 9


def test_windows_say_each_piece_once():
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    texts = ["김철수는 서울에 살고 이영희는 부산에 산다. " * 6, "짧다.", ""]
    windows = text_windows.windows_of(tokenizer, texts, 24)
    labels = [["O"] * (len(window.sequence.ids) - 2) for window in windows]
    assert sum(w.text == 0 for w in windows) > 3
    for number, text in enumerate(texts):
        said = [
            window.sequence.offsets[place]
            for window in windows
            if window.text == number
            for place in range(1, len(window.sequence.ids) - 1)
            if window.best[place]
        ]
        assert said == tokenizer.encode(text).offsets
    assert [len(tags) for tags in text_windows.tags_of_texts(windows, labels, texts)] == [
        len(t) for t in texts
    ]


def test_figures_are_those_of_klue():
    """Against seqeval and scikit-learn called as KLUE's baseline calls them: one sequence, spaces left out."""
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2
    from sklearn.metrics import f1_score as of_classes

    known = ("B-LC", "I-LC", "B-PS", "I-PS", "O", "B-PS:2|O")
    random = np.random.default_rng(5)
    texts, found = [], []
    for _ in range(30):
        text = "".join(random.choice(list("가나다라 "), 12))
        tags = [str(tag) for tag in random.choice(known[:5], 12, p=[0.1, 0.2, 0.1, 0.2, 0.4])]
        guess = [tag if random.random() < 0.7 else str(random.choice(known[:5])) for tag in tags]
        texts.append(TaggedText("", text, tuple(tags)))
        found.append(guess)
    ours = text_windows.tag_metrics(texts, found, known)
    kept = [[place for place, character in enumerate(t.text) if character != " "] for t in texts]
    gold = [
        tag for t, places in zip(texts, kept, strict=True) for tag in ["O", *(t.tags[p] for p in places), "O"]
    ]
    said = [
        tag
        for tags, places in zip(found, kept, strict=True)
        for tag in ["O", *(tags[p] for p in places), "O"]
    ]
    expected = f1_score([gold], [said], average="macro", mode="strict", scheme=IOB2)
    assert ours["entity_f1"] == pytest.approx(expected)
    inside = [
        (g, s)
        for t, tags, places in zip(texts, found, kept, strict=True)
        for g, s in ((t.tags[p], tags[p]) for p in places)
    ]
    expected = of_classes(
        *zip(*inside, strict=True), labels=list(known[:5]), average="macro", zero_division=1
    )
    assert ours["character_f1"] == pytest.approx(expected)


def test_straddling_pieces_have_labels_of_their_own():
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    text = TaggedText("", "대한민국", ("B-LC", "I-LC", "O", "O"))
    windows = text_windows.windows_of(tokenizer, [text.text], 16)
    labels = text_windows.labels_of_windows(windows, [text])
    assert labels == [["B-LC:2|O"]]
    features = text_windows.features_of(windows, labels, ("B-LC", "I-LC", "O", "B-LC:2|O"), 16)
    assert features.pieces["tag_ids"][0, :3].tolist() == [-1, 3, -1]
    # A label that training has not seen counts as that of the first character.
    features = text_windows.features_of(windows, labels, ("B-LC", "I-LC", "O"), 16)
    assert features.pieces["tag_ids"][0, :3].tolist() == [-1, 0, -1]
    assert text_windows.tag_ceiling(windows, [text], ("B-LC", "I-LC", "O"))["entity_f1"] == 0.0
    assert text_windows.tag_ceiling(windows, [text], ("B-LC", "I-LC", "O", "B-LC:2|O"))["entity_f1"] == 1.0


def test_a_type_that_training_has_not_is_named(trained, data, tmp_path, capsys):
    path = write_ner(tmp_path / "other.tsv", [[("한빛전자", "OG"), ("는 크다.", None)]])
    flags = [f"--output_dir={trained}", f"--eval_file={path}", "--do_eval", "--max_seq_length=32"]
    assert main([*flags, "--strategy=cpu"]) == 1
    assert "has the tag 'B-OG', which is not one of B-LC, I-LC, B-PS, I-PS, O" in capsys.readouterr().err


def test_texts_without_an_entity_are_refused(data, tmp_path, capsys):
    path = write_ner(tmp_path / "none.tsv", [[("아무도 없다.", None)]])
    assert (
        main([*tiny_flags(data), f"--train_file={path}", f"--output_dir={tmp_path}/out", "--do_train"]) == 1
    )
    assert "has no entity" in capsys.readouterr().err
