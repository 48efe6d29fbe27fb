"""ALBERT, RoBERTa, pre-LN and the modern block: training with everything that BERT trains with, and use afterwards."""

import json
import shutil

import numpy as np
import pytest
from runs import LEARNED, logged, objective_none, tensors
from samples import GOLDEN, SHAPE, write_config, write_random_model
from variants import CUSTOM, VARIANTS, as_flags, assert_same_weights

from morphbert.cli.run_pretraining import main as train


@pytest.fixture(scope="module")
def runs(records, tmp_path_factory):
    """(variant, name, flags) → the output folder of a short run on real Korean records."""
    base = tmp_path_factory.mktemp("runs")
    unpaired = objective_none(base)

    def run(variant, name, *flags, steps=6, **changes):
        files = unpaired if variant in ("roberta", "modern") else f"{records}/*.tfrecord"
        size = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())
        output = base / name
        output.mkdir(exist_ok=True)
        values = {**as_flags(variant), "vocab_size": size, **changes}
        config = write_config(base / f"{name}.json", **values)
        paths = [f"--bert_config_file={config}", f"--input_file={files}", f"--output_dir={output}"]
        rates = ["--train_batch_size=8", "--num_warmup_steps=2", "--learning_rate=1e-3", "--log_steps=1"]
        run.last = [*paths, f"--num_train_steps={steps}", "--do_train", *SHAPE, *rates, *flags]
        return train([*run.last, "--strategy=cpu"]), output

    return run


def checkpoint(output, step):
    """Weights and moments."""
    return tensors(output / f"model.ckpt-{step}", *LEARNED)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("variant", ["albert groups", "roberta", "pre_ln", "modern", "modern albert"])
def test_a_stopped_run_goes_on_as_if_it_had_not(variant, runs, capsys):
    """With dropout, in parts, recomputed."""
    rates = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    flags = ("--save_checkpoints_steps=3", "--gradient_accumulation_steps=2", "--recompute")
    status, whole = runs(variant, f"{variant}-whole", *flags, **rates)
    assert status == 0
    part = whole.parent / f"{variant}-part"
    part.mkdir()
    for path in whole.glob("model.ckpt-3*"):
        shutil.copy(path, part)
    (part / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    assert runs(variant, part.name, *flags, **rates) == (0, part)
    assert "warning" not in capsys.readouterr().out
    assert_same_weights(checkpoint(whole, 6), checkpoint(part, 6))
    losses = [line["loss"] for line in logged(whole)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("variant", [*VARIANTS, *CUSTOM])
def test_parts_recomputation_and_xla_reach_the_same_weights(variant, runs):
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    outputs = [
        runs(variant, f"{variant}-{number}", *flags, "--optimizer=lamb", **rates)
        for number, flags in enumerate(((), ("--gradient_accumulation_steps=4", "--recompute"), ("--xla",)))
    ]
    assert [status for status, _ in outputs] == [0, 0, 0]
    plain, *others = (checkpoint(output, 6) for _, output in outputs)
    for other in others:
        for name, value in plain.items():
            np.testing.assert_allclose(value, other[name], rtol=0, atol=2e-5, err_msg=name)


def test_labels_without_a_head_for_them_are_refused(runs, capsys):
    status, output = runs("pre_ln", "no-head", next_sentence_head=False)
    assert status == 1
    assert "next_sentence_head" in capsys.readouterr().err
    assert not list(output.glob("model.ckpt*"))


@pytest.mark.slow
def test_dropout_can_be_set_for_a_run(runs):
    status, output = runs("albert", "dropout", "--hidden_dropout_prob=0.3", steps=1)
    assert status == 0
    assert json.loads((output / "bert_config.json").read_text())["hidden_dropout_prob"] == 0.3


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["albert groups", "roberta", "pre_ln", "modern"])
def test_a_model_of_any_kind_is_used_as_berts_are(variant, tmp_path, capsys):
    """Loaded in Python, asked for masks, trained on a task of pairs."""
    import morphbert
    from morphbert.cli.fill_mask import main as fill_mask
    from morphbert.cli.run_classifier import main as classify

    folder = write_random_model(tmp_path / "model", GOLDEN / "vocab_ko.txt", **as_flags(variant))
    model, tokenizer = morphbert.load(str(folder))
    inputs = tokenizer(["나는 집에 간다."], ["모든 국민은 평등하다."], padding=True, return_tensors="np")
    hidden, pooled = model(**inputs)
    assert hidden.shape[-1] == 48
    assert pooled is None if variant == "modern" else pooled.shape[-1] == 48
    model.save(str(tmp_path / "again"), format="huggingface")
    again, _ = morphbert.load(str(tmp_path / "again"))
    np.testing.assert_array_equal(again(**inputs).hidden_states, hidden)
    assert fill_mask([f"--checkpoint={folder}", "--text=나는 [MASK]에 간다.", "--top_k=2"]) == 0
    assert "[MASK]" in capsys.readouterr().out
    rows = [f"{'좋은' if n % 2 else '나쁜'} 영화\t{n} 번 보았다\t{n % 2}" for n in range(16)]
    table = tmp_path / "pairs.tsv"
    table.write_text("\n".join(["one\ttwo\tlabel", *rows]) + "\n", encoding="utf-8")
    paths = [f"--init_checkpoint={folder}", f"--train_file={table}", f"--output_dir={tmp_path}/task"]
    flags = ["--text_column=one,two", "--do_train", "--num_train_steps=2", "--train_batch_size=4"]
    assert classify([*paths, *flags, "--max_seq_length=32", "--strategy=cpu"]) == 0


@pytest.mark.long
@pytest.mark.distributed
@pytest.mark.parametrize("variant", ["albert groups", "roberta", "modern"])
def test_two_replicas_reach_the_weights_of_one(variant, runs, replicas):
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    status, one = runs(variant, f"{variant}-one", **rates)
    assert status == 0
    two = one.parent / f"{variant}-two"
    done = replicas("run_pretraining", *runs.last, f"--output_dir={two}")
    assert done.returncode == 0, done.stdout + done.stderr
    for name, value in checkpoint(one, 6).items():
        np.testing.assert_allclose(value, checkpoint(two, 6)[name], rtol=0, atol=2e-6, err_msg=name)
