"""Checks of a fine-tuning run before the import of TensorFlow, which takes seconds."""

from __future__ import annotations

import importlib

from morphbert import atomic_files, files
from morphbert.errors import MorphbertError
from morphbert.finetune.config import TRAIN, FineTuneConfig
from morphbert.finetune.weights_and_biases import check_installed
from morphbert.formats.tables import rows_of, value_at
from morphbert.plugins import load_plugins


def check_before_loading(config: FineTuneConfig) -> None:
    """Refuses missing files and columns, an output folder that cannot be written, and a missing package.

    Plugins are loaded first, and the names of their parts are checked.

    Raises:
      MorphbertError: the message names the first mistake.
    """
    load_parts(config)
    for path, used, labelled in (
        (config.train_file, config.do_train, True),
        (config.eval_file, config.do_eval or config.eval_every, True),
        (config.predict_file, config.do_predict, False),
    ):
        if path and used:
            _check_table(config, path, labelled)
    if config.adapt_on and config.adapt_on != TRAIN:
        files.expand(config.adapt_on)
    files.check_there(
        bert_config_file=config.bert_config_file,
        vocab_file=config.vocab_file,
        word_embeddings=config.word_embeddings,
    )
    check_packages(config)
    if config.wandb_project is not None:
        check_installed()
    atomic_files.check_writable(config.output_dir)


def load_parts(config: FineTuneConfig) -> None:
    """Runs the plugins and refuses names that they do not register.

    Raises:
      MorphbertError: a file cannot be run, or a name is unknown.
    """
    load_plugins(config.plugin)
    config.check_parts()


def check_packages(config: FineTuneConfig) -> None:
    """Refuses an evaluation whose figures need a missing package, before training.

    Raises:
      MorphbertError: the message names the package.
    """
    if config.do_eval or config.eval_every or config.metrics:
        for module, package in config.scored_with.items():
            try:
                importlib.import_module(module)  # one that is there may be broken
            except ImportError as error:
                raise MorphbertError(
                    f"figures need {package}: pip install 'morphbert[finetune]' ({error})"
                ) from error


def _check_table(config: FineTuneConfig, path: str, labelled: bool) -> None:
    """Refuses a missing file, and a table whose first row lacks a column."""
    first = files.expand(path)[0]
    columns = config.columns(labelled)
    row = next(iter(rows_of(first, config.encoding)), None) if columns else None
    if row is not None:
        for name, flag in columns.items():
            value_at(row, name, flag)
