"""`--plugin` with a model variant: the example of docs/plugins.md in every command that reads a model."""

import dataclasses
import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from runs import arguments
from samples import GOLDEN, ROOT, write_config
from variants import random_weights, tensors

import morphbert
from morphbert import plugins
from morphbert.cli.export_model import main as export_main
from morphbert.cli.fill_mask import main as fill_main
from morphbert.cli.run_classifier import main as classify
from morphbert.cli.run_pretraining import main as pretrain
from morphbert.cli.training_report import main as report
from morphbert.data.records import RecordLayout, RecordShape
from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune import experiment
from morphbert.interop import importing
from morphbert.interop.export import export
from morphbert.interop.extraction import extract
from morphbert.model.config import BertConfig
from morphbert.model.dropout import DropoutKeys
from morphbert.model.encoder import EncoderInputs, ForwardPass, encode, transformer_block
from morphbert.model.parameters import encoder_parameters
from morphbert.model.variants import VARIANTS
from morphbert.train.accelerator_check.of_run import batch_of
from morphbert.train.accelerator_check.program import StepProgram
from morphbert.train.checkpoint import latest, read_shapes
from morphbert.train.input.records import RecordFormat
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.step_config import StepConfig

VOCABULARY = GOLDEN / "vocab_ko.txt"


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    """Each test begins as a new process, without the names that another one registered."""
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(VARIANTS, "_entries", {})


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The page's variant as a file."""
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    code = re.search(r"^```python\n(# parallel\.py\n.*?)^```$", page, re.S | re.M)[1]
    assert len(code.splitlines()) < 30
    path = tmp_path_factory.mktemp("plugin") / "parallel.py"
    path.write_text(code, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(plugin, records, tmp_path_factory):
    """The folder of a run of two steps, and its flags."""
    folder = tmp_path_factory.mktemp("parallel")
    size = len(VOCABULARY.read_text(encoding="utf-8").splitlines())
    config = write_config(folder / "bert_config.json", vocab_size=size, variant="parallel")
    flags = arguments(records, config, folder / "model", "--num_train_steps=2", "--train_batch_size=4")
    assert pretrain([*flags, f"--plugin={plugin}"]) == 0
    return folder / "model", flags


def fine_tuning(model, folder):
    (folder / "data.tsv").write_text("document\tlabel\n" + "좋다\t1\n싫다\t0\n" * 2, encoding="utf-8")
    data = [f"--train_file={folder}/data.tsv", f"--output_dir={folder}/out", "--strategy=cpu", "--do_train"]
    start = [f"--init_checkpoint={model}", f"--vocab_file={VOCABULARY}", "--do_lower_case=false"]
    return [*start, *data, "--num_train_steps=1", "--max_seq_length=16"]


def test_a_variant_is_trained_and_used_by_name(run, plugin, tmp_path, capsys):
    folder, _ = run
    assert json.loads((folder / "bert_config.json").read_text())["variant"] == "parallel"
    newest = latest(str(folder))
    digest = hashlib.sha256(plugin.read_bytes()).hexdigest()
    assert newest.description.settings["plugin"] == [f"parallel.py {digest}"]
    weights = read_shapes(newest.path)
    assert not any("attention/output/LayerNorm" in name for name in weights)
    assert any("layer_1/output/LayerNorm" in name for name in weights)
    model = [f"--checkpoint={folder}", f"--vocab_file={VOCABULARY}", "--do_lower_case=false"]
    assert fill_main([*model, "--text=나는 [MASK] 간다.", f"--plugin={plugin}"]) == 0
    assert "[MASK]:" in capsys.readouterr().out
    page = [f"--vocab_file={VOCABULARY}", f"--report_file={tmp_path}/page.html"]
    assert report([f"--output_dir={folder}", *page, f"--plugin={plugin}"]) == 0
    assert classify([*fine_tuning(folder, tmp_path), f"--plugin={plugin}"]) == 0
    task = json.loads((tmp_path / "out" / "task.json").read_text())
    assert task["plugin"] == [f"parallel.py {digest}"]


@pytest.mark.parametrize(
    ("work", "kind", "flag", "values"),
    [
        (export, morphbert.ExportConfig, "output_dir", {"format": "saved_model"}),
        (importing.import_model, morphbert.ImportConfig, "output_dir", {}),
        (extract, morphbert.ExtractConfig, "output_file", {"max_seq_length": 16}),
        (
            experiment.fine_tune,
            morphbert.ClassificationConfig,
            "output_dir",
            {"do_train": True, "num_train_steps": 1, "max_seq_length": 16},
        ),
    ],
)
def test_a_function_whose_configuration_names_a_plugin_loads_it(
    run, plugin, tmp_path, work, kind, flag, values
):
    """Whichever package it is in; `import morphbert` offers them, and adds steps before or after."""
    source = "checkpoint" if work in (export, importing.import_model) else "init_checkpoint"
    given = {
        source: run[0],
        "vocab_file": VOCABULARY,
        "do_lower_case": False,
        flag: tmp_path / "out",
        **values,
    }
    if source == "init_checkpoint":
        (tmp_path / "data.tsv").write_text("document\tlabel\n좋다\t1\n싫다\t0\n", encoding="utf-8")
        given["train_file" if work is experiment.fine_tune else "input_file"] = tmp_path / "data.tsv"
    if work is extract:
        given["text_field"] = "document"
    work(kind(**given, plugin=(str(plugin),)))
    assert (tmp_path / "out").exists()


def test_a_saved_model_of_a_variant_needs_no_plugin(run, plugin, tmp_path):
    folder, _ = run
    given = [f"--checkpoint={folder}", f"--vocab_file={VOCABULARY}", "--do_lower_case=false"]
    assert (
        export_main([*given, f"--output_dir={tmp_path}/served", "--format=saved_model", f"--plugin={plugin}"])
        == 0
    )
    model, tokenizer = morphbert.load(folder, vocab_file=str(VOCABULARY), do_lower_case=False)
    inputs = tokenizer(["나는 학교에 간다.", "비가 온다."], padding=True, return_tensors="np")
    hidden, _ = model(**inputs)
    names = {
        "input_ids": "input_ids",
        "input_mask": "attention_mask",
        "segment_ids": "token_type_ids",
    }
    given = {ours: inputs[theirs].astype(np.int32).tolist() for ours, theirs in names.items()}
    (tmp_path / "in.json").write_text(json.dumps(given))
    code = (
        "import json, sys; sys.modules['morphbert'] = None; import numpy as np, tensorflow as tf\n"
        "given = {name: tf.constant(value) for name, value in json.load(open('in.json')).items()}\n"
        "served = tf.saved_model.load('served').signatures['serving_default'](**given)\n"
        "np.save('out.npy', served['hidden_states'].numpy())"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), hidden, atol=1e-5)


def test_the_step_of_a_variant_is_lowered_in_another_process(plugin, tmp_path, monkeypatch):
    """As `--compile_for` does in the environment that lowers, which has not loaded the plugin."""
    plugins.load_plugins([str(plugin)])
    size = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    form = RecordFormat(RecordShape(16, 3), size["vocab_size"], 2, RecordLayout())
    sizes = {}
    for variant in ("parallel", None):
        program = StepProgram(
            BertConfig(**size, variant=variant),
            ScheduledConfig(num_train_steps=10, num_warmup_steps=0),
            StepConfig(),
            batch_of(form, 4),
        )
        folder = tmp_path / str(variant)
        folder.mkdir()
        asked = json.dumps({"program": program.to_dict(), "platform": "CPU"})
        (folder / "program.json").write_text(asked)
        command = [sys.executable, "-m", "morphbert.train.accelerator_check.lowering", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=ROOT)
        assert "error" not in json.loads((folder / "lowering.json").read_text())
        sizes[variant] = (folder / "step.hlo").stat().st_size
    # The block of the plugin has one norm less, and so a smaller program.
    assert 10_000 < sizes["parallel"] < sizes[None]
    monkeypatch.setattr(VARIANTS, "_entries", {"here": (object(), "__main__")})  # as a notebook registers it
    program = dataclasses.replace(program, bert_config=BertConfig(**size, variant="here"))
    with pytest.raises(UsageError, match=r"registered in __main__: put it into a Python file"):
        program.to_dict()


def test_a_model_of_a_missing_variant_is_refused_with_the_remedy(run, plugin, tmp_path, capsys):
    folder, flags = run
    for main, given in (
        (pretrain, flags),
        (fill_main, [f"--checkpoint={folder}", "--text=[MASK]"]),
        (classify, fine_tuning(folder, tmp_path)),
        (report, [f"--output_dir={folder}", f"--vocab_file={VOCABULARY}"]),
        (export_main, [f"--checkpoint={folder}", f"--output_dir={tmp_path}/out", "--format=saved_model"]),
    ):
        capsys.readouterr()
        assert main(given) == 1
        said = capsys.readouterr().err
        assert "needs the model variant 'parallel' of a plugin" in said
        assert "--plugin=FILE.py" in said
    given = [f"--checkpoint={folder}", f"--vocab_file={VOCABULARY}", f"--plugin={plugin}"]
    for form in ("huggingface", "google", "onnx"):
        assert export_main([*given, f"--output_dir={tmp_path}/{form}", f"--format={form}"]) == 1
        assert re.search(r'variant="parallel"|the model variant .parallel.', capsys.readouterr().err)
    for value in (3, "none"):
        with pytest.raises(
            MorphbertError, match=r"variant is 3; it is a name|needs the model variant 'none'"
        ):
            BertConfig(variant=value)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_usual_block_as_a_variant_computes_the_usual_model(recompute):
    """Bit for bit, gradients and dropout too."""

    @morphbert.register_model("usual")
    class Usual:
        def parameters(self, names, config, usual):
            return usual

        def block(self, parameters, names, config, hidden, view, keys):
            assert isinstance(keys, DropoutKeys)
            plain = dataclasses.replace(config, variant=None)
            return transformer_block(parameters, names, plain, hidden, view, keys)

    plain = BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    weights = tensors(random_weights(plain))
    ids = tf.constant(np.random.default_rng(2).integers(0, 11, (2, 6)), tf.int32)
    inputs = EncoderInputs(ids, tf.ones_like(ids), tf.zeros_like(ids))

    @tf.function(autograph=False)
    def computed(config):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            hidden = encode(weights, config, inputs, ForwardPass(tf.constant([1, 2]), recompute))
        return hidden, tape.gradient(hidden, [weights[name] for name in weights if "layer_" in name])

    one, other = (computed(config) for config in (plain, dataclasses.replace(plain, variant="usual")))
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_a_weight_outside_of_the_block_is_refused():
    @morphbert.register_model("reaching")
    class Reaching:
        def parameters(self, names, config, usual):
            return {**usual, "bert/embeddings/word_embeddings": next(iter(usual.values()))}

    with pytest.raises(
        MorphbertError, match="'reaching' has a weight 'bert/embeddings/word_embeddings' outside"
    ):
        encoder_parameters(
            BertConfig(vocab_size=11, hidden_size=8, num_attention_heads=2, variant="reaching")
        )
