"""Compiles a step in HLO for a TPU or a GPU, on a machine without one.

This file is a separate program and needs only JAX, in whose runtime both compilers are: `python compilation.py
FOLDER` reads FOLDER/step.hlo and FOLDER/target.json, and writes FOLDER/compilation.json and FOLDER/optimized.txt, the
program as it would run. JAX has no public call that compiles a given program: names below `jax._src` are those of the
version that constraints-xla.txt pins.
"""

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"


def stablehlo(text: str) -> str:
    """The same in StableHLO alone: XLA marks a result that is a parameter by `mhlo.copy`, which StableHLO has not."""
    operand = r'"?mhlo\.copy"?\(?\s*(%[\w#]+)\)?(?: <\{[^\n]*?\}>)?(?: \{[^\n]*?\})? : '
    text = re.sub(
        operand + r"\((tensor<[^>]*>)\) -> tensor<[^>]*>", r"stablehlo.reshape \1 : (\2) -> \2", text
    )
    return re.sub(operand + r"(tensor<[^>]*>)", r"stablehlo.reshape \1 : (\2) -> \2", text)


def donate(module: Any, inputs: int, ir: Any) -> tuple[int, int]:
    """Lets each new value of a variable take the memory of the old one, as TensorFlow's variables do.

    The parameters are `inputs` tensors of a batch and then the variables; the results are a row and then the variables.

    Returns:
      The numbers of parameters and of results.

    Raises:
      ValueError: they are others.
    """
    main = next(
        one for one in module.body.operations if ir.StringAttr(one.attributes["sym_name"]).value == "main"
    )
    module.operation.attributes["sym_name"] = ir.StringAttr.get("morphbert_step")
    parameters, results = len(main.arguments), len(main.type.results)
    if parameters - inputs != results - 1:
        raise ValueError(f"{parameters} parameters with a batch of {inputs} and {results} results with a row")
    number = ir.IntegerType.get_signless(32)
    plain = [ir.DictAttr.get({})] * inputs
    aliased = [
        ir.DictAttr.get({"tf.aliasing_output": ir.IntegerAttr.get(number, output)})
        for output in range(1, results)
    ]
    main.attributes["arg_attrs"] = ir.ArrayAttr.get([*plain, *aliased])
    return parameters, results


def device_of(target: dict[str, Any]) -> Any:
    """Returns a device that is only compiled for."""
    from jax.experimental import topologies

    if target["platform"] == "tpu":
        return topologies.get_topology_desc(target["topology"], "tpu", **target["options"]).devices[0]
    import jax_plugins.xla_cuda13 as plugin
    import nvidia
    from jax._src.lib import xla_client

    cuda = Path(next(iter(nvidia.__path__))) / "cu13"
    # Kernels cannot be tried out without the device, so that XLA has to choose them by its model of costs.
    os.environ["XLA_FLAGS"] = f"--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={cuda}"
    os.environ["PATH"] = f"{cuda / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    library = Path(next(iter(plugin.__path__))) / "xla_cuda_plugin.so"
    compiler = xla_client.load_pjrt_plugin_dynamically("cuda", str(library))
    xla_client.initialize_pjrt_plugin("cuda")
    topology = xla_client.make_c_api_device_topology(
        compiler, "one", target_config=target["description"], topology="1x1x1"
    )
    return topologies.TopologyDescription(topology._make_compile_only_devices()).devices[0]


def compile_for(target: dict[str, Any], program: bytes, inputs: int) -> tuple[dict[str, Any], str]:
    """Compiles a serialized HloModuleProto.

    Returns:
      Sizes in bytes, the compiler's own counts by their names there (`cost`; empty where it has none), and the program
      in text; an empty text where it cannot be read back.
    """
    device = device_of(target)  # before anything starts JAX: it reads its flags once
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jax._src.lib.mlir import ir

    computation = xla_client._xla.XlaComputation(program)
    text = stablehlo(xla_client._xla.mlir.xla_computation_to_mlir_module(computation))
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        parameters, results = donate(module, inputs, ir)
        result, text = compiled_for(device, module)
    return {**result, "parameters": parameters, "results": results}, text


def compiled_for(device: Any, module: Any) -> tuple[dict[str, Any], str]:
    """Compiles a module of StableHLO, and returns what `result_of` does."""
    import numpy as np
    from jax._src import compiler
    from jax._src.lib import xla_client

    placed = np.array([[device.id]])
    options = compiler.get_compile_options(1, 1, device_assignment=placed, backend=device.client)
    started = time.monotonic()
    executable = compiler.backend_compile_and_load(
        device.client, module, xla_client.DeviceList((device,)), options, []
    )
    return result_of(executable, device, time.monotonic() - started)


def result_of(executable: Any, device: Any, seconds: float) -> tuple[dict[str, Any], str]:
    """Returns the figures of a program that took `seconds` to compile, and its text, as `compile_for` returns them."""
    sizes = executable.get_compiled_memory_stats()
    result = {
        "device": device.device_kind,
        "seconds": seconds,
        "memory": {
            "arguments": sizes.argument_size_in_bytes,
            "results": sizes.output_size_in_bytes,
            "aliased": sizes.alias_size_in_bytes,
            "temporary": sizes.temp_size_in_bytes,
            "code": sizes.generated_code_size_in_bytes,
        },
        "cost": _cost(executable),
    }
    try:
        return result, executable.hlo_modules()[0].to_string()
    except Exception as error:  # a compiler that is newer than the reader of its result
        return {**result, "unread": str(error)}, ""


def _cost(executable: Any) -> dict[str, float]:
    try:
        found = executable.cost_analysis()
    except Exception:  # the GPU's has none
        return {}
    found = found[0] if isinstance(found, list) else found
    return {name: float(found[name]) for name in ("flops", "bytes accessed") if name in found}


def main(folder: Path) -> None:
    """Compiles the step in `folder`; a refusal is written down, not raised."""
    asked = json.loads((folder / "target.json").read_text(encoding="utf-8"))
    try:
        result, text = compile_for(asked["target"], (folder / "step.hlo").read_bytes(), asked["inputs"])
        (folder / "optimized.txt").write_text(text, encoding="utf-8")
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    (folder / "compilation.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
