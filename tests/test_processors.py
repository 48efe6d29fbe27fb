"""The rules for a CPU's cores and its types of numbers: `docs/performance.md` has the measurements behind them."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from morphbert.train.cluster import strategy
from morphbert.train.cluster.processor import computes_bfloat16, warn_of_dtype
from morphbert.train.step import computes_by_halves


@pytest.mark.parametrize(
    ("cores", "threads"), [(1, []), (2, [("inter", 2), ("intra", 1)]), (3, []), (16, [])]
)
def test_with_two_cores_an_operation_gets_one_and_otherwise_tensorflow_decides(monkeypatch, cores, threads):
    chosen = []
    for kind in ("inter", "intra"):
        name = f"set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(
            tf.config.threading, name, lambda number, kind=kind: chosen.append((kind, number))
        )
    monkeypatch.setattr(strategy, "default_workers", lambda: cores)
    strategy.share_processors()
    assert chosen == threads


def test_a_process_that_has_used_tensorflow_keeps_its_threads(monkeypatch):
    tf.zeros([]).numpy()
    before = tf.config.threading.get_intra_op_parallelism_threads()
    monkeypatch.setattr(strategy, "default_workers", lambda: 2)
    strategy.share_processors()
    assert tf.config.threading.get_intra_op_parallelism_threads() == before


@pytest.mark.parametrize(
    ("devices", "xla", "by_halves"),
    [
        (["/device:CPU:0"], False, True),
        (["/device:CPU:0"], None, True),
        (["/device:CPU:0"], True, False),
        (["/device:CPU:0", "/device:CPU:1"], False, False),
        (["/device:GPU:0"], False, False),
    ],
)
def test_one_replica_on_a_cpu_without_xla_computes_by_halves_whatever_the_cores(
    monkeypatch, devices, xla, by_halves
):
    distributed = SimpleNamespace(extended=SimpleNamespace(worker_devices=devices))
    for cores in (1, 2, 8):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert computes_by_halves(distributed, xla) is by_halves


@pytest.mark.parametrize(
    ("described", "computes"),
    [
        ("model name\t: AMD EPYC\nflags\t\t: fpu sse4_2 avx2 fma avx512f\n", False),
        ("flags\t\t: fpu avx512f avx512_bf16\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd sve bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("processor\t: 0\n", None),
        (None, None),
    ],
)
def test_bfloat16_on_a_processor_without_its_instructions_is_named(tmp_path, capsys, described, computes):
    path = tmp_path / "cpuinfo"
    if described is not None:
        path.write_text(described)
    assert computes_bfloat16(str(path)) is computes
    warn_of_dtype("bfloat16", 1, str(path))
    assert ("--dtype=float32 is faster here" in capsys.readouterr().out) is (computes is False)
    warn_of_dtype("float32", 1, str(path))
    warn_of_dtype("bfloat16", 0, str(path))
    assert not capsys.readouterr().out
