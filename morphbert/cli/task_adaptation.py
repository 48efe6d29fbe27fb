"""`--adapt_on`: continued pretraining on the task's own text, through the commands that make records and train on
them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from morphbert.cli.command import Command
from morphbert.errors import MorphbertError, UsageError

if TYPE_CHECKING:
    from absl import flags

TRAIN = "train"
FOLDER = "adapted"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(Exception):
    """A signal ended the pretraining, which saved first; the same command continues it."""

    def __init__(self, number: int):
        super().__init__(f"signal {number}")
        self.signal = number


def define(command: Command) -> None:
    """The flags of continued pretraining."""
    command.string(
        "adapt_on",
        None,
        "Before fine-tuning go on pretraining the model on text (Gururangan et al. 2020), masked LM alone, in "
        "OUTPUT_DIR/adapted. train: that of --train_file; else files of the task's format, or .txt with a "
        "sentence a line and an empty line between documents.",
    )
    command.integer("adapt_steps", 1000, "Steps of it.", lower_bound=1)
    command.integer("adapt_batch_size", 32, "Sequences in a step of it.", lower_bound=1)
    command.number("adapt_learning_rate", 5e-5, "Its highest learning rate.", lower_bound=0.0)
    command.integer("adapt_dupe_factor", 5, "Passes over the text, each with other masks.", lower_bound=1)


def adapt(values: flags.FlagValues, texts_of: Callable[[str], Iterable[Sequence[str]]]) -> str:
    """Makes records of the text and goes on pretraining; returns the folder of the adapted model.

    A part that is finished is passed over, one that was interrupted goes on.

    Args:
      values: the command's flags.
      texts_of: a file → its documents, each as its parts in order.

    Raises:
      Stopped: a signal ended it; it was passed on to the part that ran.
      MorphbertError: there is no model to go on from, or a part fails.
    """
    if not values.init_checkpoint:
        raise UsageError("--adapt_on goes on with a pretrained model: give --init_checkpoint.")
    folder = os.path.join(values.output_dir, FOLDER)
    start, records, model = (os.path.join(folder, name) for name in ("start", "records", "model"))
    if not os.path.exists(os.path.join(start, "bert_config.json")):
        _write_start(start, values)
    masks = max(1, -(-values.max_seq_length * 15 // 100))
    shape = [f"--max_seq_length={values.max_seq_length}", f"--max_predictions_per_seq={masks}"]
    os.makedirs(records, exist_ok=True)
    record, corpus = (os.path.join(records, name) for name in ("adapt.tfrecord", "corpus.txt"))
    if not os.path.exists(record + ".manifest.json"):
        _write_corpus(corpus, values, texts_of)
        made = [f"--input_file={corpus}", f"--vocab_file={start}", f"--output_file={record}", *shape]
        made += ["--objective=none", "--do_whole_word_mask", f"--random_seed={values.seed}"]
        _call("create_pretraining_data", [*made, f"--dupe_factor={values.adapt_dupe_factor}"])
    learned = {
        "bert_config_file": os.path.join(start, "bert_config.json"),
        "init_checkpoint": start,
        "input_file": record,
        "output_dir": model,
        "train_batch_size": values.adapt_batch_size,
        "num_train_steps": values.adapt_steps,
        "num_warmup_steps": values.adapt_steps // 10,
        "learning_rate": values.adapt_learning_rate,
        "strategy": values.strategy,
        "dtype": values.dtype,
        "seed": values.seed,
    }
    _call(
        "run_pretraining", ["--do_train", *(f"--{name}={value}" for name, value in learned.items()), *shape]
    )
    # The run's folder knows no vocabulary, and the command's flag may name none.
    values.vocab_file = start
    return model


def _write_start(folder: str, values: flags.FlagValues) -> None:
    """The model to go on from, of whatever format, in ours, with its vocabulary."""
    from morphbert.interop import native, sources
    from morphbert.interop.vocabularies import tokenizer_of, write_vocabulary

    names = ("init_checkpoint", "bert_config_file", "vocab_file", "do_lower_case")
    found = sources.read(*(values[name].value for name in names))
    tokenizer = tokenizer_of(found)
    if tokenizer is None or found.vocabulary is None:
        raise MorphbertError(f"there is no vocabulary beside {found.source}: give --vocab_file.")
    os.makedirs(folder, exist_ok=True)
    write_vocabulary(folder, tokenizer, found.vocabulary)
    native.write(folder, found.completed(values.seed))


def _write_corpus(
    path: str, values: flags.FlagValues, texts_of: Callable[[str], Iterable[Sequence[str]]]
) -> None:
    from morphbert.corpus.sentences import split_sentences
    from morphbert.files import expand, open_for_reading
    from morphbert.train.storage import write_text

    patterns = values.train_file if values.adapt_on == TRAIN else values.adapt_on
    documents: list[str] = []
    for name in expand(patterns):
        if name.endswith(".txt") and values.adapt_on != TRAIN:
            with open_for_reading(name) as stream:
                text = stream.read().decode("utf-8-sig").strip("\n")
            if "\t" not in text.partition("\n")[0]:  # NSMC's tables are called .txt too
                documents.append(text)
                continue
        for parts in texts_of(name):
            sentences = [line for part in parts for line in split_sentences(part)]
            if sentences:
                documents.append("\n".join(sentences))
    if not documents:
        raise MorphbertError(f"--adapt_on={values.adapt_on}: there is no text in it.")
    write_text(path, "\n\n".join(documents) + "\n")
    print(f"adaptation: {len(documents)} documents, written to {path}", flush=True)


def _call(module: str, arguments: Sequence[str]) -> None:
    """A command in a process of its own: it leaves no memory behind, and devices are built once a process.

    It is out of the terminal's reach, so that Ctrl-C comes to it once, from here: at a second one it would not save.

    Raises:
      Stopped: a signal ended it, to this process or to it.
      MorphbertError: it failed.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", f"morphbert.cli.{module}", *arguments], start_new_session=True
    )
    with _passed_on(process) as signals:
        status = process.wait()
    by_itself = {128 + number: number for number in _SIGNALS} | {-number: number for number in _SIGNALS}
    if signals or status in by_itself:
        raise Stopped(signals[0] if signals else by_itself[status])
    if status < 0:
        raise MorphbertError(
            f"--adapt_on: {module}.py was killed by signal {-status}, as the system does where memory is short; the "
            "same command continues."
        )
    if status:
        raise MorphbertError(
            f"--adapt_on: {module}.py ended with status {status}; what it said stands above."
        )


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Gives signals to a process instead of this one, and lists them; under nohup it stays without SIGHUP."""
    signals: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        process.send_signal(number)

    heeded = [n for n in _SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in heeded}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
