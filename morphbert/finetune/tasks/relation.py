"""Classifies the relation between two marked entities of a sentence (run_re.py's task).

Markers surround both entities (Baldini Soares et al. 2019, "Matching the Blanks"), each with its own word embedding. An
embedding of the entity's type is added to its pieces, markers included. Both are additional rows of the encoder's
tables: markers follow the words, and types follow the segments (the row of a type is that of segment 0 plus the type's
embedding).
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune import classes
from morphbert.finetune.classes import by_label, likeliest_is, shares_of_scores
from morphbert.finetune.config import CROSS_ENTROPY, ENTITIES, HeadConfig, LossConfig
from morphbert.finetune.confusion import Confusion
from morphbert.finetune.features import REWEIGHTED, Features
from morphbert.finetune.head_task import LabelTask, saved_values
from morphbert.finetune.heads import head_width, mean_over
from morphbert.finetune.huggingface import TransformersHead
from morphbert.finetune.judgement import Judgement, by_length, surest_mistakes
from morphbert.finetune.losses import class_losses
from morphbert.finetune.plugin_head import (
    check_metrics,
    head_input,
    some_scores,
    with_own_figures,
)
from morphbert.finetune.rows import Row, RowError
from morphbert.finetune.task import Data, Examples, Purpose, Reader, Scores
from morphbert.finetune.task_configs import PredictConfig, RelationConfig
from morphbert.formats.labels import counted
from morphbert.formats.relations import Mention, RelationExample, read_relations, relation_example
from morphbert.interop.sequence_batches import piece_arrays
from morphbert.model.config import BertConfig
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.names import SEGMENT_EMBEDDINGS, WORD_EMBEDDINGS
from morphbert.model.parameters import Parameter
from morphbert.pages.phrases import Text, phrase
from morphbert.text.sequences import Sequence as Encoded
from morphbert.text.vocabulary import CLS, SEP
from morphbert.train.storage import write_json_lines

MARKER_ROWS, TYPE_ROWS = "relation/marker_embeddings", "relation/entity_type_embeddings"
MARKERS = ("[SUBJ]", "[/SUBJ]", "[OBJ]", "[/OBJ]")
_SPECIAL = 2 + len(MARKERS)
_NO_RELATION = "no_relation"


@dataclasses.dataclass(frozen=True)
class Relation(LabelTask):
    """A class from [CLS] and both entities (`--pooling=entities`), or from the pooled sentence.

    Attributes:
      labels: the relations in the order of the scores.
      entity_types: the types that have an embedding.
      head: the input of the head. loss: the loss of the relations. max_seq_length: the number of pieces in a sequence,
        markers included. custom_head: the name of a plugin's head, which replaces this one.
    """

    name: ClassVar[str] = "relation"
    title: ClassVar[Text] = phrase("relations of entities")

    labels: tuple[str, ...]
    entity_types: tuple[str, ...]
    head: HeadConfig = ENTITIES
    loss: LossConfig = CROSS_ENTROPY
    max_seq_length: int = 128
    custom_head: str | None = None

    def best_metric(self, config: RelationConfig) -> str:
        """KLUE-RE's figure."""
        return "f1_micro"

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `task.json`."""
        return {**super().to_dict(), "entity_types": list(self.entity_types)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Relation:
        """Returns the task of a `task.json`."""
        return cls(tuple(saved["labels"]), tuple(saved["entity_types"]), **saved_values(saved))

    # ── Examples ─────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def read(cls, config: RelationConfig, path: str, purpose: Purpose) -> Examples:
        """Reads KLUE-RE's JSON."""
        found, moved = read_relations(path, labelled=purpose != "predict", encoding=config.encoding)
        counts = Counter(example.label for example in found if example.label is not None)
        relations = ", " + counted(counts, "relation") if counts else ""
        summary = f"{len(found)} examples{relations}; {moved} entities moved to where their words stand"
        examples = Examples(found, path, summary)
        examples.say()
        return examples

    def from_row(self, row: Row, number: int, config: PredictConfig) -> RelationExample:
        """Reads KLUE-RE's keys."""
        try:
            return relation_example(row, number)
        except MorphbertError as error:
            raise RowError(str(error)) from error

    @classmethod
    def texts(cls, config: RelationConfig, path: str) -> Iterator[Sequence[str]]:
        """Yields each sentence as one document."""
        for example in read_relations(path, labelled=False, encoding=config.encoding)[0]:
            yield [example.sentence]

    @classmethod
    def learn(cls, config: RelationConfig, examples: Examples, reader: Reader) -> tuple[Relation, Data]:
        """Uses the given relations, or those that occur, and the entity types that occur."""
        given = [str(example.label) for example in examples.items]
        labels = config.labels or classes.labels_in(given)
        if not config.labels:
            classes.check_several(labels)
        counts = classes.counts_of_labels(labels, given, examples.source)
        types = entity_types(examples.items)
        task = cls(
            labels=labels,
            entity_types=types,
            head=head_input(config.head, config.custom_head),
            loss=config.loss.of_counts(counts),
            max_seq_length=config.max_seq_length,
            custom_head=config.custom_head,
        )
        check_metrics(
            config.metrics,
            lambda scores, wanted: relation_metrics(scores, wanted, labels),
            *some_scores(len(labels)),
        )
        return task, task.data(examples, reader, "train", config)

    def data(
        self, examples: Examples, reader: Reader, purpose: Purpose, config: RelationConfig | None = None
    ) -> Data:
        """Returns sentences with markers; `labels` are the numbers of relations."""
        items, labels = examples.items, None
        if purpose != "predict":
            labels = classes.class_numbers(
                [example.label for example in items], self.labels, str(examples.source)
            )
        return Data(items, features_of(reader, items, self, labels))

    # ── Network ──────────────────────────────────────────────────────────────────────────────────────────

    def parameters(self, config: BertConfig) -> dict[str, Parameter]:
        """Returns markers [4, E] and entity types [T, E], the head's weights [C, D] and [C], and an LSTM's.

        Raises:
          MorphbertError: the model has no segment embeddings, to which types are added.
        """
        if not config.type_vocab_size:
            raise MorphbertError(
                "the model has no segment embeddings (type_vocab_size 0 in its configuration). Relations need them, "
                "because entity types are added to them."
            )
        width = config.embedding_width
        tables = {
            MARKER_ROWS: Parameter((len(MARKERS), width), "truncated_normal", "table"),
            TYPE_ROWS: Parameter((max(1, len(self.entity_types)), width), "truncated_normal", "table"),
        }
        return {**tables, **super().parameters(config)}

    def vector_width(self, config: BertConfig) -> int:
        """Returns the size of the vectors of [CLS] and both entities, or of the pooled sentence."""
        return (3 if self.head.pooling == "entities" else 1) * head_width(self.head, config)

    def vector(
        self, parameters: Parameters, config: BertConfig, hidden: tf.Tensor, batch: Batch
    ) -> tf.Tensor:
        """Returns [CLS] and the means of both entities' pieces, or the pooled sentence."""
        if self.head.pooling != "entities":
            return super().vector(parameters, config, hidden, batch)
        spans = [mean_over(hidden, tf.cast(batch[name], hidden.dtype)) for name in ("subject", "object")]
        return tf.concat([hidden[:, 0], *spans], -1)

    def extended(self, parameters: Parameters) -> Parameters:
        """Adds the markers to the word embeddings and the types to the segment embeddings."""
        words, segments = parameters[WORD_EMBEDDINGS], parameters[SEGMENT_EMBEDDINGS]
        return {
            **parameters,
            WORD_EMBEDDINGS: tf.concat([words, parameters[MARKER_ROWS]], 0),
            SEGMENT_EMBEDDINGS: tf.concat([segments, segments[:1] + parameters[TYPE_ROWS]], 0),
        }

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Float32 [B]."""
        return class_losses(self.loss, scores, batch["labels"], batch.get(REWEIGHTED))

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """Returns 1 where the most likely relation is the label."""
        return likeliest_is(scores, batch["labels"])

    # ── Scores → figures and predictions ─────────────────────────────────────────────────────────────────

    def judge(self, data: Data, scores: Scores, config: RelationConfig) -> Judgement:
        """Returns KLUE-RE's figures and the confusion matrix."""
        stacked, wanted = np.stack(scores), data.features.labels["labels"]
        groups = by_length(
            data.features.lengths, lambda rows: relation_metrics(stacked[rows], wanted[rows], self.labels)
        )
        confusion = Confusion.of(wanted, stacked.argmax(1), self.labels)
        texts = [example.sentence for example in data.examples]
        mistakes = surest_mistakes(texts, shares_of_scores(stacked), wanted, self.labels)
        figures = with_own_figures(
            relation_metrics(stacked, wanted, self.labels),
            config.metrics,
            wanted,
            stacked,
            config.best_metric,
        )
        return Judgement(figures, confusion, groups, mistakes=mistakes)

    def predictions(self, data: Data, scores: Scores, config: PredictConfig) -> list[dict[str, Any]]:
        """Returns `label` and the `probabilities` of all relations."""
        return self._predictions(scores)

    def _predictions(self, scores: Scores) -> list[dict[str, Any]]:
        return [
            {"label": self.labels[int(shares.argmax())], "probabilities": by_label(shares, self.labels)}
            for shares in shares_of_scores(np.stack(scores))
        ]

    def write(self, folder: str, data: Data, scores: Scores, config: RelationConfig) -> str:
        """Writes `predictions.jsonl`."""
        path = os.path.join(folder, "predictions.jsonl")
        found = zip(data.examples, self._predictions(scores), strict=True)
        write_json_lines(path, [{"id": example.id, **made} for example, made in found])
        return f"{len(data.examples)} examples, written to {path}"

    # ── Hugging Face ─────────────────────────────────────────────────────────────────────────────────────

    def to_transformers(
        self, kind: str, weights: Mapping[str, np.ndarray], encoder: Mapping[str, np.ndarray]
    ) -> TransformersHead:
        """Raises MorphbertError, because no class is equivalent."""
        raise MorphbertError(
            "a model of relations cannot be exported, because no class of transformers adds embeddings of entity "
            "types or reads entities between markers. Use predict.py."
        )


def entity_types(examples: Iterable[RelationExample]) -> tuple[str, ...]:
    """Returns the distinct types of entities, sorted."""
    return tuple(sorted({m.type for example in examples for m in (example.subject, example.object)}))


def features_of(
    reader: Reader, examples: Sequence[RelationExample], task: Relation, labels: np.ndarray | None
) -> Features:
    """Returns sentences with markers as arrays; `subject` and `object` are 1 on the entities' pieces and markers."""
    marked = [_marked(reader, example, task) for example in examples]
    pieces = piece_arrays([sequence for sequence, _, _ in marked], task.max_seq_length)
    pieces |= {name: np.zeros_like(pieces["input_ids"]) for name in ("subject", "object")}
    for row, (_, *places) in enumerate(marked):
        for name, (first, last) in zip(("subject", "object"), places, strict=True):
            pieces[name][row, first : last + 1] = 1
    return Features(pieces, {} if labels is None else {"labels": labels})


def _marked(
    reader: Reader, example: RelationExample, task: Relation
) -> tuple[Encoded, tuple[int, int], tuple[int, int]]:
    """Returns the sequence and the positions of the markers of subject and object.

    The sentence is tokenized without markers, so they do not change the analysis; a piece that contains the end of an
    entity is included whole.
    """
    encoding = reader.tokenizer.encode(example.sentence)
    spans = [_pieces_of(encoding.offsets, mention) for mention in (example.subject, example.object)]
    kept = _kept(len(encoding.ids), spans, task.max_seq_length - _SPECIAL)
    cls, sep = reader.tokenizer.convert_tokens_to_ids((CLS, SEP))
    ids, tokens, offsets, places = [cls], [CLS], [(0, 0)], [0] * 4
    # If both entities end at one place, the one that began later ends first.
    closing = sorted((0, 1), key=lambda entity: -spans[entity][0])

    def mark(number: int) -> None:
        places[number] = len(ids)
        ids.append(reader.config.vocab_size + number)
        tokens.append(MARKERS[number])
        offsets.append((0, 0))

    opening = sorted((0, 1), key=lambda entity: -spans[entity][1])
    for piece in kept:
        for entity in opening:
            if spans[entity][0] == piece:
                mark(2 * entity)
        ids.append(encoding.ids[piece])
        tokens.append(encoding.tokens[piece])
        offsets.append(encoding.offsets[piece])
        for entity in closing:
            if spans[entity][1] == piece:
                mark(2 * entity + 1)
    ids, tokens, offsets = [*ids, sep], [*tokens, SEP], [*offsets, (0, 0)]
    segments = [0] * len(ids)
    rows = {kind: reader.config.type_vocab_size + number for number, kind in enumerate(task.entity_types)}
    for mention, (first, last) in zip(
        (example.subject, example.object), (places[:2], places[2:]), strict=True
    ):
        segments[first : last + 1] = [rows.get(mention.type, 0)] * (last + 1 - first)
    nothing = [-1] * len(ids)
    special = [int(piece >= reader.config.vocab_size or piece in (cls, sep)) for piece in ids]
    sequence = Encoded(
        ids=ids,
        tokens=tokens,
        segment_ids=segments,
        special_tokens_mask=special,
        offsets=offsets,
        word_ids=nothing,
        morpheme_ids=nothing,
    )
    return sequence, (places[0], places[1]), (places[2], places[3])


def _pieces_of(offsets: Sequence[tuple[int, int]], mention: Mention) -> tuple[int, int]:
    found = [n for n, (start, end) in enumerate(offsets) if start < mention.end and mention.start < end]
    if not found:
        raise RowError(
            f"an entity at characters {mention.start} to {mention.end} has no pieces, only spaces or control "
            "characters: correct the example."
        )
    return found[0], found[-1]


def _kept(length: int, spans: Sequence[tuple[int, int]], room: int) -> list[int]:
    """Returns the pieces to keep of a long sentence: those of both entities, and the nearest others.

    `_kept(10, [(2, 2), (7, 8)], 5)` → `[1, 2, 3, 7, 8]`
    """
    if length <= room:
        return list(range(length))
    inside = {piece for first, last in spans for piece in range(first, last + 1)}
    if len(inside) > room:
        raise RowError(
            f"the entities alone have {len(inside)} pieces, but --max_seq_length leaves room for {room}. Raise it."
        )

    def distance(piece: int) -> tuple[int, int]:
        return min(max(first - piece, piece - last, 0) for first, last in spans), piece

    return sorted(sorted(range(length), key=distance)[:room])


def relation_metrics(scores: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Returns KLUE-RE's figures (Park et al. 2021, section 3.5, as its baseline computes them), between 0 and 1.

    The figures are `f1_micro` over all relations except `no_relation`; `auprc`, the mean area under the relations'
    precision-recall curves; accuracy; and loss.
    """
    from sklearn.metrics import auc, f1_score, log_loss, precision_recall_curve

    shares, known = shares_of_scores(scores), np.arange(len(names))
    found = shares.argmax(1)
    related = [index for index, name in enumerate(names) if name != _NO_RELATION]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about relations that do not occur
        areas = []
        for index in known:
            precision, recall, _ = precision_recall_curve(labels == index, shares[:, index])
            areas.append(auc(recall, precision))
        return {
            "f1_micro": float(f1_score(labels, found, labels=related, average="micro", zero_division=0)),
            "auprc": float(np.mean(areas)),
            "accuracy": float(np.mean(found == labels)),
            "loss": float(log_loss(labels, shares, labels=known)),
            "num_examples": len(labels),
        }
