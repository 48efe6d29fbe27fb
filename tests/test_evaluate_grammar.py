"""Pseudo-log-likelihoods of minimal pairs against the network's own logits, the command, and training with pairs."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from runs import arguments, assert_same, curve, go_back_to
from samples import GOLDEN, MECAB_VOCABULARY, write_random_model
from variants import DISCRIMINATOR, VARIANTS

import morphbert
from morphbert.cli.evaluate_grammar import main
from morphbert.cli.run_pretraining import main as run_pretraining
from morphbert.grammar.cutting import Cutter
from morphbert.grammar.pairs import MinimalPair, read_pairs
from morphbert.text.loading import load_tokenizer
from morphbert.train.grammar import GrammarEvaluator, PairScorer

PAIRS = [
    MinimalPair("object", "어제 그 사람은 책을 읽고 잤다.", "어제 그 사람은 책를 읽고 잤다.", (10, 11), (10, 11)),
    MinimalPair("tense", "어제 친구를 만났다.", "내일 친구를 만났다.", (0, 2), (0, 2)),
    MinimalPair("ending_order", "나무를 심었습니다.", "나무를 심습니다었.", (5, 9), (5, 9)),
    MinimalPair("topic_masked_noun", "사과나무는 정말 크다.", "사과나무은 정말 크다.", (4, 5), (4, 5), "", (0, 4)),
    MinimalPair("case", "나는 𓀀 간다", "나는 𓀁 간다", (3, 4), (3, 4)),
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(str(MECAB_VOCABULARY))


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(f"{pair.to_json()}\n" for pair in PAIRS), encoding="utf-8")
    return path


def weights_of(model):
    return {name: tf.convert_to_tensor(value) for name, value in model.parameters.items()}


def plain_score(logits_of, side, mask_id):
    """Log-probabilities of masked pieces, one masked copy after the other; `logits_of`: ids [1, L] → [L, V]."""
    total = 0.0
    for positions in side.copies():
        ids = np.array([side.ids])
        ids[0, list(positions)] = mask_id
        for place in positions:
            row = np.asarray(logits_of(ids), np.float64)[place]
            total += row[side.ids[place]] - np.logaddexp.reduce(row)
    return total


def test_a_discriminator_scores_without_masks(tokenizer, pairs_file, tmp_path, capsys):
    """By the probabilities that the pieces are original, of each sentence alone and unpadded."""
    folder = write_random_model(tmp_path / "model", MECAB_VOCABULARY, **DISCRIMINATOR)
    model = morphbert.load(str(folder)).model
    cuts = Cutter(tokenizer, 64, context_words=1)(PAIRS)
    scores = PairScorer(model.config, tokenizer.vocab["[MASK]"], batch_pieces=40)(weights_of(model), cuts)
    sides = [(cut.good, cut.bad) for cut in cuts if cut.good is not None]
    assert len(scores) == len(sides) == 4
    for found, pair in zip(scores, sides, strict=True):
        for value, side in zip(found, pair, strict=True):
            logits = model.discriminator_logits([list(side.ids)]).numpy()[0].astype(np.float64)
            expected = -sum(np.logaddexp(0.0, logits[place]) for place in side.positions)
            assert value == pytest.approx(expected, abs=1e-4)
    output = tmp_path / "result.json"
    flags = [f"--checkpoint={folder}", f"--grammar_file={pairs_file}", f"--output_file={output}"]
    assert main(flags) == 0
    assert "the discriminator of an ELECTRA scores the pieces, without masks" in capsys.readouterr().out
    assert json.loads(output.read_text(encoding="utf-8"))["scored_by"] == "discriminator"
    assert main([*flags, "--electra_network=generator"]) == 1
    assert "holds no generator" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["bert", "modern"])
def test_scores_are_those_of_the_logits(variant, random_model, tokenizer, tmp_path):
    """Each masked copy alone and unpadded through the public call of the model, for both ways to choose places."""
    folder = (
        random_model
        if variant == "bert"
        else write_random_model(tmp_path / "modern", MECAB_VOCABULARY, **VARIANTS["modern"])
    )
    model = morphbert.load(str(folder)).model
    for positions, batch_pieces in (("changed", 64), ("all", 8192)):
        cutter = Cutter(tokenizer, 64, positions, context_words=1)
        cuts = [*cutter(PAIRS), *cutter(PAIRS, spaces=False)]
        scores = PairScorer(model.config, cutter.mask_id, batch_pieces)(weights_of(model), cuts)
        sides = [(cut.good, cut.bad) for cut in cuts if cut.reason is None]
        assert len(scores) == len(sides) == 8
        expected = [
            [plain_score(lambda ids: model.masked_lm_logits(ids)[0], side, cutter.mask_id) for side in both]
            for both in sides
        ]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("variant", ["bert", "modern"])
def test_scores_are_those_of_transformers(variant, random_model, tokenizer, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = (
        random_model
        if variant == "bert"
        else write_random_model(tmp_path / "modern", MECAB_VOCABULARY, **VARIANTS["modern"])
    )
    loaded = morphbert.load(str(folder))
    loaded.save(str(tmp_path / "exported"), format="huggingface")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "exported").eval()
    cutter = Cutter(tokenizer, 64)
    cuts = cutter(PAIRS)
    scores = PairScorer(loaded.model.config, cutter.mask_id)(weights_of(loaded.model), cuts)

    def logits_of(ids):
        with torch.no_grad():
            return theirs(torch.tensor(ids)).logits[0].numpy()

    expected = [
        [plain_score(logits_of, side, cutter.mask_id) for side in (cut.good, cut.bad)]
        for cut in cuts
        if cut.reason is None
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_the_command_and_the_function_agree(random_model, pairs_file, tmp_path, capsys):
    out = tmp_path / "grammar.json"
    assert main([f"--checkpoint={random_model}", f"--grammar_file={pairs_file}", f"--output_file={out}"]) == 0
    printed = capsys.readouterr().out
    written = json.loads(out.read_text(encoding="utf-8"))
    config = morphbert.GrammarConfig(checkpoint=str(random_model), grammar_file=str(pairs_file))
    result = morphbert.evaluate_grammar(config)
    assert result.table() in printed
    assert {name: written[name] for name in ("spaced", "unspaced")} == result.to_dict()
    assert list(written["spaced"]["phenomena"]) == [pair.phenomenon for pair in PAIRS]
    total = written["spaced"]["total"]
    assert total["right"] + total["wrong"] + total["ties"] == 4
    assert total["unscorable"] == {"same_pieces": 1}
    assert "1 the same pieces in both sentences" in printed
    assert written["positions"] == "changed"


def test_a_model_that_says_the_same_of_everything_is_never_right(random_model, tokenizer):
    """Ties: with weights of 0 every piece has one probability, so sentences of one length have one score."""
    model = morphbert.load(str(random_model)).model
    weights = {name: tf.zeros_like(value) for name, value in model.parameters.items()}
    same = [pair for pair in PAIRS if pair.phenomenon in ("object", "tense")]
    result = GrammarEvaluator(model.config, same, Cutter(tokenizer, 64, context_words=0))(weights)
    lengths = [
        len(tokenizer.tokenize(pair.good.split()[3 if pair.phenomenon == "object" else 0]))
        == len(tokenizer.tokenize(pair.bad.split()[3 if pair.phenomenon == "object" else 0]))
        for pair in same
    ]
    assert all(lengths)
    assert (result.total.right, result.total.ties, result.total.accuracy) == (0, 2, 0.0)


def test_an_evaluation_that_is_told_to_stop_has_no_result(random_model, tokenizer):
    model = morphbert.load(str(random_model)).model
    evaluator = GrammarEvaluator(model.config, PAIRS, Cutter(tokenizer, 64))
    assert evaluator.scored == 8
    assert evaluator.seconds(weights_of(model)) > 0
    assert evaluator(weights_of(model), stopping=lambda: True) is None


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (
            ["--grammar_file=none.jsonl", "--checkpoint=out"],
            1,
            "--grammar_file=none.jsonl: there is no such file",
        ),
        (["--grammar_file=none.jsonl"], 2, "--checkpoint is required"),
        (["--checkpoint=out"], 2, "--grammar_file is required"),
        (
            ["--checkpoint=out", "--grammar_file=a", "--input_file=b"],
            2,
            "--checkpoint cannot be combined with --input_file",
        ),
        (["--checkpoint=out", "--grammar_file=a", "--max_pairs=2"], 2, "--max_pairs goes with --input_file"),
    ],
)
def test_flags_that_do_not_go_together(flags, status, said, capsys):
    assert main(flags) == status
    assert said in capsys.readouterr().err


def test_training_needs_a_vocabulary_and_an_evaluation_for_pairs(records, tiny_config, tmp_path, capsys):
    flags = arguments(records, tiny_config, tmp_path / "out", "--grammar_file=a.jsonl")
    assert run_pretraining(flags) == 2
    assert "--grammar_file needs --vocab_file" in capsys.readouterr().err
    assert run_pretraining([*flags, "--vocab_file=vocab"]) == 2
    assert "add --do_eval or --eval_every" in capsys.readouterr().err


@pytest.mark.long
def test_training_with_pairs_has_the_same_weights_and_resumes(
    records, tiny_config, finished, pairs_file, tmp_path, capsys
):
    """The run of `finished`, with pairs at its evaluations: figures in the log and the report, no bit of a weight."""
    output = tmp_path / "pairs"
    flags = arguments(
        records,
        tiny_config,
        output,
        *("--do_eval", "--eval_every=8", "--max_eval_steps=1000"),
        *(f"--grammar_file={pairs_file}", f"--vocab_file={GOLDEN / 'vocab_ko.txt'}"),
    )
    assert run_pretraining(flags) == 0
    assert_same(finished / "model.ckpt-20", output / "model.ckpt-20")
    printed = capsys.readouterr().out
    evaluated = [
        line for line in map(json.loads, (output / "metrics.jsonl").open()) if line["kind"] == "eval"
    ]
    assert [line["step"] for line in evaluated] == [8, 16, 20]
    config = morphbert.GrammarConfig(checkpoint=str(output), grammar_file=str(pairs_file))
    expected = morphbert.evaluate_grammar(config).metrics()
    assert {name: value for name, value in evaluated[-1].items() if name.startswith("grammar_")} == expected
    assert 0 < expected["grammar_pairs"] <= len(read_pairs(str(pairs_file)))
    assert f"of {expected['grammar_pairs']} pairs right" in printed
    assert "grammar_accuracy = " in (output / "eval_results.txt").read_text()
    assert "grammar: pairs right" in (output / "report.html").read_text(encoding="utf-8")
    resumed = tmp_path / "resumed"
    go_back_to(8, output, resumed)
    again = [flag if not flag.startswith("--output_dir=") else f"--output_dir={resumed}" for flag in flags]
    assert run_pretraining(again) == 0
    assert_same(output / "model.ckpt-20", resumed / "model.ckpt-20")
    assert curve(output) == curve(resumed)


def test_a_pair_survives_its_file(pairs_file):
    assert read_pairs(str(pairs_file)) == PAIRS
    assert dataclasses.replace(PAIRS[0], source="x").to_json() != PAIRS[0].to_json()
