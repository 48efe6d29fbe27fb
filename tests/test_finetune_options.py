"""Heads, losses, freezing, word vectors, early stopping and seeds of the fine-tuning commands."""

import contextlib
import gc
import io
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from runs import tensors
from samples import MECAB_VOCABULARY, ROOT, write_random_model
from tasks import figures, tiny_flags, write_tiny_config
from tensorflow.python.framework.func_graph import FuncGraph

from morphbert.cli.export_model import main as export
from morphbert.cli.run_classifier import main
from morphbert.errors import MorphbertError
from morphbert.finetune import losses
from morphbert.finetune.config import HeadConfig, LossConfig, class_weights
from morphbert.finetune.confusion import Confusion
from morphbert.finetune.features import REWEIGHTED, Features
from morphbert.finetune.feed import ExampleFeed
from morphbert.finetune.heads import contextual, lstm_parameters, sentence_vector
from morphbert.finetune.judgement import by_length
from morphbert.finetune.losses import class_losses
from morphbert.finetune.word_vectors import read_word_vectors
from morphbert.model.config import BertConfig
from morphbert.text.loading import load_tokenizer
from morphbert.text.vocabulary import vocabulary_bytes

GOOD, BAD = ["재미있는", "감동적인", "훌륭한", "멋진"], ["지루한", "끔찍한", "뻔한", "불쾌한"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Reviews that their adjective makes good (1) or bad (0)."""
    folder = tmp_path_factory.mktemp("reviews")
    rows = [
        f"{adverb} {adjective} {thing}\t{int(adjective in GOOD)}"
        for adverb in ("정말", "너무", "참")
        for adjective in GOOD + BAD
        for thing in ("영화였다.", "드라마예요!")
    ]
    rows = [rows[index] for index in np.random.default_rng(1).permutation(len(rows))]
    for name, part in (("train", rows[:32]), ("test", rows[32:])):
        (folder / f"{name}.tsv").write_text("document\tlabel\n" + "\n".join(part) + "\n", encoding="utf-8")
    write_tiny_config(folder)
    return folder


def run(data, output, *flags):
    files = [f"--train_file={data}/train.tsv", f"--eval_file={data}/test.tsv", f"--output_dir={output}"]
    return main([*tiny_flags(data, 16), *files, "--do_train", "--do_eval", *flags])


def weights(folder, step):
    return tensors(folder / f"model.ckpt-{step}", "model/")


def reference_lstm(inputs, kernel, bias, units):
    """Hochreiter & Schmidhuber's cell, step by step in float64: [L, D] → [L, U]."""
    cell, output, found = np.zeros(units), np.zeros(units), []
    sigmoid = lambda values: 1 / (1 + np.exp(-values))  # noqa: E731
    for vector in inputs:
        enter, forget, new, leave = np.split(np.concatenate([vector, output]) @ kernel + bias, 4)
        cell = cell * sigmoid(forget + 1) + sigmoid(enter) * np.tanh(new)
        output = sigmoid(leave) * np.tanh(cell)
        found.append(output)
    return np.array(found)


def test_an_lstm_reads_both_ways_and_no_padding():
    random = np.random.default_rng(0)
    head = HeadConfig(lstm_units=3)
    config = BertConfig(vocab_size=10, hidden_size=4, num_attention_heads=2)
    parameters = {
        name: tf.constant(random.normal(size=p.shape), tf.float32)
        for name, p in lstm_parameters(head, config).items()
    }
    hidden, lengths = random.normal(size=(2, 6, 4)), [6, 4]
    mask = tf.constant([[1] * n + [0] * (6 - n) for n in lengths])
    found = contextual(parameters, tf.constant(hidden, tf.float32), mask, head)
    vector = sentence_vector(parameters, config, found, mask, head)
    for row, length in enumerate(lengths):
        some = {key: np.asarray(value, np.float64) for key, value in parameters.items()}
        forward = reference_lstm(
            hidden[row, :length], some["head/lstm/forward/kernel"], some["head/lstm/forward/bias"], 3
        )
        backward = reference_lstm(
            hidden[row, :length][::-1], some["head/lstm/backward/kernel"], some["head/lstm/backward/bias"], 3
        )[::-1]
        np.testing.assert_allclose(found[row, :length], np.concatenate([forward, backward], 1), atol=1e-5)
        np.testing.assert_allclose(vector[row], np.concatenate([forward[-1], backward[0]]), atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        (
            "layers and ldam",
            ["--layers=-1,-2,0", "--pooling=cls", "--loss=ldam", "--deferred_reweighting=0.5"],
        ),
        ("lstm", ["--lstm_units=8", "--pooling=max"]),
    ],
)
def test_heads_train_and_are_found_again(data, tmp_path, name, flags):
    assert run(data, tmp_path / name, "--num_train_steps=2", *flags) == 0
    before = figures(tmp_path / name)
    again = [
        f"--output_dir={tmp_path / name}",
        f"--eval_file={data}/test.tsv",
        "--do_eval",
        "--max_seq_length=16",
    ]
    assert main([*again, "--strategy=cpu"]) == 0
    assert figures(tmp_path / name) == before


def test_a_layer_that_is_not_there_is_named(data, tmp_path, capsys):
    assert run(data, tmp_path / "out", "--layers=-1,5") == 1
    assert "there is no layer 5; the model has the embeddings, 0, and 2 layers" in capsys.readouterr().err
    assert run(data, tmp_path / "out", "--layers=last") == 2


def test_frozen_weights_stay_and_the_others_learn(data, tmp_path, capsys):
    output = tmp_path / "frozen"
    assert run(data, output, "--freeze_layers=1", "--num_train_steps=4", "--save_checkpoints_steps=2") == 0
    assert re.search(r"parameters, of which [\d,]+ are trained", capsys.readouterr().out)
    before, after = weights(output, 2), weights(output, 4)
    for name, value in before.items():
        frozen = "Sembeddings" in name or "layer_0" in name
        assert np.array_equal(value, after[name]) == frozen, name
    assert run(data, tmp_path / "more", "--freeze_layers=3") == 1
    assert "--freeze_layers=3, but the model has 2 layers" in capsys.readouterr().err


def test_word_vectors_of_the_pieces_that_are_known(data, tmp_path, capsys):
    tokens = (MECAB_VOCABULARY / "vocab.txt").read_text(encoding="utf-8").splitlines()
    plain = next(t for t in tokens[200:] if "##" + t in tokens and not t.startswith(("#", "[")))
    rows = {plain: np.arange(32) / 8, "낱말에없음": np.ones(32), "##는": np.full(32, 0.5)}
    text = "\n".join(" ".join([word, *map(str, row)]) for word, row in rows.items())
    path = tmp_path / "vectors.txt"
    path.write_text(f"{len(rows)} 32\n{text}\n", encoding="utf-8")
    found = read_word_vectors(str(path), tokens, 32)
    assert set(found.rows) == {tokens.index(plain), tokens.index("##" + plain), tokens.index("##는")}
    table = found.over(np.zeros((len(tokens), 32), np.float32))
    np.testing.assert_allclose(table[tokens.index("##" + plain)], rows[plain])
    np.testing.assert_allclose(table[tokens.index("##는")], rows["##는"])
    output = tmp_path / "out"
    flags = [f"--word_embeddings={path}", "--freeze_embeddings", "--num_train_steps=1"]
    assert run(data, output, *flags) == 0
    assert f"3 of {len(tokens)} word embeddings from" in capsys.readouterr().out
    key = "model/bert.Sembeddings.Sword_embeddings/.ATTRIBUTES/VARIABLE_VALUE"
    np.testing.assert_allclose(weights(output, 1)[key][tokens.index(plain)], rows[plain])
    with pytest.raises(
        MorphbertError, match="line 2 has 32 numbers, but the model's word embeddings have 64"
    ):
        read_word_vectors(str(path), tokens, 64)


EARLY = ("--eval_every=2", "--early_stopping=2", "--num_train_steps=50", "--learning_rate=0")


@pytest.fixture(scope="module")
def early(data, tmp_path_factory):
    """A run that nothing makes better, and what it printed."""
    output, said = tmp_path_factory.mktemp("early"), io.StringIO()
    with contextlib.redirect_stdout(said):
        assert run(data, output, *EARLY) == 0
    return output, said.getvalue()


def test_training_stops_when_nothing_gets_better_and_stays_stopped(early, data, tmp_path, capsys):
    output, said = early
    assert "was no better in 2 evaluations" in said
    assert "steps 0 to 6 of 50" in said
    # The best is the first, and the figures are of it.
    assert figures(output)["global_step"] == 2
    again = shutil.copytree(output, tmp_path / "again")
    assert run(data, again, *EARLY) == 0
    assert "stopped early at step 6 before" in capsys.readouterr().out


def steps_in_memory():
    """The graphs of training steps that have not been let go."""
    gc.collect()
    return [graph for graph in gc.get_objects() if type(graph) is FuncGraph and graph.name == "run"]


@pytest.mark.long
def test_seeds_give_mean_and_deviation_and_go_on(data, tmp_path, capsys):
    output = tmp_path / "seeds"
    flags = ["--num_seeds=2", "--seed=4", "--num_train_steps=3", "--best_metric=-loss", "--eval_every=3"]
    before = steps_in_memory()
    assert run(data, output, *flags) == 0
    # A graph of a step that were still there would have kept its seed's weights.
    assert all(graph in before for graph in steps_in_memory())
    by_seed = [figures(output / f"seed-{seed}") for seed in (4, 5)]
    assert by_seed[0]["loss"] != by_seed[1]["loss"]
    found = figures(output)
    for name in ("accuracy", "loss"):
        values = [one[name] for one in by_seed]
        assert found[name] == pytest.approx(np.mean(values))
        assert found[f"{name}_std"] == pytest.approx(np.std(values, ddof=1))
    assert found["num_seeds"] == 2
    assert set(json.loads((output / "seeds.json").read_text())["seeds"]) == {"4", "5"}
    # A third one: the others are passed over.
    capsys.readouterr()
    assert run(data, output, *[flag.replace("seeds=2", "seeds=3") for flag in flags]) == 0
    assert capsys.readouterr().out.count("already at step 3 of 3, nothing to do") == 2
    assert figures(output)["num_seeds"] == 3


def test_weights_of_classes_begin_when_they_are_to():
    scores = tf.constant([[1.0, -1.0], [0.5, 2.0]])
    labels, config = tf.constant([0, 1]), LossConfig(counts=(90, 10), class_weights=True)
    plain = class_losses(LossConfig(counts=(90, 10)), scores, labels)
    full = plain * class_weights((90, 10))
    np.testing.assert_allclose(class_losses(config, scores, labels), full)
    np.testing.assert_allclose(class_losses(config, scores, labels, tf.zeros(2)), plain)
    np.testing.assert_allclose(class_losses(config, scores, labels, tf.ones(2)), full)
    assert LossConfig(class_weights=True, deferred_reweighting=0.8).begins(200) == 160
    pieces = {name: np.ones((4, 8), np.int32) for name in ("input_ids", "input_mask", "segment_ids")}
    feed = ExampleFeed(Features(pieces, {"labels": np.arange(4)}), 2, 6, 0, False, reweighted_from=4)
    said = []
    for _ in range(6):
        said.append(next(feed.take(1).iterator)[REWEIGHTED].numpy().tolist())
    assert said == [[0.0, 0.0]] * 4 + [[1.0, 1.0]] * 2
    feed.begin(3)  # as a run that is continued does
    assert [next(feed.take(1).iterator)[REWEIGHTED].numpy()[0] for _ in range(2)] == [0.0, 1.0]


def points(counts, spread, seed, distance=1.0):
    """Two classes in a plane, on both sides of its middle, so many of each."""
    random = np.random.default_rng(seed)
    centres = [(-distance, 0.0), (distance, 0.0)]
    inputs = [random.normal(c, spread, (n, 2)) for c, n in zip(centres, counts, strict=True)]
    return np.concatenate(inputs).astype(np.float32), np.repeat([0, 1], counts)


def learned(config, inputs, labels, steps=300):
    """A linear classifier after gradient descent; the last fifth with weights of classes, where they are deferred.

    Of its weights only the bias is learned: they have unit size, as in the paper, so that margins mean something.
    """
    weights, bias = tf.constant([[-0.5, 0.5], [0.0, 0.0]]), tf.Variable(tf.zeros([2]))

    @tf.function
    def step(late):
        with tf.GradientTape() as tape:
            found = class_losses(config, inputs @ weights + bias, labels, tf.fill([len(labels)], late))
            loss = tf.reduce_mean(found)
        bias.assign_sub(0.6 / config.ldam_scale * tape.gradient(loss, bias))

    for number in range(steps):
        step(tf.constant(float(number >= 0.8 * steps)))
    return lambda inputs: (inputs @ weights.numpy() + bias.numpy()).argmax(1)


def recalls(config, spread, wider, distance=1.0):
    """Of the frequent and the rare class, on points that lie wider than those that were learned from."""
    inputs, labels = points(config.counts, spread, 0, distance)
    test_inputs, test_labels = points((2000, 2000), wider, 1, distance)
    found = learned(config, inputs, labels)(test_inputs)
    return [float(np.mean(found[test_labels == kind] == kind)) for kind in (0, 1)]


def test_ldam_keeps_the_boundary_away_from_the_rare_class():
    """Cao et al. 2019, section 3.1: of classes that can be told apart the rare one gets the wider margin.

    They lie 0.7 apart, which is about the sum of the margins, 0.5 and 0.21; the scale is large, so that margins
    decide and not the classes' sizes.
    """
    plain, ldam, even = (
        recalls(LossConfig(loss="ldam", counts=counts, ldam_margin=margin, ldam_scale=200.0), 0.02, 0.3, 0.35)
        for counts, margin in (((1000, 30), 0.0), ((1000, 30), 0.5), ((300, 300), 0.5))
    )
    assert ldam[1] > plain[1] + 0.03
    # Of classes of one size none is rare.
    assert abs(even[0] - even[1]) < 0.03


def test_deferred_weights_raise_the_recall_of_the_rare_class():
    """Cao et al. 2019, algorithm 1, where classes overlap."""
    config = LossConfig(loss="ldam", counts=(1000, 30))
    weighed = LossConfig(loss="ldam", counts=(1000, 30), class_weights=True, deferred_reweighting=0.8)
    before, after = (recalls(one, 1.0, 1.0) for one in (config, weighed))
    assert after[1] > before[1] + 0.2
    assert np.mean(after) > np.mean(before) + 0.05


def test_focal_loss_is_of_the_hard_examples():
    """Lin et al. 2017, figure 1 and section 3.2: what is right with certainty counts hundreds of times less."""
    inputs, labels = points((1000, 30), 1.0, 0)
    scores = tf.constant(inputs @ np.array([[-2.0, 2.0], [0.0, 0.0]], np.float32))
    shares = {}
    for gamma in (0.0, 2.0, 5.0):
        each = losses.focal(scores, labels, gamma).numpy()
        right = tf.nn.softmax(scores).numpy()[np.arange(len(labels)), labels] > 0.9
        shares[gamma] = each[right].sum() / each.sum()
    assert shares[0.0] > 10 * shares[2.0] > 100 * shares[5.0]
    easy = tf.constant([[np.log(0.9), np.log(0.1)]], tf.float32)
    ratio = losses.focal(easy, [0], 0.0) / losses.focal(easy, [0], 2.0)
    np.testing.assert_allclose(ratio, 100.0, rtol=1e-4)  # (1 - 0.9)^-2


def test_the_confusion_matrix_and_its_picture():
    confusion = Confusion.of(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 0]), ("기쁨", "놀람", "슬픔"))
    assert confusion.counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert str(confusion) == "기쁨 → 놀람 1, 슬픔 → 기쁨 1"
    picture = confusion.picture()
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.uint8
    # The cell of 놀람, always right, is the darkest; that of what never happens is white.
    cells = picture.reshape(4, 32, 4, 32, 3).mean((1, 3, 4))[1:, 1:]
    assert np.unravel_index(cells.argmin(), cells.shape) == (1, 1)
    assert cells[0, 2] == cells.max()


def test_figures_by_length_go_over_all_examples_once():
    lengths = np.array([9, 1, 5, 7, 3, 2] * 6)
    groups = by_length(lengths, lambda rows: {"num_examples": len(rows), "rows": rows.tolist()})
    assert list(map(str, groups)) == ["1 to 2 pieces", "3 to 5 pieces", "7 to 9 pieces"]
    assert sorted(row for group in groups.values() for row in group["rows"]) == list(range(36))
    assert by_length(lengths[:20], lambda rows: {}) == {}


def test_the_pictures_lie_where_tensorboard_finds_them(early):
    output, _ = early
    events = [
        value
        for path in (output / "eval").glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    assert any(value.tag == "confusion" for value in events)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "Confusion matrix" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.slow
def test_adaptation_is_one_command(data, random_model, tmp_path, capfd):
    output = tmp_path / "adapted"
    flags = [f"--init_checkpoint={random_model}", f"--vocab_file={MECAB_VOCABULARY}", "--adapt_on=train"]
    flags += ["--adapt_steps=3", "--adapt_batch_size=4", "--adapt_dupe_factor=1", "--num_train_steps=2"]
    files = [f"--train_file={data}/train.tsv", f"--output_dir={output}", "--do_train", "--strategy=cpu"]
    assert main([*files, *flags, "--max_seq_length=32", "--train_batch_size=8"]) == 0
    said = capfd.readouterr().out
    assert "adaptation: 32 documents" in said
    assert f"weights from {output}/adapted/model" in said
    assert (output / "adapted" / "model" / "model.ckpt-3.index").exists()
    # Again: every part is passed over.
    assert main([*files, *flags, "--max_seq_length=32", "--train_batch_size=8"]) == 0
    said = capfd.readouterr().out
    assert "already at step 3 of 3" in said
    assert "adaptation:" not in said


@pytest.mark.long
def test_adaptation_and_fine_tuning_of_a_roberta_whose_padding_is_1(data, tmp_path, capfd):
    """KLUE-RoBERTa's order of special tokens: [CLS] is 0, the padding of records, which the mask hides."""
    pieces = load_tokenizer(str(MECAB_VOCABULARY)).vocabulary.tokens
    special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    (tmp_path / "vocab").mkdir()
    tokens = [*special, *(piece for piece in pieces if piece not in special)]
    (tmp_path / "vocab" / "vocab.txt").write_bytes(vocabulary_bytes(tokens))
    (tmp_path / "vocab" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    roberta = {
        "type_vocab_size": 1,
        "position_offset": 2,
        "hidden_act": "gelu_erf",
        "next_sentence_head": False,
    }
    model = write_random_model(tmp_path / "model", tmp_path / "vocab", **roberta)
    assert export([f"--checkpoint={model}", f"--output_dir={tmp_path}/hf", "--format=huggingface"]) == 0
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["pad_token_id"] == 1
    flags = [
        f"--init_checkpoint={tmp_path}/hf",
        f"--output_dir={tmp_path}/out",
        f"--train_file={data}/train.tsv",
    ]
    flags += ["--adapt_on=train", "--adapt_steps=1", "--adapt_batch_size=4", "--adapt_dupe_factor=1"]
    flags += [
        "--do_train",
        "--num_train_steps=1",
        "--train_batch_size=8",
        "--max_seq_length=32",
        "--strategy=cpu",
    ]
    assert main(flags) == 0
    said = capfd.readouterr().out
    assert re.search(r"masked LM head +5 +0", said)
    assert f"weights from {tmp_path}/out/adapted/model; new: output_weights, output_bias" in said
    assert "saved as" in said


def stopped(flags, line, number):
    """Runs the command until it says a line, sends it a signal, and gives what it said and its exit status."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_classifier.py"), *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    for found in process.stdout:
        said += found
        if re.search(line, said, re.M):
            break
    process.send_signal(number)
    rest, errors = process.communicate(timeout=120)
    assert f"stopped by signal {int(number)}; the same command continues." in errors
    assert "Traceback" not in errors
    assert "the checkpoint is saved first" in rest
    assert process.returncode == 128 + number
    return said + rest


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_while_adapting_saves_in_the_process_that_trains(data, random_model, tmp_path, number):
    output = tmp_path / "adapted"
    flags = [f"--init_checkpoint={random_model}", f"--vocab_file={MECAB_VOCABULARY}", "--adapt_on=train"]
    flags += ["--adapt_batch_size=4", "--adapt_dupe_factor=1", "--num_train_steps=1", "--strategy=cpu"]
    flags += [f"--train_file={data}/train.tsv", f"--output_dir={output}", "--do_train", "--max_seq_length=32"]
    stopped([*flags, "--adapt_steps=5000"], r"^step 100/", number)
    newest = tf.train.latest_checkpoint(str(output / "adapted" / "model"))
    step = int(newest.rpartition("-")[2])
    assert 100 <= step < 1000  # before the first that is saved unasked
    assert main([*flags, f"--adapt_steps={step + 1}"]) == 0
    assert tf.train.latest_checkpoint(str(output / "adapted" / "model")).endswith(f"-{step + 1}")
    assert tf.train.latest_checkpoint(str(output)).endswith("model.ckpt-1")


@pytest.mark.slow
def test_a_signal_to_the_second_seed_saves_and_the_same_command_continues(data, tmp_path):
    output = tmp_path / "seeds"
    files = [f"--train_file={data}/train.tsv", f"--eval_file={data}/test.tsv", f"--output_dir={output}"]
    steps = ["--num_train_steps=400", "--log_steps=50", "--save_checkpoints_steps=1000"]
    flags = [*tiny_flags(data, 16), *files, *steps, "--do_train", "--do_eval", "--num_seeds=2", "--seed=4"]
    said = stopped(flags, r"^seed 5: (?s:.*)^step 50/", signal.SIGTERM)
    assert "steps 0 to 400 of 400" in said
    newest = tf.train.latest_checkpoint(str(output / "seed-5"))
    assert 50 <= int(newest.rpartition("-")[2]) < 400
    assert main(flags) == 0
    assert figures(output)["num_seeds"] == 2
    # As if it had never been stopped.
    assert run(data, tmp_path / "whole", *steps, "--seed=5") == 0
    found, expected = weights(output / "seed-5", 400), weights(tmp_path / "whole", 400)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_without_a_model_there_is_nothing_to_adapt(data, tmp_path, capsys):
    assert run(data, tmp_path / "out", "--adapt_on=train") == 2
    assert "--adapt_on continues a pretrained model" in capsys.readouterr().err


def test_weights_and_biases_says_what_to_install(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    assert run(data, tmp_path / "out", "--wandb_project=korean", "--num_train_steps=1") == 1
    assert "pip install 'morphbert[wandb]'" in capsys.readouterr().err
