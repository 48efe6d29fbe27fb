"""Labels each piece of a text, which gives the tags of its characters (run_ner.py's task)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune import huggingface
from morphbert.finetune.config import CROSS_ENTROPY, NO_POOLING, HeadConfig, LossConfig
from morphbert.finetune.confusion import Confusion
from morphbert.finetune.features import REWEIGHTED
from morphbert.finetune.head_task import LabelTask, saved_values
from morphbert.finetune.huggingface import TransformersHead
from morphbert.finetune.judgement import Judgement, by_length
from morphbert.finetune.losses import class_losses
from morphbert.finetune.plugin_head import (
    check_metrics,
    head_input,
    some_scores,
    with_own_figures,
)
from morphbert.finetune.rows import Row, texts_in
from morphbert.finetune.tags import first_of, labels_in, type_of
from morphbert.finetune.task import Data, Examples, Purpose, Reader, Scores
from morphbert.finetune.task_configs import PredictConfig, TaggingConfig
from morphbert.finetune.text_windows import (
    NO_TAG,
    TAG_FIGURES,
    TAG_IDS,
    TextWindow,
    features_of,
    label_counts,
    labelled_scores,
    labels_of_scores,
    labels_of_windows,
    tag_ceiling,
    tag_metrics,
    tags_of_texts,
    windows_of,
)
from morphbert.formats.tables import plain_ending
from morphbert.formats.tags import TaggedText, entities_of, read_tagged, read_untagged
from morphbert.model.losses import Batch
from morphbert.pages.phrases import Text, phrase
from morphbert.train.storage import write_json_lines


@dataclasses.dataclass(frozen=True)
class Tagging(LabelTask):
    """Dropout and one linear layer on each piece, `output_weights` [C, D] and `output_bias` [C].

    Attributes:
      labels: the labels of pieces, in the order of the scores. head: the input of the head. loss: the loss of the
        labels. max_seq_length: the number of pieces in a window. custom_head: the name of a plugin's head, which
        replaces this one.
    """

    name: ClassVar[str] = "tagging"
    title: ClassVar[Text] = phrase("tagging of entities")
    of_pieces: ClassVar[bool] = True

    labels: tuple[str, ...]
    head: HeadConfig = NO_POOLING
    loss: LossConfig = CROSS_ENTROPY
    max_seq_length: int = 128
    custom_head: str | None = None

    def best_metric(self, config: TaggingConfig) -> str:
        """KLUE-NER's figure."""
        return "entity_f1"

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Tagging:
        """Returns the task of a `task.json`."""
        return cls(tuple(saved["labels"]), **saved_values(saved, NO_POOLING.pooling))

    # ── Examples ─────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def read(cls, config: TaggingConfig, path: str, purpose: Purpose) -> Examples:
        """Reads KLUE-NER's format, or, for prediction, also texts, one per line."""
        if purpose != "predict" or plain_ending(path) == ".tsv":
            texts, statistics = read_tagged(path, config.encoding)
            return Examples(texts, path, str(statistics))
        return Examples(read_untagged(path, config.encoding), path)

    def from_row(self, row: Row, number: int, config: PredictConfig) -> TaggedText:
        """Reads `text`, or the column of `text_column`."""
        return TaggedText(str(number), texts_in(row, (config.text_column or ("text",))[:1])[0])

    @classmethod
    def texts(cls, config: TaggingConfig, path: str) -> Iterator[Sequence[str]]:
        """Yields each text as one document."""
        for text in read_tagged(path, config.encoding)[0]:
            yield [text.text]

    @classmethod
    def learn(cls, config: TaggingConfig, examples: Examples, reader: Reader) -> tuple[Tagging, Data]:
        """Uses the labels of the pieces, including those of straddling pieces."""
        texts = examples.items
        windows = windows_of(reader.tokenizer, [text.text for text in texts], config.max_seq_length)
        labels = labels_of_windows(windows, texts)
        _say_pieces(examples, windows, labels)
        if config.straddling == "first":
            labels = [[first_of(label) for label in found] for found in labels]
        counts = label_counts(windows, labels)
        known = labels_in(counts)
        if len(known) < 2:
            raise MorphbertError(f"{examples.source} has no entity, so there is nothing to learn.")
        loss = config.loss.of_counts([counts[label] for label in known])
        task = cls(
            known,
            head_input(config.head, config.custom_head),
            loss,
            config.max_seq_length,
            config.custom_head,
        )
        invented = {name: float("nan") for name in TAG_FIGURES}
        check_metrics(config.metrics, lambda scores, wanted: invented, *some_scores(len(known)))
        return task, Data(texts, features_of(windows, labels, known, config.max_seq_length), windows)

    def data(
        self, examples: Examples, reader: Reader, purpose: Purpose, config: TaggingConfig | None = None
    ) -> Data:
        """Returns windows of the texts; before an evaluation, prints the figures of perfect labels."""
        texts = examples.items
        windows = windows_of(reader.tokenizer, [text.text for text in texts], self.max_seq_length)
        if purpose == "eval":
            _say_pieces(examples, windows, labels_of_windows(windows, texts))
            self._check_tags(examples)
            best = tag_ceiling(windows, texts, self.labels)
            print(
                f"ceiling: entity F1 {best['entity_f1']:.4f}, character F1 {best['character_f1']:.4f} with this "
                "tokenizer and perfect labels",
                flush=True,
            )
        return Data(texts, features_of(windows, None, self.labels, self.max_seq_length), windows)

    def _check_tags(self, examples: Examples) -> None:
        tags = {tag for text in examples.items for tag in text.tags or ()}
        strange = sorted(tags.difference(self.labels))
        if strange:
            raise MorphbertError(
                f"{examples.source} has the tag {strange[0]!r}, which is not one of "
                f"{', '.join(k for k in self.labels if '|' not in k)}. Correct the file, or train on texts that have "
                "it."
            )

    # ── Network ──────────────────────────────────────────────────────────────────────────────────────────

    def count(self, batch: Batch) -> tf.Tensor:
        """Returns the number of labelled pieces, at least a small positive number for a batch of empty texts."""
        return tf.maximum(tf.reduce_sum(tf.cast(batch[TAG_IDS] != NO_TAG, tf.float32)), 1e-6)

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Returns the sum of the losses over an example's labelled pieces: float32 [B]."""
        ids = batch[TAG_IDS]
        late = batch.get(REWEIGHTED)
        if late is not None:
            late = tf.reshape(tf.broadcast_to(late[:, None], tf.shape(ids)), [-1])
        flat = tf.reshape(scores, [-1, len(self.labels)])
        losses = class_losses(self.loss, flat, tf.maximum(tf.reshape(ids, [-1]), 0), late)
        return tf.reduce_sum(tf.reshape(losses, tf.shape(ids)) * tf.cast(ids != NO_TAG, tf.float32), 1)

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """Returns the number of each example's pieces with the correct label: float32 [B]."""
        same = tf.equal(tf.argmax(scores, -1, output_type=tf.int32), batch[TAG_IDS])
        return tf.reduce_sum(tf.cast(same, tf.float32), 1)

    # ── Scores → figures and predictions ─────────────────────────────────────────────────────────────────

    def _tags(self, data: Data, scores: Scores) -> list[list[str]]:
        """Returns the tags of all characters of each text."""
        labels = labels_of_scores(data.windows, scores, self.labels)
        return tags_of_texts(data.windows, labels, [text.text for text in data.examples])

    def judge(self, data: Data, scores: Scores, config: TaggingConfig) -> Judgement:
        """Returns the figures of `tag_metrics`, and the confusion matrix of character types."""
        texts, found = data.examples, self._tags(data, scores)
        kinds = list(dict.fromkeys(type_of(label) for label in self.labels if "|" not in label))
        numbers = {kind: number for number, kind in enumerate(kinds)}

        def of_characters(tags: Sequence[Sequence[str]]) -> np.ndarray:
            return np.asarray([numbers[type_of(tag)] for some in tags for tag in some], np.int64)

        def figures_of(rows: np.ndarray) -> dict[str, float]:
            return tag_metrics([texts[row] for row in rows], [found[row] for row in rows], self.labels)

        groups = by_length(np.asarray([len(text.text) for text in texts]), figures_of, of_characters=True)
        confusion = Confusion.of(
            of_characters([text.tags or () for text in texts]), of_characters(found), kinds
        )
        figures = tag_metrics(texts, found, self.labels)
        if config.metrics:
            of_pieces = labelled_scores(data.windows, texts, scores, self.labels)
            figures = with_own_figures(figures, config.metrics, *of_pieces, config.best_metric)
        return Judgement(figures, confusion, groups)

    def predictions(self, data: Data, scores: Scores, config: PredictConfig) -> list[dict[str, Any]]:
        """Returns `entities` with their characters [start, end), and the `tags` of all characters."""
        return [
            {"entities": _entities(text, tags), "tags": tags}
            for text, tags in zip(data.examples, self._tags(data, scores), strict=True)
        ]

    def write(self, folder: str, data: Data, scores: Scores, config: TaggingConfig) -> str:
        """Writes `predictions.jsonl`."""
        path = os.path.join(folder, "predictions.jsonl")
        rows = [
            {"id": text.id, "text": text.text, "tags": tags, "entities": _entities(text, tags)}
            for text, tags in zip(data.examples, self._tags(data, scores), strict=True)
        ]
        write_json_lines(path, rows)
        return f"{len(rows)} texts, written to {path}"

    # ── Hugging Face ─────────────────────────────────────────────────────────────────────────────────────

    def to_transformers(
        self, kind: str, weights: Mapping[str, np.ndarray], encoder: Mapping[str, np.ndarray]
    ) -> TransformersHead:
        """`…ForTokenClassification`."""
        huggingface.check_last_layer(self.head)
        tensors = {**encoder, **huggingface.linear_tensors(weights, "output", "classifier")}
        values = huggingface.label_values(self.labels)
        return TransformersHead("ForTokenClassification", "token-classification", tensors, values)


def _entities(text: TaggedText, tags: Sequence[str]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(entity) for entity in entities_of(text.text, tags)]


def _say_pieces(examples: Examples, windows: Sequence[TextWindow], labels: Sequence[Sequence[str]]) -> None:
    straddling = sum("|" in label for found in labels for label in found)
    pieces = sum(len(found) for found in labels)
    examples.say(f"; {len(windows)} windows, {pieces} pieces, of which {straddling} straddle tags")
