"""The relation between two marked entities of a sentence (run_re.py's task).

Markers stand around both entities (Baldini Soares et al. 2019, "Matching the Blanks"), each with a word embedding of
its own; the pieces of an entity, markers included, have an embedding of its type added. Both are rows behind the
encoder's own
tables: markers behind the words, types behind the segments (each type's row is segment 0's plus its own).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune.classification import Classification, ClassificationConfig, probabilities
from morphbert.finetune.features import Features, piece_arrays
from morphbert.finetune.heads import HeadConfig, mean_over
from morphbert.finetune.losses import CROSS_ENTROPY, LossConfig
from morphbert.finetune.relations import NO_RELATION, Mention, RelationExample
from morphbert.model.config import BertConfig
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.names import SEGMENT_EMBEDDINGS, WORD_EMBEDDINGS
from morphbert.model.parameters import Parameter
from morphbert.text.sequences import Sequence as Encoded
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import CLS, SEP

MARKER_ROWS, TYPE_ROWS = "relation/marker_embeddings", "relation/entity_type_embeddings"
ENTITIES = HeadConfig("entities")
MARKERS = ("[SUBJ]", "[/SUBJ]", "[OBJ]", "[/OBJ]")
_SPECIAL = 2 + len(MARKERS)


@dataclasses.dataclass(frozen=True)
class RelationConfig:
    """The relations in the order of the scores, the types of entities that have an embedding, head and loss."""

    labels: tuple[str, ...]
    entity_types: tuple[str, ...]
    head: HeadConfig = ENTITIES
    loss: LossConfig = CROSS_ENTROPY


class Relation(Classification):
    """Classification from [CLS] and both entities (`--pooling=entities`), or from what any sentence is told from."""

    def __init__(self, config: RelationConfig) -> None:
        super().__init__(ClassificationConfig("class", config.labels, config.head, config.loss))
        self.entity_types = config.entity_types

    def parameters(self, config: BertConfig) -> dict[str, Parameter]:
        """Markers [4, E] and entity types [T, E] besides the head's."""
        if not config.type_vocab_size:
            raise MorphbertError(
                "the model has no segment embeddings (type_vocab_size 0 in its configuration), to which entity types "
                "are added: relations need a model with them."
            )
        width = config.embedding_width
        rows = {
            MARKER_ROWS: Parameter((len(MARKERS), width), "truncated_normal", "table"),
            TYPE_ROWS: Parameter((max(1, len(self.entity_types)), width), "truncated_normal", "table"),
        }
        return {**rows, **super().parameters(config)}

    def _width(self, config: BertConfig) -> int:
        return self.head.width(config) * (3 if self.head.pooling == "entities" else 1)

    def extended(self, parameters: Parameters) -> Parameters:
        """Word embeddings with the markers', segments' with the types'."""
        words, segments = parameters[WORD_EMBEDDINGS], parameters[SEGMENT_EMBEDDINGS]
        return {
            **parameters,
            WORD_EMBEDDINGS: tf.concat([words, parameters[MARKER_ROWS]], 0),
            SEGMENT_EMBEDDINGS: tf.concat([segments, segments[:1] + parameters[TYPE_ROWS]], 0),
        }

    def _vector(self, parameters: Parameters, hidden: tf.Tensor, batch: Batch) -> tf.Tensor:
        if self.head.pooling != "entities":
            return super()._vector(parameters, hidden, batch)
        spans = [mean_over(hidden, tf.cast(batch[name], hidden.dtype)) for name in ("subject", "object")]
        return tf.concat([hidden[:, 0], *spans], -1)


def features_of(
    tokenizer: Tokenizer,
    examples: Sequence[RelationExample],
    config: RelationConfig,
    bert_config: BertConfig,
    max_length: int,
    labels: np.ndarray | None,
) -> Features:
    """Sentences with markers as arrays; `subject` and `object` are 1 on the entities' pieces, markers included."""
    marked = [
        _marked(tokenizer, example, bert_config, config.entity_types, max_length) for example in examples
    ]
    pieces = piece_arrays([sequence for sequence, _, _ in marked], max_length)
    pieces |= {name: np.zeros_like(pieces["input_ids"]) for name in ("subject", "object")}
    for row, (_, *places) in enumerate(marked):
        for name, (first, last) in zip(("subject", "object"), places, strict=True):
            pieces[name][row, first : last + 1] = 1
    return Features(pieces, {} if labels is None else {"labels": labels})


def _marked(
    tokenizer: Tokenizer,
    example: RelationExample,
    config: BertConfig,
    types: Sequence[str],
    max_length: int,
) -> tuple[Encoded, tuple[int, int], tuple[int, int]]:
    """The sequence, and where the markers of subject and object stand in it.

    The sentence is cut into pieces as it is, so that markers change no analysis; a piece that an entity ends within is
    taken whole.
    """
    encoding = tokenizer.encode(example.sentence)
    spans = [_pieces_of(encoding.offsets, mention) for mention in (example.subject, example.object)]
    kept = _kept(len(encoding.ids), spans, max_length - _SPECIAL)
    cls, sep = tokenizer.convert_tokens_to_ids((CLS, SEP))
    ids, tokens, offsets, places = [cls], [CLS], [(0, 0)], [0] * 4
    # Where both entities end at one place, the one that began later ends first.
    closing = sorted((0, 1), key=lambda entity: -spans[entity][0])

    def mark(number: int) -> None:
        places[number] = len(ids)
        ids.append(config.vocab_size + number)
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
    rows = {kind: config.type_vocab_size + number for number, kind in enumerate(types)}
    for mention, (first, last) in zip(
        (example.subject, example.object), (places[:2], places[2:]), strict=True
    ):
        segments[first : last + 1] = [rows.get(mention.type, 0)] * (last + 1 - first)
    nothing = [-1] * len(ids)
    special = [int(piece >= config.vocab_size or piece in (cls, sep)) for piece in ids]
    sequence = Encoded(ids, tokens, segments, special, offsets, nothing, nothing)
    return sequence, (places[0], places[1]), (places[2], places[3])


def _pieces_of(offsets: Sequence[tuple[int, int]], mention: Mention) -> tuple[int, int]:
    found = [n for n, (start, end) in enumerate(offsets) if start < mention.end and mention.start < end]
    if not found:
        raise MorphbertError(
            f"an entity at characters {mention.start} to {mention.end} holds nothing that the vocabulary's pieces "
            "stand for, only spaces or control characters: mend the example."
        )
    return found[0], found[-1]


def _kept(length: int, spans: Sequence[tuple[int, int]], room: int) -> list[int]:
    """The pieces that stay of a long sentence: both entities', and what stands nearest to them.

    `_kept(10, [(2, 2), (7, 8)], 5)` → `[1, 2, 3, 7, 8]`
    """
    if length <= room:
        return list(range(length))
    inside = {piece for first, last in spans for piece in range(first, last + 1)}
    if len(inside) > room:
        raise MorphbertError(
            f"the entities alone have {len(inside)} pieces, and --max_seq_length leaves room for {room}: raise it."
        )

    def distance(piece: int) -> tuple[int, int]:
        return min(max(first - piece, piece - last, 0) for first, last in spans), piece

    return sorted(sorted(range(length), key=distance)[:room])


def relation_metrics(scores: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """KLUE-RE's figures (Park et al. 2021, section 3.5, as its baseline computes them), between 0 and 1.

    `f1_micro` over all relations but `no_relation`; `auprc`, the area under each relation's precision-recall curve,
    averaged over all of them. And accuracy and loss.
    """
    try:
        from sklearn.metrics import auc, f1_score, log_loss, precision_recall_curve
    except ImportError as error:
        raise MorphbertError(
            f"figures need scikit-learn ({error}): pip install 'morphbert[finetune]'"
        ) from error
    shares, known = probabilities(scores, "class"), np.arange(len(names))
    found = shares.argmax(1)
    related = [index for index, name in enumerate(names) if name != NO_RELATION]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of relations that do not occur
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
