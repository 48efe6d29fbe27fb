"""Writes the compiled training step as one file of XLA's HLO, to be timed where there is a device and no TensorFlow.

    python benchmarks/export_step.py --model=base --length=512 --predictions=77 --dtype=bfloat16 --output=step.hlo.pb

The file is a serialized HloModuleProto of one whole step of one replica: loss, gradients, clipping and update. Beside
it, OUTPUT.parameters.txt names its arguments: the batch, then the variables (weights, moments, step) in the order in
which the step captures them. It returns loss, norm and the variables' new values. An XLA runtime, such as JAX's,
compiles it for its device.
"""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main():
    import training as benchmark

    parser = benchmark.parser_of_step(__doc__, "base", "bfloat16")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    arguments.xla = True

    import tensorflow as tf

    training, objective, model, optimizer = benchmark.our_training(arguments)
    names = sorted(batch := benchmark.batch_of(arguments))

    @tf.function(jit_compile=True)
    def step(*values):
        given = dict(zip(names, values, strict=True))
        counts = dict(objective.count(given))
        gradients, sums = training._gradients(given, counts, optimizer.step, tf.constant(0))
        norm, _ = optimizer.apply(model.parameters, dict(zip(model.parameters, gradients, strict=True)))
        return objective.loss(dict(zip(objective.sums, sums, strict=True)), counts), norm

    values = [tf.constant(batch[name]) for name in names]
    module = step.experimental_get_compiler_ir(*values)(stage="hlo_serialized")
    Path(arguments.output).write_bytes(module)
    traced = step.get_concrete_function(*values)
    by_handle = {id(variable.handle): variable for variable in traced.graph.variables}
    variables = [by_handle[id(handle)] for handle in traced.captured_inputs if id(handle) in by_handle]
    taken = [f"{name} {list(batch[name].shape)}" for name in names]
    taken += [f"{variable.name.removesuffix(':0')} {variable.shape.as_list()}" for variable in variables]
    Path(f"{arguments.output}.parameters.txt").write_text("\n".join(taken) + "\n")
    flops = benchmark.step_flops(arguments)
    print(
        f"{arguments.output}: {len(module) / 1e6:.1f} MB, {len(taken)} parameters, {flops / 1e9:.1f} GFLOP a step"
    )


if __name__ == "__main__":
    main()
