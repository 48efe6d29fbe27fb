"""`import morphbert`: every command as a configuration and a function; the commands under one name."""

import importlib
import json
import os
import re
import subprocess
import sys
import typing

import pytest
from processes import run_process
from samples import GOLDEN, MECAB_VOCABULARY, ROOT

import morphbert
from morphbert.cli import COMMANDS, FINE_TUNING
from morphbert.cli.main import main
from morphbert.options import changed, flags_of

CHAIN = {
    "prepare_corpus": "CorpusConfig",
    "build_vocab": "VocabularyConfig",
    "create_pretraining_data": "PretrainingDataConfig",
    "inspect_records": "InspectConfig",
    "run_pretraining": "PretrainingConfig",
    "training_report": "TrainingReportConfig",
    "export_model": "ExportConfig",
    "import_model": "ImportConfig",
    "extract_features": "ExtractConfig",
    "fill_mask": "FillMaskConfig",
    "evaluate_grammar": "GrammarConfig",
    "predict": "PredictConfig",
}
# Each is a call of `fine_tune`.
TASKS = {
    name: importlib.import_module(f"morphbert.cli.{name}")._command()._config.__name__ for name in FINE_TUNING
}


@pytest.mark.parametrize(("function", "config"), CHAIN.items())
def test_a_command_is_a_function_of_its_configuration(function, config):
    called, kind = getattr(morphbert, function), getattr(morphbert, config)
    assert called.__doc__
    assert called.__annotations__["config"] == config
    command = importlib.import_module(f"morphbert.cli.{function}")._command()
    names = {flag.name for flag in flags_of(kind)}
    assert names <= set(command.values)
    assert all(flag.option.help for flag in flags_of(kind))


@pytest.mark.parametrize(("command", "config"), TASKS.items())
def test_a_task_is_a_configuration_of_fine_tune(command, config):
    kind = getattr(morphbert, config)
    assert issubclass(kind, morphbert.FineTuneConfig)
    made = importlib.import_module(f"morphbert.cli.{command}")._command()
    assert {flag.name for flag in flags_of(kind)} <= set(made.values)
    assert all(flag.option.help for flag in flags_of(kind))
    assert morphbert.fine_tune.__annotations__["config"] == "FineTuneConfig"


def test_every_task_has_its_configuration():
    from morphbert.finetune.tasks import TASKS as known

    assert {getattr(morphbert, config).task_name for config in TASKS.values()} == set(known)


def test_every_name_is_there_and_loads_no_tensorflow_before_it_is_needed():
    assert set(morphbert.__all__) <= set(dir(morphbert))
    light = [
        *CHAIN,
        *CHAIN.values(),
        "fine_tune",
        *TASKS.values(),
        "load_tokenizer",
        "compare_vocabs",
        "OptimizerConfig",
        "DeviceConfig",
    ]
    program = f"import morphbert, sys\nfor name in {light}: getattr(morphbert, name)\n"
    program += "print('tensorflow' in sys.modules)"
    done = run_process([sys.executable, "-c", program], check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
    assert typing.get_type_hints(morphbert.load_tokenizer)["do_lower_case"] == bool | None


def test_the_api_prints_no_line_of_tensorflow_and_loads_keras_only_for_who_uses_it():
    """Neither when a name loads it, nor for the softmax of a compiled graph, which its optimizer would warn of."""
    program = """
import sys
import morphbert
morphbert.load
import tensorflow as tf
from morphbert.model.kernels.attention import attention
states, bias = tf.random.normal([2, 2, 8, 4]), tf.zeros([2, 1, 1, 8])
step = tf.function(lambda: tf.while_loop(
    lambda n, x: n < 2, lambda n, x: (n + 1, attention(x, x, x, bias, None)), (tf.constant(0), states)
))
step()
print("keras" in sys.modules)
from tensorflow.keras.activations import relu
print(relu(tf.constant(-1.0)).numpy(), tf.keras.optimizers.Adam().name)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_CPP")}
    done = run_process([sys.executable, "-c", program], cwd=ROOT, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n0.0 adam\n", "")


def test_commands_are_those_that_are_installed():
    scripts = re.findall(
        r'"morphbert\.cli\.(\w+):main"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert sorted(set(scripts) - {"main"}) == sorted(COMMANDS)
    assert "main" in scripts


def test_morphbert_alone_lists_the_commands(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS:
        (line,) = (line for line in lines if line.strip().startswith(command + " "))
        assert len(line.split(None, 1)[1]) > 20


def test_morphbert_runs_a_command_or_names_the_nearest(capsys):
    assert main(["build-vocab", "--help"]) == 0
    assert capsys.readouterr().out.startswith("build_vocab.py - ")
    assert main(["inspect_records", "--num_examples=1"]) == 2
    assert "--input_file is required" in capsys.readouterr().err
    assert main(["run_pretrainig"]) == 2
    assert "Did you mean run_pretraining?" in capsys.readouterr().err
    done = run_process([sys.executable, "-m", "morphbert", "--version"], cwd=ROOT)
    assert done.stdout == f"morphbert {morphbert.__version__}\n"


@pytest.mark.parametrize(
    ("command", "flags", "word"),
    [
        ("run_pretraining", ["--bert_config_file=nowhere.json", "--input_file=a"], "nowhere.json"),
        (
            "run_pretraining",
            [f"--bert_config_file={ROOT}/bert_config.json", "--input_file=nowhere*"],
            "nowhere*",
        ),
        ("predict", ["--model=a", "--input_file=nowhere.jsonl"], "nowhere.jsonl"),
        ("extract_features", ["--init_checkpoint=a", "--input_file=nowhere.txt"], "nowhere.txt"),
    ],
)
def test_a_wrong_file_is_said_before_tensorflow_is_loaded(
    command, flags, word, tmp_path, capsys, monkeypatch
):
    from morphbert import quiet_tensorflow

    def load():
        raise AssertionError("TensorFlow is loaded")

    monkeypatch.setattr(quiet_tensorflow, "load", load)
    output = (
        [f"--output_dir={tmp_path}", "--do_train"] if command == "run_pretraining" else ["--output_file=b"]
    )
    assert main([command, *flags, *output]) == 1
    assert word in capsys.readouterr().err


def test_a_tokenizer_of_any_vocabulary(tmp_path):
    text = "대한민국은 민주공화국이다."
    expected = morphbert.load_tokenizer(MECAB_VOCABULARY).tokenize(text)
    assert expected[:2] == ["대한민국", "##은"]
    # A plain Korean vocabulary is not lower-cased, which would take Hangul apart.
    plain = f"{GOLDEN}/vocab_ko.txt"
    pieces = morphbert.load_tokenizer(plain).tokenize(text)
    assert pieces == morphbert.load_tokenizer(plain, do_lower_case=False).tokenize(text)
    assert pieces != morphbert.load_tokenizer(plain, do_lower_case=True).tokenize(text)
    # As a folder of Hugging Face's: its tokenizer_config.json says.
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nCafe\ncafe\n", encoding="utf-8")
    assert morphbert.load_tokenizer(tmp_path).tokenize("Cafe") == ["cafe"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert morphbert.load_tokenizer(tmp_path).tokenize("Cafe") == ["Cafe"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    assert morphbert.load_tokenizer(tmp_path).tokenize("Cafe") == ["cafe"]
    assert morphbert.load_tokenizer(tmp_path, do_lower_case=False).tokenize("Cafe") == ["Cafe"]
    with pytest.raises(morphbert.errors.MorphbertError, match="nowhere"):
        morphbert.load_tokenizer(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("pretrain_*.yaml")), ids=lambda path: path.stem
)
def test_the_configurations_of_pretraining_are_known_key_by_key(path, monkeypatch):
    for variable in ("DATA", "OUT", "VOCAB"):
        monkeypatch.delenv(variable, raising=False)
    import yaml

    sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert "run_pretraining" in sections
    for name in sections:
        command = importlib.import_module(f"morphbert.cli.{name}")._command()
        command.parse([f"--config={path}"])
        config = command.config()
        # The values of the file differ from the defaults, and no others.
        assert set(changed(config)) <= set(sections[name])
        assert len(changed(config)) >= 2


def test_the_example_runs_the_whole_chain(tmp_path, monkeypatch):
    source = ROOT / "examples" / "pretrain.py"
    assert len(source.read_text(encoding="utf-8").splitlines()) < 60
    monkeypatch.syspath_prepend(str(source.parent))
    (mask,) = importlib.import_module("pretrain").main(str(tmp_path / "out"), num_train_steps=2)
    assert len(mask.pieces) == 5
    assert 0 < sum(probability for _, probability in mask.pieces) <= 1
    for name in (
        "corpus.txt",
        "vocab/vocab.txt",
        "train.tfrecord",
        "model/report.html",
        "huggingface/config.json",
    ):
        assert (tmp_path / "out" / name).stat().st_size > 100


def test_the_list_of_commands_may_be_cut_off():
    """As by `morphbert --help | head -1`: the reader closes the pipe before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    listing = subprocess.run(
        [sys.executable, "-m", "morphbert", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (listing.returncode, listing.stderr) == (0, b"")
