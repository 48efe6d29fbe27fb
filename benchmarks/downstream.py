r"""What pretraining is worth to a task: the same recipe over several pretrained models, one table and a curve.

    python benchmarks/downstream.py run_classifier.py --figure=accuracy --seeds=3 --output=out/downstream/nsmc \
        --model=random --model=out/model/model.ckpt-2000 --model=out/model/model.ckpt-8000 \
        --model=a-hugging-face-folder -- --config=configs/nsmc.yaml --num_train_steps=500

The flags after `--` are those of the task's command, the same for each model. A model is whatever `--init_checkpoint`
takes; `random` has random weights, with the configuration of the first other model. Without `--vocab_file`
each has the vocabulary beside it, and `random` the first one's. The results are OUTPUT/table.md and
OUTPUT/curve.svg (the figure by pretraining step, where models are checkpoints of a run). A model whose runs are there
is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from morphbert.cli import FINE_TUNING
from morphbert.pages.figures import line_plot
from morphbert.pages.rendering import render

ROOT = Path(__file__).resolve().parent.parent
RANDOM = "random"


def main() -> int:
    """Runs the task for each model and writes table and curve."""
    arguments = _arguments()
    results = {}
    for model in arguments.model:
        name = re.sub(r"[^\w.-]+", "-", model.strip("/."))
        folder = Path(arguments.output) / name
        status = _run(arguments, model, folder)
        if status:
            return status
        results[model] = _figures(folder, arguments.figure)
    table = _table(arguments, results)
    (Path(arguments.output) / "table.md").write_text(table, encoding="utf-8")
    print(table)
    _draw(arguments, results)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = [f"{command}.py" for command in FINE_TUNING]
    parser.add_argument("command", choices=commands, help="the task's command")
    parser.add_argument(
        "--model", action="append", required=True, help="a pretrained model, or random; repeat it"
    )
    parser.add_argument(
        "--figure", required=True, help="which of the command's figures counts, such as accuracy"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each model, with other seeds")
    parser.add_argument("--output", required=True, help="folder for the runs, table.md and curve.svg")
    parser.epilog = "Flags of the command follow after --."
    # argparse would take the command's flags for its own.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments = parser.parse_args(sys.argv[1:end])
    arguments.flags = sys.argv[end + 1 :]
    if all(model == RANDOM for model in arguments.model):
        parser.error("give a pretrained --model beside random, whose configuration the random one has")
    return arguments


def _run(arguments: argparse.Namespace, model: str, folder: Path) -> int:
    if (folder / "seeds.json").exists():
        return 0
    start = [f"--init_checkpoint={model}"]
    if model == RANDOM:
        first = _folder(next(other for other in arguments.model if other != RANDOM))
        start = ["--init_checkpoint=", f"--bert_config_file={_config(first)}"]
        if not any(flag.lstrip("-").startswith("vocab_file") for flag in arguments.flags):
            start.append(f"--vocab_file={first}")
    command = [sys.executable, str(ROOT / arguments.command), *arguments.flags, *start]
    command += [f"--output_dir={folder}", f"--num_seeds={arguments.seeds}"]
    print(f"== {model}", flush=True)
    return subprocess.run(command, check=False).returncode


def _folder(model: str) -> str:
    return model if os.path.isdir(model) else os.path.dirname(model)


def _config(folder: str) -> str:
    """Our configuration of a pretrained model, also where the model is of another format."""
    path = os.path.join(folder, "bert_config.json")
    if not os.path.exists(path):
        sys.exit(
            f"{folder} has no bert_config.json for the random model: run import_model.py on it, and give that."
        )
    return path


def _figures(folder: Path, figure: str) -> tuple[list[float], dict[str, float]]:
    """Of each seed, and the summary."""
    if (folder / "seeds.json").exists():
        content = json.loads((folder / "seeds.json").read_text(encoding="utf-8"))
        return [one[figure] for one in content["seeds"].values()], content["summary"]
    lines = (folder / "eval_results.txt").read_text(encoding="utf-8").splitlines()
    values = {name: float(value) for name, value in (line.split(" = ") for line in lines)}
    return [values[figure]], values


def _table(arguments: argparse.Namespace, results: dict[str, tuple[list[float], dict[str, float]]]) -> str:
    figure = arguments.figure
    base = results.get(RANDOM)
    lines = [f"| model | {figure} | seeds | over random |", "| --- | ---: | --- | ---: |"]
    for model, (values, summary) in results.items():
        mean, spread = summary[figure], summary.get(f"{figure}_std", 0.0)
        over = "" if base is None or model == RANDOM else f"{mean - base[1][figure]:+.4f}"
        each = ", ".join(f"{value:.4f}" for value in values)
        lines.append(f"| {model} | {mean:.4f} ± {spread:.4f} | {each} | {over} |")
    return "\n".join(lines) + "\n"


def _draw(arguments: argparse.Namespace, results: dict[str, tuple[list[float], dict[str, float]]]) -> None:
    points = []
    for model, (_, summary) in results.items():
        step = re.search(r"ckpt-(\d+)$", model)
        if step or model == RANDOM:
            points.append((float(step[1]) if step else 0.0, summary[arguments.figure]))
    if len(points) < 2:
        return
    title = f"{arguments.figure} of {arguments.command} by pretraining step"
    plot = line_plot(title, {arguments.figure: sorted(points)}, "pretraining step")
    (Path(arguments.output) / "curve.svg").write_text(render("line_plot.svg", plot=plot), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
