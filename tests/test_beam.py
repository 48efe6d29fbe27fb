"""--engine=beam: the records of one machine, byte for byte, whatever the blocks, ranges and runners are."""

import contextlib
import functools
import glob
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from processes import run_process
from samples import GOLDEN, MECAB_VOCABULARY, ROOT

from morphbert.cli import create_pretraining_data
from morphbert.data.beam import corpus as stages
from morphbert.data.beam.text import Range, documents, ranges_of
from morphbert.data.documents import held_out
from morphbert.data.encoding import SentenceEncoder
from morphbert.errors import MorphbertError
from morphbert.files import open_for_reading
from morphbert.text.loading import load_tokenizer

KOREAN = [GOLDEN / "documents_ko.txt", GOLDEN / "documents_ko_2.txt"]


# ── Without Beam ─────────────────────────────────────────────────────────────────────────────────────────

TEXT = "첫 문서의 첫 문장.\n둘째 문장.\n\n\n 둘째 문서 \n\t\n\n셋째 문서\n끝 문장".encode()
DOCUMENTS = [["첫 문서의 첫 문장.", "둘째 문장."], ["둘째 문서"], ["셋째 문서", "끝 문장"]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 50, len(TEXT), 1000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n\n"])
def test_each_document_is_read_once_whatever_the_ranges_are(size, end):
    data = TEXT + end
    ranges = ranges_of([("a.txt", len(data))], size)
    assert [text for one in ranges for text in documents(one, lambda _: io.BytesIO(data))] == DOCUMENTS


@pytest.mark.parametrize("size", [97, 300, 5000])
def test_ranges_of_real_text_hold_the_documents_of_the_whole(size):
    for path in KOREAN:
        whole = list(documents(Range(0, str(path), 0, 1 << 30), open_for_reading))
        parts = ranges_of([(str(path), path.stat().st_size)], size)
        assert [text for one in parts for text in documents(one, open_for_reading)] == whole
        assert len(whole) > 3


def test_a_compressed_file_is_one_range(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(TEXT))
    (one,) = ranges_of([(str(path), path.stat().st_size)], 10)
    assert list(documents(one, open_for_reading)) == DOCUMENTS


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-le", "iso2022_kr"])
def test_text_in_other_encodings_is_divided_where_its_lines_can_be_found(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.decode().encode(encoding))
    parts = ranges_of([(str(path), path.stat().st_size)], 10, encoding)
    assert (len(parts) > 1) == (encoding == "cp949")
    assert [text for one in parts for text in documents(one, open_for_reading, encoding)] == DOCUMENTS


def test_text_in_another_encoding_than_the_named_one_is_refused():
    data = TEXT.decode().encode("cp949")
    with pytest.raises(MorphbertError, match="--encoding=cp949"):
        list(documents(Range(0, "a.txt", 0, len(data)), lambda _: io.BytesIO(data)))


def _blocks(tokens):
    encoder = SentenceEncoder(load_tokenizer(str(MECAB_VOCABULARY)))
    texts = [text for path in KOREAN for text in documents(Range(0, str(path), 0, 1 << 30), open_for_reading)]
    return list(stages.blocks(texts, encoder, tokens))


@pytest.mark.parametrize("fraction", [0.0, 1e-12, 0.1, 0.5, 0.9, 1 - 1e-12])
def test_the_held_out_documents_are_those_of_the_whole(fraction):
    blocks = _blocks(200)
    assert len(blocks) > 3
    summaries = [stages.summary((0, 0, n), block, fraction) for n, block in enumerate(blocks)]
    random.Random(1).shuffle(summaries)
    corpus = stages.Corpus.of(summaries, fraction)
    out = held_out(np.concatenate([block.digests for block in blocks]), fraction)
    for side in (stages.TRAIN, stages.HELD_OUT):
        numbers = []
        for number, block in enumerate(blocks):
            split = corpus.split(number, block, side)
            numbers += (split.documents + split.first_number).tolist()
        assert numbers == np.flatnonzero(out == (side == stages.HELD_OUT)).tolist()
        assert corpus.total_documents[side] == len(numbers)


def test_google_mode_and_a_token_store_do_not_go_with_beam(capsys, tmp_path):
    flags = [
        f"--input_file={KOREAN[0]}",
        f"--vocab_file={MECAB_VOCABULARY}",
        f"--output_file={tmp_path / 'r'}",
    ]
    for more, word in ((["--mode=google"], "--mode=fast"), (["--token_store=s"], "--token_store")):
        assert create_pretraining_data.main([*flags, "--engine=beam", *more]) == 2
        assert word in capsys.readouterr().err
    # Without Beam, another program's flag is a mistake like any other.
    assert create_pretraining_data.main([*flags, "--runner=DirectRunner"]) == 2
    assert "runner" in capsys.readouterr().err


# ── With Beam ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def beam(monkeypatch):
    """Beam's pipeline with small blocks and ranges, so that a short text has many of both."""
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed here; `make beam` tests with it")
    from morphbert.data.beam import run

    monkeypatch.setattr(run, "BLOCK_TOKENS", 150)
    monkeypatch.setattr(run, "ranges_of", functools.partial(ranges_of, size=700))
    return run


def _create(output, *flags, inputs=KOREAN, vocabulary=MECAB_VOCABULARY):
    return create_pretraining_data.main(
        [
            f"--input_file={','.join(map(str, inputs))}",
            f"--vocab_file={vocabulary}",
            f"--output_file={output}",
            "--max_seq_length=64",
            "--max_predictions_per_seq=10",
            *flags,
        ]
    )


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


SETTINGS = {
    "next sentence, held out": ["--eval_fraction=0.3", "--eval_output_file={}/e.gz", "--num_shards=3"],
    "whole words, gz": ["--do_whole_word_mask", "--num_shards=2", "--dupe_factor=3"],
    "by size": ["--shard_megabytes=0.02"],
    "sentence order, bins": ["--objective=sop", "--length_bins=16,32,64"],
    "packed, dynamic": ["--pack_sequences", "--masking=dynamic", "--dupe_factor=2"],
    "one segment, crossing": ["--objective=none", "--cross_documents", "--max_span_length=5"],
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_the_records_are_those_of_one_machine(setting, beam, tmp_path):
    made = {}
    for engine in ("local", "beam"):
        folder = tmp_path / engine
        more = [flag.format(folder) for flag in setting]
        assert _create(folder / "r.tfrecord", f"--engine={engine}", *more) == 0
        made[engine] = _files(folder)
    assert len(made["local"]) >= 2
    assert made["beam"] == made["local"]
    # Nothing unfinished is left.
    assert [path.name for path in (tmp_path / "beam").iterdir() if path.is_dir()] == []


def test_a_document_alone(beam, tmp_path):
    text = tmp_path / "one.txt"
    text.write_text(
        "사과나무를 심었습니다.\n배나무도 심었습니다.\n감나무는 내년에 심을 것입니다.\n", encoding="utf-8"
    )
    for engine in ("local", "beam"):
        assert (
            _create(tmp_path / engine / "r", f"--engine={engine}", "--max_seq_length=12", inputs=[text]) == 0
        )
    assert _files(tmp_path / "beam") == _files(tmp_path / "local")


def test_a_plain_vocabulary_and_compressed_text(beam, tmp_path):
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress((GOLDEN / "documents_en.txt").read_bytes()))
    for engine in ("local", "beam"):
        flags = [f"--engine={engine}", "--do_lower_case=true"]
        assert (
            _create(tmp_path / engine / "r", *flags, inputs=[packed], vocabulary=GOLDEN / "vocab_en.txt") == 0
        )
    assert _files(tmp_path / "beam") == _files(tmp_path / "local")


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_text_in_another_encoding(beam, tmp_path, encoding):
    text = tmp_path / "a.txt"
    known = "".join(path.read_text(encoding="utf-8") + "\n\n" for path in KOREAN)
    text.write_bytes(known.encode("cp949", "ignore").decode("cp949").encode(encoding))
    for engine in ("local", "beam"):
        flags = [f"--engine={engine}", f"--encoding={encoding}"]
        assert _create(tmp_path / engine / "r", *flags, inputs=[text]) == 0
    assert _files(tmp_path / "beam") == _files(tmp_path / "local")


def test_worker_processes(tmp_path):
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed here; `make beam` tests with it")
    workers = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers", "2"]
    command = [sys.executable, ROOT / "create_pretraining_data.py", f"--vocab_file={MECAB_VOCABULARY}"]
    command += [
        f"--input_file={KOREAN[0]},{KOREAN[1]}",
        "--max_seq_length=64",
        "--max_predictions_per_seq=10",
    ]
    for engine, more in (("local", []), ("beam", workers)):
        done = run_process(
            [*map(str, command), f"--output_file={tmp_path / engine / 'r'}", f"--engine={engine}", *more],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        assert done.returncode == 0, done.stderr
    assert _files(tmp_path / "beam") == _files(tmp_path / "local")


@pytest.fixture
def dask(tmp_path):
    """A scheduler of Dask and two workers, processes of their own in another folder: the scheduler's file, and them."""
    pytest.importorskip("distributed", reason="Dask is not installed here; `make beam` tests with it")
    (tmp_path / "cluster").mkdir()
    found = tmp_path / "cluster" / "scheduler.json"
    with contextlib.ExitStack() as stack:

        def start(*words):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words, "--host=127.0.0.1", "--no-dashboard"],
                cwd=tmp_path / "cluster",
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start("scheduler", "--port=0", f"--scheduler-file={found}")
        one = ("worker", f"--scheduler-file={found}", "--nthreads=1", "--no-nanny")
        yield found, [start(*one), start(*one)]


def _kill_at(sign, process, finished, said):
    """Kills a process when the first file appears that the glob `sign` matches, unless `finished` is there."""
    until = time.monotonic() + 240
    while not (there := glob.glob(str(sign))) and time.monotonic() < until:
        time.sleep(0.002)
    if there and not finished.exists():
        process.kill()
        said.append(there[0])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["block", "part"])
def test_a_cluster_of_dask_that_loses_a_worker(stage, beam, dask, tmp_path, monkeypatch):
    """The results that the worker held are lost with it, and made again by the other one."""
    scheduler, workers = dask
    settings = ["--eval_fraction=0.3", "--eval_output_file={}/e", "--num_shards=3", "--dupe_factor=3"]
    monkeypatch.chdir(tmp_path)
    options = {"local": [], "beam": ["--runner=DaskRunner", f"--dask_scheduler_file={scheduler}"]}
    killed = []
    for engine, more in options.items():
        Path(engine).mkdir()
        if engine == "beam":
            watched = tmp_path / engine / "*.beam-*"
            sign = (watched / f"{stage}-*", workers[0], tmp_path / engine / "r-00000-of-00003", killed)
            threading.Thread(target=_kill_at, args=sign, daemon=True).start()
        flags = [flag.format(engine) for flag in settings]
        # The workers are in another folder: relative paths start here.
        assert _create(f"{engine}/r", f"--engine={engine}", *flags, *more) == 0
    assert killed
    assert workers[0].wait(10) == -signal.SIGKILL
    assert workers[1].poll() is None
    assert _files(tmp_path / "beam") == _files(tmp_path / "local")
    assert [path.name for path in (tmp_path / "beam").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    "more",
    [
        ["--runner=FlinkRunner", "--flink_master=10.0.0.1:8081", "--parallelism=16"],
        ["--runner=SparkRunner", "--spark_master_url=spark://10.0.0.1:7077"],
        ["--runner=PortableRunner", "--job_endpoint=10.0.0.1:8099", "--environment_type=LOOPBACK"],
        ["--runner=DataflowRunner", "--region=asia-northeast3", "--temp_location=gs://bucket/tmp"],
    ],
)
def test_the_options_of_runners_reach_them(more, beam):
    told = beam.options_of(more).get_all_options(drop_default=True)
    for flag in more:
        name, value = flag.removeprefix("--").split("=")
        assert str(told[name]) == value


def test_a_runner_that_is_not_there_is_named(beam, tmp_path, capsys, monkeypatch):
    for runner, words in (("SparkleRunner", "Unexpected pipeline runner"), ("no.such.Runner", "no")):
        assert _create(tmp_path / "r", "--engine=beam", f"--runner={runner}") == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"--runner={runner}" in error
        assert words in error
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.delitem(sys.modules, "apache_beam.runners.dask.dask_runner", raising=False)
    monkeypatch.delitem(sys.modules, "apache_beam.runners.dask.transform_evaluator", raising=False)
    assert _create(tmp_path / "r", "--engine=beam", "--runner=DaskRunner") == 1
    assert "pip install 'morphbert[dask]'" in capsys.readouterr().err.splitlines()[-1]


def test_any_filesystem_of_beam(beam, tmp_path):
    """A scheme that only Beam knows, as `hdfs://` would be: nothing may go past its file systems."""
    from apache_beam.io.localfilesystem import LocalFileSystem

    root = tmp_path / "store"

    class Apart(LocalFileSystem):
        @classmethod
        def scheme(cls):
            return "apart"

        def _inner(self, path):
            return path.replace("apart://", f"{root}/")

        def join(self, basepath, *paths):
            return "/".join([basepath, *paths])

        def mkdirs(self, path):
            super().mkdirs(self._inner(path))

        def _list(self, dir_or_prefix):
            for one in super()._list(self._inner(dir_or_prefix)):
                yield type(one)(one.path.replace(f"{root}/", "apart://"), one.size_in_bytes)

        def _path_open(self, path, mode, mime_type="", compression_type="auto"):
            return super()._path_open(self._inner(path), mode, mime_type, compression_type)

        def create(self, path, *more, **named):
            # LocalFileSystem makes the folder of the path that it is given.
            return super().create(self._inner(path), *more, **named)

        def rename(self, sources, destinations):
            super().rename(list(map(self._inner, sources)), list(map(self._inner, destinations)))

        def exists(self, path):
            return super().exists(self._inner(path))

        def metadata(self, path):
            one = super().metadata(self._inner(path))
            return type(one)(path, one.size_in_bytes)

        def delete(self, paths):
            super().delete(list(map(self._inner, paths)))

    (root / "in").mkdir(parents=True)
    for path in KOREAN:
        (root / "in" / path.name).write_bytes(path.read_bytes())
    inputs = ["apart://in/documents_ko.txt", "apart://in/documents_ko_2.txt"]
    assert _create("apart://out/r", "--engine=beam", inputs=inputs) == 0
    assert _create(tmp_path / "local" / "r") == 0
    assert _files(root / "out") == _files(tmp_path / "local")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\n \n", "contains no text"),
        ("가\n\n나\n".encode(), "no pair of segments"),
        ("사과나무\n".encode("cp949"), "not UTF-8"),
    ],
)
def test_bad_text(content, message, beam, tmp_path, capsys):
    text = tmp_path / "a.txt"
    text.write_bytes(content)
    assert _create(tmp_path / "out" / "r", "--engine=beam", "--objective=sop", inputs=[text]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("create_pretraining_data.py: ")
    assert message in error
    assert list((tmp_path / "out").glob("*")) == []


def test_wrong_words(beam, tmp_path, capsys):
    assert _create(tmp_path / "r", "--engine=beam", "--runnner=DirectRunner") == 2
    assert "--runnner=DirectRunner" in capsys.readouterr().err
    assert _create(tmp_path / "r", "--engine=beam", inputs=[tmp_path / "none*.txt"]) == 1
    assert "none*.txt" in capsys.readouterr().err
    one = ["--eval_fraction=0.5", f"--eval_output_file={tmp_path / 'e'}"]
    text = tmp_path / "a.txt"
    text.write_text("사과나무를 심었습니다. 배나무도.\n", encoding="utf-8")
    assert _create(tmp_path / "r", "--engine=beam", *one, inputs=[text]) == 1
    assert "none can be held out" in capsys.readouterr().err


def test_the_manifest_says_what_was_read(beam, tmp_path):
    assert _create(tmp_path / "r", "--engine=beam") == 0
    manifest = json.loads((tmp_path / "r.manifest.json").read_text(encoding="utf-8"))
    assert manifest["inputs"] == [{"bytes": path.stat().st_size, "name": Path(path).name} for path in KOREAN]
