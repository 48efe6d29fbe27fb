"""ELECTRA's pretraining: what is sampled, both losses, and runs of `run_pretraining.py --objective=electra`."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from runs import assert_same, curve, go_back_to, logged, objective_none
from runs import tensors as tensors_of
from samples import GOLDEN, SHAPE, write_config
from variants import DISCRIMINATOR, VARIANTS, random_weights_of, tensors

import morphbert
from morphbert.cli.export_model import main as export
from morphbert.cli.fill_mask import main as fill_mask
from morphbert.cli.import_model import main as bring_in
from morphbert.cli.run_pretraining import main as train
from morphbert.errors import MorphbertError
from morphbert.grammar.pairs import MinimalPair
from morphbert.interop import sources
from morphbert.model import electra
from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, encode
from morphbert.model.heads import discriminator_logits, masked_lm_logits
from morphbert.model.kernels.sampling import sample
from morphbert.model.parameters import pretraining_parameters
from morphbert.train.objective import electra_objective

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
SIZES |= {"vocab_size": 97, "max_position_embeddings": 64, "type_vocab_size": 2}
SIZES |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def networks(**changes):
    discriminator = BertConfig(**{**SIZES, **DISCRIMINATOR, **changes})
    return discriminator, electra.generator_of(discriminator, 0.5)


def batch_of(rows=6, length=20, seed=3):
    """Masked pieces with places that no mask takes, and what decides the samples."""
    random = np.random.default_rng(seed)
    lengths = np.resize([length, 12, 9], rows)
    mask = (np.arange(length)[None] < lengths[:, None]).astype(np.int32)
    ids = random.integers(5, 97, mask.shape) * mask
    segments = (np.arange(length)[None] > 6) * mask
    positions = np.stack([np.sort(random.permutation(np.arange(1, 9))[:4]) for _ in ids])
    weights = np.ones(positions.shape, np.float32)
    positions[1, 2:], weights[1, 2:] = 0, 0.0
    batch = {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": segments,
        "masked_lm_positions": positions,
        "masked_lm_ids": random.integers(5, 97, positions.shape) * (weights > 0),
    }
    batch = {name: tf.constant(values, tf.int32) for name, values in batch.items()}
    batch["masked_lm_weights"] = tf.constant(weights)
    return {**batch, electra.DRAW_KEYS: electra.draw_keys(batch["input_ids"], tf.constant([1, 2]))}


# ── what is sampled ────────────────────────────────────────────────────────────────────────────────────


def test_samples_have_the_probabilities_of_the_scores():
    """20,000 draws from one distribution: Pearson's statistic, under the 99.9% of chi-square with 7 degrees."""
    scores = tf.constant([0.0, 1.0, 2.0, -1.0, 0.5, 0.0, -3.0, 1.5])
    rows, predictions = 500, 40
    bias = tf.constant([0.5, 0.0, -0.5, 0.0, 0.0, 1.0, 0.0, 0.0])
    keys = electra.draw_keys(tf.constant(np.arange(rows)[:, None], tf.int32), tf.constant([7, 8]))
    every = tf.tile(scores[:, None], [1, rows * predictions])
    drawn = sample(every, bias, keys).numpy()
    expected = tf.nn.softmax(scores + bias).numpy() * drawn.size
    found = np.bincount(drawn.ravel(), minlength=8)
    assert np.sum((found - expected) ** 2 / expected) < 24.3
    assert len({tuple(row) for row in drawn}) == rows


def test_samples_depend_on_the_row_and_the_step_alone():
    batch = batch_of()
    keys = batch[electra.DRAW_KEYS]
    again = electra.draw_keys(batch["input_ids"][::-1], tf.constant([1, 2]))
    np.testing.assert_array_equal(again[::-1], keys)
    other = electra.draw_keys(batch["input_ids"], tf.constant([1, 3]))
    assert not np.any(other == keys)
    scores = tf.random.stateless_normal([97, 6 * 4], [1, 1])
    whole = sample(scores, tf.zeros([97]), keys)
    by_row = tf.reshape(scores, [97, 6, 4])
    parts = [sample(by_row[:, row], tf.zeros([97]), keys[row : row + 1]) for row in range(6)]
    np.testing.assert_array_equal(whole, tf.concat(parts, 0))


def test_a_sample_that_is_the_original_counts_as_original():
    batch = batch_of()
    labels = batch["masked_lm_ids"]
    drawn = tf.where(tf.range(4)[None] % 2 == 0, labels, labels % 90 + 6)
    ids, replaced = (values.numpy() for values in electra.corrupted(batch, drawn))
    before, positions = batch["input_ids"].numpy(), batch["masked_lm_positions"].numpy()
    for row in range(len(ids)):
        real = positions[row][batch["masked_lm_weights"].numpy()[row] > 0]
        np.testing.assert_array_equal(ids[row, real], drawn.numpy()[row, : len(real)])
        np.testing.assert_array_equal(replaced[row, real], np.arange(len(real)) % 2)
        others = np.setdiff1d(np.arange(ids.shape[1]), real)
        np.testing.assert_array_equal(ids[row, others], before[row, others])
        assert not replaced[row, others].any()


# ── both losses ────────────────────────────────────────────────────────────────────────────────────────


def weights_of(discriminator, generator):
    return random_weights_of(electra.electra_parameters(discriminator, generator))


@pytest.mark.parametrize("changes", [{}, VARIANTS["modern"]], ids=["BERT's block", "modern block"])
def test_the_sums_are_those_of_two_networks_apart(changes):
    """In float64, from scores of the generator and of the discriminator on the pieces that were put in."""
    discriminator, generator = networks(**changes)
    weights, batch = tensors(weights_of(discriminator, generator)), batch_of()
    sums, right = electra.electra_sums(weights, discriminator, electra.Electra(generator), batch)
    own = {name: weights[electra.name_in_both(name)] for name in pretraining_parameters(generator)}
    inputs = EncoderInputs.of(batch)
    hidden = encode(own, generator, inputs)
    logits = masked_lm_logits(own, generator, hidden, batch["masked_lm_positions"]).numpy().astype(np.float64)
    real, labels = (batch[f"masked_lm_{name}"].numpy() for name in ("weights", "ids"))
    odds = np.take_along_axis(logits, labels[..., None], -1)[..., 0] - np.log(np.exp(logits).sum(-1))
    assert float(sums["masked_lm_loss"]) == pytest.approx(-(odds * real).sum(), rel=1e-5)
    np.testing.assert_array_equal(right.numpy() > 0, logits.argmax(-1) == labels)

    turned = tf.constant(logits.reshape(-1, 97).T.astype(np.float32))
    ids, replaced = electra.corrupted(batch, sample(turned, tf.zeros([97]), batch[electra.DRAW_KEYS]))
    drawn = sample(turned, tf.zeros([97]), batch[electra.DRAW_KEYS]).numpy()
    assert replaced.numpy().sum() == ((drawn != labels) * real).sum() > 0
    told = discriminator_logits(
        weights, discriminator, encode(weights, discriminator, inputs._replace(input_ids=ids))
    )
    scores, truth = told.numpy().astype(np.float64), replaced.numpy()
    mask = batch["input_mask"].numpy()
    losses = np.logaddexp(0.0, scores) - scores * truth
    assert float(sums["discriminator_loss"]) == pytest.approx((losses * mask).sum(), rel=1e-5)
    said = scores > 0
    assert float(sums["discriminator_correct"]) == ((said == truth) * mask).sum()
    assert float(sums["replaced"]) == truth.sum()
    assert float(sums["replaced_found"]) == (truth * said).sum()
    assert float(sums["replaced_said"]) == (said * mask).sum()
    figures = electra.averages(
        {name: float(v) for name, v in {**sums, **electra.counts(batch)}.items()}, 50.0
    )
    assert figures["loss"] == pytest.approx(
        -(odds * real).sum() / real.sum() + 50.0 * (losses * mask).sum() / mask.sum(), rel=1e-4
    )


def test_the_discriminators_gradient_reaches_the_generator_only_by_the_embeddings():
    discriminator, generator = networks()
    weights, batch = tensors(weights_of(discriminator, generator)), batch_of()
    with tf.GradientTape() as tape:
        tape.watch(weights)
        sums, _ = electra.electra_sums(weights, discriminator, electra.Electra(generator), batch)
        told = sums["discriminator_loss"]
    gradients = tape.gradient(told, weights)
    reached = {name for name, gradient in gradients.items() if gradient is not None}
    assert not any(name.startswith("generator") for name in reached)
    assert {"bert/embeddings/word_embeddings", "discriminator_predictions/dense/kernel"} <= reached


def of_transformers(kind, config, weights):
    """A model of transformers with our weights."""
    import torch
    import transformers

    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    names += ("max_position_embeddings", "type_vocab_size")
    sizes = {name: getattr(config, name) for name in names}
    model = kind(transformers.ElectraConfig(**sizes, embedding_size=config.embedding_width)).eval()
    there = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in pretraining_parameters(config).items():
            value = weights[name].numpy()
            there[parameter.hugging_face].copy_(
                torch.tensor(value.T if parameter.is_transposed_there else value)
            )
    return model


def test_with_disentangled_gradients_each_loss_moves_its_own_table():
    """The value is that of one table, as long as there are no differences."""
    discriminator, generator = networks()
    shared, batch = weights_of(discriminator, generator), batch_of()
    weights = tensors(electra.with_differences(shared))
    assert weights.keys() == electra.electra_parameters(discriminator, generator, disentangles=True).keys()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        sums, _ = electra.electra_sums(
            weights, discriminator, electra.Electra(generator, disentangles=True), batch
        )
    expected, _ = electra.electra_sums(tensors(shared), discriminator, electra.Electra(generator), batch)
    for name in electra.SUMS:
        assert float(sums[name]) == pytest.approx(float(expected[name]), rel=1e-6), name
    tables = [weights[electra.GENERATOR_TABLE], weights[electra.TABLE_DIFFERENCE]]
    of_filler = tape.gradient(sums["masked_lm_loss"], tables)
    of_judge = tape.gradient(sums["discriminator_loss"], tables)
    assert [gradient is not None for gradient in (*of_filler, *of_judge)] == [True, False, False, True]
    moved = electra.with_differences(shared) | {electra.TABLE_DIFFERENCE: np.full((97, 16), 0.5, np.float32)}
    whole = electra.with_whole_tables(moved)
    table = "bert/embeddings/word_embeddings"
    np.testing.assert_allclose(whole[table], shared[table] + 0.5, rtol=1e-6)
    np.testing.assert_allclose(
        electra.with_differences(whole)[electra.TABLE_DIFFERENCE], moved[electra.TABLE_DIFFERENCE], rtol=1e-5
    )


@pytest.mark.parity
def test_the_losses_are_those_of_transformers(tmp_path):
    """ElectraForMaskedLM on the masks, ElectraForPreTraining on the same pieces put in their places."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    discriminator, generator = networks()
    weights, batch = tensors(weights_of(discriminator, generator)), batch_of()
    sums, _ = electra.electra_sums(weights, discriminator, electra.Electra(generator), batch)
    own = {name: weights[electra.name_in_both(name)] for name in pretraining_parameters(generator)}
    filler = of_transformers(transformers.ElectraForMaskedLM, generator, own)
    judge = of_transformers(transformers.ElectraForPreTraining, discriminator, weights)
    inputs = {
        "attention_mask": torch.tensor(batch["input_mask"].numpy()),
        "token_type_ids": torch.tensor(batch["segment_ids"].numpy()),
    }
    real, labels = (batch[f"masked_lm_{name}"].numpy() for name in ("weights", "ids"))
    everywhere = np.full(batch["input_ids"].shape, -100)
    for row, positions in enumerate(batch["masked_lm_positions"].numpy()):
        kept = real[row] > 0
        everywhere[row, positions[kept]] = labels[row][kept]
    found = filler(
        input_ids=torch.tensor(batch["input_ids"].numpy()), labels=torch.tensor(everywhere), **inputs
    )
    assert float(sums["masked_lm_loss"]) / real.sum() == pytest.approx(found.loss.item(), abs=1e-5)
    rows = np.arange(len(real))[:, None]
    scores = found.logits.detach().numpy()[rows, batch["masked_lm_positions"].numpy()]
    drawn = sample(tf.constant(scores.reshape(-1, 97).T.copy()), tf.zeros([97]), batch[electra.DRAW_KEYS])
    ids, replaced = electra.corrupted(batch, drawn)
    told = judge(input_ids=torch.tensor(ids.numpy()), labels=torch.tensor(replaced.numpy()), **inputs)
    pieces = batch["input_mask"].numpy().sum()
    assert float(sums["discriminator_loss"]) / pieces == pytest.approx(told.loss.item(), abs=1e-5)


# ── configurations ─────────────────────────────────────────────────────────────────────────────────────


def test_a_generator_is_a_share_of_its_discriminator():
    base = electra.discriminator_of(BertConfig(vocab_size=100), "x")
    found = electra.generator_of(base, 0.25)
    assert (found.hidden_size, found.num_attention_heads, found.intermediate_size) == (192, 3, 768)
    assert (found.num_hidden_layers, found.embedding_width, found.electra) == (12, 768, "generator")
    rotary = BertConfig(**{**SIZES, **VARIANTS["modern"], "hidden_size": 24})
    narrow = electra.generator_of(
        electra.discriminator_of(rotary, "x"), 0.25
    )  # rotary positions need even heads
    assert narrow.hidden_size // narrow.num_attention_heads % 2 == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocab_size": 98}, ["vocab_size is 98 in the generator and 97", "share their embeddings"]),
        ({"embedding_size": 8}, ["8 wide", "16", "set embedding_size to 16"]),
        ({"hidden_size": 64}, ["generator is 64 wide", "32", "--generator_size=0.25"]),
    ],
)
def test_a_generator_that_does_not_fit_is_named(changes, words):
    discriminator, _ = networks()
    generator = BertConfig(**{**SIZES, **DISCRIMINATOR, "electra": "generator", **changes})
    with pytest.raises(MorphbertError) as error:
        electra.check_generator(generator, discriminator, "--generator_config_file=g.json")
    assert all(word in str(error.value) for word in ("--generator_config_file=g.json", *words)), error.value


def test_a_discriminator_that_finds_nothing_is_named():
    warn = electra_objective(networks()[0], electra.Electra(networks()[1])).warn
    figures = {"replaced_recall": 0.002, "replaced_share": 0.12}
    assert warn(300, figures) is None
    assert warn(500, {**figures, "replaced_recall": 0.3}) is None
    said = warn(500, figures)
    assert (
        'step 500 the discriminator says "original" of nearly every piece: it found 0.2% of the 12.0%' in said
    )
    assert "--learning_rate" in said
    assert "--generator_size" in said


# ── runs ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """(folder, more) → the flags of a run on real Korean records without pairs."""
    base = tmp_path_factory.mktemp("electra")
    files = objective_none(base)
    size = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())
    config = write_config(base / "c.json", **{**SIZES, "vocab_size": size})

    def made(output, *more):
        paths = [f"--bert_config_file={config}", f"--input_file={files}", f"--output_dir={output}"]
        rates = ["--train_batch_size=8", "--num_warmup_steps=2", "--learning_rate=1e-3", "--log_steps=2"]
        fixed = ["--objective=electra", "--generator_size=0.5", "--do_train", "--schedule=constant", *SHAPE]
        return [*paths, *fixed, *rates, "--save_checkpoints_steps=4", "--strategy=cpu", *map(str, more)]

    return made


@pytest.fixture(scope="module")
def finished(flags, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "out"
    assert train(flags(output, "--num_train_steps=8", "--do_eval", "--eval_every=4")) == 0
    return output


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A file of two minimal pairs."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    spans = (
        ("나는 책을 읽었다.", "나는 책를 읽었다.", (4, 5), (4, 5)),
        ("나는 간다.", "나은 간다.", (1, 2), (1, 2)),
    )
    path.write_text("".join(MinimalPair("case", *one).to_json() + "\n" for one in spans), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def apart(flags, pairs, tmp_path_factory):
    """Four steps with disentangled gradients, with pairs in the evaluation at the end."""
    output = tmp_path_factory.mktemp("apart") / "out"
    given = [f"--grammar_file={pairs}", f"--vocab_file={GOLDEN}/vocab_ko.txt", "--do_eval"]
    assert (
        train(flags(output, "--num_train_steps=4", "--embedding_sharing=gradient_disentangled", *given)) == 0
    )
    return output


def assert_scored_as_by_the_command(output, pairs):
    """The figures of a run's last evaluation are those of evaluate_grammar.py on its checkpoint."""
    config = morphbert.GrammarConfig(checkpoint=str(output), grammar_file=str(pairs))
    expected = morphbert.evaluate_grammar(config).metrics()
    assert expected["grammar_pairs"] == 2
    lines = logged(output)
    last = [line for line in lines if line["kind"] == "eval"][-1]
    assert {name: last[name] for name in expected} == expected


def test_pairs_are_scored_by_the_discriminator_during_training(finished, flags, pairs, tmp_path):
    """The weights are those of a run without pairs."""
    given = [f"--grammar_file={pairs}", f"--vocab_file={GOLDEN}/vocab_ko.txt"]
    run = ["--num_train_steps=8", "--do_eval", "--eval_every=4"]
    assert train(flags(tmp_path / "out", *run, *given)) == 0
    assert_scored_as_by_the_command(tmp_path / "out", pairs)
    assert_same(finished / "model.ckpt-8", tmp_path / "out" / "model.ckpt-8")


def test_with_disentangled_gradients_pairs_are_scored_by_the_whole_table(apart, pairs):
    assert_scored_as_by_the_command(apart, pairs)


def test_figures_of_both_networks_are_logged(finished):
    lines = logged(finished)
    trained = [line for line in lines if line["kind"] == "train"]
    held_out = [line for line in lines if line["kind"] == "eval"]
    names = {
        "masked_lm_loss",
        "discriminator_loss",
        "replaced_recall",
        "replaced_precision",
        "replaced_share",
    }
    for line in (*trained, *held_out):
        assert names <= line.keys()
        total = line["masked_lm_loss"] + 50.0 * line["discriminator_loss"]
        assert line["loss"] == pytest.approx(total, rel=1e-6)
        assert 0.05 < line["replaced_share"] < 0.2
    assert trained[-1]["masked_lm_loss"] < trained[0]["masked_lm_loss"]
    assert trained[-1]["discriminator_loss"] < trained[0]["discriminator_loss"]
    assert "replaced_recall = " in (finished / "eval_results.txt").read_text()


def test_masks_are_filled_by_the_generator_and_tasks_get_the_discriminator(finished, capsys):
    vocabulary = str(GOLDEN / "vocab_ko.txt")
    flags = [f"--checkpoint={finished}", f"--vocab_file={vocabulary}", "--text=나는 [MASK]에 간다."]
    assert fill_mask([*flags, "--do_lower_case=false"]) == 0
    said = capsys.readouterr()
    assert "its generator fills the masks" in said.out
    assert "[MASK]:" in said.out
    model = sources.read(str(finished))
    assert (model.config.electra, model.missing()) == ("discriminator", [])
    assert all(name.startswith("generator") for name in model.other_network)
    generator = sources.read(str(finished), bert_config_file=str(finished / "generator_config.json"))
    assert (generator.config.hidden_size, generator.missing()) == (16, [])
    table = "bert/embeddings/word_embeddings"
    np.testing.assert_array_equal(generator.weights[table], model.weights[table])


@pytest.mark.long
def test_both_networks_start_from_a_run_and_from_folders_of_each(flags, finished, tmp_path, capsys):
    """After a step that moves nothing, the weights are those of the start."""
    vocabulary = f"--vocab_file={GOLDEN}/vocab_ko.txt"
    for network in ("discriminator", "generator"):
        given = [f"--checkpoint={finished}", vocabulary, f"--output_dir={tmp_path}/{network}"]
        given += ["--do_lower_case=false", f"--electra_network={network}", "--format=huggingface"]
        # The tiny configuration has BERT's GELU, which ElectraForMaskedLM does not compute.
        assert export(given) == (0 if network == "discriminator" else 1)
    assert "always takes gelu_erf" in capsys.readouterr().err
    given = [f"--checkpoint={finished}", vocabulary, "--electra_network=generator", "--do_lower_case=false"]
    assert bring_in([*given, f"--output_dir={tmp_path}/generator"]) == 0
    folders = [f"--init_checkpoint={tmp_path}/discriminator"]
    folders += [f"--init_generator_checkpoint={tmp_path}/generator"]
    for name, start in (("of a run", [f"--init_checkpoint={finished}"]), ("of folders", folders)):
        capsys.readouterr()
        assert train(flags(tmp_path / name, "--num_train_steps=1", "--learning_rate=1e-30", *start)) == 0
        out = capsys.readouterr().out
        count = len(read_weights(finished, 8))
        assert f"training: {count} of {count} weights from" in out
        assert_close(read_weights(tmp_path / name, 1), read_weights(finished, 8))


def assert_close(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-7, err_msg=name)


@pytest.mark.long
def test_a_run_with_disentangled_gradients_is_read_as_two_whole_networks(apart, flags, tmp_path):
    output = tmp_path / "apart"
    shutil.copytree(apart, output)
    sharing, vocabulary = "--embedding_sharing=gradient_disentangled", f"--vocab_file={GOLDEN}/vocab_ko.txt"

    def held_out():
        lines = (output / "eval_results.txt").read_text().splitlines()
        return [line for line in lines if not line.startswith("grammar")]

    before = held_out()
    (output / "eval_results.txt").unlink()
    run = flags(output, sharing, vocabulary, "--do_eval")
    assert train([flag for flag in run if flag != "--do_train"]) == 0
    assert held_out() == before
    judge = sources.read(str(output))
    filler = sources.read(str(output), bert_config_file=str(output / "generator_config.json"))
    assert (judge.missing(), filler.missing()) == ([], [])
    table = "bert/embeddings/word_embeddings"
    assert np.abs(judge.weights[table] - filler.weights[table]).max() > 1e-4
    again, start = tmp_path / "again", ["--learning_rate=1e-30", f"--init_checkpoint={output}"]
    assert train(flags(again, "--num_train_steps=1", *start, sharing)) == 0
    assert_close(read_weights(again, 1), read_weights(output, 4))


@pytest.mark.long
def test_a_resumed_run_reaches_the_same_bits(flags, finished, tmp_path):
    parts = tmp_path / "parts"
    go_back_to(4, finished, parts)
    assert train(flags(parts, "--num_train_steps=8", "--do_eval", "--eval_every=4")) == 0
    assert_same(finished / "model.ckpt-8", parts / "model.ckpt-8")
    assert curve(finished) == curve(parts)


@pytest.mark.long
@pytest.mark.distributed
def test_replicas_and_parts_reach_the_weights_of_one(flags, finished, tmp_path, replicas):
    """The samples are the same, so only the order of sums differs."""
    arguments = flags(tmp_path / "two", "--num_train_steps=4")
    done = replicas("run_pretraining", *arguments, "--gradient_accumulation_steps=2", "--recompute")
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = map(read_weights, (finished, tmp_path / "two"))
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=0, atol=1e-6, err_msg=name)


def read_weights(folder, step=4):
    return tensors_of(folder / f"model.ckpt-{step}", "model/")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--generator_size=1.5"], ["--generator_size", "1"]),
        (["--generator_config_file=g.json"], ["--generator_size or --generator_config_file, not both"]),
        (["--z_loss=1e-4"], ["--z_loss is for --objective=masked_lm"]),
        (["--objective=masked_lm"], ["--generator_size is for --objective=electra"]),
        (["--init_generator_checkpoint=x"], ["--init_generator_checkpoint needs --init_checkpoint"]),
    ],
)
def test_settings_that_do_not_fit_are_named(more, words, flags, tmp_path, capsys):
    assert train(flags(tmp_path / "x", *more)) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error


def test_records_with_labels_of_segments_are_refused(flags, records, tmp_path, capsys):
    assert train(flags(tmp_path / "x", f"--input_file={records}/*.tfrecord", "--num_train_steps=2")) == 1
    assert "create_pretraining_data.py --objective=none" in capsys.readouterr().err
