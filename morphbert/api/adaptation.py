"""`--adapt_on`: continued pretraining on the task's text, with the commands that make records and pretrain."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import numpy as np

from morphbert import options
from morphbert.api.pretraining import PretrainingConfig
from morphbert.atomic_files import lock
from morphbert.corpus.sentences import split_sentences
from morphbert.data.config import InstanceConfig
from morphbert.data.creation import PretrainingDataConfig
from morphbert.data.manifest import manifest_path
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import expand, read_bytes
from morphbert.finetune.config import TRAIN, FineTuneConfig
from morphbert.formats.lines import read_text
from morphbert.formats.raw_documents import is_sentences
from morphbert.interop import native, sources
from morphbert.interop.pretrained import Pretrained
from morphbert.interop.vocabularies import tokenizer_of, write_vocabulary
from morphbert.model.config import BERT_CONFIG_NAME
from morphbert.signals import STOP_SIGNALS, handled_by
from morphbert.text.tokenizer import Tokenizer
from morphbert.train.checkpoint import read_state
from morphbert.train.checkpoint_files import newest_sound
from morphbert.train.optimizers.config import OptimizerConfig
from morphbert.train.preflight import check_batch
from morphbert.train.run_state import Description
from morphbert.train.storage import write_text

FOLDER = "adapted"

# Identifies the start and the records in the folder.
_JOB_FILE = "job.json"
_LOCK_FILE = "lock"
# What a value of the job is, for messages.
_PARTS = {
    "checkpoint": "--init_checkpoint",
    "tokenizer": "tokenizer",
    "text": "text of --adapt_on",
    "records": "--max_seq_length, --seed or --adapt_dupe_factor",
}
# The flags of the commands, which the checkpoints name alike, that --adapt_on has under another name.
_FLAGS = {
    "dupe_factor": "adapt_dupe_factor",
    "num_train_steps": "adapt_steps",
    "train_batch_size": "adapt_batch_size",
    "learning_rate": "adapt_learning_rate",
}


class Stopped(Exception):
    """A signal ended the pretraining after it saved; the same command continues it."""

    def __init__(self, number: int):
        super().__init__(f"signal {number}")
        self.signal = number


def adapt(config: FineTuneConfig, texts_of: Callable[[str], Iterable[Sequence[str]]]) -> FineTuneConfig:
    """Makes records of the text and continues pretraining; returns the config that starts from the adapted model.

    Finished parts are skipped, and interrupted parts continue. Records of another model, text or setting are made
    again; a model that was trained on them is refused.

    Args:
      config: the configuration of the fine-tuning.
      texts_of: returns the documents of a file, each as its parts in order.

    Raises:
      Stopped: a signal ended the pretraining; it was forwarded to the running part.
      MorphbertError: there is no model to continue from, the folder has a model that was adapted otherwise, or a part
        fails.
    """
    if not config.init_checkpoint:
        raise UsageError("--adapt_on continues a pretrained model: give --init_checkpoint.")
    folder = os.path.join(config.output_dir, FOLDER)
    with _alone(folder) as held:
        return _adapted(config, texts_of, folder, held)


def _adapted(
    config: FineTuneConfig, texts_of: Callable[[str], Iterable[Sequence[str]]], folder: str, held: int
) -> FineTuneConfig:
    """Does the work of `adapt` in a folder that no other process writes."""
    start, records, model = (os.path.join(folder, name) for name in ("start", "records", "model"))
    record, corpus = (os.path.join(records, name) for name in ("adapt.tfrecord", "corpus.txt"))
    data = PretrainingDataConfig(
        input_file=corpus,
        vocab_file=start,
        output_file=record,
        instances=InstanceConfig(
            max_seq_length=config.max_seq_length,
            max_predictions_per_seq=max(1, -(-config.max_seq_length * 15 // 100)),
            objective="none",
            random_seed=config.step.seed,
            dupe_factor=config.adapt_dupe_factor,
        ),
        do_whole_word_mask=True,
    )
    trained = newest_sound(model)
    finished = trained is not None and _finished(config, folder, trained)
    if not finished:  # at once, and with the flag's own name
        parts = config.step.gradient_accumulation_steps
        check_batch("adapt_batch_size", config.adapt_batch_size, config.devices.num_replicas or 1, parts)
    found, tokenizer = _model(config)
    documents = _documents(config, texts_of)
    _begin(folder, _job(found, tokenizer, documents, data), (start, records), model, trained is not None)
    if not os.path.exists(os.path.join(start, BERT_CONFIG_NAME)):
        os.makedirs(start, exist_ok=True)
        write_vocabulary(start, tokenizer, str(found.vocabulary))
        native.write(start, found.completed(config.step.seed))
    # The run's folder has no vocabulary, and the config may name none.
    adapted = dataclasses.replace(config, init_checkpoint=model, bert_config_file=None, vocab_file=start)
    if finished:
        steps = config.adapt_steps
        print(f"--adapt_on: {model} is already at step {steps} of {steps}, nothing to do", flush=True)
        return adapted
    if not (os.path.exists(manifest_path(record)) and os.path.exists(record)):
        os.makedirs(records, exist_ok=True)
        write_text(corpus, "\n\n".join(documents) + "\n")
        print(f"adaptation: {len(documents)} documents, written to {corpus}", flush=True)
        del found, documents  # the commands need the memory
        _call("create_pretraining_data", data, held)
    else:
        del found, documents
    _call("run_pretraining", _training(config, data, model), held)
    return adapted


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[int]:
    """Locks the folder, and yields the descriptor that keeps it locked in every process that inherits it.

    Raises:
      MorphbertError: another fine-tuning, or a command that one left running, has the folder.
    """
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, _LOCK_FILE), "ab") as stream:
        if not lock(stream.fileno()):
            raise MorphbertError(
                f"--adapt_on: another process still writes {folder}: another fine-tuning, or the pretraining of one "
                "that was killed. Wait until it ends, or end it."
            )
        yield stream.fileno()


def _training(config: FineTuneConfig, data: PretrainingDataConfig, output_dir: str) -> PretrainingConfig:
    """Returns the run on the records, with the devices and the step of the fine-tuning."""
    return PretrainingConfig(
        bert_config_file=os.path.join(data.vocab_file, BERT_CONFIG_NAME),
        plugin=config.plugin,
        input_file=data.output_file,
        output_dir=output_dir,
        max_seq_length=data.instances.max_seq_length,
        max_predictions_per_seq=data.instances.max_predictions_per_seq,
        init_checkpoint=data.vocab_file,
        do_train=True,
        train_batch_size=config.adapt_batch_size,
        num_train_steps=config.adapt_steps,
        num_warmup_steps=config.adapt_steps // 10,
        optimizer=OptimizerConfig(learning_rate=config.adapt_learning_rate),
        iterations_per_loop=config.iterations_per_loop,
        step=config.step,
        devices=config.devices,
    )


def _finished(config: FineTuneConfig, folder: str, checkpoint: str) -> bool:
    """Returns whether a checkpoint has all steps, so that no training reads the flags of the training any more.

    Raises:
      MorphbertError: it has as many, but was trained with other values of these flags.
    """
    found = read_state(checkpoint)
    # Another program's checkpoint is for the training to refuse.
    if found is None or found.step is None or found.step < config.adapt_steps:
        return False
    before = Description.from_json(found.state)
    values = {**before.settings, **before.data}
    others = {own: values[name] for name, own in _FLAGS.items() if name in values}
    others = {name: value for name, value in others.items() if value != getattr(config, name)}
    if others:
        then = " ".join(f"--{name}={value}" for name, value in others.items())
        now = " ".join(f"--{name}={getattr(config, name)}" for name in others)
        raise MorphbertError(
            f"{checkpoint} was adapted with {then} up to step {found.step}, but the flags say {now}: give "
            f"{then} to use it; to adapt again, give another --output_dir, or remove {folder}."
        )
    return True


def _model(config: FineTuneConfig) -> tuple[Pretrained, Tokenizer]:
    """Returns the model to continue from, of any format, and its tokenizer."""
    assert config.init_checkpoint is not None
    found = sources.read(
        config.init_checkpoint,
        bert_config_file=config.bert_config_file,
        vocab_file=config.vocab_file,
        do_lower_case=config.do_lower_case,
    )
    if not found.config.has_masked_lm:
        raise MorphbertError(
            f"--adapt_on: {found.source} is the discriminator of an ELECTRA, and the text is learned with a masked LM, "
            "whose head it does not have: leave --adapt_on out, or start from another model."
        )
    tokenizer = tokenizer_of(found)
    if tokenizer is None:
        raise MorphbertError(f"there is no vocabulary beside {found.source}: give --vocab_file.")
    return found, tokenizer


def _documents(config: FineTuneConfig, texts_of: Callable[[str], Iterable[Sequence[str]]]) -> list[str]:
    """Returns the documents of the files, one sentence per line; a text file is one, with its empty lines."""
    patterns = str(config.train_file) if config.adapt_on == TRAIN else str(config.adapt_on)
    documents: list[str] = []
    for name in expand(patterns):
        if config.adapt_on != TRAIN and is_sentences(name, config.encoding, config.columns(labelled=False)):
            texts: Iterable[str] = [read_text(name, config.encoding).strip("\n")]
        else:
            parts_of_each = texts_of(name)
            texts = (
                "\n".join(line for part in parts for line in split_sentences(part)) for parts in parts_of_each
            )
        documents.extend(text for text in texts if text)
    if not documents:
        raise MorphbertError(f"--adapt_on={config.adapt_on}: the file contains no text.")
    return documents


def _job(
    model: Pretrained, tokenizer: Tokenizer, documents: Sequence[str], data: PretrainingDataConfig
) -> Mapping[str, Any]:
    """Returns what decides the start and the records: digests, and the settings of the records."""
    weights = hashlib.sha256(model.config.to_json().encode())
    for name in sorted(model.weights):
        weights.update(name.encode())
        weights.update(np.ascontiguousarray(model.weights[name]).tobytes())
    text = hashlib.sha256()
    for document in documents:
        text.update(document.encode(errors="surrogatepass") + b"\n\n")
    files = ("input_file", "vocab_file", "output_file")
    return {
        "checkpoint": weights.hexdigest(),
        "tokenizer": tokenizer.describe(),
        "text": text.hexdigest(),
        "records": {name: value for name, value in options.changed(data).items() if name not in files},
    }


def _begin(folder: str, job: Mapping[str, Any], parts: Sequence[str], model: str, is_trained: bool) -> None:
    """Deletes parts that were made for another job, and writes the job.

    Raises:
      MorphbertError: a model was trained on these parts.
    """
    path = os.path.join(folder, _JOB_FILE)
    before = json.loads(read_bytes(path)) if os.path.exists(path) else {}
    content = json.dumps(job, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    now = json.loads(content)
    if before == now:
        return
    if is_trained:
        if not before:
            raise MorphbertError(
                f"{model} has a model from a version that kept no {_JOB_FILE}, so what it was adapted to is unknown. "
                f"To fine-tune it, leave --adapt_on out and give --init_checkpoint={model} and "
                f"--vocab_file={parts[0]}; to adapt again, give another --output_dir, or remove {folder}."
            )
        others = ", ".join(word for name, word in _PARTS.items() if before.get(name) != now[name])
        raise MorphbertError(
            f"{model} has a model that was adapted with another value of: {others}. Give another --output_dir, or "
            f"remove {folder}."
        )
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # first, so that no process mistakes the rest for whole parts
    for part in parts:
        if os.path.exists(part):
            print(f"adaptation: {part} was made with other values, and is made again", flush=True)
            shutil.rmtree(part)
    write_text(path, content)


def _arguments(config: PretrainingDataConfig | PretrainingConfig) -> list[str]:
    """Returns the command line from which the command makes the same configuration."""
    values = options.changed(config).items()
    return [f"--{name}={'' if value is None else value}" for name, value in values]


def _call(module: str, config: PretrainingDataConfig | PretrainingConfig, held: int) -> None:
    """Runs a command in a separate process: its memory is released, and devices are initialised once per process.

    The process has its own session, so Ctrl-C reaches it only once, from here: after a second signal it would not save.
    It inherits the lock of the folder, which holds until it ends, also where this process is killed.

    Raises:
      Stopped: a signal to this process or to the command ended it.
      MorphbertError: the command failed.
    """
    command = [sys.executable, "-m", f"morphbert.cli.{module}", *_arguments(config)]
    process = subprocess.Popen(
        command, start_new_session=True, pass_fds=(held,) if os.name == "posix" else ()
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
        named = ", ".join(f"--{name} is --{own}" for name, own in _FLAGS.items())
        raise MorphbertError(
            f"--adapt_on: {module}.py ended with status {status}; its messages are above. In them {named}."
        )


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Forwards signals from this process to another and lists them."""
    signals: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        process.send_signal(number)

    with handled_by(pass_on):
        yield signals
