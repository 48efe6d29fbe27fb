"""What several test files share: real Korean records, made by the real command, and a tiny model for them."""

import collections
import contextlib
import gc
import os
import sys
import tempfile

import pytest
from processes import run_process
from replicas import Replicas
from samples import GOLDEN, MECAB_VOCABULARY, ROOT, SHAPE, make_records, write_config, write_random_model

# TensorFlow's notes about the machine would bury a failure's own words.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# A path that is not there may look like a name of the Hugging Face Hub: no test asks the network for it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Most objects that tracing makes live as long as their graph, so frequent collections find little.
gc.set_threshold(10_000, 20, 10)


def pytest_collection_modifyitems(items):
    """Puts the files with the longest tests first: of several workers none begins one when the others are done."""
    weights = collections.Counter()
    for item in items:
        weights[item.path] += 40 if item.get_closest_marker("long") else 1
    items.sort(key=lambda item: -weights[item.path])


def pytest_terminal_summary(terminalreporter):
    """Prints why tests were skipped: a line for each reason, with the number of tests."""
    reasons = collections.Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ").splitlines()[0]] += 1
    if reasons:
        terminalreporter.section("skipped", "-")
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            terminalreporter.write_line(f"{count:4}  {reason}")


@pytest.fixture(scope="module", autouse=True)
def memory():
    """Lets go of the graphs of a file's trainings: all files' together need more memory than a small machine has."""
    with contextlib.ExitStack() as stack:
        compiled = sys.modules.get("morphbert.model.kernels.compiled")
        if compiled is not None:
            stack.enter_context(compiled.gradients_released())
        yield
    if compiled is not None:
        # What is left stays to the end, TensorFlow's own objects above all: no later collection looks through it again.
        gc.freeze()


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Two files of records (64 pieces, 10 masks) of real Korean sentences, in BERT's own way."""
    return make_records(tmp_path_factory.mktemp("records"), "a.tfrecord,b.tfrecord", "--mode=google")


@pytest.fixture(scope="session")
def larger(tmp_path_factory):
    """A few thousand sentences: blocks, plans and parts enough to be interrupted between."""
    path = tmp_path_factory.mktemp("larger") / "corpus.txt"
    names = ("documents_ko.txt", "documents_ko_2.txt")
    text = "".join((GOLDEN / name).read_text(encoding="utf-8") + "\n\n" for name in names)
    numbered = (text.replace("다.", f"다 {number}.") for number in range(250))
    path.write_text("".join(numbered), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """Path of a model configuration with two narrow layers and the vocabulary's size."""
    size = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())
    return write_config(tmp_path_factory.mktemp("config") / "bert_config.json", vocab_size=size)


@pytest.fixture(scope="session")
def still_config(tmp_path_factory):
    """The tiny model without dropout, for runs whose masks could not be the same."""
    return write_config(
        tmp_path_factory.mktemp("still") / "bert_config.json",
        vocab_size=len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines()),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


@pytest.fixture(scope="session")
def finished(records, tiny_config, tmp_path_factory):
    """A finished run of 20 steps with dropout, evaluated at both ends; checkpoints at 8, 16 and 20."""
    from runs import arguments

    from morphbert.cli.run_pretraining import main

    output = tmp_path_factory.mktemp("finished")
    assert (
        main(arguments(records, tiny_config, output, "--do_eval", "--eval_at_start", "--max_eval_steps=1000"))
        == 0
    )
    return output


@pytest.fixture(scope="session")
def trained(records, tiny_config, tmp_path_factory):
    """The output folder of a run of three steps."""
    from morphbert.cli.run_pretraining import main

    output = tmp_path_factory.mktemp("trained")
    paths = [
        f"--bert_config_file={tiny_config}",
        f"--input_file={records}/*.tfrecord",
        f"--output_dir={output}",
    ]
    steps = ["--num_train_steps=3", "--num_warmup_steps=0", "--train_batch_size=4", "--max_eval_steps=2"]
    assert main([*paths, *steps, "--do_train", "--do_eval", "--strategy=cpu", *SHAPE]) == 0
    return output


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    """A model of random weights, large enough that every part moves the result, for the shipped Mecab vocabulary."""
    return write_random_model(tmp_path_factory.mktemp("random") / "model", MECAB_VOCABULARY)


@pytest.fixture(scope="session")
def replicas():
    """Runs a command on two replicas of the CPU: (its module in `morphbert.cli`, flags…) → CompletedProcess."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        contextlib.closing(Replicas(errors)) as run,
    ):
        yield run


@pytest.fixture
def command():
    """Runs a command of the checkout in a process of its own: → CompletedProcess with text output."""

    def run(script, *arguments, **options):
        return run_process([sys.executable, ROOT / script, *arguments], **options)

    return run


@pytest.fixture
def nothing_registered(monkeypatch):
    """The test begins as a new process, without the names of plugins that another test registered."""
    from morphbert import plugins
    from morphbert.finetune.plugins import CUSTOM_TASKS, HEADS, LOSSES, METRICS

    monkeypatch.setattr(plugins, "_loaded", {})
    for registry in (CUSTOM_TASKS, HEADS, LOSSES, METRICS):
        monkeypatch.setattr(registry, "_entries", {})
