"""How fast and how large create_pretraining_data.py is, beside google-research/bert where a checkout is given.

    python benchmarks/data.py --input=corpus.txt --vocab=vocab.txt [--mecab_vocab=vocab/FOLDER] [--bert=CHECKOUT]

The input is in BERT's format. `--repeat=1,7,70` makes larger corpora of it, one after the other: in each copy the
documents stand in another order, and each begins with a number of its own.
Every program runs as users run it, in a process of its own, start included. `wall` depends on what else the
machine does, `cpu` much less; `memory` is the peak of anonymous memory of all its processes together (pages of
mapped files, which the system takes back when it needs them, left out). Linux only.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Measured:
    name: str
    wall: float
    cpu: float
    memory: float  # bytes


def processes_under(root):
    """The process and all its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += parents.get(process, [])
    return found


def anonymous_memory(process):
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def measure(name, command):
    """Runs a command to its end and watches its memory ten times a second."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0
    stop = threading.Event()

    def watch():
        nonlocal peak
        while not stop.wait(0.1):
            peak = max(peak, sum(map(anonymous_memory, processes_under(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    wall = time.monotonic() - started
    stop.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"{name} failed:\n{errors}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    made = Measured(name, wall, cpu, peak)
    print(f"{made.name:<44}{made.wall:>9.1f} s{made.cpu:>9.1f} s{made.memory / 2**20:>9.0f} MB", flush=True)
    return made


def repeated(text, times, path):
    """The corpus `times` times, no document twice."""
    documents = [d.strip() for d in text.split("\n\n") if d.strip()]
    with open(path, "w", encoding="utf-8") as out:
        for copy in range(times):
            random.Random(copy).shuffle(documents)
            for number, document in enumerate(documents):
                out.write(f"문서 {copy}-{number}\n{document}\n\n")


def ours(folder, corpus, vocabulary, name, dupe_factor, *more):
    output = os.path.join(folder, "records")
    return [
        sys.executable,
        str(REPOSITORY / "create_pretraining_data.py"),
        f"--input_file={corpus}",
        f"--vocab_file={vocabulary}",
        f"--output_file={output}",
        f"--token_store={os.path.join(folder, name)}",
        f"--dupe_factor={dupe_factor}",
        *more,
    ]


def run_ours(folder, corpus, times, arguments):
    """Our program on a corpus that is the input `times` times: with and without an analyser, and a second run."""
    more = [f"--num_workers={arguments.num_workers}"] if arguments.num_workers else []
    if times > 1:
        more.append(f"--num_shards={times}")
    size = os.path.getsize(corpus)
    print(f"\n{size / 1e6:.1f} MB of text, dupe_factor {arguments.dupe_factor}, {os.cpu_count()} cores")
    print(f"{'':<44}{'wall':>11}{'cpu':>11}{'memory':>12}")
    plain = ours(
        folder, corpus, arguments.vocab, "plain", arguments.dupe_factor, "--do_lower_case=false", *more
    )
    runs = [measure("morphbert, no analyser", plain), measure("morphbert, token store again", plain)]
    if arguments.mecab_vocab:
        mecab = ours(folder, corpus, arguments.mecab_vocab, "mecab", arguments.dupe_factor, *more)
        runs.append(measure("morphbert, Mecab", mecab))
    written = sum(path.stat().st_size for path in Path(folder).glob("records*"))
    print(f"{written / 1e6:,.0f} MB of records")
    for run in runs:
        print(f"{run.name}: {run.cpu / size * 1e7:.2f} s of processor time for 10 MB of text")
    return runs


def run_original(folder, arguments):
    sys.path.insert(0, str(REPOSITORY / "tests" / "golden"))
    from regenerate_pretraining_data import original_command

    command = original_command(
        arguments.bert,
        [
            f"--input_file={arguments.input}",
            f"--vocab_file={arguments.vocab}",
            f"--output_file={os.path.join(folder, 'original')}",
            f"--dupe_factor={arguments.dupe_factor}",
            "--do_lower_case=false",
        ],
    )
    return measure("google-research/bert", command)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", required=True, help="text in BERT's format")
    parser.add_argument("--vocab", required=True, help="a plain vocab.txt, cased")
    parser.add_argument("--mecab_vocab", help="a vocabulary folder with Mecab")
    parser.add_argument("--bert", help="a checkout of google-research/bert; it runs on the input as it is")
    parser.add_argument("--repeat", default="1", help="how often the input is repeated; several with commas")
    parser.add_argument("--dupe_factor", type=int, default=10)
    parser.add_argument("--num_workers", type=int)
    parser.add_argument(
        "--folder", help="where the text and the records go for the time; default: the system's"
    )
    arguments = parser.parse_args()
    of_input = []
    for times in map(int, arguments.repeat.split(",")):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            corpus = arguments.input
            if times > 1:
                corpus = os.path.join(folder, "corpus.txt")
                repeated(Path(arguments.input).read_text(encoding="utf-8"), times, corpus)
            runs = run_ours(folder, corpus, times, arguments)
            of_input = runs if times == 1 else of_input
    if not arguments.bert:
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        baseline = run_original(folder, arguments)
    for run in of_input:
        print(
            f"{run.name}: {baseline.wall / run.wall:.1f} × in wall time, {baseline.cpu / run.cpu:.1f} × in "
            f"processor time, {run.memory / baseline.memory:.2f} of the memory"
        )


if __name__ == "__main__":
    main()
