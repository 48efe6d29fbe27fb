"""What several test files share: real Korean records, made by the real command, and a tiny model for them."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

# TensorFlow's notes about the machine would bury a failure's own words.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
SHAPE = ["--max_seq_length=64", "--max_predictions_per_seq=10"]


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Two files of records (64 pieces, 10 masks) of real Korean sentences, in BERT's own way."""
    from morphbert.cli.create_pretraining_data import main

    folder = tmp_path_factory.mktemp("records")
    outputs = ",".join(str(folder / name) for name in ("a.tfrecord", "b.tfrecord"))
    status = main(
        [
            f"--input_file={GOLDEN}/documents_ko.txt,{GOLDEN}/documents_ko_2.txt",
            f"--vocab_file={GOLDEN}/vocab_ko.txt",
            f"--output_file={outputs}",
            "--mode=google",
            "--do_lower_case=false",
            *SHAPE,
        ]
    )
    assert status == 0
    return folder


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """Path of a model configuration with two narrow layers and the vocabulary's size."""
    size = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())
    return write_config(tmp_path_factory.mktemp("config") / "bert_config.json", vocab_size=size)


def write_config(path, **changes):
    """Writes a tiny `bert_config.json` with some values changed; returns its path."""
    values = {
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
    }
    path.write_text(json.dumps({**values, **changes}), encoding="utf-8")
    return path


@pytest.fixture
def command():
    """Runs a command of the checkout in a process of its own: → CompletedProcess with text output."""

    def run(script, *arguments, **options):
        return subprocess.run(
            [sys.executable, str(ROOT / script), *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=options.pop("timeout", 300),
            check=False,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def load_test_module():
    """Loads another test file by name, for the reference code in it."""

    def load(name):
        specification = importlib.util.spec_from_file_location(name, ROOT / "tests" / f"{name}.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load
