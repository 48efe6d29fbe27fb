"""Compiles training steps of given models for TPUs and GPUs that this machine lacks, and prints a table of the results.

    python scripts/check_accelerators.py --targets=v5e:1x1,h100                   # tiny ones: minutes
    python scripts/check_accelerators.py --targets=v5e:1x1 --cases=base,large     # by name
    python scripts/check_accelerators.py --targets=v5e:1x1,h100 --all --table=table.md

The exit status is 1 if a step does not compile or does not fit, or if a small one in bfloat16 has products of another
dtype on a GPU. `run_pretraining.py --compile_for` is the same for a
run's own model and records. Needs `make compilers`.
"""

import argparse
import dataclasses
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PIECES = 32_000
QUICK = ("bert", "modern")
# Name → model, rows, L, P, and values that are not defaults.
CASES = {
    # One layer is as good as two, and the modern block's second one is the first with local attention.
    "bert": ("tiny", 32, 128, 20, {"layers": 1}),
    "modern": ("modern-tiny", 32, 128, 20, {}),
    "tiny": ("tiny", 32, 128, 20, {}),
    "mini": ("mini", 32, 128, 20, {}),
    "modern-mini": ("modern-mini", 32, 128, 20, {}),
    "base": ("base", 32, 128, 20, {}),
    "base-512": ("base", 32, 512, 77, {}),
    "large": ("large", 32, 128, 20, {}),
    "modern-base": ("modern-base", 32, 128, 20, {}),
    "modern-base-1024": ("modern-base", 8, 1024, 154, {}),
    "modern-base-8192": ("modern-base", 1, 8192, 1229, {}),
    "mini-512": ("mini", 32, 512, 77, {}),
    "recompute": ("mini", 32, 512, 77, {"recompute": True}),
    "recompute attention": ("mini", 32, 512, 77, {"recompute": True, "recompute_policy": "attention"}),
    "accumulate": ("mini", 32, 128, 20, {"gradient_accumulation_steps": 4}),
    "packed": ("mini", 32, 128, 20, {"examples": 4}),
    "lamb": ("mini", 32, 128, 20, {"optimizer": "lamb"}),
    "muon": ("mini", 32, 128, 20, {"optimizer": "muon"}),
    "electra-small": ("electra-small", 32, 128, 20, {"generator_size": 0.25}),
    "average, z-loss": ("mini", 32, 128, 20, {"ema_decay": 0.999, "z_loss": 1e-4}),
}
# In place of float32 and bfloat16.
DTYPES = dict.fromkeys(
    ("base-512", "large", "modern-base-1024", "modern-base-8192", "mini-512", "recompute attention"),
    ("bfloat16",),
)


def program(name, dtype):
    """A case's step in a dtype."""
    from morphbert.data.records import RecordLayout, RecordShape
    from morphbert.model.config import BertConfig
    from morphbert.model.electra import Electra, generator_of
    from morphbert.train.accelerator_check.of_run import batch_of
    from morphbert.train.accelerator_check.program import StepProgram
    from morphbert.train.input.records import RecordFormat
    from morphbert.train.optimizers.config import ScheduledConfig
    from morphbert.train.step_config import StepConfig

    model, rows, length, predictions, more = CASES[name]
    sizes = json.loads(
        (ROOT / "morphbert" / "model" / "configs" / f"{model}.json").read_text(encoding="utf-8")
    )
    layers = more.get("layers", sizes["num_hidden_layers"])
    config = BertConfig.from_dict({**sizes, "vocab_size": PIECES, "num_hidden_layers": layers})
    layout = RecordLayout(config.next_sentence_head, examples=more.get("examples", 0))
    form = RecordFormat(RecordShape(length, predictions), PIECES, max(1, config.type_vocab_size), layout)
    of_step = {field.name for field in dataclasses.fields(StepConfig)}
    steps = {key: value for key, value in more.items() if key in of_step}
    return StepProgram(
        bert_config=config,
        optimizer=ScheduledConfig(optimizer=more.get("optimizer", "adam")),
        step=StepConfig(dtype=dtype, xla=True, **steps),
        batch=batch_of(form, rows),
        z_loss=more.get("z_loss", 0.0),
        ema_decay=more.get("ema_decay"),
        electra=Electra(generator_of(config, more["generator_size"])) if "generator_size" in more else None,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", required=True, help="as of --compile_for")
    parser.add_argument("--cases", default=",".join(QUICK), help=f"some of {', '.join(CASES)}")
    parser.add_argument("--all", action="store_true", help="all cases, and float16 for GPUs")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--jobs", type=int, default=1, help="steps that are compiled at once, 1 to 3 GB each")
    parser.add_argument("--table", type=Path, help="a file for the table, in Markdown")
    arguments = parser.parse_args()

    from morphbert.errors import MorphbertError
    from morphbert.train.accelerator_check.check import Checker
    from morphbert.train.accelerator_check.report import describe, table
    from morphbert.train.accelerator_check.targets import parse_targets

    names = list(CASES) if arguments.all else arguments.cases.split(",")
    reports = []
    try:
        chosen = [
            (program(name, dtype), target, name)
            for target in parse_targets(arguments.targets)
            for name, dtype in _steps(names, target, arguments)
        ]
        with Checker() as checker, ThreadPoolExecutor(arguments.jobs) as threads:
            for report in threads.map(lambda one: checker.report(*one), chosen):
                reports.append(report)
                print(describe(report), flush=True)
    except MorphbertError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
    print(f"\n{table(reports)}")
    if arguments.table:
        arguments.table.write_text(table(reports) + "\n")
    failed = sum(not report.fits or has_wide_products(report) for report in reports)
    print(f"\n{len(reports) - failed} of {len(reports)} steps compile and fit")
    return 1 if failed else 0


def has_wide_products(report):
    """Whether a small step in bfloat16 has products of other dtypes on a GPU, or none that can be read; says so."""
    from morphbert.train.accelerator_check.report import Compiled

    program = report.result.program if isinstance(report.result, Compiled) else None
    asked = report.target.device.platform == "GPU" and report.dtype == "bfloat16" and report.model in QUICK
    products = {} if program is None else program.products
    if not asked or products.keys() == {"bf16"}:
        return False
    print(
        f"{report.target.name}, {report.model}: all products are expected in bf16, and these are found: {products}"
    )
    return True


def _steps(names, target, arguments):
    """Names of cases, each with a dtype."""
    for name in names:
        known = DTYPES.get(name) if arguments.all else None
        for dtype in known or arguments.dtypes.split(","):
            yield name, dtype
    if arguments.all and target.device.platform == "GPU":
        yield "mini", "float16"


if __name__ == "__main__":
    sys.exit(main())
