"""A training step compared with an equal one in JAX, by the figures of a device's compiler, without the device.

    python benchmarks/accelerators.py --case=base --layers=2
    python benchmarks/accelerators.py --case=modern-base-1024 --layers=2 --target=v4:2x2x1

Cases are those of `scripts/check_accelerators.py`. `accelerators_jax.py` has the step in JAX. Both are compiled by the
same compiler (`make compilers`), one after the other. The tables show operations, bytes, memory and the compiler's
estimate of cycles side by side, then the cycles by kind of instruction and the most expensive instructions.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "scripts")]


def step_in_jax(step, target):
    """The same step in JAX: `Compiled`, or a `Refusal`."""
    from morphbert.train.accelerator_check.check import compiled_by

    with tempfile.TemporaryDirectory(prefix="morphbert-jax-") as name:
        folder = Path(name)
        # With every key: a configuration's own form leaves out the defaults.
        program = {**step.to_dict(), "bert_config": dataclasses.asdict(step.bert_config)}
        (folder / "program.json").write_text(json.dumps({"program": program}), encoding="utf-8")
        (folder / "target.json").write_text(json.dumps({"target": target.request}), encoding="utf-8")
        return compiled_by(Path(__file__).with_name("accelerators_jax.py"), folder, target)


def comparison(ours, jax):
    """The figures side by side, in Markdown, with their ratio."""
    moved = [one.bytes for one in (ours, jax)]
    if None in moved:  # the compiler counts otherwise than `program_figures`
        moved = [one.program and one.program.bytes for one in (ours, jax)]
    rows = [("GFLOP", ours.flops, jax.flops, 1e9), ("bytes accessed, GB", *moved, 1e9)]
    rows.append(("HBM, GB", ours.hbm, jax.hbm, 1e9))
    if ours.program and jax.program:
        rows.append(("million cycles", ours.program.cycles, jax.program.cycles, 1e6))
        rows.append(("fusions", ours.program.fusions, jax.program.fusions, 1))
        rows += [
            (f"products of {dtype}", *(one.program.products.get(dtype, 0) for one in (ours, jax)), 1)
            for dtype in sorted({*ours.program.products, *jax.program.products})
        ]
        rows += [
            (f"million cycles, {kind}", *(one.program.kinds.get(kind, 0) for one in (ours, jax)), 1e6)
            for kind in sorted({*ours.program.kinds, *jax.program.kinds})
        ]
    lines = ["| | morphbert | JAX | ratio |", "| --- | ---: | ---: | ---: |"]
    for name, one, other, unit in rows:
        if one is None or other is None:
            continue
        ratio = f"{one / other:.2f}" if other else ""
        digits = 0 if unit == 1 else 2
        lines.append(f"| {name} | {one / unit:,.{digits}f} | {other / unit:,.{digits}f} | {ratio} |")
    return "\n".join(lines)


def main():
    from check_accelerators import CASES, program

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", default="base", choices=CASES)
    parser.add_argument("--layers", type=int, help="in place of the model's own number")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--target", default="v5e:1x1", help="as of --compile_for")
    parser.add_argument("--most", type=int, default=12, help="how many instructions to list")
    arguments = parser.parse_args()

    from morphbert.errors import MorphbertError
    from morphbert.train.accelerator_check.check import Checker
    from morphbert.train.accelerator_check.report import Refusal
    from morphbert.train.accelerator_check.targets import parse_targets

    step = program(arguments.case, arguments.dtype)
    if arguments.layers:
        config = dataclasses.replace(step.bert_config, num_hidden_layers=arguments.layers)
        step = dataclasses.replace(step, bert_config=config)
    try:
        (target,) = parse_targets(arguments.target)
        jax = step_in_jax(step, target)
        with Checker() as checker:
            ours = checker.report(step, target).result
    except MorphbertError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
    for name, found in (("morphbert", ours), ("JAX", jax)):
        if isinstance(found, Refusal):
            sys.exit(f"the step of {name} does not compile: {found.message}")
        if found.program is None:
            sys.exit(f"the compiled program of {name} could not be read: it has no cycles by instruction")
    layers = step.bert_config.num_hidden_layers
    print(
        f"{arguments.case}, {layers} layers, {step.rows} × {step.length}, {arguments.dtype}, {target.name}\n"
    )
    print(comparison(ours, jax))
    for name, found in (("morphbert", ours), ("JAX", jax)):
        print(f"\n{name}: the most expensive instructions, cycles of all that are alike")
        for one in found.program.costs[: arguments.most]:
            print(f"{one.cycles:>11,}  {one.number:>3} × {one.kind:<11} {one.shape}  {one.origin}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
