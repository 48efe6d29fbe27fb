"""The command: google-research/bert's records, recovery, the token store, and everything that can be wrong."""

import gzip
import json
import re
from pathlib import Path

import pytest
import regenerate_pretraining_data as golden
from creating import KOREAN, VOCABULARY, create, files_of, flags, read
from samples import GOLDEN, MECAB_VOCABULARY

from morphbert.cli.create_pretraining_data import main
from morphbert.data.example_message import parse_example
from morphbert.data.manifest import load_manifest
from morphbert.data.records import RecordShape, features, read_records

DIGESTS = json.loads(Path(golden.DIGESTS).read_text())


# ── --mode=google ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", sorted(DIGESTS))
def test_google_mode_is_google_research_bert(case, tmp_path):
    assert main([*golden.command_flags(case, str(tmp_path)), "--mode=google"]) == 0
    names = golden.output_names(str(tmp_path), len(DIGESTS[case]))
    assert [golden.digest(name) for name in names] == DIGESTS[case]


def test_google_mode_gives_the_same_bytes_again(tmp_path):
    for folder in ("a", "b"):
        create(tmp_path / folder / "r.tfrecord", mode="google")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["fast", "google"])
def test_records_follow_the_schema_and_the_manifest_says_what_they_are(mode, tmp_path):
    output = tmp_path / "r.tfrecord"
    create(output, mode=mode)
    schema = features(RecordShape(32, 5))
    records = read(output)
    for record in records:
        assert {name: len(values) for name, values in record.items()} == {
            name: feature.length for name, feature in schema.items()
        }
    manifest = load_manifest(str(output))
    assert manifest.num_records == len(records)
    assert manifest.outputs == {"r.tfrecord": len(records)}
    assert (manifest.mode, manifest.objective, manifest.num_sentences) == (mode, "nsp", 58)
    assert (manifest.max_seq_length, manifest.max_predictions_per_seq) == (32, 5)
    assert manifest.tokenizer["vocab"]["size"] == len(VOCABULARY.read_text().splitlines())
    assert [f["name"] for f in manifest.inputs] == ["documents_ko.txt", "documents_ko_2.txt"]


def test_one_order_however_many_shards(tmp_path):
    create(tmp_path / "one.tfrecord")
    create(tmp_path / "four.tfrecord", num_shards=4)
    shards = sorted(tmp_path.glob("four.tfrecord-*-of-00004"))
    assert len(shards) == 4
    assert [r for shard in shards for r in read(shard)] == read(tmp_path / "one.tfrecord")


def test_shards_by_size(larger, tmp_path):
    create(tmp_path / "r", input_file=larger, shard_megabytes=3)
    shards = sorted(p for p in tmp_path.glob("r-*") if not p.name.endswith(".json"))
    assert len(shards) >= 3
    assert shards[0].name.endswith(f"-00000-of-{len(shards):05d}")
    assert all(1.5e6 < shard.stat().st_size < 6e6 for shard in shards)
    create(tmp_path / "one", input_file=larger)
    assert [r for shard in shards for r in read(shard)] == read(tmp_path / "one")


def test_gzip_is_read_by_tensorflow(tmp_path):
    tf = pytest.importorskip("tensorflow")
    create(tmp_path / "plain.tfrecord")
    create(tmp_path / "packed.tfrecord.gz", num_shards=2)
    shards = sorted(map(str, tmp_path.glob("packed.tfrecord-*-of-00002.gz")))
    packed = [parse_example(r.numpy()) for r in tf.data.TFRecordDataset(shards, "GZIP")]
    assert packed == read(tmp_path / "plain.tfrecord")


@pytest.mark.parametrize("mode", ["fast", "google"])
def test_each_name_says_whether_it_is_compressed(mode, tmp_path):
    create(f"{tmp_path / 'a.gz'},{tmp_path / 'b'}", mode=mode, token_store=None)
    with gzip.open(tmp_path / "a.gz") as stream:
        first = [parse_example(record) for record in read_records(stream)]
    assert len(first) == load_manifest(str(tmp_path / "a.gz")).outputs["a.gz"]
    assert len(read(tmp_path / "b")) == load_manifest(str(tmp_path / "b")).outputs["b"]


@pytest.mark.parametrize("mode", ["fast", "google"])
def test_one_name_in_two_folders(mode, tmp_path):
    create(f"{tmp_path / 'x' / 'r'},{tmp_path / 'y' / 'r'}", mode=mode)
    counts = [len(read(tmp_path / folder / "r")) for folder in "xy"]
    for folder in "xy":
        manifest = load_manifest(str(tmp_path / folder / "r"))
        assert list(manifest.outputs.values()) == counts
        assert manifest.num_records == sum(counts)


def test_memory_filesystem(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    text = Path(KOREAN.split(",")[0]).read_bytes()
    with memory.open("/in/a.txt", "wb") as stream:
        stream.write(text)
    create(
        "memory://out/r.tfrecord", input_file="memory://in/a.txt", token_store=tmp_path / "s", num_workers=1
    )
    create(tmp_path / "r.tfrecord", input_file=GOLDEN / "documents_ko.txt", token_store=tmp_path / "s2")
    assert memory.cat("/out/r.tfrecord") == (tmp_path / "r.tfrecord").read_bytes()


# ── Held-out documents ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["fast", "google"])
def test_held_out_documents_are_on_one_side_and_stay_there(mode, tmp_path):
    def documents(path):
        manifest = load_manifest(str(path))
        return manifest.num_documents, manifest.num_sentences

    create(tmp_path / "t", mode=mode, eval_fraction=0.5, eval_output_file=tmp_path / "e")
    train, held = documents(tmp_path / "t"), documents(tmp_path / "e")
    assert held[0] >= 1
    assert train[1] + held[1] == 58
    assert load_manifest(str(tmp_path / "e")).split == "eval"
    assert load_manifest(str(tmp_path / "e")).dupe_factor == 1
    # Text put before moves nothing from one side to the other.
    more = tmp_path / "more.txt"
    more.write_text("새 문서입니다.\n둘째 문장입니다.\n\n", encoding="utf-8")
    create(
        tmp_path / "t2",
        mode=mode,
        input_file=f"{more},{KOREAN}",
        eval_fraction=0.5,
        eval_output_file=tmp_path / "e2",
    )
    assert documents(tmp_path / "e2")[1] in (held[1], held[1] + 2)


def test_at_least_one_document_is_held_out_and_one_is_not(tmp_path):
    for fraction in ("0.000001", "0.999999"):
        create(tmp_path / "t", eval_fraction=fraction, eval_output_file=tmp_path / "e")
        assert load_manifest(str(tmp_path / "t")).num_documents >= 1
        assert load_manifest(str(tmp_path / "e")).num_documents >= 1


# ── The token store ──────────────────────────────────────────────────────────────────────────────────────


def test_token_store_is_used_again_and_refused_after_a_change(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_bytes((GOLDEN / "documents_ko.txt").read_bytes())
    store = tmp_path / "store"

    def said(name, **more):
        create(tmp_path / name, input_file=text, token_store=store, **more)
        return capsys.readouterr().err

    assert "used again" not in said("a")
    assert "used again" in said("b", max_seq_length=64, random_seed=3, do_whole_word_mask="true")
    fresh = tmp_path / "fresh"
    create(
        fresh,
        input_file=text,
        token_store=tmp_path / "other",
        max_seq_length=64,
        random_seed=3,
        do_whole_word_mask="true",
    )
    assert fresh.read_bytes() == (tmp_path / "b").read_bytes()
    capsys.readouterr()
    text.write_bytes(text.read_bytes().replace("김치는 ".encode(), "배추는 ".encode()))
    assert "because the input changed" in said("c")
    assert "because the vocabulary or the tokenizer changed" in said("d", do_lower_case="true")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_another_process_in_the_same_place(tmp_path, capsys, monkeypatch):
    import fcntl

    from morphbert.data import locks

    monkeypatch.setattr(locks, "_PATIENCE_SECONDS", 0.2)
    with open(tmp_path / ".r.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(flags(tmp_path / "r")) == 1
    assert "another process is writing" in capsys.readouterr().err
    create(tmp_path / "r")
    capsys.readouterr()
    with open(tmp_path / "token_store" / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        create(tmp_path / "r2")  # reading together is fine
        assert main(flags(tmp_path / "r3", do_lower_case="true")) == 1
    assert "give this run another --token_store" in capsys.readouterr().err


# ── Input that is unusual, and input that is wrong ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("비가 온다.", 1),
        ("비가 온다.\n\n해가 뜬다.", 2),
        ("대통령 기자 회견 열려\n\n내일 전국에 비\n\n가\n\n주말 고속도로 정체\n", 4),
        ("비가 온다. " * 5000, 1),
        ("비가 온다. " * 5000 + "\n\n" + "해가뜬다" * 100, 2),
        ("\ufeff비가 온다.\r\n\r\n\u3000\r\n해가 뜬다.\r\n", 2),
    ],
)
def test_unusual_documents(text, documents, tmp_path):
    (tmp_path / "in.txt").write_text(text, encoding="utf-8", newline="")
    for objective in ("nsp", "none"):
        create(tmp_path / "r", input_file=tmp_path / "in.txt", objective=objective)
        assert load_manifest(str(tmp_path / "r")).num_documents == documents


@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_a_single_piece_has_no_second_segment(objective, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("가", encoding="utf-8")
    assert main(flags(tmp_path / "r", input_file=tmp_path / "in.txt", objective=objective)) == 1
    assert "no pair of segments" in capsys.readouterr().err


def test_a_document_ends_with_its_file(tmp_path):
    (tmp_path / "a.txt").write_text("비가 온다.", encoding="utf-8")
    (tmp_path / "b.txt").write_text("해가 뜬다.", encoding="utf-8")
    both = f"{tmp_path / 'a.txt'},{tmp_path / 'b.txt'}"
    create(tmp_path / "fast", input_file=both)
    create(tmp_path / "google", input_file=both, mode="google")
    assert load_manifest(str(tmp_path / "fast")).num_documents == 2
    assert load_manifest(str(tmp_path / "google")).num_documents == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_file": "no_such_file.txt"}, "there is no file 'no_such_file.txt'"),
        ({"input_file": "no_such_*.txt"}, "no file matches 'no_such_\\*.txt'"),
        ({"max_predictions_per_seq": 33}, "max_predictions_per_seq=33 .*max_seq_length \\(32\\)"),
        ({"max_predictions_per_seq": 0}, "max_predictions_per_seq=0 "),
        ({"max_seq_length": 4}, "max_seq_length=4 .*at least 5"),
        ({"masked_lm_prob": 1.5}, "masked_lm_prob=1.5"),
        ({"masked_lm_prob": 0}, "masked_lm_prob=0"),
        ({"short_seq_prob": -0.1}, "short_seq_prob=-0.1"),
        ({"random_token_prob": 0.3}, "random_token_prob=0.3 .*mask_token_prob \\(0.8\\)"),
        ({"max_span_length": 0}, "max_span_length=0"),
        ({"max_span_length": 3, "mode": "google"}, "max_span_length needs --mode=fast"),
        ({"dupe_factor": 0}, "dupe_factor=0"),
        ({"num_workers": 0}, "num_workers"),
        ({"num_shards": 0}, "num_shards"),
        ({"num_shards": 2, "shard_megabytes": 3}, "exclude each other"),
        ({"eval_fraction": 0.1}, "belong together"),
        ({"eval_fraction": 1.0, "eval_output_file": "e"}, "eval_fraction=1.0"),
        ({"objective": "sop", "mode": "google"}, "objective=sop needs --mode=fast"),
        ({"masking_unit": "piece", "do_whole_word_mask": "true"}, "contradicts"),
        ({"num_workers": 2, "mode": "google"}, "num_workers needs --mode=fast"),
    ],
)
def test_flags_out_of_range(changed, message, tmp_path, capsys):
    assert main(flags(tmp_path / "r", **changed)) in (1, 2)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert re.search(message, captured.err), captured.err
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("r")]


@pytest.mark.parametrize("mode", ["fast", "google"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_file": "no_such_file.txt"}, "there is no file"),
        ({"output_file": "."}, "is a folder, not a file"),
    ],
)
def test_no_hint_about_the_vocabulary_precedes_an_error_about_a_file(
    mode, changed, message, tmp_path, capsys, caplog
):
    given = {"do_lower_case": None, "vocab_file": MECAB_VOCABULARY / "vocab.txt", "mode": mode, **changed}
    assert main(flags(tmp_path / "r", **given)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert caplog.messages == []


@pytest.mark.parametrize("mode", ["fast", "google"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "contains no text"),
        (b"\n \n\xe3\x80\x80\n", "contains no text"),
        ("첫째 줄\n둘째 ".encode() + b"\xb0\xa1\n", "in.txt, line 2: not UTF-8"),
    ],
)
def test_input_that_cannot_be_used(mode, content, message, tmp_path, capsys):
    (tmp_path / "in.txt").write_bytes(content)
    assert main(flags(tmp_path / "r", input_file=tmp_path / "in.txt", mode=mode)) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: [t for t in lines if t != "[MASK]"], "no [MASK]"),
        (lambda lines: [*lines, lines[-1]], "is on line"),
        (lambda lines: lines[:13], "contains only special tokens"),
    ],
)
def test_vocabulary_that_cannot_be_used(edit, message, tmp_path, capsys):
    lines = edit(VOCABULARY.read_text(encoding="utf-8").splitlines())
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert main(flags(tmp_path / "r", vocab_file=tmp_path / "vocab.txt")) == 1
    assert message in capsys.readouterr().err


def test_hangul_under_lower_casing_is_warned_of(tmp_path, capsys):
    create(tmp_path / "r", do_lower_case=None, mode="google")
    said = capsys.readouterr().err
    assert "turns Hangul into Jamo" in said
    create(tmp_path / "r", do_lower_case=None)  # not guessed
    said = capsys.readouterr().err
    assert "turns Hangul into Jamo" not in said
    assert "of the pieces are [UNK] in the first 58 texts" in said


def test_output_folder_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for mode in ("fast", "google"):
        assert main(flags(tmp_path / "file" / "r", mode=mode)) == 1
        assert "cannot be written" in capsys.readouterr().err


def test_input_as_output_is_refused(tmp_path, capsys):
    text = tmp_path / "in.txt"
    text.write_text("비가 온다.\n", encoding="utf-8")
    assert main(flags(text, input_file=text)) == 2
    assert "is both an input and an output file" in capsys.readouterr().err
    assert text.read_text(encoding="utf-8") == "비가 온다.\n"
