"""The benchmarks: what they import of the package is there, and how curves are read and drawn."""

import argparse
import ast
import importlib
import json

import pytest
from samples import ROOT

FILES = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_of_the_package_is_there(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("morphbert"):
            module = importlib.import_module(node.module)
            for name in (alias.name for alias in node.names):
                if not hasattr(module, name):
                    importlib.import_module(f"{node.module}.{name}")


@pytest.fixture(scope="module")
def quality():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("time_to_quality")


def test_the_time_to_a_loss_lies_between_two_evaluations(quality):
    curve = [(5.0, 7.0), (10.0, 6.0), (15.0, 6.0), (20.0, 5.0)]
    assert quality.minutes_to(curve, 6.5) == pytest.approx(7.5)
    assert quality.minutes_to(curve, 5.5) == pytest.approx(17.5)
    assert quality.minutes_to(curve, 7.5) == 5.0  # the first evaluation: no earlier time is known
    assert quality.minutes_to(curve, 4.9) is None


def test_curves_are_drawn_as_a_picture_of_its_own(quality, tmp_path):
    import xml.etree.ElementTree as xml

    curves = {"bert": [(1.0, 7.0), (2.0, 6.2)], "modern": [(1.0, 6.5), (2.0, 5.1)]}
    quality.draw(tmp_path / "curve.svg", curves)
    root = xml.parse(tmp_path / "curve.svg").getroot()
    shapes = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert shapes.count("polyline") == 2
    assert shapes.count("circle") == 4
    words = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"ours, BERT's block", "ours, modern block", "minutes of training"} <= words


def test_a_contest_goes_on_where_it_was_stopped(quality, tmp_path):
    names = ["modern", "hf-modernbert"]
    run = {"seed": 0, "minutes": 2.0, "points": 1, "choice": "", "taken": 90, "curve": [[2.0, 5.5]]}
    tried = [{**run, "name": name, "rate": rate} for name in names for rate in (1e-3, 2e-3)]
    tried[1]["curve"] = [[2.0, 5.2]]
    tried[2]["choice"] = "sdpa, bfloat16"
    settings = {
        "train_file": "a",
        "eval_file": "b",
        "vocab_file": "c",
        "model": "tiny",
        "batch": 16,
        "dtype": "bfloat16",
        "eval_batches": 40,
        "clock": "processor",
    }
    (tmp_path / "results.json").write_text(json.dumps({"settings": settings, "runs": tried}))
    others = {"tuning_minutes": 2.0, "rates": "1e-3,2e-3", "turn": 10.0, "output": str(tmp_path)}
    arguments = argparse.Namespace(**settings, **others)
    contest = quality.Contest(arguments)
    assert contest.tuned(names) == {"modern": 2e-3, "hf-modernbert": 1e-3}  # without a contestant's process
    words = quality.report(arguments, contest.runs(dict.fromkeys(names, 1e-3), 0, 2.0, 1))
    assert "HF ModernBERT has 5.500 after 2.0 minutes; ours, modern block reaches it in 2.0" in words
    assert "seed 0: rate 0.001, sdpa, bfloat16, 90 steps" in words
    assert words.endswith("- tiny, 16 sequences a step, bfloat16, one core\n")
    arguments.batch = 32
    with pytest.raises(SystemExit, match=r"other settings.*'batch': 16.*'batch': 32.*another --output"):
        quality.Contest(arguments)


def test_evaluations_are_at_equal_distances_and_where_a_rate_begins_to_fall(quality):
    steady = quality.Run("modern", 1e-3, 1, 60.0, 6)
    assert steady.times() == [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    assert steady.due() is None
    ending = quality.Run("modern", 1e-3, 1, 60.0, 6, ends=[40.0, 60.0])
    assert ending.times() == [10.0, 20.0, 30.0, 36.0, 40.0, 50.0, 54.0, 60.0]
    ending.curve = [(minutes, 5.0) for minutes in (10.0, 20.0, 30.0)]
    assert ending.due() is None
    ending.curve.append((36.0, 5.0))
    assert ending.due() == 40.0
    ending.ended.append((40.1, 4.9))
    assert ending.due() is None
