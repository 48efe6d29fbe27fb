"""`--compile_for`: targets, the step that is lowered, what is read from a compiled program, and the arithmetic."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from runs import arguments
from samples import ROOT, write_config

from morphbert.cli.run_pretraining import main
from morphbert.data.records import RecordLayout, RecordShape
from morphbert.errors import UsageError
from morphbert.model.config import BertConfig
from morphbert.model.electra import Electra, discriminator_of, generator_of
from morphbert.model.parameters import TrainableModel
from morphbert.train.accelerator_check import check, of_run
from morphbert.train.accelerator_check.compilation import stablehlo
from morphbert.train.accelerator_check.figures import program_figures, size_of
from morphbert.train.accelerator_check.lowering import lower, step_function, variables_of
from morphbert.train.accelerator_check.of_run import batch_of
from morphbert.train.accelerator_check.program import StepProgram
from morphbert.train.accelerator_check.report import (
    COLUMNS,
    CompilationReport,
    Compiled,
    describe,
    refusal,
    table,
)
from morphbert.train.accelerator_check.targets import DEVICES, gpu_description, parse_targets
from morphbert.train.input.records import RecordFormat
from morphbert.train.objective import objective_of, pretraining_objective
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.optimizers.optimizer import Optimizer
from morphbert.train.step import TrainingStep
from morphbert.train.step_config import StepConfig
from morphbert.train.train_state import TrainState

# ── targets ────────────────────────────────────────────────────────────────────────────────────────────


def test_targets_are_devices_and_their_number():
    found = parse_targets("v5e:2x2, v3:2x2,v4:2x2x1,h100:8,L4")
    assert [target.replicas for target in found] == [4, 8, 4, 8, 1]
    kinds = [target.environment.get("TPU_ACCELERATOR_TYPE") for target in found]
    assert kinds == ["v5litepod-4", "v3-8", "v4-8", None, None]  # as Google Cloud calls them


@pytest.mark.parametrize(
    "text", ["v7:2x2", "v5e", "v5e:2x2x1", "v4:2x2", "h100:0", "h100:2x2", "", "v5e:0x2"]
)
def test_another_target_is_refused_with_the_forms_that_there_are(text):
    with pytest.raises(UsageError, match=r"v5e:2x2.*h100:8|number of GPUs"):
        parse_targets(text)


@pytest.mark.parametrize("name", DEVICES)
def test_every_device_has_a_peak_and_a_request_that_is_json(name):
    device = DEVICES[name]
    assert device.peak("bfloat16") >= device.peak("float32") > 1e13
    target = parse_targets(name + (":" + "x".join("2" * device.axes) if device.axes else ""))[0]
    assert json.loads(json.dumps(target.request)) == target.request
    if device.clock is not None:  # a matrix unit is 128 × 128, two operations a cycle
        assert device.peak("bfloat16") / device.clock / (2 * 128 * 128) == pytest.approx(
            {"v2": 1, "v3": 2, "v4": 8, "v5e": 4, "v5p": 8}[name], rel=0.02
        )


def test_a_gpu_is_described_in_the_words_of_xla():
    text = gpu_description(DEVICES["a100"])
    assert "core_count: 108\n" in text
    assert "cuda_compute_capability { major: 8 minor: 0 }" in text
    assert text.count("{") == text.count("}")


# ── the step that is lowered ───────────────────────────────────────────────────────────────────────────


def program_of(folder, step=None, layout=None, **more):
    sizes = {"num_hidden_layers": 1, **more.pop("config", {})}
    config = BertConfig.from_json_file(str(write_config(folder / "c.json", **sizes)))
    if more.pop("electra", False):
        config = discriminator_of(config, "c.json")
        more["electra"] = Electra(generator_of(config, 0.5), discriminator_weight=1.0)
        layout = RecordLayout(next_sentence=False)
    form = RecordFormat(
        RecordShape(32, 5), config.vocab_size, config.type_vocab_size, layout or RecordLayout()
    )
    optimizer = ScheduledConfig(num_warmup_steps=0, **more.pop("optimizer", {}))
    return StepProgram(config, optimizer, StepConfig(**(step or {})), batch_of(form, 4), **more)


def test_a_program_can_be_sent_to_another_process(tmp_path):
    program = program_of(
        tmp_path, {"dtype": "bfloat16"}, RecordLayout(examples=3), ema_decay=0.9, z_loss=1e-4
    )
    assert StepProgram.from_dict(json.loads(json.dumps(program.to_dict()))) == program
    assert {one.name for one in program.batch} >= {"input_ids", "sequence_ids", "cls_positions"}
    other = program_of(tmp_path, electra=True)
    assert StepProgram.from_dict(json.loads(json.dumps(other.to_dict()))) == other
    larger = program.with_rows(12)
    assert (larger.rows, larger.length, larger.predictions) == (12, 32, 5)


def one_step_of_training(program, batch, initial):
    """The row of `TrainingStep.run` and all variables after a step, in the order of `variables_of`."""
    objective = objective_of(program)
    strategy = tf.distribute.OneDeviceStrategy("/CPU:0")
    with strategy.scope():
        model = TrainableModel(program.bert_config, objective.parameters, program.step.seed)
        optimizer = Optimizer(program.optimizer, objective.parameters)
        train_state = TrainState.of(model, optimizer, program.step.dtype, program.ema_decay)
    scale, average = train_state.loss_scale, train_state.average
    moments = [getattr(optimizer, name) for name in ("adam_m", "adam_v")]
    variables = [*model.parameters.values(), optimizer.step, *(v for one in moments for v in one.values())]
    variables += [scale.scale, scale.good_steps] if scale else []
    variables += list(average.model.parameters.values()) if average else []
    for variable, value in zip(variables, initial, strict=True):
        variable.assign(value)
    step = dataclasses.replace(program.step, xla=True)
    training = TrainingStep(objective, train_state, strategy, step)
    row = training.run(iter(tf.data.Dataset.from_tensors(batch).repeat()), tf.constant(1))[0][0]
    return row.numpy(), [variable.numpy() for variable in variables]


# Half of the compilation is that of dropout: the first two cases have it, whole and in parts.
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# Gradients that overflow take the other branch, in which no weight changes.
CASES = {
    "plain": ({}, {}),
    "accumulated, average": (
        {"gradient_accumulation_steps": 2, "recompute": True},
        {"ema_decay": 0.9, "z_loss": 1e-3},
    ),
    "float16 overflows": ({"dtype": "float16"}, {"ema_decay": 0.9, "config": STILL}),
    "ELECTRA": ({}, {"electra": True, "config": STILL}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_the_step_that_is_lowered_computes_what_training_computes(name, tmp_path):
    """On a device that is here, from the same weights, moments and batch."""
    step, more = CASES[name]
    program = program_of(tmp_path, step, **more)
    random = np.random.default_rng(3)
    limits = {"masked_lm_positions": 32, "segment_ids": 2, "next_sentence_labels": 2, "input_mask": 2}
    batch = {
        one.name: tf.constant(random.integers(0, limits.get(one.name, 100), one.shape), one.dtype)
        for one in program.batch
    }
    places = random.permuted(np.tile(np.arange(32), (4, 1)), axis=1)[:, :5]  # no piece is masked twice
    batch["masked_lm_positions"] = tf.constant(places, tf.int32)
    initial = [_initial(random, spec, "overflows" in name) for spec in variables_of(program)]
    expected_row, expected = one_step_of_training(program, batch, initial)
    row, *after = step_function(program)(*(batch[one.name] for one in program.batch), *initial)
    np.testing.assert_allclose(row, expected_row, rtol=1e-5, atol=1e-6)
    still = set()
    for spec, value, wanted, before in zip(variables_of(program), after, expected, initial, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6)
        still |= {spec.name} if np.array_equal(value, before) else set()
    # After an overflow the weights and moments stay, and the scale, the step and the average move.
    moving = {"loss_scale", "good_steps", "step"}
    weights = {spec.name for spec in variables_of(program) if not spec.name.startswith("average/")} - moving
    assert still == (weights if "overflows" in name else set())


def _initial(random, spec, overflows):
    if spec.name == "loss_scale":
        return np.float32(2.0**24 if overflows else 8.0)
    if spec.dtype.is_integer:
        return np.asarray(3, spec.dtype.as_numpy_dtype)
    return np.abs(random.normal(0.0, 0.05, spec.shape)).astype(np.float32)


def test_the_step_is_lowered_for_a_gpu_that_is_not_there(tmp_path):
    program = program_of(tmp_path, {"dtype": "bfloat16"})
    assert len(lower(program, "GPU")) > 10_000
    names = [spec.name for spec in variables_of(program)]
    assert len(names) == len(set(names)) == 3 * len(pretraining_objective(program.bert_config).parameters) + 1


# ── what is read from a compiled program ───────────────────────────────────────────────────────────────

TEXT = """HloModule step, is_scheduled=true

%fused (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %c = f32[] constant(2)
  ROOT %m = f32[8,4]{1,0} multiply(%p, %p)
}

%body (s: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %s = (s32[], f32[8,4]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %v = f32[8,4]{1,0} get-tuple-element(%s), index=1
  %f2 = f32[8,4]{1,0} fusion(%v), kind=kLoop, calls=%fused, backend_config={"window_config":{"estimated_cycles":"10"}}
  ROOT %t = (s32[], f32[8,4]{1,0}) tuple(%i, %f2)
}

%condition (s: (s32[], f32[8,4])) -> pred[] {
  %s = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %less = pred[] compare(%a, %b), direction=LT
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0), metadata={op_name="x(y"}
  %big = s32[100]{0} constant({...})
  %start = (s32[], f32[8,4]{1,0}, /*index=2*/pred[]) tuple(%zero, %a)
  %loop = (s32[], f32[8,4]{1,0}) while(%start), body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %out = f32[8,4]{1,0} get-tuple-element(%loop), index=1
  %f1 = bf16[8,4]{1,0} fusion(%out, /*index=1*/%a), kind=kLoop, calls=%fused, backend_config={"estimated_cycles":"7"}
  %x = bf16[8,4]{1,0} custom-call(%f1), custom_call_target="xla_python_cpu_callback"
  ROOT %r = f32[8,4]{1,0} convert(%x)
}
"""


def test_figures_of_a_program():
    found = program_figures(TEXT)
    assert (found.instructions, found.fusions) == (3, 1)
    assert found.cycles == 7 + 3 * 10
    # Three turns of 128 + 128; the fusion's 64 + 128 + 128, the call's 64 + 64, the last 128 + 64.
    assert found.bytes == 3 * 256 + 320 + 128 + 192
    assert (found.constants, found.largest_constant) == (404, 400)
    assert found.host == found.calls == {"xla_python_cpu_callback": 1}
    assert found.uncounted_loops == 0
    once = program_figures(TEXT.replace("known_trip_count", "x"))
    assert (once.cycles, once.loops, once.uncounted_loops) == (17, 1, 1)
    assert program_figures(TEXT.replace("estimated_cycles", "x")).cycles is None


@pytest.mark.parametrize(
    ("start", "step", "end", "runs"), [(0, 1, 3, 3), (2, 4, 15, 4), (3, 1, 3, 0), (0, 0, 3, None)]
)
def test_the_length_of_a_loop_is_read_from_its_counter(start, step, end, runs):
    """A TPU's compiler leaves the counter in the text and writes no number down."""
    text = TEXT.replace("known_trip_count", "x").replace("body=%body,", "condition=%condition, body=%body,")
    text = text.replace(
        "  %v = f32",
        f"  %one = s32[]{{:T(128)}} constant({step})\n  %i0 = s32[] "
        "get-tuple-element(%s), index=0\n  %i = s32[] add(%i0, %one), x={{}}\n  %v = f32",
    )
    text = text.replace(
        "  ROOT %less = pred[] compare(%a, %b)",
        f"  %b = s32[] constant({end}), x={{}}\n  %a = s32[] "
        "get-tuple-element(%s), index=0\n  ROOT %less = pred[] compare(%a, %b)",
    )
    text = text.replace(
        "  %start =", f"  %null = s32[] constant({start})\n  %zero = s32[] copy(%null)\n  %start ="
    )
    found = program_figures(text)
    assert found.uncounted_loops == (runs is None)
    assert found.cycles == 7 + 10 * (1 if runs is None else runs)


@pytest.mark.parametrize(
    ("opcode", "kind"),
    [("multiply", "elementwise"), ("copy", "copy"), ("convolution", "product"), ("reduce", "reduction")],
)
def test_cycles_are_counted_by_the_kind_of_what_is_fused(opcode, kind):
    found = program_figures(TEXT.replace("multiply(", f"{opcode}("))
    assert found.kinds == {kind: found.cycles}
    assert [(one.number, one.cycles) for one in found.costs] == [(3, 30), (1, 7)]


def test_products_are_counted_by_the_dtype_of_their_operands():
    """Those within a fusion, in a loop as often as it runs, and those of NVIDIA's libraries."""
    text = TEXT.replace("multiply(", "dot(").replace("xla_python_cpu_callback", "__cublas$gemm")
    found = program_figures(text).products
    assert found == {"f32": 4, "bf16": 1}
    assert program_figures(TEXT).products == {}


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        program_figures("HloModule nothing")


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("f32[2,3]{1,0:T(8,128)}", 24),
        ("(bf16[5], pred[])", 11),
        ("u64[]", 8),
        ("s4[3]", 2),
        ("f8e4m3fn[7]", 7),
        ("token[]", 0),
    ],
)
def test_sizes_of_shapes(shape, size):
    assert size_of(shape) == size


def test_copies_of_parameters_are_written_in_stablehlo():
    forms = [
        '%1 = "mhlo.copy"(%arg0) <{x}> : (tensor<2xf32>) -> tensor<2xf32>',
        '%1 = "mhlo.copy"(%arg0) : (tensor<2xf32>) -> tensor<2xf32>',
        "%1 = mhlo.copy %arg0 {x} : tensor<2xf32>",
        "%1 = mhlo.copy %arg0 : tensor<2xf32>",
    ]
    for form in forms:
        assert stablehlo(form) == "%1 = stablehlo.reshape %arg0 : (tensor<2xf32>) -> tensor<2xf32>"


# ── arithmetic ─────────────────────────────────────────────────────────────────────────────────────────


def report_of(target="v5e:1x1", hbm=4e9, flops=2e12, moved=30e9, cycles=45_000_000, **more):
    program = dataclasses.replace(program_figures(TEXT), cycles=cycles, host=more.get("host", {}))
    memory = {"arguments": 3_000_000_000, "results": 3_000_000_000, "aliased": 3_000_000_000, "code": 5}
    memory["temporary"] = int(hbm) - 3_000_000_000
    return CompilationReport(
        target=parse_targets(target)[0],
        model="base",
        rows=32,
        length=128,
        dtype="bfloat16",
        model_flops=int(1.9e12),
        result=Compiled(
            device="TPU v5 lite", seconds=12.0, memory=memory, flops=flops, bytes=moved, program=program
        ),
    )


def test_times_are_those_of_peak_bandwidth_and_clock():
    report = report_of()
    assert report.computing == pytest.approx(2e12 / 197e12)
    assert report.moving == pytest.approx(30e9 / 819e9)
    assert report.roofline == report.moving
    assert report.intensity == pytest.approx(66.7, abs=0.1)
    assert report.balance == pytest.approx(240.5, abs=0.1)
    assert report.estimated == pytest.approx(0.030)
    text = describe(report)
    assert "4.00 GB of 17.18 GB (23.3%)" in text
    assert "at least 36.63 ms by the bytes (roofline)" in text
    assert "45.00 million cycles, 30.00 ms" in text
    assert "nothing on the host" in text
    assert report.fits


def test_what_the_compiler_does_not_count_comes_from_the_model_and_the_text():
    report = report_of("h100", flops=None, moved=None, cycles=None)
    assert report.flops == 1.9e12
    assert report.bytes == program_figures(TEXT).bytes
    assert report.estimated is None
    assert report.roofline == pytest.approx(1.9e12 / 989e12)
    assert "by the operations" in describe(report)


def test_a_step_that_is_larger_than_the_device_does_not_fit():
    report = report_of(hbm=18e9)
    assert not report.fits
    assert "it does not fit: lower --train_batch_size" in describe(report)
    assert "on the host: infeed × 2" in describe(report_of(host={"infeed": 2}))


def test_a_refusal_names_operations_and_memory():
    missing = (
        "Unsupported operations: EagerPyFunc (No registered 'EagerPyFunc' OpKernel for XLA_TPU_JIT devices"
    )
    found = refusal("TensorFlow's bridge", missing)
    assert found.operations == ("EagerPyFunc",)
    assert not found.is_of_memory
    large = refusal(
        "the compiler",
        "XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.",
    )
    assert large.needed == int(20.5 * 2**30)
    assert large.is_of_memory
    report = dataclasses.replace(report_of(), result=large)
    assert not report.fits
    assert "does not compile: the compiler refused it" in describe(report)
    rows = table([report_of(), report]).splitlines()
    assert len(rows) == 4
    assert {row.count(" | ") for row in rows} == {len(COLUMNS) - 1}


@pytest.mark.parametrize(
    ("most", "start", "step"),
    [(1000, 32, 1), (5, 32, 1), (31, 32, 4), (32, 32, 8), (700, 1, 3), (3, 64, 4), (1, 7, 1)],
)
def test_the_largest_batch_is_found_to_one_part_in_eight(most, start, step):
    tried = []
    found = check.largest_batch(lambda rows: tried.append(rows) or rows <= most, start, step)
    largest = most // step * step
    assert found <= largest
    assert largest - found <= max(step, found // 8)
    assert all(rows % step == 0 for rows in tried)
    assert len(tried) == len(set(tried)) < 16


class LinearMemory:
    """In the place of the compilers, which take minutes for each batch: 4 GB, and 0.1 GB for each row."""

    def report(self, program, target, name):
        report = report_of(target.name, hbm=4e9 + 0.1e9 * program.rows)
        if report.fits:
            return dataclasses.replace(report, rows=program.rows)
        message = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.5G of 15.75G hbm."
        return dataclasses.replace(report, result=refusal("the compiler", message))


def test_the_largest_batch_is_told_for_all_devices(tmp_path, capsys):
    program, target = program_of(tmp_path), parse_targets("v5e:2x2")[0]
    of_run._find(LinearMemory(), program, target, "32 pieces", 1)
    out = capsys.readouterr().out
    assert "128 rows on each device: fits" in out
    assert "256 rows on each device: does not fit" in out
    assert "about 128 rows on each device: --train_batch_size=512" in out
    assert out.count("compiles for") == 1


# ── the command ────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_environment_says_how_to_make_it(records, tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check, "_ROOT", tmp_path)
    flags = arguments(records, tiny_config, tmp_path / "out", "--compile_for=v5e:2x2")
    assert main(flags) == 1
    assert "run `make compilers`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("dtype", "wide"), [("f32", True), ("bf16", False), (None, True)])
def test_a_small_step_in_bfloat16_with_other_products_or_none_fails_the_check(monkeypatch, dtype, wide):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import check_accelerators

    report = report_of("h100")
    program = dataclasses.replace(report.result.program, products={dtype: 3} if dtype else {})
    result = dataclasses.replace(report.result, program=program)
    report = dataclasses.replace(report, model="bert", result=result)
    assert check_accelerators.has_wide_products(report) is wide
    assert not check_accelerators.has_wide_products(dataclasses.replace(report, dtype="float32"))


def test_a_batch_that_the_devices_cannot_share_is_refused(records, tiny_config, tmp_path, capsys):
    flags = arguments(
        records, tiny_config, tmp_path / "out", "--compile_for=v5e:4x4", "--train_batch_size=24"
    )
    assert main(flags) == 2
    assert "--train_batch_size=24 is not divisible by 16 replica(s)" in capsys.readouterr().err
    assert main(arguments(records, tiny_config, tmp_path / "out", "--find_batch_size")) == 2
    assert "goes with --compile_for" in capsys.readouterr().err


def test_a_process_that_ends_without_a_result_is_a_refusal(tmp_path):
    target = parse_targets("h100")[0]
    killed = check._run(["sh", "-c", "kill -9 $$"], target, tmp_path / "none")
    assert "signal 9 for want of memory" in killed["error"]
    assert (
        "status 3: words"
        in check._run(["sh", "-c", "echo words >&2; exit 3"], target, tmp_path / "none")["error"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "rows", "device"), [("h100", 16, "NVIDIA H100"), ("v5e:2x2", 4, "TPU v5 lite")]
)
def test_a_runs_step_is_compiled(target, rows, device, records, tiny_config, tmp_path, capsys):
    needed = [".venv-xla"] if target == "h100" else [".venv-xla", ".venv-tpu"]
    if not all((ROOT / name / "ready").exists() for name in needed):
        pytest.skip("make compilers has not been run")
    flags = arguments(records, tiny_config, tmp_path / "out", f"--compile_for={target}", "--dtype=bfloat16")
    assert main(flags) == 0
    out = capsys.readouterr().out
    assert f"{target}: 64 pieces, {rows} rows of 64 pieces on each of {16 // rows} device(s), bfloat16" in out
    assert f"compiles for {device}" in out
    assert "nothing on the host" in out
    assert ("million cycles" in out) == (target != "h100")
    assert not (tmp_path / "out").exists()
