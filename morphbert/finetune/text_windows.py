"""Windows of texts: conversion between labels of their pieces and tags of all characters, and the figures of tags."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from morphbert.finetune.features import Features
from morphbert.finetune.tags import character_tags, first_of, piece_labels
from morphbert.finetune.windows import best_windows
from morphbert.formats.tags import TaggedText
from morphbert.interop.sequence_batches import piece_arrays
from morphbert.text.sequences import Sequence as Encoded
from morphbert.text.sequences import encode_sequence
from morphbert.text.tokenizer import Tokenizer

# Labels of pieces in the batch; special tokens, padding and pieces without a known label have none.
TAG_IDS = "tag_ids"
NO_TAG = -1
# The figures of `tag_metrics`.
TAG_FIGURES = ("entity_f1", "character_f1", "entity_f1_micro", "precision", "recall", "num_examples")


@dataclass(frozen=True)
class TextWindow:
    """A part of a text: its number, its pieces with offsets, and whether this window has the most context for each."""

    text: int
    sequence: Encoded
    best: list[bool]


def windows_of(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[TextWindow]:
    """Returns the windows of each text, which share a quarter of their pieces."""
    windows = []
    stride = (max_length - 2) // 4
    for number, text in enumerate(texts):
        found = encode_sequence(tokenizer, text, None, max_length, truncation="windows", stride=stride)
        lengths = [len(sequence.ids) - 2 for sequence in found]
        starts = [index * (max_length - 2 - stride) for index in range(len(found))]
        for sequence, best in zip(found, best_windows(starts, lengths), strict=True):
            windows.append(TextWindow(number, sequence, [False, *best, False]))
    return windows


def labels_of_windows(windows: Sequence[TextWindow], texts: Sequence[TaggedText]) -> list[list[str]]:
    """Returns the label of each piece of each window, without special tokens."""
    return [piece_labels(w.sequence.offsets[1:-1], texts[w.text].tags or ()) for w in windows]


def label_counts(windows: Sequence[TextWindow], labels: Sequence[Sequence[str]]) -> Counter[str]:
    """Counts each label, with each piece of a text counted once."""
    return Counter(
        label
        for window, found in zip(windows, labels, strict=True)
        for label, best in zip(found, window.best[1:-1], strict=True)
        if best
    )


def features_of(
    windows: Sequence[TextWindow],
    labels: Sequence[Sequence[str]] | None,
    known: Sequence[str],
    max_length: int,
) -> Features:
    """Returns windows as arrays; an unknown label is replaced by that of the piece's first character."""
    pieces = piece_arrays([window.sequence for window in windows], max_length)
    if labels is not None:
        ids = {label: index for index, label in enumerate(known)}
        pieces[TAG_IDS] = np.full_like(pieces["input_ids"], NO_TAG)
        for row, found in enumerate(labels):
            numbers = [ids.get(label, ids.get(first_of(label), NO_TAG)) for label in found]
            pieces[TAG_IDS][row, 1 : 1 + len(found)] = numbers
    return Features(pieces, {})


def tags_of_texts(
    windows: Sequence[TextWindow], labels: Sequence[Sequence[str]], texts: Sequence[str]
) -> list[list[str]]:
    """Returns the tags of all characters of each text, from the labels of pieces without special tokens."""
    offsets: list[list[tuple[int, int]]] = [[] for _ in texts]
    chosen: list[list[str]] = [[] for _ in texts]
    for window, found in zip(windows, labels, strict=True):
        for position, label in enumerate(found, start=1):
            if window.best[position]:
                offsets[window.text].append(window.sequence.offsets[position])
                chosen[window.text].append(label)
    return [character_tags(*parts) for parts in zip(texts, offsets, chosen, strict=True)]


def labels_of_scores(
    windows: Sequence[TextWindow], scores: Sequence[np.ndarray], known: Sequence[str]
) -> list[list[str]]:
    """Returns the most likely label of each piece, from the scores [L, C] of each window."""
    return [
        [known[number] for number in values[1 : len(window.sequence.ids) - 1].argmax(-1)]
        for window, values in zip(windows, scores, strict=True)
    ]


def labelled_scores(
    windows: Sequence[TextWindow],
    texts: Sequence[TaggedText],
    scores: Sequence[np.ndarray],
    known: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels' numbers, int32 [N], and the scores [N, C] of all pieces, with each piece counted once.

    An unknown label is replaced by that of the piece's first character, and pieces without either are left out.
    """
    ids = {label: index for index, label in enumerate(known)}
    numbers: list[int] = []
    chosen: list[np.ndarray] = []
    for window, found, values in zip(windows, labels_of_windows(windows, texts), scores, strict=True):
        for position, label in enumerate(found, start=1):
            number = ids.get(label, ids.get(first_of(label)))
            if window.best[position] and number is not None:
                numbers.append(number)
                chosen.append(values[position])
    return np.asarray(numbers, np.int32), np.asarray(chosen, np.float32).reshape(-1, len(known))


def tag_metrics(
    texts: Sequence[TaggedText], found: Sequence[Sequence[str]], known: Sequence[str]
) -> dict[str, float]:
    """Returns KLUE-NER's figures (Park et al. 2021, section 3.4, as its baseline computes them), between 0 and 1.

    Spaces are excluded. `entity_f1` is seqeval's macro F1 over types, strict IOB2; `character_f1` is the macro F1 over
    all tags including `O`, where a tag that neither side has counts as correct. The other figures are seqeval's micro
    F1, precision and recall.
    """
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2
    from sklearn.metrics import f1_score as f1_of_classes

    golds, guesses = [], []
    for text, tags in zip(texts, found, strict=True):
        seen = [place for place, character in enumerate(text.text) if not character.isspace()]
        golds.append([(text.tags or ())[place] for place in seen])
        guesses.append([tags[place] for place in seen])
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    plain = [label for label in known if "|" not in label]
    flat = [tag for tags in golds for tag in tags], [tag for tags in guesses for tag in tags]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about types that one side lacks
        return {
            "entity_f1": float(f1_score(golds, guesses, average="macro", **strict)),
            "character_f1": float(f1_of_classes(*flat, labels=plain, average="macro", zero_division=1)),
            "entity_f1_micro": float(f1_score(golds, guesses, **strict)),
            "precision": float(precision_score(golds, guesses, **strict)),
            "recall": float(recall_score(golds, guesses, **strict)),
            "num_examples": len(texts),
        }


def tag_ceiling(
    windows: Sequence[TextWindow], texts: Sequence[TaggedText], known: Sequence[str]
) -> dict[str, float]:
    """Returns the figures of perfect labels of these pieces."""
    allowed = set(known)
    labels = [
        [label if label in allowed else first_of(label) for label in found]
        for found in labels_of_windows(windows, texts)
    ]
    return tag_metrics(texts, tags_of_texts(windows, labels, [text.text for text in texts]), known)
