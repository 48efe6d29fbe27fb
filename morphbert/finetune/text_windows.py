"""Windows of texts: labels of their pieces to tags of all characters and back, and figures of tags."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.finetune.features import Features, piece_arrays
from morphbert.finetune.tags import TaggedText, character_tags, first_of, piece_labels
from morphbert.finetune.windows import best_windows
from morphbert.text.sequences import Sequence as Encoded
from morphbert.text.sequences import encode_sequence
from morphbert.text.tokenizer import Tokenizer

# Labels of pieces in the batch; special tokens, padding and what nothing is known of have none.
TAG_IDS = "tag_ids"
NO_TAG = -1


@dataclass(frozen=True)
class TextWindow:
    """A part of a text: its number, pieces with offsets, and for each whether this window has the most context."""

    text: int
    sequence: Encoded
    best: list[bool]


def windows_of(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[TextWindow]:
    """Each text in as many windows as it takes; they share a quarter of their pieces."""
    windows = []
    stride = (max_length - 2) // 4
    for number, text in enumerate(texts):
        found = encode_sequence(tokenizer, text, None, max_length, "windows", stride)
        lengths = [len(sequence.ids) - 2 for sequence in found]
        starts = [index * (max_length - 2 - stride) for index in range(len(found))]
        for sequence, best in zip(found, best_windows(starts, lengths), strict=True):
            windows.append(TextWindow(number, sequence, [False, *best, False]))
    return windows


def labels_of_windows(windows: Sequence[TextWindow], texts: Sequence[TaggedText]) -> list[list[str]]:
    """The label of each piece of each window, special tokens left out."""
    return [piece_labels(w.sequence.offsets[1:-1], texts[w.text].tags or ()) for w in windows]


def label_counts(windows: Sequence[TextWindow], labels: Sequence[Sequence[str]]) -> Counter[str]:
    """How often each label stands, each piece of a text once."""
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
    """Windows as arrays; a label that is not known is taken for that of the piece's first character."""
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
    """Labels of the windows' pieces, special tokens left out → tags of all characters of each text."""
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
    """Scores [L, C] of each window → the likeliest label of each piece."""
    return [
        [known[number] for number in values[1 : len(window.sequence.ids) - 1].argmax(-1)]
        for window, values in zip(windows, scores, strict=True)
    ]


def tag_metrics(
    texts: Sequence[TaggedText], found: Sequence[Sequence[str]], known: Sequence[str]
) -> dict[str, float]:
    """KLUE-NER's figures (Park et al. 2021, section 3.4, as its baseline computes them), between 0 and 1.

    Spaces are left out. `entity_f1`: seqeval's macro F1 over types, strict IOB2; `character_f1`: macro F1 over all
    tags, `O` among them, a tag that neither side has counting as right. And seqeval's micro F1, precision and recall.
    """
    try:
        from seqeval.metrics import f1_score, precision_score, recall_score
        from seqeval.scheme import IOB2
        from sklearn.metrics import f1_score as f1_of_classes
    except ImportError as error:
        raise MorphbertError(f"figures need seqeval ({error}): pip install 'morphbert[finetune]'") from error

    golds, guesses = [], []
    for text, tags in zip(texts, found, strict=True):
        seen = [place for place, character in enumerate(text.text) if not character.isspace()]
        golds.append([(text.tags or ())[place] for place in seen])
        guesses.append([tags[place] for place in seen])
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    plain = [label for label in known if "|" not in label]
    flat = [tag for tags in golds for tag in tags], [tag for tags in guesses for tag in tags]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that one side has none of
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
    """The figures that perfect labels of these pieces reach."""
    allowed = set(known)
    labels = [
        [label if label in allowed else first_of(label) for label in found]
        for found in labels_of_windows(windows, texts)
    ]
    return tag_metrics(texts, tags_of_texts(windows, labels, [text.text for text in texts]), known)
