"""A moving average of the weights: its values, what reads it, and a run that begins one late."""

import shutil

import numpy as np
import pytest
from runs import arguments, curve, tensors
from samples import GOLDEN

from morphbert.cli.export_model import main as export
from morphbert.cli.fill_mask import main as fill_mask
from morphbert.cli.run_pretraining import main
from morphbert.train.checkpoint import read_weights

FLAGS = ("--num_train_steps=4", "--save_checkpoints_steps=1", "--num_warmup_steps=0", "--log_steps=1")
AVERAGED = (*FLAGS, "--ema_decay=0.3", "--z_loss=1e-3", "--do_eval", "--max_eval_steps=2", "--eval_at_start")


@pytest.fixture(scope="module")
def finished(records, still_config, tmp_path_factory):
    output = tmp_path_factory.mktemp("average")
    vocabulary = f"--vocab_file={GOLDEN}/vocab_ko.txt"
    assert main(arguments(records, still_config, output, *AVERAGED, vocabulary)) == 0
    return output


def parts(path):
    found = tensors(path)
    return (
        {name.removeprefix(part): value for name, value in found.items() if name.startswith(part)}
        for part in ("model/", "average/")
    )


def test_the_average_keeps_a_share_of_itself(finished):
    """Of updates 1, 2, 3 and 4 the lower of 0.3 and 2/11, 3/12, 4/13, 5/14."""
    _, average = parts(finished / "model.ckpt-1")
    for step, kept in ((2, 3 / 12), (3, 0.3), (4, 0.3)):
        weights, after = parts(finished / f"model.ckpt-{step}")
        assert weights.keys() == after.keys() == average.keys()
        for name, value in after.items():
            wanted = kept * average[name].astype(np.float64) + (1 - kept) * weights[name]
            np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-8, err_msg=name)
        average = after
    assert any(np.abs(average[name] - weights[name]).max() > 1e-4 for name in weights)


def test_other_programs_read_the_average(finished, tmp_path, capsys):
    read = read_weights(str(finished))
    assert "model.ckpt-4: the moving average of the weights is taken" in capsys.readouterr().err
    _, average = parts(finished / "model.ckpt-4")
    name = "bert/pooler/dense/kernel"
    (key,) = (key for key in average if key.startswith("bert.Spooler.Sdense.Skernel"))
    np.testing.assert_array_equal(read[name], average[key])
    assert len(read) == len(average)
    sentence = ["--text=나는 [MASK]에 갔다.", f"--checkpoint={finished}"]
    assert fill_mask(sentence) == 0
    assert "moving average" in capsys.readouterr().err
    flags = [f"--checkpoint={finished}", f"--output_dir={tmp_path}/tf1", "--format=google"]
    assert export([*flags, "--with_optimizer"]) == 1
    assert "without --with_optimizer" in capsys.readouterr().err


def test_the_average_is_what_is_evaluated(finished, records, still_config, tmp_path, capsys):
    """Weights alone, read from the same checkpoint, have other figures."""
    shutil.copytree(finished, tmp_path / "again")
    run = [
        flag for flag in arguments(records, still_config, tmp_path / "again", *FLAGS) if flag != "--do_train"
    ]
    assert main([*run, "--do_eval", "--max_eval_steps=2"]) == 0
    assert "moving average" in capsys.readouterr().err
    last = [line for line in curve(finished) if line["kind"] == "eval"][-1]
    results = (tmp_path / "again" / "eval_results.txt").read_text()
    assert f"masked_lm_loss = {last['masked_lm_loss']}" in results
    assert all("z_loss" in line for line in curve(finished) if line["kind"] == "train")
    assert "z_loss" not in last


def test_an_average_can_begin_late_and_a_change_is_said(finished, records, still_config, tmp_path, capsys):
    """From a checkpoint of a run without one; with another decay there is a warning."""
    plain = tmp_path / "plain"
    assert main(arguments(records, still_config, plain, *FLAGS, "--num_train_steps=2")) == 0
    assert not any(name.startswith("average/") for name in tensors(plain / "model.ckpt-2"))
    capsys.readouterr()
    assert (
        main(arguments(records, still_config, plain, *FLAGS, "--num_train_steps=3", "--ema_decay=0.3")) == 0
    )
    said = capsys.readouterr().out
    assert "ema_decay was None, is 0.3" in said
    assert "has no moving average, so it begins here" in said
    before, _ = parts(plain / "model.ckpt-2")
    weights, average = parts(plain / "model.ckpt-3")
    for name, value in average.items():
        wanted = 0.3 * before[name].astype(np.float64) + 0.7 * weights[name]
        np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-8, err_msg=name)


def test_a_decay_is_between_0_and_1(records, still_config, tmp_path, capsys):
    for decay in ("1", "0", "nan", "-1"):
        assert main(arguments(records, still_config, tmp_path / "x", f"--ema_decay={decay}")) == 2
        assert "--ema_decay" in capsys.readouterr().err
