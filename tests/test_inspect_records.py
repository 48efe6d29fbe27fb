"""inspect_records.py: its figures of sound records, and the faults that it finds in others."""

import shutil
from pathlib import Path

import pytest

from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.inspect_records import main
from morphbert.data.example_message import parse_example
from morphbert.data.records import RecordWriter, read_records, serialize_example

GOLDEN = Path(__file__).parent / "golden"
VOCABULARY = GOLDEN / "vocab_ko.txt"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    flags = [
        f"--input_file={GOLDEN / 'documents_ko.txt'}",
        f"--vocab_file={VOCABULARY}",
        "--do_lower_case=false",
        "--do_whole_word_mask",
        "--max_seq_length=48",
        "--max_predictions_per_seq=8",
        "--num_workers=1",
    ]
    assert create([*flags, f"--output_file={folder / 'a.tfrecord'}", "--num_shards=2"]) == 0
    assert create([*flags, f"--output_file={folder / 'b.tfrecord.gz'}", "--objective=none"]) == 0
    return folder


@pytest.fixture
def records(made, tmp_path):
    shutil.copytree(made, tmp_path / "r")
    return tmp_path / "r"


def inspect(pattern, *more):
    return main([f"--input_file={pattern}", f"--vocab_file={VOCABULARY}", *more])


def test_sound_records(records, capsys):
    assert inspect(records / "a.tfrecord-*", "--num_examples=2") == 0
    shown = capsys.readouterr().out
    first = (records / "a.tfrecord-00000-of-00002").name
    assert f"{first}, record 1\n  A: [CLS] " in shown
    assert "{[MASK]←" in shown
    assert " 0.0% in part" in shown, "whole words are masked whole"
    assert "in 2 file(s)" in shown, "manifests are passed over"
    assert inspect(records / "b.tfrecord.gz") == 0
    assert "next_sentence_labels" not in capsys.readouterr().out


def test_numbers_without_a_vocabulary(records, capsys):
    assert main([f"--input_file={records / 'a.tfrecord-00000-of-00002'}", "--num_examples=1"]) == 0
    assert "[CLS]" not in capsys.readouterr().out


def test_damage_is_named(records, capsys):
    path = records / "a.tfrecord-00001-of-00002"
    with open(path, "rb") as stream:
        first = next(read_records(stream))
    content = bytearray(path.read_bytes())
    content[16 + len(first) + 100] ^= 1
    path.write_bytes(content)
    assert inspect(records / "a.tfrecord*") == 1
    errors = capsys.readouterr().err
    assert f"{path}: record 1 (at byte {16 + len(first)}) has a wrong checksum" in errors
    assert "its manifest says" in errors


def rewrite(path, change):
    with open(path, "rb") as stream:
        records = [parse_example(record) for record in read_records(stream)]
    change(records)
    with open(path, "wb") as stream:
        writer = RecordWriter(stream)
        for record in records:
            writer.write(serialize_example(record))


def setter(name, index, value):
    def change(records):
        records[3][name][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setter("input_ids", 1, 5000), "record 3: the id 5000 is beyond the vocabulary of 968 tokens"),
        (setter("masked_lm_positions", 0, 47), "record 3: masked_lm_positions"),
        (setter("masked_lm_positions", 0, 0), "record 3: masked_lm_positions"),
        (setter("input_mask", 0, 0), "record 3: input_mask is not"),
        (setter("next_sentence_labels", 0, 2), "record 3: next_sentence_labels is 2"),
        (lambda records: records[3]["segment_ids"].pop(), "segment_ids has 47 values instead of 48"),
        (lambda records: records[3].pop("masked_lm_ids"), "masked_lm_ids has 0 values instead of 8"),
        (lambda records: records.pop(), "records, but its manifest says"),
    ],
)
def test_what_is_wrong_is_found(change, message, records, capsys):
    path = records / "a.tfrecord-00000-of-00002"
    rewrite(path, change)
    assert inspect(path) == 1
    assert message in capsys.readouterr().err


def test_another_vocabulary_is_noticed(records, tmp_path, capsys):
    tokens = VOCABULARY.read_text(encoding="utf-8").splitlines()
    other = tmp_path / "vocab.txt"
    other.write_text("\n".join([*tokens, "새말"]) + "\n", encoding="utf-8")
    assert main([f"--input_file={records / 'a.tfrecord*'}", f"--vocab_file={other}"]) == 1
    assert "made with another vocabulary (968 tokens" in capsys.readouterr().err


def test_nothing_but_manifests(records, capsys):
    assert inspect(records / "*.manifest.json") == 1
    assert "matches manifests only" in capsys.readouterr().err
