"""`--adapt_on`: continued pretraining on the task's text, with the commands that make records and pretrain."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType

from morphbert.corpus.sentences import split_sentences
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import expand
from morphbert.finetune.config import FineTuneConfig
from morphbert.formats.lines import read_text
from morphbert.interop import native, sources
from morphbert.interop.vocabularies import tokenizer_of, write_vocabulary
from morphbert.signals import STOP_SIGNALS, heeded_signals
from morphbert.train.storage import write_text

TRAIN = "train"
FOLDER = "adapted"


class Stopped(Exception):
    """A signal ended the pretraining after it saved; the same command continues it."""

    def __init__(self, number: int):
        super().__init__(f"signal {number}")
        self.signal = number


def adapt(config: FineTuneConfig, texts_of: Callable[[str], Iterable[Sequence[str]]]) -> FineTuneConfig:
    """Makes records of the text and continues pretraining; returns the config that starts from the adapted model.

    Finished parts are skipped, and interrupted parts continue.

    Args:
      config: the configuration of the fine-tuning.
      texts_of: returns the documents of a file, each as its parts in order.

    Raises:
      Stopped: a signal ended the pretraining; it was forwarded to the running part.
      MorphbertError: there is no model to continue from, or a part fails.
    """
    if not config.init_checkpoint:
        raise UsageError("--adapt_on continues a pretrained model: give --init_checkpoint.")
    folder = os.path.join(config.output_dir, FOLDER)
    start, records, model = (os.path.join(folder, name) for name in ("start", "records", "model"))
    if not os.path.exists(os.path.join(start, "bert_config.json")):
        _write_start(start, config)
    masks = max(1, -(-config.max_seq_length * 15 // 100))
    shape = [f"--max_seq_length={config.max_seq_length}", f"--max_predictions_per_seq={masks}"]
    os.makedirs(records, exist_ok=True)
    record, corpus = (os.path.join(records, name) for name in ("adapt.tfrecord", "corpus.txt"))
    if not (os.path.exists(record + ".manifest.json") and os.path.exists(record)):
        _write_corpus(corpus, config, texts_of)
        made = [f"--input_file={corpus}", f"--vocab_file={start}", f"--output_file={record}", *shape]
        made += ["--objective=none", "--do_whole_word_mask", f"--random_seed={config.step.seed}"]
        _call("create_pretraining_data", [*made, f"--dupe_factor={config.adapt_dupe_factor}"])
    learned = {
        "bert_config_file": os.path.join(start, "bert_config.json"),
        "init_checkpoint": start,
        "input_file": record,
        "output_dir": model,
        "train_batch_size": config.adapt_batch_size,
        "num_train_steps": config.adapt_steps,
        "num_warmup_steps": config.adapt_steps // 10,
        "learning_rate": config.adapt_learning_rate,
        "strategy": config.devices.strategy,
        "dtype": config.step.dtype,
        "seed": config.step.seed,
        "tpu_name": config.devices.tpu_name,
        "tpu_zone": config.devices.tpu_zone,
        "gcp_project": config.devices.gcp_project,
        "plugin": ",".join(config.plugin) or None,
    }
    given = (f"--{name}={value}" for name, value in learned.items() if value is not None)
    _call("run_pretraining", ["--do_train", *given, *shape])
    # The run's folder has no vocabulary, and the config may name none.
    return dataclasses.replace(config, init_checkpoint=model, bert_config_file=None, vocab_file=start)


def _write_start(folder: str, config: FineTuneConfig) -> None:
    """Writes the model to continue from, of any format, in this program's format with its vocabulary."""
    assert config.init_checkpoint is not None
    found = sources.read(
        config.init_checkpoint, config.bert_config_file, config.vocab_file, config.do_lower_case
    )
    if not found.config.has_masked_lm:
        raise MorphbertError(
            f"--adapt_on: {found.source} is the discriminator of an ELECTRA, and the text is learned with a masked LM, "
            "whose head it does not have: leave --adapt_on out, or start from another model."
        )
    tokenizer = tokenizer_of(found)
    if tokenizer is None or found.vocabulary is None:
        raise MorphbertError(f"there is no vocabulary beside {found.source}: give --vocab_file.")
    os.makedirs(folder, exist_ok=True)
    write_vocabulary(folder, tokenizer, found.vocabulary)
    native.write(folder, found.completed(config.step.seed))


def _write_corpus(
    path: str, config: FineTuneConfig, texts_of: Callable[[str], Iterable[Sequence[str]]]
) -> None:
    patterns = str(config.train_file) if config.adapt_on == TRAIN else str(config.adapt_on)
    documents: list[str] = []
    for name in expand(patterns):
        if name.endswith(".txt") and config.adapt_on != TRAIN:
            text = read_text(name, config.encoding).strip("\n")
            if "\t" not in text.partition("\n")[0]:  # NSMC's tables have the ending .txt too
                documents.append(text)
                continue
        for parts in texts_of(name):
            sentences = [line for part in parts for line in split_sentences(part)]
            if sentences:
                documents.append("\n".join(sentences))
    if not documents:
        raise MorphbertError(f"--adapt_on={config.adapt_on}: the file contains no text.")
    write_text(path, "\n\n".join(documents) + "\n")
    print(f"adaptation: {len(documents)} documents, written to {path}", flush=True)


def _call(module: str, arguments: Sequence[str]) -> None:
    """Runs a command in a separate process: its memory is released, and devices are initialised once per process.

    The process has its own session, so Ctrl-C reaches it only once, from here: after a second signal it would not save.

    Raises:
      Stopped: a signal to this process or to the command ended it.
      MorphbertError: the command failed.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", f"morphbert.cli.{module}", *arguments], start_new_session=True
    )
    with _passed_on(process) as signals:
        status = process.wait()
    by_itself = {128 + number: number for number in STOP_SIGNALS} | {
        -number: number for number in STOP_SIGNALS
    }
    if signals or status in by_itself:
        raise Stopped(signals[0] if signals else by_itself[status])
    if status < 0:
        raise MorphbertError(
            f"--adapt_on: {module}.py was killed by signal {-status}, which the system sends if memory is short. The "
            "same command continues."
        )
    if status:
        raise MorphbertError(f"--adapt_on: {module}.py ended with status {status}; its messages are above.")


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Forwards signals from this process to another and lists them; SIGHUP stays ignored under nohup."""
    signals: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in heeded_signals()}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
