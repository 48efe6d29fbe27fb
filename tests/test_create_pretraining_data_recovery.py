"""The command makes the same bytes, whatever happens: workers, kill -9, a full disk, files that are taken away."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from creating import create, files_of, flags
from processes import largest_file, run_process

from morphbert.cli.create_pretraining_data import main

LARGER = {"num_shards": 3, "eval_fraction": 0.1, "dupe_factor": 5, "max_seq_length": 64}


@pytest.fixture(scope="module")
def expected(larger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    create(folder / "r", input_file=larger, eval_output_file=folder / "e", num_workers=1, **LARGER)
    return files_of(folder)


@pytest.mark.parametrize("workers", [2, 16])
def test_workers_change_nothing(workers, larger, expected, tmp_path):
    create(tmp_path / "r", input_file=larger, eval_output_file=tmp_path / "e", num_workers=workers, **LARGER)
    assert files_of(tmp_path) == expected


def test_parts_and_buckets_change_nothing(larger, expected, tmp_path, monkeypatch):
    """As many parts and buckets as a large corpus has, for a small one."""
    from morphbert.data import outputs, shards

    monkeypatch.setattr(outputs, "_PART_RECORDS", 700)
    monkeypatch.setattr(shards, "_BUCKET_PARTS", 4)
    monkeypatch.setattr(shards, "_PLAN_TOKENS", 10_000)
    buckets = []
    fill = shards._fill_bucket
    monkeypatch.setattr(
        shards, "_fill_bucket", lambda shared, first: (buckets.append(first), fill(shared, first))
    )
    create(tmp_path / "r", input_file=larger, eval_output_file=tmp_path / "e", num_workers=1, **LARGER)
    assert len(buckets) > 3
    assert files_of(tmp_path) == expected


@pytest.mark.slow
def test_killed_at_twenty_random_moments_and_started_again(larger, expected, tmp_path):
    arguments = flags(
        tmp_path / "r", input_file=larger, eval_output_file=tmp_path / "e", num_workers=2, **LARGER
    )
    command = [sys.executable, "-m", "morphbert.cli.create_pretraining_data", *arguments]
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - started
    finished = 0
    moments = random.Random(0)
    for moment in range(20):
        for path in tmp_path.iterdir():
            if path.is_file():
                path.unlink()
        if moment % 3 == 0:
            with contextlib.suppress(FileNotFoundError):
                (tmp_path / "token_store" / "store.json").unlink()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole * moments.random())
        finished += process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name, content in files_of(tmp_path).items():
            if not name.startswith("."):
                assert content == expected[name], "a file under its final name is whole"
        again = run_process(command)
        assert again.returncode == 0, again.stderr
        assert {n: c for n, c in files_of(tmp_path).items() if not n.startswith(".")} == expected
    assert finished < 15, "most of the runs were meant to be interrupted"


def test_killed_while_tidying_up(larger, expected, tmp_path, monkeypatch):
    whole = shutil.rmtree

    def half(folder, **options):
        offsets = sorted(Path(folder).rglob("*.offsets"))
        if not offsets:
            return whole(folder, **options)
        for path in offsets[::2]:
            path.unlink()
        raise KeyboardInterrupt

    command = flags(
        tmp_path / "r", input_file=larger, eval_output_file=tmp_path / "e", num_workers=1, **LARGER
    )
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", half)
        assert main(command) == 130
    for path in tmp_path.iterdir():
        if path.is_file():
            path.unlink()
    assert main(command) == 0
    assert files_of(tmp_path) == expected


def test_a_shard_taken_away_is_made_again(larger, expected, tmp_path, monkeypatch):
    from morphbert.data import shards

    assemble = shards._assemble
    taken = []

    def and_take_the_first(job, parts, made, names, progress):
        sums = assemble(job, parts, made, names, progress)
        (output,) = names
        if output.endswith("-00002-of-00003") and not taken:
            taken.append(output)
            os.unlink(output.replace("-00002-", "-00000-"))
        return sums

    monkeypatch.setattr(shards, "_assemble", and_take_the_first)
    create(tmp_path / "r", input_file=larger, eval_output_file=tmp_path / "e", num_workers=1, **LARGER)
    assert taken
    assert files_of(tmp_path) == expected


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own: → its folder, and a function that gives it another size in kilobytes."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
        return run_process(command)

    try:
        made = mount("-o", "size=64k")
    except FileNotFoundError:
        pytest.skip("there is no `mount` on this machine")
    if made.returncode:
        pytest.skip(f"a disk can be mounted by root alone: {made.stderr.strip()}")
    try:
        yield folder, lambda kilobytes: mount("-o", f"remount,size={kilobytes}k").check_returncode()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full_at_every_stage(larger, expected, small_disk, capsys):
    """Clear words, no half file; with more room each time the same command goes on, to the same bytes."""
    folder, resize = small_disk
    command = flags(folder / "r", input_file=larger, eval_output_file=folder / "e", num_workers=1, **LARGER)
    stopped_at = set()
    for kilobytes in (4, 64, 400, 1000, 2500, 5000, 9000, 14_000, 60_000):
        resize(kilobytes)
        status = main(command)
        said = capsys.readouterr().err
        for name, content in files_of(folder).items():
            if not name.startswith("."):
                assert content == expected[name], "a file under its final name is whole"
        if status == 0:
            break
        assert status == 1
        assert "The disk is full: free some space" in said
        assert "Traceback" not in said
        stopped_at.add(re.search(r"/([a-z0]+)[^/ ]* cannot be written", said)[1])
    assert status == 0
    assert len(stopped_at) >= 3, stopped_at
    assert {n: c for n, c in files_of(folder).items() if not n.startswith(".")} == expected


@pytest.mark.parametrize("mode", ["fast", "google"])
def test_a_disk_that_is_full(mode, tmp_path, capsys):
    """The same without the rights to mount one: a limit on the size of files."""
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with largest_file(4096):
        status = main(flags(tmp_path / "r", mode=mode, num_workers=1 if mode == "fast" else None))
    signal.signal(signal.SIGXFSZ, previous)
    assert status == 1
    captured = capsys.readouterr()
    assert "cannot be written" in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "r").exists()
    create(tmp_path / "r", mode=mode)
