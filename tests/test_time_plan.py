"""A run of a given duration: the plan's arithmetic, the plan in the checkpoint, the same bits after a kill."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import arguments, assert_same, curve, go_back_to, killed_soon
from samples import ROOT

from morphbert.cli.run_pretraining import main
from morphbert.errors import MorphbertError, UsageError
from morphbert.train.checkpoint import Checkpoints, read_state
from morphbert.train.log import read_metrics
from morphbert.train.time_plan import Costs, Stops, parse_train_time, planned_before, seconds_of, steps_in


def test_durations_have_units():
    assert [parse_train_time(text) for text in ("90s", "30m", "1.5h", " 2 m ")] == [
        90.0,
        1800.0,
        5400.0,
        120.0,
    ]


@pytest.mark.parametrize(
    "text", ["30", "m", "0m", "-1h", "1h30m", "30 min", "nans", "", "1e3s", "9" * 400 + "h"]
)
def test_what_is_no_duration_is_said(text):
    with pytest.raises(UsageError, match=r"--train_time=.*Example: 30m"):
        parse_train_time(text)


def test_the_plan_is_what_fits():
    costs = Costs(spent=10, begin=0, step=0.5, save=2)
    assert steps_in(100, costs, Stops(save_every=1000)) == 172  # 10 + 2 at the start + 86 + 2 at the end
    # 10 evaluations of 3 s, each of which may be saved as the best: 10 + 2 + 42 + 10 · 3 + 10 · 2 + 2 = 106
    with_evaluations = Stops(save_every=1000, eval_every=9)
    costs = Costs(spent=10, begin=0, step=0.5, save=2, evaluation=3)
    assert seconds_of(84, costs, with_evaluations) == 106
    assert steps_in(106, costs, with_evaluations) == 84
    assert steps_in(60, costs, Stops(10, eval_at_start=True, eval_at_end=True)) == 60
    with pytest.raises(MorphbertError, match="a run of one step takes 15 s here, 10 s of them"):
        steps_in(12, Costs(10, 0, 0.5, 2), Stops(10))


seconds = st.floats(1e-3, 10.0)


@given(
    st.builds(Costs, st.floats(0, 50), st.floats(0, 50), seconds, st.floats(0, 20), st.floats(0, 20)),
    st.builds(Stops, st.integers(1, 500), st.none() | st.integers(1, 500), st.booleans(), st.booleans()),
    st.floats(500, 5000),
)
def test_one_step_more_would_not_end_in_time(costs, stops, budget):
    steps = steps_in(budget, costs, stops)
    assert seconds_of(steps, costs, stops) <= budget < seconds_of(steps + 1, costs, stops)


def test_a_run_without_a_plan_gets_none_later(capsys):
    plan = {"train_time": 60.0, "num_train_steps": 7}
    assert planned_before(plan, 5, 60.0, "x") == 7
    assert capsys.readouterr().out == ""
    assert planned_before(plan, 5, 90.0, "x") == 7
    assert "has the plan of 60 s, 7 steps, which stays" in capsys.readouterr().out
    assert planned_before(None, 0, 60.0, "x") is None
    with pytest.raises(MorphbertError, match="--num_train_steps"):
        planned_before(None, 5, 60.0, "x")


@pytest.mark.parametrize("other", ["--num_train_steps=5", "--num_train_epochs=1", "--dry_run"])
def test_a_duration_and_a_number_exclude_each_other(other, records, tiny_config, tmp_path, capsys):
    flags = timed(arguments(records, tiny_config, tmp_path / "x", "--train_time=1m"))
    assert main([*flags, other]) == 2
    assert f"--train_time or {other.partition('=')[0]}" in capsys.readouterr().err
    assert main([flag for flag in flags if flag != "--do_train"] + ["--do_eval"]) == 2
    assert "--do_train" in capsys.readouterr().err


# ── a run ──────────────────────────────────────────────────────────────────────────────────────────────────

FLAGS = (
    "--train_time=5m",
    "--save_checkpoints_steps=5",
    "--eval_every=5",
    "--max_eval_steps=2",
    "--log_steps=5",
)


def timed(flags):
    """Without the numbers that the plan decides."""
    return [flag for flag in flags if not flag.startswith(("--num_train_steps", "--num_warmup_steps"))]


@pytest.fixture(scope="module")
def until_step_10():
    """Runs the command until its checkpoint at step 10, as a signal at that moment ends it."""
    save = Checkpoints.save

    def saved(self, step):
        path = save(self, step)
        if step == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return path

    def run(flags):
        Checkpoints.save = saved
        try:
            return main(flags)
        finally:
            Checkpoints.save = save

    return run


@pytest.fixture(scope="module")
def begun(records, tiny_config, tmp_path_factory, until_step_10):
    """The first steps of a run of five minutes, of which even a slow machine takes ten."""
    output = tmp_path_factory.mktemp("plan")
    assert until_step_10(timed(arguments(records, tiny_config, output, *FLAGS))) == 128 + signal.SIGTERM
    return output


def test_the_plan_is_in_the_checkpoint_before_the_first_step(begun):
    found = read_state(str(begun / "model.ckpt-0"))
    plan, settings = found.state["plan"], found.state["settings"]
    assert found.step == 0
    costs = Costs(**{name: plan[name] for name in ("spent", "begin", "step", "save", "evaluation")})
    assert all(value > 0 for value in plan.values())
    assert plan["train_time"] == 300.0
    assert plan["num_train_steps"] == steps_in(300.0, costs, Stops(5, 5)) == settings["num_train_steps"]
    assert settings["num_warmup_steps"] == int(0.1 * plan["num_train_steps"])
    assert read_state(str(begun / "model.ckpt-10")).state["plan"] == plan
    assert not (begun / "timing").exists()


def test_lines_say_what_share_of_the_time_moved_the_weights(begun):
    lines = [line for line in read_metrics(str(begun / "metrics.jsonl")) if line["kind"] == "train"]
    assert [line["step"] for line in lines] == [5, 10]
    for line in lines:
        assert line["goodput"] == pytest.approx(line["moved_seconds"] / line["wall_seconds"])
        assert 0 < line["goodput"] < 1
    assert lines[0]["moved_seconds"] < lines[1]["moved_seconds"]


def test_the_plan_is_a_run_of_that_many_steps(begun, records, tiny_config, tmp_path, until_step_10):
    steps = read_state(str(begun / "model.ckpt-0")).state["plan"]["num_train_steps"]
    flags = arguments(records, tiny_config, tmp_path / "same", *FLAGS[1:], f"--num_train_steps={steps}")
    flags = [flag for flag in flags if not flag.startswith("--num_warmup_steps")]
    assert until_step_10([*flags, "--warmup_proportion=0.1"]) == 128 + signal.SIGTERM
    assert_same(begun / "model.ckpt-10", tmp_path / "same" / "model.ckpt-10")
    assert curve(begun) == curve(tmp_path / "same")


@pytest.mark.long
def test_killed_and_continued_it_reaches_the_same_bits(
    begun, records, tiny_config, tmp_path, until_step_10, capsys
):
    output = tmp_path / "killed"
    go_back_to(0, begun, output)
    flags = list(map(str, timed(arguments(records, tiny_config, output, *FLAGS))))
    command = [sys.executable, str(ROOT / "run_pretraining.py"), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("step 5/"):
            break
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    for path in output.glob("model.ckpt-10*"):  # where the kill came late
        path.unlink()
    assert until_step_10(flags) == 128 + signal.SIGTERM
    said = capsys.readouterr().out
    assert "plan:" not in said
    assert "goodput" in said
    assert_same(begun / "model.ckpt-10", output / "model.ckpt-10")
    assert curve(begun) == curve(output)


@pytest.mark.slow
def test_killed_ten_times_and_continued_it_reaches_the_same_bits(
    records, tiny_config, tmp_path, until_step_10
):
    flags = ("--train_time=1m", "--save_checkpoints_steps=10", "--log_steps=100", "--keep_checkpoint_max=2")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert until_step_10(timed(arguments(records, tiny_config, whole, *flags))) == 128 + signal.SIGTERM
    go_back_to(0, whole, killed)
    steps = read_state(str(whole / "model.ckpt-0")).state["plan"]["num_train_steps"]
    assert main(timed(arguments(records, tiny_config, whole, *flags))) == 0
    program = [sys.executable, str(ROOT / "run_pretraining.py")]
    command = [*program, *map(str, timed(arguments(records, tiny_config, killed, *flags)))]
    random = np.random.default_rng(2)
    assert [killed_soon(command, random) for _ in range(10)] == [True] * 10
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert_same(whole / f"model.ckpt-{steps}", killed / f"model.ckpt-{steps}")
    assert curve(whole) == curve(killed)
