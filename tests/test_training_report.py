"""What one can see of a run: its lines, its scalars, accuracies by kind, and the HTML report."""

import contextlib
import dataclasses
import io
import itertools
import json
import math
import re
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from browser import check_report, needs_browser
from samples import GOLDEN, MECAB_VOCABULARY, SHAPE, write_config

from morphbert.cli import training_report
from morphbert.cli.create_pretraining_data import main as create_pretraining_data
from morphbert.cli.run_pretraining import main
from morphbert.data.records import RecordShape
from morphbert.model.config import BertConfig
from morphbert.model.cost import forward_flops, step_flops
from morphbert.model.encoder import EncoderInputs, encode
from morphbert.model.heads import masked_lm_logits
from morphbert.pages.phrases import phrase
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.loading import load_tokenizer
from morphbert.text.piece_kinds import kind_of_tags, piece_kinds
from morphbert.train import report
from morphbert.train.checkpoint import read_weights
from morphbert.train.cluster.device_peak import peak_of_gpu, peak_of_tpu
from morphbert.train.config import RunConfig
from morphbert.train.input.records import RecordFormat, evaluation_dataset
from morphbert.train.log import SPEED, read_metrics
from morphbert.train.prediction_kinds import PredictionKinds, frequency_bands
from morphbert.train.run_facts import OTHERWISE, PLAIN
from morphbert.train.run_state import BestLoss, BestMetric, Progress
from morphbert.train.step import _next

PEAK = 1e12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on records of the shipped Mecab vocabulary, masked by whole eojeols: (folder, flags, output)."""
    folder = tmp_path_factory.mktemp("run")
    records = folder / "train.tfrecord"
    made = create_pretraining_data(
        [
            f"--input_file={GOLDEN}/documents_ko.txt,{GOLDEN}/documents_ko_2.txt",
            f"--vocab_file={MECAB_VOCABULARY}",
            f"--output_file={records}",
            "--num_workers=1",
            "--dupe_factor=2",
            "--do_whole_word_mask",
            *SHAPE,
        ]
    )
    assert made == 0
    config = write_config(folder / "bert_config.json", vocab_size=8000)
    flags = [
        f"--bert_config_file={config}",
        f"--input_file={records}",
        f"--output_dir={folder / 'model'}",
        f"--vocab_file={MECAB_VOCABULARY}",
        "--do_train",
        "--do_eval",
        "--eval_every=4",
        "--max_eval_steps=1000",
        "--train_batch_size=8",
        "--num_train_steps=10",
        "--num_warmup_steps=2",
        "--learning_rate=1e-3",
        "--log_steps=3",
        "--save_checkpoints_steps=5",
        "--strategy=cpu",
        f"--device_peak_flops={PEAK}",
        *SHAPE,
    ]
    return folder, flags


@pytest.fixture(scope="module")
def printed(run):
    """What the run printed."""
    _, flags = run
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(flags) == 0
    return said.getvalue()


@pytest.fixture(scope="module")
def finished(run, printed):
    folder, _ = run
    return folder / "model"


def test_every_line_tells_loss_speed_and_time_left(printed, finished):
    lines = re.findall(
        r"^step (\d+)/10  loss [\d.]+  masked LM [\d.]+ \([\d.]+% right\)  next sentence [\d.]+ \([\d.]+% right\)  "
        r"[\d.]+ steps/s  [\d.]+ sequences/s  [\d,]+ tokens/s  [\d.]+% waiting for input  \d+% of peak FLOPs  "
        r"\d+:\d\d left$",
        printed,
        re.M,
    )
    assert lines == ["3", "6", "9", "10"]
    assert f"report: {finished}/report.html" in printed


def test_speed_is_consistent_with_itself(finished):
    config = BertConfig.from_json_file(str(finished / "bert_config.json"))
    for line in read_metrics(str(finished / "metrics.jsonl")):
        if line["kind"] != "train":
            continue
        assert line.keys() >= {*SPEED, "gradient_norm", "learning_rate"}
        assert line["sequences_per_second"] == pytest.approx(8 * line["steps_per_second"])
        assert 0 < line["tokens_per_second"] < 64 * line["sequences_per_second"]  # some of it is padding
        assert 0 <= line["input_wait_share"] < 1
        flops = line["steps_per_second"] * step_flops(config, 8, 64, 10)
        assert line["model_flops_utilization"] == pytest.approx(flops / PEAK)
        assert line["seconds_left"] == pytest.approx((10 - line["step"]) / line["steps_per_second"])


def test_tensorboard_has_every_value_of_metrics_jsonl(finished):
    written = {}
    for kind in ("train", "eval"):
        for path in (finished / kind).glob("events*"):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                for value in event.summary.value:
                    written[kind, event.step, value.tag] = float(tf.make_ndarray(value.tensor))
    lines = read_metrics(str(finished / "metrics.jsonl"))
    expected = {
        (line["kind"], line["step"], name): value
        for line in lines
        for name, value in line.items()
        if name not in ("kind", "step")
    }
    assert written.keys() == expected.keys()
    for key, value in expected.items():
        assert written[key] == pytest.approx(value, rel=1e-6), key


def test_the_loss_scale_is_logged_where_there_is_one(run, tmp_path, finished):
    _, flags = run
    more = [f"--output_dir={tmp_path}", "--dtype=float16", "--num_train_steps=3"]
    assert main([*flags, *more]) == 0
    lines = read_metrics(str(tmp_path / "metrics.jsonl"))
    assert [line["loss_scale"] for line in lines if line["kind"] == "train"] == [2.0**15]
    assert all("loss_scale" not in line for line in read_metrics(str(finished / "metrics.jsonl")))


def test_a_wait_for_input_is_seen():
    """Batches that take 50 ms to come, and then some that are there at once."""

    def slow(number):
        time.sleep(0.05 if number < 3 else 0.0)
        return number

    dataset = tf.data.Dataset.range(40).map(lambda n: {"a": tf.numpy_function(slow, [n], tf.int64)})
    iterator = iter(dataset)

    @tf.function
    def wait(before):
        batch, seconds = _next(iterator, before)
        return batch["a"], seconds

    waits = [float(wait(tf.constant(0.0))[1]) for _ in range(40)]
    assert max(waits[:3]) > 0.045  # one that is asked for late has come by then
    assert min(waits[3:]) < 0.02


def test_a_step_begins_when_the_wait_for_its_batch_is_over():
    """With one core the clock was read after the step's operations, and the step counted as waiting."""
    dataset = tf.data.Dataset.range(4).map(lambda n: {"a": n})

    @tf.function
    def batch_alone(before):
        return _next(iterator, before)[0]["a"] + 1

    iterator = iter(dataset)
    graph = batch_alone.get_concrete_function(tf.constant(0.0)).graph
    ahead, seen = [op for op in graph.get_operations() if op.type == "AddV2"], set()
    while ahead:
        operation = ahead.pop()
        seen.add(operation)
        inputs = [*operation.control_inputs, *(tensor.op for tensor in operation.inputs)]
        ahead += [op for op in inputs if op not in seen]
    assert [op.type for op in seen].count("Timestamp") == 2


def test_the_page_has_in_percent_what_is_declared_a_share(monkeypatch):
    figures = {**report._SHOWN, "mean_precision": report._Figure(phrase("precision"))}
    figures["sum"] = report._Figure(phrase("recall"), is_share=True)
    monkeypatch.setattr(report, "_SHOWN", figures)
    line = {"kind": "eval", "step": 3, **dict.fromkeys(figures, 0.5)}
    rows = {str(name): value for name, value in report._evaluation([line])["evaluation"]}
    in_percent = {name for name, value in rows.items() if value == "50%"}
    assert {rows[name] for name in rows.keys() - in_percent} == {"0.5"}
    assert in_percent == {
        *("masked LM accuracy", "next sentence accuracy", "discriminator accuracy", "recall"),
        *("replaced pieces", "replaced pieces found", "named as replaced and so"),
        *("grammar: pairs right", "grammar: pairs right without spaces"),
    }


def test_curves_of_shares_are_in_percent():
    values = {"loss": 0.5, "masked_lm_accuracy": 0.25, "next_sentence_accuracy": 0.5, "masked_lm_loss": 0.5}
    trained = [{"kind": "train", "step": step, **values} for step in (1, 2)]
    plots = {str(plot.title): plot for plot in report._learning(trained, [])}
    values = {title: plot.readout[0][0][2] for title, plot in plots.items()}
    assert values == {
        "Loss": "0.5",
        "Masked LM: loss": "0.5",
        "Masked LM: accuracy": "25%",
        "Next sentence: accuracy": "50%",
    }


# ── Pieces behind the masks ─────────────────────────────────────────────────────────────────────────────


def test_pieces_have_the_kind_of_their_morphemes():
    tokens = "[CLS] 사과 ##나무 ##를 심 ##었 ##습니다 . [SEP] 나 ##는 집 ##에 간 ##다 ! [SEP] [PAD]".split()
    kinds = piece_kinds(tokens, MecabAnalyzer())
    assert {t for t, kind in zip(tokens, kinds, strict=True) if kind == "nouns"} == {
        "사과",
        "##나무",
        "나",
        "집",
    }
    assert {t for t, kind in zip(tokens, kinds, strict=True) if kind == "josa_and_endings"} == {
        *("##를", "##었", "##습니다", "##는", "##에")
    }
    assert kind_of_tags({"VV+EP"}) is None  # 갔: a stem and an ending in one
    assert kind_of_tags({"EP+EF"}) == "josa_and_endings"
    assert kind_of_tags({"NNG", "JX"}) is None
    assert kind_of_tags(set()) is None


def test_bands_divide_the_text():
    counts = np.array([1, 0, 60, 9, 30])
    assert frequency_bands(counts).tolist() == [2, 2, 0, 2, 1]
    counts = (1e6 / np.arange(1, 5001)).astype(np.int64)  # Zipf's law
    shares = [counts[frequency_bands(counts) == band].sum() / counts.sum() for band in range(3)]
    assert shares == pytest.approx([0.5, 0.4, 0.1], abs=0.01)


def test_accuracies_by_kind_are_those_of_a_count_by_hand(run, finished):
    """Predictions of the checkpoint, and kinds counted piece by piece in the plain way."""
    folder, _ = run
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    config = BertConfig.from_json_file(str(finished / "bert_config.json"))
    weights = {name: tf.constant(value) for name, value in read_weights(str(finished)).items()}
    form = RecordFormat(RecordShape(64, 10), 8000, 2)
    hits = {"nouns": [], "josa_and_endings": [], "whole_eojeols": []}
    for batch in evaluation_dataset([str(folder / "train.tfrecord")], form, 1):
        hidden = encode(weights, config, EncoderInputs.of(batch))
        logits = masked_lm_logits(weights, config, hidden, batch["masked_lm_positions"])
        guesses = tf.argmax(logits, -1).numpy()[0]
        real = int(batch["masked_lm_weights"].numpy().sum())
        positions = batch["masked_lm_positions"].numpy()[0, :real].tolist()
        labels = batch["masked_lm_ids"].numpy()[0, :real].tolist()
        ids = batch["input_ids"].numpy()[0].tolist()
        for position, label in zip(positions, labels, strict=True):
            ids[position] = label
        tokens = tokenizer.convert_ids_to_tokens(ids)
        kinds = piece_kinds(tokens, tokenizer.splitter.analyzer)
        right = {p: g == w for p, g, w in zip(positions, guesses, labels, strict=False)}
        for position in positions:
            if kinds[position]:
                hits[kinds[position]].append(right[position])
        begins = [i for i, token in enumerate(tokens) if not token.startswith("##")] + [len(tokens)]
        for begin, end in itertools.pairwise(begins):
            if all(p in right for p in range(begin, end)) and any(map(str.isalnum, tokens[begin])):
                hits["whole_eojeols"].append(all(right[p] for p in range(begin, end)))
    last = read_metrics(str(finished / "metrics.jsonl"))[-1]
    assert (last["kind"], last["step"]) == ("eval", 10)
    for kind, found in hits.items():
        assert last[f"masked_lm_predictions_{kind}"] == len(found) > 20, kind
        assert last[f"masked_lm_accuracy_{kind}"] == pytest.approx(np.mean(found), abs=2 / len(found)), kind
    bands = [last.get(f"masked_lm_predictions_{band}", 0) for band in ("frequent", "middle", "rare")]
    assert sum(bands) >= last["masked_lm_predictions_nouns"] + last["masked_lm_predictions_josa_and_endings"]


def test_a_vocabulary_without_mecab_knows_eojeols_and_bands():
    tokenizer = load_tokenizer(str(GOLDEN / "vocab_ko.txt"), do_lower_case=False)
    size = len(tokenizer.vocabulary)
    kinds = PredictionKinds(tokenizer, np.ones(size, np.int64))
    assert kinds.names == ("frequent", "middle", "rare")


# ── The report ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_report_is_one_file_with_all_of_the_run(finished):
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<link|src=|@import|url\(", page)
    for title in ("Loss", "Masked LM: held-out accuracy by kind", "Learning rate", "Sequences a second"):
        assert re.search(rf"<b><span data-ko=\"[^\"]+\">{title}</span></b>", page), title
    assert page.count("<polyline") >= 10
    last = read_metrics(str(finished / "metrics.jsonl"))[-1]
    assert f"{last['masked_lm_loss']:.3g}" in page
    assert "10 of 10" in page
    for words in (
        "josa and endings",
        "대한민국의 수도는 [MASK]이다.",
        "documents_ko.txt",
        tf.__version__,
        "num_warmup_steps",
    ):
        assert words in page
    vocabulary = load_tokenizer(str(MECAB_VOCABULARY)).vocabulary
    assert vocabulary.sha256 in page  # of the manifest


@needs_browser
def test_the_report_in_a_browser(finished, tmp_path):
    shown = check_report(finished / "report.html", tmp_path / "profile", "학습 곡선")
    assert len(shown) > 3


def test_a_report_is_made_on_request_for_a_run_in_progress(run, finished, tmp_path, capsys):
    """As it stands when a run has logged and saved, and not ended."""
    shutil.copytree(finished, tmp_path / "model")
    (tmp_path / "model" / "report.html").unlink()
    log = tmp_path / "model" / "metrics.jsonl"
    kept = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= 6]
    log.write_text("\n".join(kept) + '\n{"kind": "train", "st')  # a line that is being written
    page = tmp_path / "page.html"
    arguments = [f"--output_dir={tmp_path / 'model'}", f"--report_file={page}", "--text=나는 [MASK]에 간다."]
    assert training_report.main(arguments) == 0
    assert f"report: {page}" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "6 of 10, in progress or stopped" in text
    assert "나는 [MASK]에 간다." in text
    assert not (tmp_path / "model" / "report.html").exists()


def test_a_folder_without_a_run_is_said(tmp_path, capsys):
    assert training_report.main([f"--output_dir={tmp_path}"]) == 1
    assert "run_pretraining.py" in capsys.readouterr().err
    (tmp_path / "run.json").write_text('{"format_version": 99}')
    assert training_report.main([f"--output_dir={tmp_path}"]) == 1
    assert "format version 99" in capsys.readouterr().err


def test_each_field_of_a_run_is_in_run_json_by_choice():
    """A new field must be named in one of the two lists."""
    fields = [field.name for field in dataclasses.fields(RunConfig)]
    assert sorted((*PLAIN, *OTHERWISE)) == sorted(fields)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, None),
        ({"step": 20, "loss": 3.5}, BestLoss(20, 3.5)),
        ({"step": 4, "metric": "accuracy", "value": 0.5, "waited": 2}, BestMetric(4, "accuracy", 0.5, 2)),
    ],
)
def test_the_best_evaluation_of_a_checkpoint_is_written_as_it_was_read(written, read):
    state = {"best": written, "log": {"sums": [1.0], "steps": 1}}
    progress = Progress.from_json(state, 1)
    assert progress.best == read
    assert dataclasses.asdict(progress)["best"] == written


# ── Cost of a step ─────────────────────────────────────────────────────────────────────────────────────


def test_operations_are_those_of_the_graph():
    """Of the matrix products that stand in the graph of a forward pass, by their shapes."""
    config = BertConfig(
        vocab_size=3000, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
    )
    from morphbert.model.losses import pretraining_sums
    from morphbert.model.parameters import pretraining_parameters

    weights = {name: tf.zeros(p.shape) for name, p in pretraining_parameters(config).items()}
    batch = {name: tf.zeros([4, 128], tf.int32) for name in ("input_ids", "input_mask", "segment_ids")}
    batch |= {name: tf.zeros([4, 20], tf.int32) for name in ("masked_lm_positions", "masked_lm_ids")}
    batch |= {"masked_lm_weights": tf.zeros([4, 20]), "next_sentence_labels": tf.zeros([4, 1], tf.int32)}
    graph = tf.function(lambda: pretraining_sums(weights, config, batch)).get_concrete_function().graph
    products = 0
    for operation in graph.get_operations():
        if operation.type in ("MatMul", "BatchMatMulV2"):
            left = operation.inputs[0].shape
            turned = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
            products += 2 * math.prod(operation.outputs[0].shape) * left[-2 if turned else -1]
    assert forward_flops(config, 4, 128, 20) == products
    assert step_flops(config, 4, 128, 20) == 3 * products
    # BERT-base, a step on one sequence of 512: six operations a weight and position, and attention (Kaplan et al.).
    base = BertConfig(vocab_size=30522, type_vocab_size=16)
    layers = 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert step_flops(base, 1, 512, 77) == pytest.approx(
        6 * 512 * layers + 12 * 12 * 512**2 * 768 + 6 * 77 * 768 * 31290, rel=0.01
    )


def test_peaks_are_found_by_name():
    assert peak_of_gpu("NVIDIA A100-SXM4-80GB", "bfloat16") == 312e12
    assert peak_of_gpu("NVIDIA A10G", "float16") == 70e12
    assert peak_of_gpu("NVIDIA H100 PCIe", "bfloat16") == 756e12
    assert peak_of_gpu("Tesla V100-SXM2-16GB", "float32") == 15.7e12
    assert peak_of_gpu("NVIDIA L40S", "bfloat16") == 362e12
    assert peak_of_gpu("Some GPU", "bfloat16") is None
    assert peak_of_tpu("v3-8") == 61.5e12
    assert peak_of_tpu("v5litepod-16") == 197e12
    assert peak_of_tpu("") is None
    assert math.isclose(peak_of_tpu("v2-8") * 8, 180e12)  # a board's published figure


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "train", "step": 1, "loss": 1.0, "wall_seconds": None},
        {"kind": "train", "step": 1},
        {"kind": "train", "step": 1, "loss": "low"},
        {"kind": "train", "step": True, "loss": 1.0},
        {"kind": 1, "step": 1, "loss": 1.0},
    ],
)
def test_lines_of_metrics_without_their_values_are_passed_over(line, tmp_path):
    sound = {"kind": "train", "step": 2, "loss": 1.5, "wall_seconds": 3}
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (line, sound)))
    assert read_metrics(str(path)) == [sound]
