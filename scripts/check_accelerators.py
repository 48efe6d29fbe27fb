"""Compiles training steps of given models for TPUs and GPUs that are not there, and prints a table of what comes out.

    python scripts/check_accelerators.py --targets=v5e:1x1,h100                   # tiny ones: minutes
    python scripts/check_accelerators.py --targets=v5e:1x1 --cases=base,large     # by name
    python scripts/check_accelerators.py --targets=v5e:1x1,h100 --all --table=table.md

The exit status is 1 if a step does not compile or does not fit. `run_pretraining.py --compile_for` is the same for a
run's own model and records. Needs `make compilers`.
"""

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PIECES = 32_000
TINY = ("bert", "modern")
# Name → model, rows, L, P, and what is not a default.
CASES = {
    "bert": ("tiny", 32, 128, 20, {}),
    "modern": ("modern-tiny", 32, 128, 20, {}),
    "mini": ("mini", 32, 128, 20, {}),
    "modern-mini": ("modern-mini", 32, 128, 20, {}),
    "base": ("base", 32, 128, 20, {}),
    "base-512": ("base", 32, 512, 77, {}),
    "large": ("large", 32, 128, 20, {}),
    "modern-base": ("modern-base", 32, 128, 20, {}),
    "modern-base-1024": ("modern-base", 8, 1024, 154, {}),
    "recompute": ("mini", 32, 512, 77, {"recompute": True}),
    "accumulate": ("mini", 32, 128, 20, {"gradient_accumulation_steps": 4}),
    "packed": ("mini", 32, 128, 20, {"examples": 4}),
    "lamb": ("mini", 32, 128, 20, {"optimizer": "lamb"}),
    "muon": ("mini", 32, 128, 20, {"optimizer": "muon"}),
    "average, z-loss": ("mini", 32, 128, 20, {"ema_decay": 0.999, "z_loss": 1e-4}),
}
# In place of float32 and bfloat16.
DTYPES = {"base-512": ("bfloat16",), "large": ("bfloat16",), "modern-base-1024": ("bfloat16",)}


def program(name, dtype):
    """A case's step in a dtype."""
    from morphbert.data.records import RecordLayout, RecordShape
    from morphbert.model.config import BertConfig
    from morphbert.train.accelerator_check.of_run import batch_of
    from morphbert.train.accelerator_check.program import StepProgram
    from morphbert.train.input.records import RecordFormat
    from morphbert.train.optimizers.config import OptimizerConfig
    from morphbert.train.step_config import StepConfig

    model, rows, length, predictions, more = CASES[name]
    sizes = json.loads((ROOT / "morphbert" / "model" / "configs" / f"{model}.json").read_text())
    config = BertConfig.from_dict({**sizes, "vocab_size": PIECES})
    layout = RecordLayout(config.next_sentence_head, examples=more.get("examples", 0))
    form = RecordFormat(RecordShape(length, predictions), PIECES, max(1, config.type_vocab_size), layout)
    steps = {key: more[key] for key in ("recompute", "gradient_accumulation_steps") if key in more}
    return StepProgram(
        config,
        OptimizerConfig(optimizer=more.get("optimizer", "adam")),
        StepConfig(dtype=dtype, xla=True, **steps),
        batch_of(form, rows),
        more.get("z_loss", 0.0),
        more.get("ema_decay"),
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", required=True, help="as of --compile_for")
    parser.add_argument("--cases", default=",".join(TINY), help=f"some of {', '.join(CASES)}")
    parser.add_argument("--all", action="store_true", help="all cases, and float16 for GPUs")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--table", type=Path, help="a file for the table, in Markdown")
    arguments = parser.parse_args()

    from morphbert.errors import MorphbertError
    from morphbert.train.accelerator_check.check import Checker
    from morphbert.train.accelerator_check.report import describe, table
    from morphbert.train.accelerator_check.targets import parse_targets

    names = list(CASES) if arguments.all else arguments.cases.split(",")
    reports = []
    try:
        targets = parse_targets(arguments.targets)
        with Checker() as checker:
            for target in targets:
                chosen = [(name, dtype) for name in names for dtype in _dtypes(name, arguments)]
                if arguments.all and target.device.platform == "GPU":
                    chosen.append(("mini", "float16"))
                for name, dtype in chosen:
                    reports.append(checker.report(program(name, dtype), target, name))
                    print(describe(reports[-1]), flush=True)
    except MorphbertError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
    print(f"\n{table(reports)}")
    if arguments.table:
        arguments.table.write_text(table(reports) + "\n")
    failed = sum(not report.fits for report in reports)
    print(f"\n{len(reports) - failed} of {len(reports)} steps compile and fit")
    return 1 if failed else 0


def _dtypes(name, arguments):
    return DTYPES.get(name, ()) if arguments.all and name in DTYPES else arguments.dtypes.split(",")


if __name__ == "__main__":
    sys.exit(main())
