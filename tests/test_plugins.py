"""`--plugin`: the examples of docs/plugins.md, and names that are missing or taken."""

import contextlib
import hashlib
import io
import json
import re
import shutil
from typing import Literal

import numpy as np
import pytest
import tensorflow as tf
from samples import MECAB_VOCABULARY, ROOT
from tasks import figures, ner_texts, relations, tiny_flags, write_ner, write_tiny_config

import morphbert
from morphbert import plugins
from morphbert.cli.export_model import main as export_main
from morphbert.cli.predict import main as predict_main
from morphbert.cli.run_classifier import main
from morphbert.cli.run_ner import main as run_ner_main
from morphbert.cli.run_re import main as run_re_main
from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune import task_options
from morphbert.finetune.checks import load_parts
from morphbert.finetune.losses import class_losses
from morphbert.finetune.plugins import METRICS
from morphbert.finetune.tasks import kind_of, task_of
from morphbert.options import configuration, option
from morphbert.train import checkpoint

pytestmark = pytest.mark.usefixtures("nothing_registered")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the page, a model's configuration, and titles whose body agrees with them or does not."""
    folder = tmp_path_factory.mktemp("plugins")
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M):
        name = re.match(r"# (\w+\.py)\n", code)[1]
        assert len(code.splitlines()) < 30
        (folder / name).write_text(code, encoding="utf-8")
    write_tiny_config(folder)
    rows = ["title\tbody\tlabel"]
    for number in range(24):
        title, body = number % 2, number // 2 % 2
        words = ("재미있는 영화", "지루한 영화")
        rows.append(f"{words[title]}\t{words[body]}였다.\t{int(title == body)}")
    (folder / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def arguments(folder, output, *more):
    files = [f"--train_file={folder}/data.tsv", f"--eval_file={folder}/data.tsv", f"--output_dir={output}"]
    own = ["--text_column=title,body", "--train_batch_size=8", "--num_train_steps=2"]
    return [*tiny_flags(folder, 16), *files, *own, *more]


def test_a_loss_and_a_metric_by_name_from_yaml(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    experiment = tmp_path / "experiment.yaml"
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    experiment.write_text(re.search(r"^```yaml\n(.*?)^```$", page, re.S | re.M)[1], encoding="utf-8")
    flags = arguments(folder, tmp_path / "out", f"--config={experiment}", "--do_train", "--do_eval")
    assert main([*flags, "--best_metric=kappa", "--eval_every=2"]) == 0
    results = (tmp_path / "out" / "eval_results.txt").read_text()
    assert re.search(r"^kappa = ", results, re.M)
    said = capsys.readouterr().out
    # Two classes at chance: 0.5 each gives 1 - 2 / 2.25 for the label and 1 - 1 / 1.25 for the other.
    loss = float(re.search(r"step 2/2  loss ([\d.]+)", said)[1])
    assert loss == pytest.approx(1 - 2 / 2.25 + 1 - 1 / 1.25, abs=0.08)
    changed = folder / "dice.py"
    before = changed.read_text(encoding="utf-8")
    try:
        changed.write_text(before + "# changed\n", encoding="utf-8")
        assert main([*flags, "--nodo_eval"]) == 0
    finally:
        changed.write_text(before, encoding="utf-8")
    said = capsys.readouterr().out
    assert re.search(r"warning: plugin was \['dice\.py \w{64}', .*is \['dice\.py \w{64}'", said)


@pytest.fixture(scope="module")
def two_tower(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("two_tower") / "model"
    flags = [
        f"--plugin={folder}/kappa.py",
        f"--plugin={folder}/two_tower.py",
        "--head=two_tower",
        "--metrics=kappa",
    ]
    assert main(arguments(folder, output, *flags, "--do_train", "--do_eval")) == 0
    return output


def test_a_head_encodes_the_texts_alone_and_goes_with_the_checkpoint_by_name(two_tower, folder, tmp_path):
    assert json.loads((two_tower / "task.json").read_text(encoding="utf-8"))["custom_head"] == "two_tower"
    weights = checkpoint.read_shapes(tf.train.latest_checkpoint(str(two_tower)))
    assert weights["head/output_weights"] == (2, 4 * weights["bert/embeddings/word_embeddings"][1])
    assert not any("pooler" in name for name in weights)
    rows = [
        {"title": "재미있는 영화", "body": "지루한 영화"},
        {"title": "지루한 영화", "body": "재미있는 영화"},
    ]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    flags = [
        f"--model={two_tower}",
        f"--input_file={tmp_path}/new.jsonl",
        f"--output_file={tmp_path}/out.jsonl",
    ]
    assert predict_main([*flags, f"--plugin={folder}/two_tower.py"]) == 0
    made = [json.loads(line)["prediction"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert all(sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5) for one in made)
    assert made[0]["probabilities"] != made[1]["probabilities"]


def test_a_model_of_a_missing_head_is_refused_with_the_remedy(two_tower, folder, tmp_path, capsys):
    """Also where the file lies in the model's folder, which is never run."""
    copied = shutil.copytree(two_tower, tmp_path / "model")
    (copied / "two_tower.py").write_text("raise SystemExit('a file of a model was run')\n")
    (tmp_path / "new.jsonl").write_text('{"title": "a", "body": "b"}\n')
    flags = [f"--model={copied}", f"--input_file={tmp_path}/new.jsonl", f"--output_file={tmp_path}/out.jsonl"]
    assert predict_main(flags) == 1
    assert "needs the head 'two_tower' of a plugin" in (said := capsys.readouterr().err)
    assert "--plugin=FILE.py" in said
    flags = ["--do_eval", "--max_seq_length=16", "--text_column=title,body"]
    assert main([f"--output_dir={copied}", f"--eval_file={folder}/data.tsv", *flags]) == 1
    assert "--plugin=FILE.py" in capsys.readouterr().err
    assert export_main([f"--checkpoint={copied}", f"--output_dir={tmp_path}/hf", "--format=huggingface"]) == 1
    assert "no class of transformers computes" in capsys.readouterr().err


def config(**values):
    """A configuration whose plugins have been loaded and checked, as a command does first."""
    made = morphbert.ClassificationConfig(output_dir="out", train_file="train.tsv", do_train=True, **values)
    load_parts(made)
    return made


def test_names_that_no_file_registers_are_refused(folder):
    for values in (
        {"loss": morphbert.LossConfig(loss="dise")},
        {"custom_head": "tower"},
        {"metrics": ["kapa"]},
    ):
        with pytest.raises(UsageError, match=r"is not built in\. Known names: .*--plugin=FILE\.py"):
            config(**values)
    with pytest.raises(UsageError, match=r"dice\.py does not register it\. Known names: .*ldam, dice"):
        config(plugin=[f"{folder}/dice.py"], loss=morphbert.LossConfig(loss="dise"))
    with pytest.raises(UsageError, match="replaces pooling"):
        config(
            plugin=[f"{folder}/two_tower.py"],
            custom_head="two_tower",
            head=morphbert.TextHeadConfig(pooling="mean"),
        )


def test_files_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        config(plugin=[f"{tmp_path}/none.py"])
    with pytest.raises(UsageError, match="is not a Python file"):
        config(plugin=["dice"])
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(MorphbertError, match=r"broken\.py cannot be loaded: line 2: ZeroDivisionError"):
        config(plugin=[f"{tmp_path}/broken.py"])
    code = "import morphbert\n@morphbert.register_loss('{}')\ndef loss(scores, labels): return scores\n"
    for name, loss in (("one", "mine"), ("two", "mine"), ("three", "focal")):
        (tmp_path / f"{name}.py").write_text(code.format(loss))
    with pytest.raises(UsageError, match=r"one\.py and .*two\.py both register the loss 'mine'"):
        config(plugin=[f"{tmp_path}/one.py", f"{tmp_path}/two.py"])
    with pytest.raises(UsageError, match="'focal' is built in"):
        config(plugin=[f"{tmp_path}/three.py"])


def test_a_decorator_of_a_notebook_needs_no_file_and_an_edited_file_is_run_again(tmp_path):
    @morphbert.register_loss("constant")
    def constant(scores, labels):
        return tf.ones_like(labels, tf.float32)

    made = config(loss=morphbert.LossConfig(loss="constant", counts=(3, 1), class_weights=True))
    found = class_losses(made.loss, tf.zeros([2, 2]), tf.constant([0, 1]))
    assert found[1] > found[0]  # the weight of the rare class
    path = tmp_path / "figure.py"
    for value in (1, 2):
        path.write_text(
            f"import morphbert\n@morphbert.register_metric('figure')\ndef f(labels, scores): return {value}\n"
        )
        config(plugin=[path], metrics=["figure"])
        assert METRICS.get("figure", "a test")(np.zeros(1), np.zeros((1, 2))) == value
    assert not (tmp_path / "__pycache__").exists()
    with pytest.raises(UsageError, match=r"must extend a class of morphbert\.finetune\.tasks"):
        morphbert.register_task("mine")(object)


METRIC = """import morphbert
@morphbert.register_metric({name!r})
def figure(labels, scores):
    {body}
"""


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("broken", "return scores.argmax(2)", r"metric 'broken' fails on 8 examples .*line 4: AxisError"),
        ("empty", "return float('nan')", "metric 'empty' returns NaN on 8 examples"),
        ("word", "return 'good'", "metric 'word' returns 'good', which is not a number"),
        ("accuracy", "return 1", "--metrics=accuracy: the task has a figure of this name: rename"),
    ],
)
def test_a_metric_that_fails_is_refused_before_training(name, body, message, folder, tmp_path, capsys):
    (tmp_path / "own.py").write_text(METRIC.format(name=name, body=body), encoding="utf-8")
    flags = [f"--plugin={tmp_path}/own.py", f"--metrics={name}", "--do_train", "--do_eval"]
    assert main(arguments(folder, tmp_path / "out", *flags)) == 1
    said = capsys.readouterr()
    assert re.search(message, said.err)
    assert "step" not in said.out
    assert tf.train.latest_checkpoint(str(tmp_path / "out")) is None


def test_a_metric_that_fails_later_does_not_lose_the_run(folder, tmp_path, capsys):
    """It passes the trial before training, on fewer examples than the data has."""
    body = "return 1 if len(labels) < 24 else 1 / 0"
    (tmp_path / "late.py").write_text(METRIC.format(name="late", body=body), encoding="utf-8")
    flags = [f"--plugin={tmp_path}/late.py", "--metrics=late", "--do_train", "--do_eval"]
    assert main(arguments(folder, tmp_path / "out", *flags, "--eval_every=1")) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"warning: the metric 'late' fails on 24 examples .*ZeroDivisionError.* without it", said
    )
    results = (tmp_path / "out" / "eval_results.txt").read_text()
    assert "accuracy = " in results
    assert "late" not in results
    assert main(arguments(folder, tmp_path / "best", *flags, "--eval_every=1", "--best_metric=-late")) == 1
    assert "the metric 'late' fails on 24 examples" in capsys.readouterr().err


def test_run_re_takes_metrics(folder, tmp_path):
    rows = relations()
    (tmp_path / "data.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
    )
    data = [f"--train_file={tmp_path}/data.jsonl", f"--eval_file={tmp_path}/data.jsonl"]
    own = [f"--plugin={folder}/kappa.py", "--metrics=kappa", "--do_train", "--do_eval"]
    short = ["--num_train_steps=1", f"--output_dir={tmp_path}/out"]
    assert run_re_main([*tiny_flags(folder), *data, *own, *short]) == 0
    assert re.search(r"^kappa = ", (tmp_path / "out" / "eval_results.txt").read_text(), re.M)


@pytest.fixture(scope="module")
def ordinal(folder, tmp_path_factory):
    """A model of the page's task, and what its training printed."""
    output = tmp_path_factory.mktemp("ordinal") / "model"
    flags = [f"--plugin={folder}/ordinal.py", "--custom_task=ordinal", "--do_train", "--log_steps=1"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(arguments(folder, output, *flags)) == 0
    return output, said.getvalue()


def predicted(model, tmp_path, *flags):
    (tmp_path / "new.jsonl").write_text(json.dumps({"title": "재미있는 영화", "body": "지루한 영화"}) + "\n")
    output = tmp_path / "out.jsonl"
    status = predict_main(
        [f"--model={model}", f"--input_file={tmp_path}/new.jsonl", f"--output_file={output}", *flags]
    )
    return json.loads(output.read_text())["prediction"] if status == 0 else None


def test_a_task_computes_its_own_loss_and_predictions(ordinal, folder, tmp_path):
    output, said = ordinal
    # Of two classes at chance, the cumulated probability is wrong by one half at the first and by 0 at the last.
    assert float(re.search(r"step 1/2  loss ([\d.]+)", said)[1]) == pytest.approx(0.25, abs=0.04)
    saved = json.loads((output / "task.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256((folder / "ordinal.py").read_bytes()).hexdigest()
    assert (saved["task"], saved["plugin"]) == ("ordinal", [f"ordinal.py {digest}"])
    made = predicted(output, tmp_path, f"--plugin={folder}/ordinal.py")
    assert made["place"] == pytest.approx(made["probabilities"]["1"], abs=1e-4)
    flags = [f"--checkpoint={output}", f"--output_dir={tmp_path}/hf", f"--plugin={folder}/ordinal.py"]
    assert export_main([*flags, "--format=huggingface"]) == 0
    exported = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert exported["architectures"] == ["BertForSequenceClassification"]


def test_a_model_of_a_missing_or_changed_task_says_so(ordinal, folder, tmp_path, capsys):
    output, _ = ordinal
    evaluated = [
        f"--output_dir={output}",
        f"--eval_file={folder}/data.tsv",
        "--do_eval",
        "--max_seq_length=16",
    ]
    evaluated.append("--text_column=title,body")
    assert predicted(output, tmp_path) is None
    assert "needs the task 'ordinal' of a plugin" in (said := capsys.readouterr().err)
    assert "--plugin=FILE.py" in said
    assert main(evaluated) == 1
    assert "give --custom_task=ordinal --plugin=FILE.py" in capsys.readouterr().err
    changed = shutil.copy(folder / "ordinal.py", tmp_path / "ordinal.py")
    changed.write_text(changed.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert predicted(output, tmp_path, f"--plugin={changed}") is not None
    assert re.search(r"warning: .*ordinal\.py has SHA-256 \w+…, and the model in", capsys.readouterr().out)


def test_a_task_has_options_that_go_with_its_model(folder, tmp_path, capsys):
    plugin, output = f"--plugin={folder}/distance.py", tmp_path / "out"
    (tmp_path / "run.yaml").write_text("model:\n  custom_task: distance\n  task_option: {power: 3}\n")
    trained = arguments(folder, output, plugin, "--do_train")
    assert main([*trained, f"--config={tmp_path}/run.yaml"]) == 0
    assert json.loads((output / "task.json").read_text())["task_options"] == {"power": 3.0}
    assert predicted(output, tmp_path, plugin)["label"] in ("0", "1")
    again = [
        f"--output_dir={output}",
        f"--eval_file={folder}/data.tsv",
        "--do_eval",
        "--max_seq_length=16",
        plugin,
    ]
    again += ["--custom_task=distance", "--text_column=title,body"]
    assert main(again) == 0  # with the options of the model
    capsys.readouterr()
    assert main([*again, "--task_option=power=2"]) == 1
    assert (
        "was trained with {'power': 3.0}, and --task_option makes it {'power': 2.0}"
        in capsys.readouterr().err
    )
    assert main([*trained, "--custom_task=distance"]) == 1
    assert "whose task_options is {'power': 3.0}, but this run has {'power': 2.0}" in capsys.readouterr().err


def test_the_options_of_a_task_are_in_its_losses(folder):
    config_of = {"plugin": [f"{folder}/distance.py"], "custom_task": "distance"}
    scores = tf.math.log([[0.5, 0.25, 0.25]])
    for power, expected in ((1, 0.25 + 0.5), (3, 0.25 + 0.25 * 8)):
        kind = kind_of(config(**config_of, task_option=[f"power={power}"]))
        assert kind is kind_of(config(**config_of, task_option=[f"power={power}.0"]))
        task = kind("class", labels=("나쁨", "보통", "좋음"))
        assert task.losses(scores, {"labels": tf.constant([0])}).numpy() == pytest.approx([expected])
        assert type(task_of(json.loads(json.dumps(task.to_dict())))) is kind
    damaged = {**task.to_dict(), "task_options": {"power": "셋"}}
    with pytest.raises(
        MorphbertError, match=r"task.json is damaged: task_options: power='셋' must be a number"
    ):
        task_of(damaged)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["powr=2"],
            "the task 'distance' has no option 'powr'. Its options: power (default 2.0; The power of",
        ),
        (["power=0.5"], "--task_option=power=0.5 is out of range: it must be at least 1."),
        (["power=세제곱"], "--task_option=power='세제곱' must be a number."),
        (["power"], "--task_option=power has no value: write --task_option=NAME=VALUE."),
        (["power=2", "power=3"], "--task_option=power is given twice: 2 and 3."),
    ],
)
def test_a_wrong_option_of_a_task_is_refused(given, message, folder):
    with pytest.raises(UsageError, match=re.escape(message)):
        config(plugin=[f"{folder}/distance.py"], custom_task="distance", task_option=given)


def test_options_without_a_task_or_an_option_are_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="--task_option=power=2 goes with --custom_task"):
        config(task_option=["power=2"])
    with pytest.raises(UsageError, match=r"the task 'ordinal' has no option 'power'\. Its options: none"):
        config(plugin=[f"{folder}/ordinal.py"], custom_task="ordinal", task_option=["power=2"])
    code = (folder / "distance.py").read_text(encoding="utf-8")
    (tmp_path / "bare.py").write_text(code.replace("@configuration\n", ""), encoding="utf-8")
    with pytest.raises(UsageError, match=r"bare\.py: DistanceOptions has no options: decorate it"):
        config(plugin=[f"{tmp_path}/bare.py"], custom_task="distance")
    (tmp_path / "required.py").write_text(code.replace("default=2.0, ", ""), encoding="utf-8")
    with pytest.raises(UsageError, match=r"required\.py: DistanceOptions\.power needs a default"):
        config(plugin=[f"{tmp_path}/required.py"], custom_task="distance")


def test_values_of_options_are_read_as_their_types():
    @configuration
    class Options:
        many: tuple[int, ...] = option(default=(), help="")
        on: bool = option(default=False, help="")
        kind: Literal["a", "b"] = option(default="a", help="")

    kind = type("Kind", (), {"option_class": Options})
    assert task_options.given(kind, "t", ["many=1", "2", "on=true", "kind=b"]) == Options(
        many=(1, 2), on=True, kind="b"
    )
    for wrong in ("on=yes", "kind=c", "many=x"):
        with pytest.raises(UsageError, match=f"--task_option={wrong.split('=')[0]}"):
            task_options.given(kind, "t", [wrong])


def test_files_of_one_name_are_told_apart(tmp_path, capsys):
    paths = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        paths.append(str(tmp_path / folder / "losses.py"))
        (tmp_path / folder / "losses.py").write_text(f"FOLDER = {folder!r}\n")
    plugins.load_plugins(paths)
    both = plugins.identities(paths)
    for saved in (both, both[:1], both[1:]):  # also where the model needs one of the two only
        plugins.say_changed("model", saved)
    assert capsys.readouterr().out == ""
    with open(paths[1], "a") as file:
        file.write("# changed\n")
    plugins.load_plugins(paths)
    plugins.say_changed("model", both)
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith(f"warning: {paths[1]} has SHA-256 ")
    assert f"a losses.py of SHA-256 {both[1].split()[1][:12]}…" in said


def test_a_task_that_another_command_or_name_has_is_refused(folder, tmp_path, capsys):
    with pytest.raises(UsageError, match=r"--custom_task=ordinal is out of range: it is not built in"):
        config(custom_task="ordinal")
    (tmp_path / "taken.py").write_text(
        "import morphbert\n@morphbert.register_task('span')\nclass Mine: pass\n"
    )
    with pytest.raises(UsageError, match=r"the task 'span' is built in: give the one of .*taken\.py another"):
        config(plugin=[f"{tmp_path}/taken.py"])
    data = write_ner(tmp_path / "data.tsv", ner_texts()[:2])
    flags = [f"--plugin={folder}/ordinal.py", "--custom_task=ordinal", "--do_train", f"--train_file={data}"]
    assert run_ner_main([*tiny_flags(folder), *flags, f"--output_dir={tmp_path}/out"]) == 2
    assert "extends Classification, and this command trains Tagging" in capsys.readouterr().err


OF_PIECES = """import morphbert
from morphbert.finetune.heads import linear, linear_parameters

@morphbert.register_head("plain")
class Plain:
    separate_texts = False
    def parameters(self, width, classes):
        return linear_parameters("head/output", classes, width)
    def scores(self, parameters, hidden, batch, dropout):
        return linear(parameters, "head/output", dropout(hidden))

@morphbert.register_metric("pieces")
def pieces(labels, scores):
    assert scores.shape[0] == len(labels)
    return len(labels)

@morphbert.register_metric("outside")
def outside(labels, scores):
    return (labels == 2).sum()
"""


def test_run_ner_takes_a_head_and_metrics_of_pieces(folder, tmp_path):
    (tmp_path / "own.py").write_text(OF_PIECES, encoding="utf-8")
    data = write_ner(tmp_path / "data.tsv", [[("김철수", "PS"), ("가 왔다.", None)]] * 3)
    own = [f"--plugin={tmp_path}/own.py", "--head=plain", "--metrics=pieces,outside"]
    files = [f"--train_file={data}", f"--eval_file={data}", f"--output_dir={tmp_path}/out"]
    steps = ["--do_train", "--do_eval", "--num_train_steps=1"]
    assert run_ner_main([*tiny_flags(folder), *own, *files, *steps]) == 0
    saved = json.loads((tmp_path / "out" / "task.json").read_text(encoding="utf-8"))
    assert (saved["custom_head"], saved["labels"][:3]) == ("plain", ["B-PS", "I-PS", "O"])
    found = figures(tmp_path / "out")
    offsets = morphbert.load_tokenizer(MECAB_VOCABULARY).encode("김철수가 왔다.").offsets
    assert found["pieces"] == 3 * len(offsets)
    assert found["outside"] == 3 * sum(start >= 3 for start, _ in offsets)
