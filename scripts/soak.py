"""Kills and full disks at random moments, for as long as asked, comparing bits: `make soak SECONDS=600`.

Data creation and training of a tiny model run again and again in processes of their own. Each attempt is killed at a
random moment (SIGKILL, SIGTERM or SIGHUP), or may write no file beyond a random size, as on a full disk. The
command then prints a message and no traceback; and the same command, left alone, ends with the bytes (data) and the
values (training) of a run that was never disturbed.

It ends with the counts and status 0, or at the first difference with status 1.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
MESSAGES = ("cannot be written", "disk is full", "File too large")


class Difference(Exception):
    """A disturbed run left other files than an undisturbed one."""


def corpus(path: pathlib.Path) -> None:
    """A few thousand sentences: blocks and parts enough to be interrupted between."""
    names = ("documents_ko.txt", "documents_ko_2.txt")
    text = "".join((GOLDEN / name).read_text(encoding="utf-8") + "\n\n" for name in names)
    path.write_text("".join(text.replace("다.", f"다 {n}.") for n in range(120)), encoding="utf-8")


def data_command(folder: pathlib.Path, text: pathlib.Path) -> list[str]:
    """Makes three shards and held-out records."""
    return [
        *(sys.executable, "-m", "morphbert.cli.create_pretraining_data"),
        *(f"--input_file={text}", f"--vocab_file={GOLDEN}/vocab_ko.txt", "--do_lower_case=false"),
        *(
            f"--output_file={folder}/r",
            "--num_shards=3",
            "--eval_fraction=0.1",
            f"--eval_output_file={folder}/e",
        ),
        *("--max_seq_length=64", "--max_predictions_per_seq=10", "--dupe_factor=3", "--num_workers=2"),
    ]


def training_command(folder: pathlib.Path, records: pathlib.Path, config: pathlib.Path) -> list[str]:
    """Takes 60 steps, with a save every 5 and an evaluation every 20."""
    return [
        *(sys.executable, "-m", "morphbert.cli.run_pretraining", "--do_train", "--strategy=cpu"),
        *(f"--bert_config_file={config}", f"--input_file={records}/r-*-of-00003", f"--output_dir={folder}"),
        *("--max_seq_length=64", "--max_predictions_per_seq=10", "--train_batch_size=8"),
        *("--num_train_steps=60", "--num_warmup_steps=5", "--save_checkpoints_steps=5", "--log_steps=5"),
        *(
            "--eval_every=20",
            f"--eval_input_file={records}/e",
            "--max_eval_steps=2",
            "--iterations_per_loop=5",
        ),
    ]


def run(
    command: Sequence[str], stop: Callable[[subprocess.Popen], None] | None = None, limit: int | None = None
):
    """Runs a command to its end, or to where `stop` ends it; `limit` is the most bytes a file may get."""

    def prepare() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=prepare,
        )
        if stop is not None:
            stop(process)
        status = process.wait()
        said.seek(0)
        return status, said.read()


def files_of(folder: pathlib.Path) -> dict[str, bytes]:
    """Bytes by name, without hidden files."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name[0] != "."}


def values_of(folder: pathlib.Path) -> dict[str, bytes]:
    """The arrays of the last checkpoint, as bytes by name."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / "model.ckpt-60"))
    names = [
        n
        for n in reader.get_variable_to_shape_map()
        if n.endswith("VARIABLE_VALUE") and "save_counter" not in n
    ]
    return {name: reader.get_tensor(name).tobytes() for name in names}


class Soak:
    """One kind of command: its undisturbed result, and its disturbances."""

    def __init__(self, name: str, folder: pathlib.Path, command: list[str], result, seed: int):
        self.name, self.folder, self.command, self.result = name, folder, command, result
        self.counts: Counter[str] = Counter()
        self.random = random.Random(f"{name} {seed}")
        started = time.monotonic()
        status, said = run(command)
        if status:
            raise Difference(f"{name}: the undisturbed run failed:\n{said}")
        self.seconds = time.monotonic() - started
        self.expected = result(folder)
        self.largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)

    def disturb(self) -> None:
        """One attempt that is disturbed, and sometimes the run to the end that follows."""
        if self.random.random() < 0.25:
            limit = self.random.randrange(1, self.largest)
            status, said = run(self.command, limit=limit)
            self.counts["full disks"] += status != 0
            if status not in (0, 1) or (status == 1 and not any(message in said for message in MESSAGES)):
                raise Difference(
                    f"{self.name}: with files of {limit} bytes at most, status {status}:\n{said}"
                )
        else:
            number = self.random.choice(SIGNALS)
            moment = self.seconds * self.random.random()

            def stop(process: subprocess.Popen) -> None:
                try:
                    process.wait(moment)
                except subprocess.TimeoutExpired:
                    process.send_signal(number)
                    self.counts[f"killed by {signal.Signals(number).name}"] += 1

            _, said = run(self.command, stop)
        if "Traceback" in said:
            raise Difference(f"{self.name}: a traceback:\n{said}")
        if self.random.random() < 0.4:
            self.finish()

    def finish(self) -> None:
        """The same command, undisturbed, ends with the same result."""
        status, said = run(self.command)
        if status or "Traceback" in said:
            raise Difference(f"{self.name}: left alone it ended with status {status}:\n{said}")
        found = self.result(self.folder)
        differ = [n for n in self.expected.keys() | found.keys() if self.expected.get(n) != found.get(n)]
        if differ:
            raise Difference(f"{self.name}: other bits in {', '.join(sorted(differ)[:5])}")
        self.counts["compared, equal"] += 1
        shutil.rmtree(self.folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        text, config = folder / "corpus.txt", folder / "bert_config.json"
        corpus(text)
        size = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config.write_text(
            json.dumps({"vocab_size": size, "max_position_embeddings": 64, "type_vocab_size": 2, **sizes})
        )
        records = folder / "records"
        status, said = run(data_command(records, text))
        if status:
            print(said, file=sys.stderr)
            return 1
        kinds = []
        try:
            data, trained = folder / "data", folder / "trained"
            kinds.append(Soak("data", data, data_command(data, text), files_of, given.seed))
            kinds.append(
                Soak("training", trained, training_command(trained, records, config), values_of, given.seed)
            )
            spent = [0.0, 0.0]
            until = time.monotonic() + given.seconds  # without the undisturbed runs before and after
            while time.monotonic() < until:
                turn = spent.index(min(spent))  # half of the time each
                started = time.monotonic()
                kinds[turn].disturb()
                spent[turn] += time.monotonic() - started
            for kind in kinds:
                kind.finish()
        except Difference as error:
            print(f"soak: {error}", file=sys.stderr)
            return 1
        finally:
            for kind in kinds:
                counted = ", ".join(f"{count} {what}" for what, count in sorted(kind.counts.items()))
                print(f"soak: {kind.name}: {counted or 'nothing yet'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
