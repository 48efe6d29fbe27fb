"""Muon and an average of the weights in a whole run: resumed bit for bit, the same on two replicas as on one."""

import pytest
from runs import arguments, assert_same, go_back_to, logged, tensors

from morphbert.cli.run_pretraining import main

FLAGS = (
    "--optimizer=muon",
    "--num_train_steps=6",
    "--save_checkpoints_steps=3",
    "--num_warmup_steps=0",
    "--ema_decay=0.9",
)


@pytest.fixture(scope="module")
def finished(records, still_config, tmp_path_factory):
    output = tmp_path_factory.mktemp("muon")
    assert main(arguments(records, still_config, output, *FLAGS, "--log_steps=1")) == 0
    return output


def test_a_resumed_run_reaches_the_same_bits(finished, records, still_config, tmp_path, capsys):
    lines = logged(finished)
    assert lines[-1]["loss"] < lines[0]["loss"]
    moments = [name for name in tensors(finished / "model.ckpt-6") if "/muon_m/" in name]
    assert len(moments) == 2 * 6  # the matrices of both layers
    go_back_to(3, finished, tmp_path / "part")
    assert main(arguments(records, still_config, tmp_path / "part", *FLAGS)) == 0
    assert "warning" not in capsys.readouterr().out
    assert_same(finished / "model.ckpt-6", tmp_path / "part" / "model.ckpt-6")


@pytest.mark.parametrize(("optimizer", "missing"), [("adamw", "adam_m"), ("lamb", "adam_m")])
def test_another_optimizer_cannot_go_on_without_its_moments(
    optimizer, missing, finished, records, still_config, tmp_path, capsys
):
    go_back_to(3, finished, tmp_path / "part")
    assert main(arguments(records, still_config, tmp_path / "part", *FLAGS, f"--optimizer={optimizer}")) == 1
    error = capsys.readouterr().err
    assert f"model.ckpt-3 has no {missing} of bert/encoder/layer_0/attention/self/query/kernel" in error
    assert "--init_checkpoint" in error


@pytest.mark.long
@pytest.mark.distributed
def test_two_replicas_reach_the_weights_of_one(finished, records, still_config, tmp_path, replicas):
    done = replicas("run_pretraining", *arguments(records, still_config, tmp_path / "two", *FLAGS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same(finished / "model.ckpt-6", tmp_path / "two" / "model.ckpt-6", tolerance=2e-5)
