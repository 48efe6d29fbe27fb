"""What is written: regular files alone, under names that nobody can prepare, by one process, for all who may read."""

import json
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from creating import create, flags
from processes import largest_file
from samples import GOLDEN, ROOT

from morphbert import atomic_files, files
from morphbert.cli.build_vocab import main as build_vocab
from morphbert.cli.create_pretraining_data import main as create_main
from morphbert.cli.prepare_corpus import main as prepare
from morphbert.corpus.report import Example, _example_line
from morphbert.data import locks, shards
from morphbert.errors import MorphbertError
from morphbert.interop.folders import added_to
from morphbert.train.storage import write_text

TEXT = GOLDEN / "documents_ko.txt"


@pytest.fixture
def device(tmp_path):
    """A device like /dev/full, but for its name."""
    path = tmp_path / "full"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("a device can be made by root alone")
    return path


def test_a_device_is_refused_and_stays_one(device, tmp_path, capsys):
    for command in (
        lambda: create_main(flags(device)),
        lambda: create_main(flags(device, mode="google")),
        lambda: prepare([f"--input_file={TEXT}", f"--output_file={device}"]),
    ):
        assert command() == 1
        assert "full is a device, not a file" in capsys.readouterr().err
        assert stat.S_ISCHR(os.stat(device).st_mode)
    assert os.listdir(tmp_path) == ["full"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_standard_output_on_a_full_disk_is_named(flag):
    command = [sys.executable, ROOT / "prepare_corpus.py", flag]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "prepare_corpus.py: standard output cannot be written: No space left on device."
    )
    assert len(done.stderr.splitlines()) == 1


def test_a_full_folder_of_temporary_files_is_not_taken_for_standard_output(tmp_path, monkeypatch, capsys):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with largest_file(64):
        flags = [f"--input_file={TEXT}", f"--vocab_dir={tmp_path}/v", "--vocab_size=600", "--num_workers=1"]
        assert build_vocab(flags) == 1
    assert re.search(r"/tmp/morphbert-\S+ cannot be written: File too large", capsys.readouterr().err)
    assert os.listdir(tmp_path / "tmp") == []


def test_a_system_without_a_folder_for_temporary_files_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    flags = [f"--input_file={TEXT}", f"--vocab_dir={tmp_path}/v", "--vocab_size=600", "--num_workers=1"]
    assert build_vocab(flags) == 1
    assert "there is no folder for temporary files" in capsys.readouterr().err


def test_a_corpus_is_not_written_to_standard_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert prepare([f"--input_file={TEXT}", "--output_file=-"]) == 2
    assert "not to standard output" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_pipes_and_folders_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, what in (("pipe", "a pipe"), ("folder", "a folder")):
        for write in (
            lambda path: atomic_files.atomic_write(path).__enter__(),
            lambda path: write_text(path, ""),
        ):
            with pytest.raises(MorphbertError, match=f"{name} is {what}"):
                write(str(tmp_path / name))


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    monkeypatch.setattr(atomic_files.secrets, "token_hex", lambda size: "0" * 2 * size)
    for name in (".x.partial", f".x.{'0' * 16}.partial"):
        os.symlink(victim, tmp_path / name)
    with (
        pytest.raises(MorphbertError, match="File exists"),
        atomic_files.atomic_write(str(tmp_path / "x")) as out,
    ):
        out.write(b"mine")
    assert victim.read_text() == "untouched"
    monkeypatch.undo()
    with atomic_files.atomic_write(str(tmp_path / "x")) as out:
        out.write(b"mine")
    assert victim.read_text() == "untouched"
    assert (tmp_path / "x").read_bytes() == b"mine"


@pytest.mark.parametrize("make", [lambda path: os.symlink(path.parent / "elsewhere", path), os.mkfifo])
def test_a_lock_is_a_file_of_its_own(make, tmp_path):
    make(tmp_path / ".x.lock")
    with (
        pytest.raises(MorphbertError, match=r"\.x\.lock cannot be written"),
        locks.lock_file(str(tmp_path / ".x.lock")),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_files_added_to_a_folder_replace_only_files(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(MorphbertError, match=r"a\.txt is a pipe"), added_to(tmp_path) as made:
        (Path(made) / "a.txt").write_text("mine", encoding="utf-8")
    assert os.listdir(tmp_path) == ["a.txt"]
    with pytest.raises(MorphbertError, match="cannot be written"), added_to(tmp_path / "a.txt"):
        pass


def test_a_damaged_note_of_finished_work_is_no_note(tmp_path):
    shard, mark = tmp_path / "shard", tmp_path / "shard.done"
    shard.write_bytes(b"1")
    done = json.dumps([[files.identity(str(shard))], []])
    for text, expected in ((done, True), (done[:-3], False), ("\0" * 9, False), ("[" * 100_000, False)):
        mark.write_text(text)
        assert shards._is_done(str(mark), [str(shard)]) == expected


def test_a_link_under_the_final_name_is_replaced_and_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    os.symlink(victim, tmp_path / "x")
    write_text(str(tmp_path / "x"), "mine")
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "x").is_symlink()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        with atomic_files.atomic_write(str(tmp_path / "x")) as out:
            out.write(b"x")
        private = os.open(tmp_path / "y", os.O_CREAT | os.O_WRONLY, 0o600)
        os.close(private)
        atomic_files.usual_permissions(str(tmp_path / "y"))
    finally:
        os.umask(before)
    for name in "xy":
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


def test_what_a_killed_process_left_is_removed_and_a_living_one_is_respected(tmp_path):
    path = str(tmp_path / "x")
    program = (
        "import os, sys; from morphbert import atomic_files, files\n"
        "with atomic_files.atomic_write(sys.argv[1]) as out:\n"
        "    out.write(b'half'); out.flush(); print('ready', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        with (
            pytest.raises(MorphbertError, match="another process is writing"),
            atomic_files.atomic_write(path),
        ):
            pass
        assert len(os.listdir(tmp_path)) == 1
    finally:
        process.kill()
        process.communicate()
    assert len(os.listdir(tmp_path)) == 1
    with atomic_files.atomic_write(path) as out:
        out.write(b"whole")
    assert os.listdir(tmp_path) == ["x"]


def test_outputs_in_another_order_never_enter_together(tmp_path, monkeypatch):
    """`a,b` and `b,a`: one gets all, the other waits and is refused; none holds a part."""
    monkeypatch.setattr(locks, "_PATIENCE_SECONDS", 0.2)
    a, b = (str(tmp_path / name) for name in "ab")
    inside, refused = [], []

    def enter(outputs):
        try:
            with locks.only_writer(outputs):
                inside.append(outputs)
                barrier.wait(5)
                inside.remove(outputs)
        except MorphbertError as error:
            refused.append(str(error))
            barrier.wait(5)

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=enter, args=(outputs,)) for outputs in ([a, b], [b, a])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert "another process is writing" in refused[0]
    assert not os.listdir(tmp_path)


def test_all_outputs_are_locked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "_PATIENCE_SECONDS", 0.2)
    outputs = [tmp_path / "a", tmp_path / "b", tmp_path / "e"]
    for held in outputs:
        with locks.only_writer([str(held)]):
            command = flags(f"{outputs[0]},{outputs[1]}", eval_output_file=outputs[2], eval_fraction=0.3)
            assert create_main(command) == 1
            assert f"another process is writing {held}" in capsys.readouterr().err
    with locks.only_writer([str(tmp_path / "a-00003-of-00004")]):  # other shards of the same name
        assert create_main(flags(tmp_path / "a", num_shards=2)) == 1
    create(tmp_path / "a")


def test_names_of_files_are_text_in_the_report(tmp_path):
    line = _example_line(Example("<img src=x onerror=1> [a](http://b) *c* `d`", "`e`", "<b>"))
    assert "<" not in line
    assert r"\[a\](http://b) \*c\* \`d\`" in line
    assert line.count("`") - line.count("\\`") == 2
