"""Hostile sets of records: each is noticed by name, by the command that reads it, before any work."""

import json
import re
import shutil

import pytest
from creating import create, files_of, flags
from runs import arguments

from morphbert.cli.create_pretraining_data import main as create_main
from morphbert.cli.inspect_records import main as inspect
from morphbert.cli.run_pretraining import main as train
from morphbert.data.manifest import Manifest
from morphbert.data.records import frame_header
from morphbert.data.whole_set import READ_THROUGH, Access, problems_of
from morphbert.errors import MorphbertError

SHAPE = {"max_seq_length": 64, "max_predictions_per_seq": 10, "dupe_factor": 10}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A set of four shards as it was written."""
    folder = tmp_path_factory.mktemp("whole")
    create(folder / "r", num_shards=4, **SHAPE)
    return folder


def shard(folder, number, of=4):
    return folder / f"r-{number:05d}-of-{of:05d}"


def beside(path):
    return path.with_name(path.name + ".manifest.json")


def ends_of_records(data):
    ends, at = [], 0
    while at < len(data):
        at += 16 + int.from_bytes(data[at : at + 8], "little")
        ends.append(at)
    return ends


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def delete_a_shard(folder):
    for path in (shard(folder, 2), beside(shard(folder, 2))):
        path.unlink()


def cut_at_a_records_end(folder):
    path = shard(folder, 1)
    data = path.read_bytes()
    path.write_bytes(data[: ends_of_records(data)[-2]])


def double_the_number(folder):
    for path in folder.glob("*.manifest.json"):
        rewrite(path, lambda content: content.update(num_records=2 * content["num_records"]))


def double_all_numbers(folder):
    def double(content):
        content["num_records"] *= 2
        content["outputs"] = {name: 2 * count for name, count in content["outputs"].items()}

    for path in folder.glob("*.manifest.json"):
        rewrite(path, double)


def leave_shards_of_an_earlier_run(folder):
    create(folder / "other" / "r", num_shards=2, **SHAPE)
    for path in (folder / "other").glob("r-*"):
        shutil.move(path, folder / path.name)
    shutil.rmtree(folder / "other")


def leave_a_shard_without_a_manifest(folder):
    beside(shard(folder, 3)).unlink()


def empty_a_shard(folder):
    shard(folder, 0).write_bytes(b"")


def swap_two_records(folder):
    """As many bytes and records, all checksums right, and another order."""
    path = shard(folder, 0)
    data = path.read_bytes()
    first, second = ends_of_records(data)[:2]
    path.write_bytes(data[first:second] + data[:first] + data[second:])


def take_a_manifest_of_another_seed(folder):
    rewrite(beside(shard(folder, 1)), lambda content: content.update(random_seed=1))


def newer_format(folder):
    for path in folder.glob("*.manifest.json"):
        rewrite(path, lambda content: content.update(format_version=99, morphbert_version="9.9"))


ATTACKS = [
    (delete_a_shard, ["r-00002-of-00004 is missing", "Make the records again"]),
    (cut_at_a_records_end, ["r-00001-of-00004 has", "its manifest says", "cut off"]),
    (double_the_number, ["records for the set, but its files have", "changed after it was written"]),
    (double_all_numbers, ["r-00000-of-00004", "records, but its manifest says"]),
    (
        leave_shards_of_an_earlier_run,
        ["belong to different sets", "r-00000-of-00002", "r-00000-of-00004", "Remove"],
    ),
    (leave_a_shard_without_a_manifest, ["belong to different sets", "r-00003-of-00004, without a manifest"]),
    (empty_a_shard, ["r-00000-of-00004", "has 0 bytes"]),
    (swap_two_records, ["r-00000-of-00004", "has changed since it was written", "SHA-256"]),
    (take_a_manifest_of_another_seed, ["belong to different sets", "r-00001-of-00004"]),
    (newer_format, ["format version 99", "9.9"]),
]


@pytest.mark.parametrize(("attack", "words"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
def test_a_set_that_is_not_whole_is_refused_by_name(attack, words, whole, tiny_config, tmp_path, capsys):
    folder = tmp_path / "set"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("token_store"))
    attack(folder)
    glob = f"--input_file={folder}/r-*"
    for command in (
        lambda: inspect([glob]),
        lambda: train(arguments(folder, tiny_config, tmp_path / "out", glob)),
    ):
        capsys.readouterr()
        assert command() == 1
        message = capsys.readouterr().err
        assert all(word in message for word in words), message
        assert "Traceback" not in message
    assert not list((tmp_path / "out").glob("model.ckpt*"))


def test_a_whole_set_passes_and_a_part_of_it_is_said(whole, capsys):
    assert inspect([f"--input_file={whole}/r-*"]) == 0
    assert inspect([f"--input_file={shard(whole, 1)}"]) == 0


def test_larger_sets_are_checked_by_their_lengths_alone(whole, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("token_store"))
    from morphbert.data.manifest import load_manifest
    from morphbert.data.whole_set import LOCAL

    paths = sorted(str(p) for p in folder.glob("r-*") if not p.name.endswith(".json"))
    manifests = {path: load_manifest(path) for path in paths}
    opened = []
    huge = Access(LOCAL.exists, LOCAL.size, lambda path: opened.append(path) or LOCAL.open(path))
    assert not list(problems_of(paths, manifests, huge, read_through=1000))
    assert not opened
    swap_two_records(folder)
    assert not list(problems_of(paths, manifests, huge, read_through=1000))
    assert [p.path for p in problems_of(paths, manifests, huge)] == [paths[0]]
    assert READ_THROUGH == 1 << 30


def test_manifests_of_before_are_read_as_far_as_they_say(whole, tmp_path, capsys):
    folder = tmp_path / "set"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("token_store"))

    def older(content):
        for name in ("files", "corpus", "length_bins"):
            del content[name]
        content["format_version"] = 1

    for path in folder.glob("*.manifest.json"):
        rewrite(path, older)
    assert inspect([f"--input_file={folder}/r-*"]) == 0
    delete_a_shard(folder)
    cut_at_a_records_end(folder)
    assert inspect([f"--input_file={folder}/r-*"]) == 1
    message = capsys.readouterr().err
    assert "r-00002-of-00004 is missing" in message
    assert re.search(r"r-00001-of-00004: \d+ records, but its manifest says \d+", message)


def test_a_length_beyond_the_file_is_no_record(tmp_path):
    from morphbert.data.whole_set import LOCAL, _read

    path = tmp_path / "x"
    path.write_bytes(frame_header(1 << 60))
    assert _read(str(path), LOCAL, count=True)[1] is None


# ── Writing over an earlier set ──────────────────────────────────────────────────────────────────────────


def test_other_shards_replace_the_earlier_set(tmp_path, capsys):
    create(tmp_path / "r", num_shards=4, **SHAPE)
    create(tmp_path / "r", num_shards=2, **SHAPE)
    assert "removed 4 file(s) of the earlier set" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.glob("r*") if p.suffix != ".json") == [
        "r-00000-of-00002",
        "r-00001-of-00002",
    ]
    assert inspect([f"--input_file={tmp_path}/r*"]) == 0
    create(tmp_path / "r", **SHAPE)
    assert [p.name for p in sorted(tmp_path.glob("r*"))] == ["r", "r.manifest.json"]


@pytest.mark.parametrize("mode", ["fast", "google"])
def test_leftovers_of_unknown_origin_are_refused_before_anything_is_written(mode, tmp_path, capsys):
    stranger = tmp_path / "r-00003-of-00004"
    stranger.write_bytes(b"x")
    before = files_of(tmp_path)
    assert create_main(flags(tmp_path / "r", mode=mode, num_shards=2)) == 1
    message = capsys.readouterr().err
    assert "r-00003-of-00004" in message
    assert "no manifest" in message
    assert f"rm {stranger}" in message
    assert files_of(tmp_path) == before


def test_length_bins_that_are_given_up_are_removed(tmp_path):
    create(tmp_path / "r", length_bins="16,32", **(SHAPE | {"max_seq_length": 32}))
    create(tmp_path / "r-len99")  # a name of its own, which no set of r has
    create(tmp_path / "r", length_bins="32", **(SHAPE | {"max_seq_length": 32}))
    assert sorted(p.name for p in tmp_path.glob("r*") if p.suffix != ".json") == ["r-len32", "r-len99"]


def test_the_rest_of_a_set_with_other_names_is_refused(tmp_path, capsys):
    create(f"{tmp_path / 'a'},{tmp_path / 'b'}")
    assert create_main(flags(tmp_path / "a", token_store=tmp_path / "s")) == 1
    message = capsys.readouterr().err
    assert f"belongs to a set with {tmp_path / 'b'}" in message
    assert (tmp_path / "b").exists()


# ── Held-out records of another split ────────────────────────────────────────────────────────────────────


def split(folder, name, **more):
    create(folder / name, eval_output_file=folder / f"{name}-eval", **{"eval_fraction": 0.3, **SHAPE, **more})


@pytest.mark.long
def test_held_out_records_of_another_split_are_refused(tiny_config, tmp_path, capsys):
    split(tmp_path, "a")
    split(tmp_path, "b", eval_fraction=0.4)
    split(tmp_path, "c", random_seed=7)
    create(tmp_path / "all", **SHAPE)

    def run(trained, held):
        run = arguments(tmp_path, tiny_config, tmp_path / "out", f"--input_file={tmp_path / trained}")
        run += ["--do_eval", f"--eval_input_file={tmp_path / held}", "--dry_run"]
        capsys.readouterr()
        status = train(run)
        return status, capsys.readouterr().err

    for trained, held, words in (
        ("all", "a-eval", "from all documents"),
        ("b", "a-eval", "eval_fraction is 0.4"),
        ("c", "a-eval", "random_seed is 7"),
    ):
        status, message = run(trained, held)
        assert status == 1
        assert words in message
        assert "--eval_fraction --eval_output_file" in message
    status, message = run("a*", "a-eval")
    assert status == 1
    assert "take it out of --input_file" in message
    assert run("a", "a-eval")[0] == 0


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("outputs", None, "outputs is null, where an object is expected"),
        ("outputs", {"r": "1"}, "outputs is"),
        ("tokenizer", [], r"tokenizer is \[\], where an object is expected"),
        ("masking", "static", "masking is"),
        ("max_seq_length", "64", 'max_seq_length is "64", where a whole number is expected'),
        ("num_records", True, "num_records is true"),
        ("short_seq_prob", "0.1", 'short_seq_prob is "0.1", where a number is expected'),
        ("inputs", [3], "inputs is"),
    ],
)
def test_a_manifest_with_another_type_is_damaged(field, value, expected, whole):
    content = json.loads(beside(shard(whole, 0)).read_text())
    assert Manifest.from_json(json.dumps({**content, "short_seq_prob": 0})).short_seq_prob == 0
    with pytest.raises(MorphbertError, match=f"the manifest is damaged: {expected}"):
        Manifest.from_json(json.dumps({**content, field: value}))
