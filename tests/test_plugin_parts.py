"""Heads and metrics of plugins on the tasks of every command, without a run."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from samples import MECAB_VOCABULARY

import morphbert
from morphbert.errors import MorphbertError
from morphbert.finetune.config import PieceHeadConfig, RelationHeadConfig, TextHeadConfig
from morphbert.finetune.features import Features
from morphbert.finetune.heads import linear, linear_parameters
from morphbert.finetune.plugins import HEADS
from morphbert.finetune.task import Data, Examples
from morphbert.finetune.tasks.classification import Classification, metrics
from morphbert.finetune.tasks.multiple_choice import ChoiceExample, MultipleChoice
from morphbert.finetune.tasks.relation import Relation
from morphbert.finetune.tasks.spans import HEAD, Spans
from morphbert.finetune.tasks.tagging import Tagging
from morphbert.formats.questions import Question
from morphbert.interop.pretrained_start import Start
from morphbert.model.config import BertConfig

pytestmark = pytest.mark.usefixtures("nothing_registered")


@pytest.mark.parametrize("kind", ["class", "labels", "score"])
def test_metrics_are_tried_on_the_form_of_the_task(kind):
    task = Classification(kind, () if kind == "score" else ("부정", "중립", "긍정"))
    labels, scores = task.some_scores()
    found = metrics(scores, labels, task)
    assert all(np.isfinite(value) for value in found.values())
    if kind == "class":
        assert found["accuracy"] == 0.5
        assert set(scores.argmax(1)) == set(labels) == {0, 1, 2}
    assert labels.shape == ((12, 3) if kind == "labels" else (len(scores),))


class AsUsual:
    """The built-in head of pieces or of [CLS], under another name."""

    separate_texts = False

    def __init__(self, of_pieces):
        self.of_pieces = of_pieces

    def parameters(self, width, classes):
        return linear_parameters("head/output", classes, width)

    def scores(self, parameters, hidden, batch, dropout):
        assert batch["input_mask"].shape[0] == hidden.shape[0]
        return linear(parameters, "head/output", dropout(hidden if self.of_pieces else hidden[:, 0]))


LABELS = ("O", "B-PS", "I-PS")


@pytest.mark.parametrize(
    ("usual", "own", "output", "pieces", "sequences"),
    [
        (Tagging(LABELS), Tagging(LABELS, custom_head="usual"), "output", True, [4]),
        (Spans(), Spans(custom_head="usual"), HEAD, True, [4]),
        (
            Relation(LABELS, ("PER",), RelationHeadConfig(pooling="cls", layers=(-1, -2))),
            Relation(LABELS, ("PER",), PieceHeadConfig(layers=(-1, -2)), custom_head="usual"),
            "output",
            False,
            [4],
        ),
        (
            MultipleChoice(head=TextHeadConfig(layers=(-1, -2))),
            MultipleChoice(head=PieceHeadConfig(layers=(-1, -2)), custom_head="usual"),
            "output",
            False,
            [2, 2],
        ),
    ],
    ids=lambda value: type(value).__name__ if dataclasses.is_dataclass(value) else None,
)
def test_a_head_takes_the_place_of_every_commands(usual, own, output, pieces, sequences):
    """The same layers give the same scores."""
    HEADS.add("usual", AsUsual(pieces), "a test")
    model = BertConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, vocab_size=9)
    assert type(own).from_dict(json.loads(json.dumps(own.to_dict()))).custom_head == "usual"
    values = np.random.default_rng(1)
    width = 8 * len(own.head.layers)
    hidden = tf.constant(values.normal(size=(4, 5, width)), tf.float32)
    mask = np.ones((4, 5), np.int32)
    mask[1, 3:] = 0
    batch = {"input_mask": tf.constant(mask.reshape(*sequences, 5))}
    declared = usual.parameters(model)
    weights = {name: tf.constant(values.normal(size=one.shape), tf.float32) for name, one in declared.items()}
    renamed = {name.replace(output, "head/output"): weight for name, weight in weights.items()}
    assert {name: one.shape for name, one in own.parameters(model).items()} == {
        name: tuple(weight.shape) for name, weight in renamed.items()
    }
    wanted, found = (
        task.scores(given, model, hidden, batch, None) for task, given in ((usual, weights), (own, renamed))
    )
    np.testing.assert_array_equal(found, wanted)
    HEADS.add("narrow", AsUsual(not pieces), "a test")
    with pytest.raises(MorphbertError, match="instead of"):
        dataclasses.replace(own, custom_head="narrow").scores(renamed, model, hidden, batch, None)


def test_answers_and_choices_have_metrics():
    """Each gets the right ones and the model's, here of scores that are made up."""

    @morphbert.register_metric("shown")
    def shown(labels, scores):
        seen.append((labels.tolist(), scores.tolist()))
        return 0.25

    seen = []
    task = MultipleChoice()
    items = [ChoiceExample("질문", ("가", "나"), 1), ChoiceExample("질문", ("가", "나", "다"), 2)]
    data = Data(items, Features({"input_mask": np.ones((2, 3, 4), np.int32)}, {"labels": np.array([1, 2])}))
    scores = [np.array([0.5, 1.5, -1e4], np.float32), np.array([1.0, 2.0, 0.5], np.float32)]
    chosen = morphbert.MultipleChoiceConfig(output_dir="out", do_eval=True, eval_file="e", metrics=["shown"])
    assert task.judge(data, scores, chosen).figures["shown"] == 0.25
    assert seen.pop() == ([1, 2], [[0.5, 1.5, -1e4], [1.0, 2.0, 0.5]])
    tokenizer = morphbert.load_tokenizer(MECAB_VOCABULARY)
    questions = [
        Question("1", "수도는?", "서울은 수도이다.", golds=("서울", "서울시")),
        Question("2", "어디?", "부산은 항구이다.", golds=("부산",)),
    ]
    spans = Spans(max_seq_length=32)
    start = Start(BertConfig(), tokenizer, str(MECAB_VOCABULARY), None)
    asked = spans.data(Examples(questions), start, "predict")
    scores = []
    for window in asked.windows:
        scores.append(np.zeros((32, 2), np.float32))
        scores[-1][window.sequence.tokens.index("[SEP]") + 1] = 9.0  # the first piece of the paragraph
    answered = morphbert.SpanConfig(output_dir="out", do_predict=True, predict_file="p", metrics=["shown"])
    judged = spans.judge(asked, scores, answered)
    assert (judged.figures["shown"], judged.figures["exact_match"]) == (0.25, 100.0)
    assert "shown 0.2500" in judged.line
    assert seen.pop() == ([("서울", "서울시"), ("부산",)], ["서울", "부산"])
