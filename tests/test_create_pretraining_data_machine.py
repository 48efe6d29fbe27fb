"""What create_pretraining_data.py asks of the machine: processes, memory, files that vanish."""

import gzip
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from creating import create
from tqdm import tqdm

from morphbert.cli.create_pretraining_data import main
from morphbert.errors import MorphbertError
from morphbert.parallel import run_tasks

GOLDEN = Path(__file__).parent / "golden"


def double(shared, task):
    time.sleep(0.01 * (task % 3))
    return shared, 2 * task


def die(shared, task):
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def refuse(shared, task):
    raise MorphbertError("the disk is full")


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert list(run_tasks(double, "x", range(20), workers)) == [("x", 2 * n) for n in range(20)]


def test_tasks_are_taken_a_few_at_a_time():
    taken = []

    def tasks():
        for number in range(1000):
            taken.append(number)
            yield number

    results = run_tasks(double, None, tasks(), 2)
    next(results)
    assert len(taken) < 20
    results.close()


def test_a_killed_worker_is_said_so():
    with pytest.raises(MorphbertError, match="a worker process was killed"):
        list(run_tasks(die, None, range(10), 2))


def test_an_error_of_a_worker_arrives_as_it_is():
    with pytest.raises(MorphbertError, match="the disk is full"):
        list(run_tasks(refuse, None, range(10), 2))


def children_of(process):
    return [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and f"\nPPid:\t{process}\n" in _status(entry)
    ]


def _status(entry):
    try:
        return Path(f"/proc/{entry}/status").read_text()
    except OSError:
        return ""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_workers_end_with_their_parent():
    program = (
        "import time\n"
        "from morphbert.parallel import run_tasks\n"
        "def slow(shared, task):\n    time.sleep(60)\n"
        "list(run_tasks(slow, None, range(4), 2))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        deadline = time.monotonic() + 30
        while len(workers := children_of(process.pid)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)  # until their watches stand
    finally:
        process.kill()
        process.wait()
    while any(_status(str(worker)) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def test_no_tensorflow_is_loaded():
    program = (
        "import sys\nimport morphbert.cli.create_pretraining_data, morphbert.cli.inspect_records\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'tensorflow']"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_file_that_vanishes(tmp_path, capsys, monkeypatch):
    from morphbert.data import store_build

    text = tmp_path / "in.txt"
    text.write_bytes((GOLDEN / "documents_ko.txt").read_bytes())
    flags = [
        f"--input_file={text}",
        f"--vocab_file={GOLDEN / 'vocab_ko.txt'}",
        "--do_lower_case=false",
        f"--output_file={tmp_path / 'r'}",
    ]
    blocks = store_build._blocks

    def without_the_file(*arguments):
        text.unlink()
        yield from blocks(*arguments)

    monkeypatch.setattr(store_build, "_blocks", without_the_file)
    assert main(flags) == 1
    assert "in.txt cannot be read: No such file" in capsys.readouterr().err

    def with_a_change(*arguments):
        yield from blocks(*arguments)
        text.write_text("다른 글", encoding="utf-8")

    text.write_bytes((GOLDEN / "documents_ko.txt").read_bytes())
    monkeypatch.setattr(store_build, "_blocks", with_a_change)
    assert main(flags) == 1
    assert "changed while it was read" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
    monkeypatch.undo()
    assert main(flags) == 0


@pytest.mark.parametrize("name", ["in.txt", "in.txt.gz"])
def test_bars_reach_their_ends(name, tmp_path, monkeypatch):
    """What is read is counted as it is stored, so that the time left is right for compressed text too."""
    from morphbert.data import creation, store_build

    text = (GOLDEN / "documents_ko.txt").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    bars = []

    class Bar(tqdm):
        def __init__(self, **more):
            super().__init__(**{**more, "disable": False, "file": io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(creation, "tqdm", Bar)
    monkeypatch.setattr(store_build, "_BLOCK_CHARACTERS", 300)
    create(tmp_path / "r", input_file=f"{tmp_path / name},{GOLDEN / 'documents_ko_2.txt'}", num_workers=1)
    assert [bar.desc for bar in bars] == ["tokenizing", "all records"]
    assert [bar.n for bar in bars] == [bar.total for bar in bars]


@pytest.mark.slow
def test_a_line_of_ten_megabytes(tmp_path):
    """One sentence, one document: cut up, in memory bounds, nothing lost."""
    sentence = "우리 동네 도서관은 작년에 새로 지어졌고 책을 다섯 권까지 빌릴 수 있다 "
    text = tmp_path / "in.txt"
    text.write_text(sentence * (10_000_000 // len(sentence.encode())) + "\n\n비가 온다.\n", encoding="utf-8")
    flags = [
        f"--input_file={text}",
        f"--vocab_file={GOLDEN / 'vocab_ko.txt'}",
        "--do_lower_case=false",
        "--dupe_factor=1",
        f"--output_file={tmp_path / 'r'}",
    ]
    assert main(flags) == 0
    assert (tmp_path / "r").stat().st_size > 10_000_000
