"""The log of a run: lines on the terminal, TensorBoard scalars, `metrics.jsonl`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from morphbert.errors import MorphbertError
from morphbert.structured import load_json
from morphbert.train.storage import write_text, writing

METRICS_FILE = "metrics.jsonl"
# The values of a line of training that describe the machine and not the model: another run of the same command has the
# same values except for these.
SPEED = (
    "steps_per_second",
    "sequences_per_second",
    "tokens_per_second",
    "input_wait_share",
    "model_flops_per_second",
    "model_flops_utilization",
    "seconds_left",
    "wall_seconds",
    "moved_seconds",
    "goodput",
)


def duration(seconds: float) -> str:
    """Returns a time in words: 93784 → "26:03:04", 65 → "1:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def in_words(speed: Mapping[str, float]) -> str:
    """Returns the speed of a line as text for the terminal."""
    words = [
        f"{speed['steps_per_second']:.2f} steps/s",
        f"{speed['sequences_per_second']:.1f} sequences/s",
        f"{speed['tokens_per_second']:,.0f} tokens/s",
        f"{speed['input_wait_share']:.1%} waiting for input",
    ]
    if "model_flops_utilization" in speed:
        words.append(f"{speed['model_flops_utilization']:.0%} of peak FLOPs")
    return "  ".join([*words, f"{duration(speed['seconds_left'])} left"])


class Clocked(NamedTuple):
    """Steps that were timed since the last line: how many, their sequences, seconds, waiting and operations."""

    steps: int = 0
    sequences: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    flops: int = 0


class RunLog:
    """Writes one run's figures; a resumed run continues at its checkpoint.

    `describe` puts an objective's figures into words; `follow` gets all of them, for logs elsewhere: the kind
    (`train` or `eval`), the step and the figures. `peak_flops` is the peak of all devices, in operations a second; None
    where it is not known. `began` is when the run began, by `time.monotonic`; None is now.

    Goodput is the share of the wall time that moved the weights: compiling, waiting for input, saving and evaluating do
    not, nor do steps that a kill or a rollback took back. The time from the last line to a kill is not known.
    """

    def __init__(
        self,
        directory: str,
        start_step: int,
        num_steps: int,
        batch_size: int,
        describe: Callable[[Mapping[str, float]], str],
        follow: Callable[[str, int, Mapping[str, float]], None] | None = None,
        peak_flops: float | None = None,
        began: float | None = None,
    ):
        self._path = os.path.join(directory, METRICS_FILE)
        self._num_steps = num_steps
        self._batch_size = batch_size
        self._describe = describe
        self._follow = follow
        self._peak_flops = peak_flops
        self._writers = {
            name: tf.summary.create_file_writer(os.path.join(directory, name)) for name in ("train", "eval")
        }
        self._began, self._before, self._moved = began or time.monotonic(), 0.0, 0.0
        self._recorded = self._drop_after(start_step)
        self._bar = tqdm(
            total=num_steps, initial=start_step, desc="training", unit="step", leave=False, disable=None
        )
        self._clocked = Clocked()

    def steps_done(
        self, steps: int, seconds: float, waited: float, flops: int, batch_size: int | None = None
    ) -> None:
        """Counts steps that just took `seconds`, which leaves compilation and saving out of the rates.

        `waited` of these seconds were spent until batches were there; the steps had `flops` operations, or 0;
        `batch_size` is theirs where it is not the run's.
        """
        self._bar.update(steps)
        self._moved += seconds - waited
        clocked = self._clocked
        self._clocked = Clocked(
            clocked.steps + steps,
            clocked.sequences + steps * (batch_size or self._batch_size),
            clocked.seconds + seconds,
            clocked.waited + waited,
            clocked.flops + flops,
        )

    def training(self, step: int, values: Mapping[str, float], tokens: float) -> None:
        """Prints a line about the steps since the last: losses, accuracies, speed and time left.

        `tokens` is a step's number of pieces without padding. After a resume the first line may come before any
        step was timed: it says nothing of speed.
        """
        speed = self._speed(step, tokens)
        self._clocked = Clocked()
        words = f"step {step}/{self._num_steps}  loss {values['loss']:.4f}  {self._describe(values)}"
        self._print(f"{words}  {in_words(speed)}" if speed else words)
        self._record("train", step, {**values, **speed})

    def preview(self, step: int, values: Mapping[str, float]) -> None:
        """Prints a line before the first one that is recorded, so that loss and time left are known early."""
        speed = self._speed(step, 0.0)
        left = (
            f"  {speed['steps_per_second']:.2f} steps/s  {duration(speed['seconds_left'])} left"
            if speed
            else ""
        )
        self._print(f"step {step}/{self._num_steps}  loss {values['loss']:.4f}{left}")

    def show_loss(self, loss: float) -> None:
        """Shows the loss of the last step in the bar of a terminal."""
        self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)

    def _speed(self, step: int, tokens: float) -> dict[str, float]:
        clocked = self._clocked
        if not clocked.seconds:
            return {}
        rate = clocked.steps / clocked.seconds
        speed = {
            "steps_per_second": rate,
            "sequences_per_second": clocked.sequences / clocked.seconds,
            "tokens_per_second": rate * tokens,
            "input_wait_share": clocked.waited / clocked.seconds,
            "seconds_left": (self._num_steps - step) / rate,
            "wall_seconds": self._wall,
            "moved_seconds": self._moved,
            "goodput": self._moved / self._wall,
        }
        if clocked.flops:
            speed["model_flops_per_second"] = clocked.flops / clocked.seconds
            if self._peak_flops:
                speed["model_flops_utilization"] = speed["model_flops_per_second"] / self._peak_flops
        return speed

    @property
    def _wall(self) -> float:
        return self._before + time.monotonic() - self._began

    def goodput_in_words(self) -> str:
        """`goodput 93.1% of 30:02`: the share of the wall time that moved the weights."""
        return f"goodput {self._moved / self._wall:.1%} of {duration(self._wall)}"

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Prints a line of held-out figures."""
        self._print(f"step {step}  held out ({values['num_examples']} examples)  {self._describe(values)}")
        self._record("eval", step, values)

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Writes a held-out picture for TensorBoard: uint8 [height, width, 3]."""
        with self._writers["eval"].as_default():
            tf.summary.image(name, picture[None], step=step)
        self._writers["eval"].flush()

    def go_back(self, step: int) -> None:
        """Takes out the lines after `step`, from where the run goes on."""
        self._recorded = self._drop_after(step)
        self._bar.n = step
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()
        for writer in self._writers.values():
            writer.close()

    def _print(self, line: str) -> None:
        self._bar.clear()
        print(line, flush=True)
        self._bar.refresh()

    def _record(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        with self._writers[kind].as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)
        self._writers[kind].flush()
        if self._follow is not None:
            self._follow(kind, step, values)
        if (kind, step) not in self._recorded:
            self._recorded.add((kind, step))
            with writing(self._path), tf.io.gfile.GFile(self._path, "a") as stream:
                stream.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")

    def _drop_after(self, step: int) -> set[tuple[str, int]]:
        """Takes out lines of steps that a killed run logged after its last checkpoint: they come again.

        Returns the kind and step of the lines that stay, which are not written a second time.
        """
        if not tf.io.gfile.exists(self._path):
            return set()
        lines = read_metrics(self._path)
        kept = [line for line in lines if line["step"] <= step]
        self._before = max(self._before, *(line.get("wall_seconds", 0.0) for line in lines), 0.0)
        self._moved = max((line.get("moved_seconds", 0.0) for line in kept), default=0.0)
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        return {(line["kind"], line["step"]) for line in kept}


class _NoLog:
    """Takes every call of a log and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def no_log() -> RunLog:
    """Returns the log of all workers except the first: it writes nothing."""
    return cast(RunLog, _NoLog())


def read_metrics(path: str) -> list[dict[str, Any]]:
    """Returns the lines of a `metrics.jsonl`, without those that a crash cut off or that are damaged.

    Raises:
      MorphbertError: the file cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as stream:
            content = stream.read()
    except tf.errors.OpError as error:
        raise MorphbertError(
            f"{path} cannot be read: {error.message}. Move it away, or copy it again."
        ) from error
    lines = []
    for text in content.split(b"\n"):
        try:
            line = load_json(text)
        except ValueError:
            continue
        if isinstance(line, dict) and _is_sound(line):
            lines.append(line)
    return lines


def _is_sound(line: Mapping[str, Any]) -> bool:
    """Returns whether a line has the values that its readers need, with their types."""
    needed = {"step": int} | ({"loss": (int, float)} if line.get("kind") == "train" else {})
    numbers = {name: (int, float) for name in ("loss", "wall_seconds", "moved_seconds") if name in line}
    values = [(line.get(name), kinds) for name, kinds in {**numbers, **needed}.items()]
    return isinstance(line.get("kind"), str) and all(
        isinstance(value, kinds) and not isinstance(value, bool) for value, kinds in values
    )
