"""Makes the instances of google-research/bert, record for record: `--mode=google`.

Written from the behaviour of that project's `create_pretraining_data.py` at its last commit (eedf571).
One `random.Random` serves all draws in that program's order, so the position of each draw below matters. The program's
faults are kept (morphbert.data.instances corrects them):

- a document at the end of a file without an empty line continues in the next file;
- pieces beyond the target length are dropped by truncation;
- an instance of a single sentence always gets a random next one, from the same document if there is no other;
- under whole-word masking, a `##` piece at the beginning of a truncated B belongs to A's last word;
- random replacements are drawn from the whole vocabulary, `[PAD]` and `[unused0]` included.

The corpus and all instances are in memory, as in the original.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from morphbert.data.config import InstanceConfig
from morphbert.data.documents import DocumentDigest
from morphbert.formats.lines import read_lines

Sentence = list[int]
Document = list[Sentence]


class VocabularyFacts(NamedTuple):
    """The facts about a vocabulary that the algorithm needs, by id."""

    cls: int
    sep: int
    mask: int
    is_continuation: Sequence[bool]  # [vocabulary size], True for pieces that continue a word


class TrainingInstance(NamedTuple):
    """One example without padding. Ids are those of the vocabulary; positions count from 0.

    Attributes:
      ids: [length] pieces with masks applied, `[CLS] A [SEP] B [SEP]`.
      b_start: the position of the first piece of B, where segment 1 begins.
      positions, labels: [predictions] the masked positions, ascending, and the original ids.
    """

    ids: Sequence[int]
    b_start: int
    is_random_next: bool
    positions: Sequence[int]
    labels: Sequence[int]


def read_documents(
    input_files: Iterable[str], encode: Callable[[str], Sentence], encoding: str = "utf-8"
) -> tuple[list[Document], list[int]]:
    """Reads documents (one sentence per line, a blank line between documents) and encodes their sentences.

    Returns:
      The documents with at least one piece, and the digest of each document's text.
    """
    documents: list[Document] = []
    digests: list[int] = []
    document: Document = []
    digest = DocumentDigest()
    for path in input_files:
        for line in read_lines(path, encoding=encoding):
            line = line.strip()
            if not line:
                if document:
                    documents.append(document)
                    digests.append(digest.value())
                document, digest = [], DocumentDigest()
                continue
            digest.add(line)
            if sentence := encode(line):
                document.append(sentence)
    if document:
        documents.append(document)
        digests.append(digest.value())
    return documents, digests


def create_instances(
    documents: list[Document], config: InstanceConfig, pieces: VocabularyFacts
) -> list[TrainingInstance]:
    """Returns all instances of the corpus in the order of the output. Shuffles `documents` in place."""
    rng = random.Random(config.random_seed)
    rng.shuffle(documents)
    instances: list[TrainingInstance] = []
    for _ in range(config.dupe_factor):
        for index in range(len(documents)):
            for pair in _sentence_pairs(documents, index, config, rng):
                instances.append(_masked_instance(pair, config, pieces, rng))
    rng.shuffle(instances)
    return instances


def _sentence_pairs(
    documents: list[Document], index: int, config: InstanceConfig, rng: random.Random
) -> Iterator[tuple[Sentence, Sentence, bool]]:
    """Yields (A, B, whether B is random) for one document, each pair at most L − 3 pieces long."""
    document = documents[index]
    longest = config.max_seq_length - 3  # [CLS], [SEP], [SEP]
    target = longest
    if rng.random() < config.short_seq_prob:
        target = rng.randint(2, longest)

    begin = 0
    while begin < len(document):
        # Sentences begin … end - 1 are the chunk: up to the target length, or the rest.
        end, length = begin, 0
        while end < len(document) and (end == begin or length < target):
            length += len(document[end])
            end += 1
        a_end = begin + 1
        if end - begin >= 2:
            a_end = begin + rng.randint(1, end - begin - 1)
        tokens_a = _flat(document[begin:a_end])
        is_random_next = end - begin == 1 or rng.random() < 0.5
        if is_random_next:
            tokens_b = _random_next(documents, index, target - len(tokens_a), rng)
            begin = a_end  # the unused sentences of the chunk are used again
        else:
            tokens_b = _flat(document[a_end:end])
            begin = end
        _truncate_pair(tokens_a, tokens_b, longest, rng)
        yield tokens_a, tokens_b, is_random_next


def _flat(sentences: Iterable[Sentence]) -> list[int]:
    return [token for sentence in sentences for token in sentence]


def _random_next(documents: list[Document], index: int, target: int, rng: random.Random) -> list[int]:
    """Returns sentences from a random place of another document: at least one, then more until `target` is reached."""
    # Ten tries for another document; a corpus of one document gives the same document.
    for _ in range(10):
        other = rng.randint(0, len(documents) - 1)
        if other != index:
            break
    document = documents[other]
    tokens: list[int] = []
    for sentence in document[rng.randint(0, len(document) - 1) :]:
        tokens.extend(sentence)
        if len(tokens) >= target:
            break
    return tokens


def _truncate_pair(tokens_a: list[int], tokens_b: list[int], longest: int, rng: random.Random) -> None:
    """Shortens the longer of the two (B on a tie), piece by piece, randomly at its front or its end."""
    # Only the bounds change with each draw, because deletion at a list's front takes linear time.
    start_a, stop_a, start_b, stop_b = 0, len(tokens_a), 0, len(tokens_b)
    while (stop_a - start_a) + (stop_b - start_b) > longest:
        at_front = rng.random() < 0.5
        if stop_a - start_a > stop_b - start_b:
            start_a, stop_a = (start_a + 1, stop_a) if at_front else (start_a, stop_a - 1)
        else:
            start_b, stop_b = (start_b + 1, stop_b) if at_front else (start_b, stop_b - 1)
    tokens_a[:] = tokens_a[start_a:stop_a]
    tokens_b[:] = tokens_b[start_b:stop_b]


def _masked_instance(
    pair: tuple[Sentence, Sentence, bool], config: InstanceConfig, pieces: VocabularyFacts, rng: random.Random
) -> TrainingInstance:
    tokens_a, tokens_b, is_random_next = pair
    ids = [pieces.cls, *tokens_a, pieces.sep, *tokens_b, pieces.sep]
    b_start = len(tokens_a) + 2
    words = _words(ids, b_start, config.unit != "piece", pieces.is_continuation)
    rng.shuffle(words)

    limit = min(config.max_predictions_per_seq, max(1, round(len(ids) * config.masked_lm_prob)))
    masked = list(ids)
    positions: list[int] = []
    for word in words:
        if len(positions) >= limit:
            break
        if len(positions) + len(word) > limit:
            continue  # a later, shorter word may still fit
        for position in word:
            if rng.random() < 0.8:
                masked[position] = pieces.mask
            elif rng.random() >= 0.5:
                masked[position] = rng.randint(0, len(pieces.is_continuation) - 1)
            positions.append(position)
    positions.sort()
    labels = [ids[position] for position in positions]
    return TrainingInstance(
        array("i", masked), b_start, is_random_next, array("i", positions), array("i", labels)
    )


def _words(
    ids: Sequence[int], b_start: int, whole_words: bool, is_continuation: Sequence[bool]
) -> list[list[int]]:
    """Returns groups of positions to mask together, without `[CLS]` and `[SEP]`."""
    words: list[list[int]] = []
    special = (0, b_start - 1, len(ids) - 1)
    for position, token in enumerate(ids):
        if position in special:
            continue
        if whole_words and words and is_continuation[token]:
            words[-1].append(position)
        else:
            words.append([position])
    return words


def features(instance: TrainingInstance, config: InstanceConfig) -> dict[str, list[int] | list[float]]:
    """Returns one instance as the padded features of its record (morphbert.data.records.features)."""
    length, predictions = len(instance.ids), len(instance.positions)
    padding = [0] * (config.max_seq_length - length)
    unused = config.max_predictions_per_seq - predictions
    return {
        "input_ids": [*instance.ids, *padding],
        "input_mask": [1] * length + padding,
        "segment_ids": [0] * instance.b_start + [1] * (length - instance.b_start) + padding,
        "masked_lm_positions": [*instance.positions, *[0] * unused],
        "masked_lm_ids": [*instance.labels, *[0] * unused],
        "masked_lm_weights": [1.0] * predictions + [0.0] * unused,
        "next_sentence_labels": [int(instance.is_random_next)],
    }
