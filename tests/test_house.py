"""The package as it is installed: commands, what they need, what is in it."""

import json
import math
import os
import re
import shutil
import sys
import zipfile

import pytest
from processes import run_process
from samples import GOLDEN, ROOT

# {"build_vocab.py": "morphbert-build-vocab", …}
COMMANDS = {
    f"{module}.py": console
    for console, module in re.findall(
        r'^(morphbert-[\w-]+) = "morphbert\.cli\.(\w+):main"$',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        re.M,
    )
}
NOT_COPIED = shutil.ignore_patterns(".*", "out", "build", "dist", "*.egg-info", "__pycache__")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel that `pip install .` makes, built from a copy of the checkout with what is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_COPIED)
    pip = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "--no-index"]
    done = run_process([*pip, "-w", folder, folder / "source"])
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """A folder with the installed package, its commands in `bin`, and an environment that finds it first."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index", "--target", folder]
    done = run_process([*pip, wheel])
    assert done.returncode == 0, done.stderr
    return folder, {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="session")
def without_tensorflow(tmp_path_factory):
    """An environment in which TensorFlow cannot be imported."""
    folder = tmp_path_factory.mktemp("blocked")
    for name in ("tensorflow", "tensorboard", "torch"):
        (folder / f"{name}.py").write_text("raise ImportError('not installed')\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"morphbert"}
    for size in ("tiny", "mini", "small", "medium", "base", "large"):
        assert f"morphbert/model/configs/{size}.json" in names
    for size in ("tiny", "mini", "small", "base", "large"):
        assert f"morphbert/model/configs/modern-{size}.json" in names
    for size in ("tiny", "mini", "small", "base"):
        assert f"morphbert/model/configs/electra-{size}.json" in names
    sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / "morphbert").rglob("*.py")}
    assert sources <= set(names)


@pytest.mark.parametrize(("script", "console"), COMMANDS.items())
def test_the_console_command_is_the_script(script, console, installed, tmp_path):
    folder, environment = installed
    from_checkout = run_process([sys.executable, ROOT / script, "--help"])
    from_package = run_process([folder / "bin" / console, "--help"], env=environment, cwd=tmp_path)
    assert from_checkout.returncode == from_package.returncode == 0
    assert from_package.stdout == from_checkout.stdout
    wrong = [
        run_process([sys.executable, ROOT / script, "--no_such_flag=1"]),
        run_process([folder / "bin" / console, "--no_such_flag=1"], env=environment, cwd=tmp_path),
    ]
    assert {(done.returncode, done.stderr) for done in wrong} == {(2, wrong[0].stderr)}
    assert "no_such_flag" in wrong[0].stderr
    assert "Traceback" not in wrong[0].stderr


def test_both_make_the_same_vocabulary_and_records(installed, tmp_path):
    folder, environment = installed
    for name, build, create, options in (
        ("checkout", [sys.executable, ROOT / "build_vocab.py"], None, {}),
        ("package", [folder / "bin" / "morphbert-build-vocab"], folder / "bin", {"env": environment}),
    ):
        here = tmp_path / name
        here.mkdir()
        create = (
            [sys.executable, ROOT / "create_pretraining_data.py"]
            if create is None
            else [create / "morphbert-create-pretraining-data"]
        )
        text = f"--input_file={GOLDEN}/documents_ko.txt"
        for step in (
            [*build, text, "--vocab_dir=vocab", "--vocab_size=500"],
            [*create, text, "--vocab_file=vocab", "--output_file=a.tfrecord", "--dupe_factor=2"],
        ):
            done = run_process(step, cwd=here, **options)
            assert done.returncode == 0, done.stderr
    for name in ("vocab/vocab.txt", "vocab/morphbert_tokenizer.json", "a.tfrecord"):
        ours, theirs = (tmp_path / side / name for side in ("checkout", "package"))
        assert ours.read_bytes() == theirs.read_bytes()
        assert ours.stat().st_size > 100


@pytest.mark.parametrize("script", COMMANDS)
def test_help_needs_no_tensorflow_and_is_grouped(script, without_tensorflow):
    done = run_process([sys.executable, ROOT / script, "--help"], env=without_tensorflow)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(script + " - ")
    assert "Example:" in lines
    groups = [line for line in lines if re.fullmatch(r"[A-Z].*:", line) and line != "Example:"]
    assert len(groups) >= 2
    explained = [line for line in lines if line.startswith("  --")]
    assert len(explained) >= 3
    # A flag is followed by its meaning.
    for line in explained:
        assert lines[lines.index(line) + 1].startswith("      ")


def test_training_without_tensorflow_says_what_to_install(without_tensorflow, tmp_path):
    done = run_process(
        [sys.executable, ROOT / "run_pretraining.py", "--do_train", f"--input_file={ROOT}/README.md"]
        + [f"--bert_config_file={ROOT}/bert_config.json"]
        + [f"--output_dir={tmp_path}/c"],
        env=without_tensorflow,
    )
    assert done.returncode == 1
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_text_becomes_records_without_tensorflow(without_tensorflow, tmp_path):
    for step in (
        [
            "build_vocab.py",
            f"--input_file={GOLDEN}/documents_ko.txt",
            "--vocab_dir=vocab",
            "--vocab_size=500",
        ],
        ["create_pretraining_data.py", f"--input_file={GOLDEN}/documents_ko.txt", "--vocab_file=vocab"]
        + ["--output_file=a.tfrecord"],
        ["evaluate_grammar.py", f"--input_file={GOLDEN}/documents_ko.txt", "--grammar_file=pairs.jsonl"],
    ):
        done = run_process([sys.executable, ROOT / step[0], *step[1:]], env=without_tensorflow, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.tfrecord").stat().st_size > 10_000


def test_importing_text_and_data_loads_no_tensorflow():
    program = """
import importlib.util, pkgutil, sys
import morphbert.corpus, morphbert.data, morphbert.formats, morphbert.grammar, morphbert.text, morphbert.vocab
light = (morphbert.formats, morphbert.text, morphbert.corpus, morphbert.vocab, morphbert.grammar, morphbert.data)
for package in light:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        # Beam is an extra with an environment of its own.
        if ".beam" not in module.name or importlib.util.find_spec("apache_beam"):
            importlib.import_module(module.name)
loaded = {name.split(".")[0] for name in sys.modules}
print(*sorted(loaded & {"tensorflow", "keras", "torch", "transformers", "konlpy"}))
"""
    done = run_process([sys.executable, "-c", program], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def shipped(name, vocab_size):
    """A shipped configuration with another vocabulary, and the weights of its pretraining model."""
    from morphbert.model.config import BertConfig
    from morphbert.model.parameters import pretraining_parameters

    path = ROOT / "morphbert" / "model" / "configs" / f"{name}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["vocab_size"] == 32000
    config = BertConfig.from_dict({**values, "vocab_size": vocab_size})
    return config, {name: math.prod(one.shape) for name, one in pretraining_parameters(config).items()}


# Millions of parameters with the masked LM head, as published with the models ("Well-Read Students Learn
# Better", table 1); BERT-large is the 24-layer model of the first paper.
@pytest.mark.parametrize(
    ("size", "millions"),
    [("tiny", 4.4), ("mini", 11.3), ("small", 29.1), ("medium", 41.7), ("base", 110.1), ("large", 336.2)],
)
def test_configurations_have_the_published_sizes(size, millions):
    config, weights = shipped(size, 30522)
    assert config.hidden_size == 64 * config.num_attention_heads
    total = sum(weights[name] for name in weights if not name.startswith("cls/seq_"))
    assert round(total / 1e6, 1) == millions


@pytest.mark.parametrize(("size", "millions"), [("base", 149), ("large", 395)])
def test_modern_configurations_have_the_published_sizes(size, millions):
    """With its vocabulary and head (Warner et al. 2024, section 2.1.3)."""
    config, weights = shipped(f"modern-{size}", 50368)
    assert config.kind == "ModernBERT"
    assert sum(weights.values()) // 10**6 == millions


@pytest.mark.parametrize(("size", "millions"), [("small", 14), ("base", 110)])
def test_electra_configurations_have_the_published_sizes(size, millions):
    """With BERT's vocabulary (Clark et al. 2020, table 1)."""
    config, weights = shipped(f"electra-{size}", 30522)
    assert (config.kind, config.electra) == ("ELECTRA", "discriminator")
    assert round(sum(weights.values()) / 1e6) == pytest.approx(millions, abs=1)


@pytest.mark.parametrize("size", ["tiny", "mini", "small"])
def test_small_modern_configurations_have_as_many_parameters_as_berts(size):
    from morphbert.model.config import BertConfig
    from morphbert.model.parameters import encoder_parameters

    counts = []
    for name in (size, f"modern-{size}"):
        path = ROOT / "morphbert" / "model" / "configs" / f"{name}.json"
        config = BertConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
        layers = [p for p in encoder_parameters(config).values() if p.layer]
        counts.append(sum(math.prod(p.shape) for p in layers))
    assert counts[1] / counts[0] == pytest.approx(1.0, abs=0.05)


def test_the_default_configuration_is_base():
    base = ROOT / "morphbert" / "model" / "configs" / "base.json"
    assert (ROOT / "bert_config.json").read_bytes() == base.read_bytes()


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-tf2.20.txt"])
def test_constraints_pin_every_dependency(name):
    from packaging.requirements import Requirement

    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(len(pin.specifier) == 1 and str(pin.specifier).startswith("==") for pin in pins)
    version = {_normal(pin.name): str(pin.specifier)[2:] for pin in pins if _applies(pin)}
    for wanted in _direct_dependencies():
        assert _normal(wanted.name) in version, wanted
        assert wanted.specifier.contains(version[_normal(wanted.name)]), wanted
    assert version["tensorflow"].startswith("2.20." if "2.20" in name else "2.21.")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _applies(pin) -> bool:
    return pin.marker is None or pin.marker.evaluate({"python_version": "3.11"})


def _direct_dependencies():
    from packaging.requirements import Requirement

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    parts = re.findall(
        r"^(?:dependencies|cpu|text|konlpy|corpus|kiwipiepy|dev|parity) = \[(.*?)\]$", text, re.S | re.M
    )
    assert len(parts) == 8
    return [Requirement(quoted) for part in parts for quoted in re.findall(r'"([^"]+)"', part)]


def test_every_command_is_in_the_readmes():
    assert len(COMMANDS) >= 6
    for readme in ("README.md", "README.ko.md"):
        text = (ROOT / readme).read_text(encoding="utf-8")
        for script in COMMANDS:
            assert script in text, (
                f"{readme} does not name {script}: its section on the subject does for each command"
            )


def test_the_documented_features_and_versions_are_those_of_the_files():
    from morphbert.data.records import RecordShape, features
    from morphbert.text.metadata import FORMAT_VERSION

    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (int64|float) \| (L|P|1) \|", text, re.M)
    lengths = {"L": 7, "P": 3, "1": 1}
    documented = {name: (lengths[length], dtype) for name, dtype, length in rows}
    assert documented == {name: tuple(feature) for name, feature in features(RecordShape(7, 3)).items()}
    versions = [int(number) for number in re.findall(r"^\| (\d+) \| ", text, re.M)]
    assert versions == [*range(1, FORMAT_VERSION + 1)]
