"""Predicts the most likely pieces for each [MASK] of a sentence with a pretrained model."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.interop import electra, sources
from morphbert.interop.pretrained import Pretrained
from morphbert.interop.vocabularies import check_rows
from morphbert.model.electra import DISCRIMINATOR_HEAD, GENERATOR_CONFIG
from morphbert.model.encoder import EncoderInputs, encode
from morphbert.model.heads import masked_lm_logits
from morphbert.pages.phrases import phrase
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.normalize import Normalizer
from morphbert.text.special_tokens import encode_special
from morphbert.text.tokenizer import Encoding, Tokenizer
from morphbert.text.vocabulary import CLS, MASK, SEP
from morphbert.text.words import WordSplitter

# The weights that a masked LM has beyond the encoder.
_HEAD = "cls/predictions/"


@dataclasses.dataclass(frozen=True)
class Filled:
    """The prediction for one [MASK]: pieces with their probabilities, most likely first."""

    position: int
    pieces: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Alternatives:
    """The alternatives of a model for one piece of a text, whose other pieces it sees.

    Attributes:
      piece: the piece of the text.
      probability, rank: of that piece, 1 for the most likely; None for a [MASK].
      pieces: pieces with their probabilities, most likely first.
    """

    piece: str
    probability: float | None
    rank: int | None
    pieces: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """How a text is cut, eojeol by eojeol: into morphemes, and into pieces."""

    morphemes: list[list[str]]
    pieces: list[list[str]]


class Segmenter:
    """Shows how a tokenizer cuts a text, and how Mecab does, also where the tokenizer has no analyser."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = self._by_morpheme = tokenizer
        if tokenizer.splitter.analyzer is None:
            splitter = WordSplitter(Normalizer("nfc"), MecabAnalyzer())
            self._by_morpheme = Tokenizer(tokenizer.vocabulary, splitter)

    def __call__(self, text: str) -> Segmentation:
        """`"사과는 심었다"` → `[["사과", "는"], ["심", "었", "다"]]`, and the pieces in the same way."""
        by_piece = encode_special(self._tokenizer, text)
        by_morpheme = encode_special(self._by_morpheme, text)
        spans: dict[tuple[int, int], tuple[int, int]] = {}
        for word, morpheme, (start, end) in zip(
            by_morpheme.word_ids, by_morpheme.morpheme_ids, by_morpheme.offsets, strict=True
        ):
            first, last = spans.get((word, morpheme), (start, end))
            spans[word, morpheme] = (min(first, start), max(last, end))
        morphemes = [(word, text[start:end]) for (word, _), (start, end) in spans.items()]
        written = map(self._tokenizer.vocabulary.special.written, by_piece.tokens)
        pieces = list(zip(by_piece.word_ids, written, strict=True))
        return Segmentation(_by_word(by_morpheme, morphemes), _by_word(by_piece, pieces))


def _by_word(encoding: Encoding, parts: list[tuple[int, str]]) -> list[list[str]]:
    count = encoding.word_ids[-1] + 1 if encoding.word_ids else 0
    return [[part for number, part in parts if number == word] for word in range(count)]


@dataclasses.dataclass(frozen=True)
class ModelFlags:
    """The flags in messages that name a model's vocabulary, and give its configuration, if a flag does."""

    vocab_file: str = "--vocab_file"
    config_file: str | None = "--bert_config_file"


FIRST = ModelFlags()
COMPARED = ModelFlags("--compare_vocab_file", None)


def read_with_head(
    checkpoint: str, tokenizer: Tokenizer, config_file: str | None = None, flags: ModelFlags = FIRST
) -> Pretrained:
    """Reads a model that fills masks, and holds it against its vocabulary; see `MaskFiller`.

    Of a checkpoint with both networks of an ELECTRA, that is the generator, which a line says.

    Raises:
      MorphbertError: nothing readable there, it has no masked LM head, or the vocabulary is another model's.
    """
    model = sources.read(checkpoint, bert_config_file=config_file)
    if (generator := electra.generator_of(model)) is not None:
        print(f"{model.source} is an ELECTRA: its generator fills the masks", flush=True)
        model = generator
    if not model.config.has_masked_lm and model.other_network:
        given = f"give {flags.config_file}, or " if flags.config_file else ""
        raise MorphbertError(
            f"{model.source} holds both networks of an ELECTRA, and nothing says the sizes of its generator, which "
            f"fills masks: {given}put the generator's configuration beside the checkpoint as {GENERATOR_CONFIG}."
        )
    if not model.config.has_masked_lm:
        raise MorphbertError(
            f"{model.source} is the discriminator of an ELECTRA, which has no masked LM head, so it cannot fill masks: "
            "give the generator."
        )
    _check(model, tokenizer, _TO_FILL, flags.vocab_file)
    return model


def read_for_pairs(
    checkpoint: str, tokenizer: Tokenizer, config_file: str | None = None, electra_network: str | None = None
) -> Pretrained:
    """Reads a model that scores minimal pairs: a masked LM, or the discriminator of an ELECTRA, which a line says.

    `electra_network` chooses one of two networks, see `electra.chosen`.

    Raises:
      MorphbertError: nothing readable there, it lacks its head, or the vocabulary is another model's.
    """
    model = electra.chosen(sources.read(checkpoint, bert_config_file=config_file), electra_network)
    if model.config.has_masked_lm:
        _check(model, tokenizer, _TO_SCORE)
        return model
    _check(model, tokenizer, _TO_DISCRIMINATE)
    print(f"{model.source}: the discriminator of an ELECTRA scores the pieces, without masks", flush=True)
    return model


class _Use(NamedTuple):
    """The use of a model: the prefix of the weights of the head that it needs, and both in words."""

    head: str
    name: str
    purpose: str


_TO_FILL = _Use(_HEAD, "masked LM head", "fill masks")
_TO_SCORE = _Use(_HEAD, "masked LM head", "score sentences")
_TO_DISCRIMINATE = _Use(DISCRIMINATOR_HEAD, "discriminator head", "score sentences")


def _check(model: Pretrained, tokenizer: Tokenizer, use: _Use, vocab_file: str = FIRST.vocab_file) -> None:
    """Refuses another vocabulary, and a model without the weights of the head."""
    check_rows(tokenizer, model.config.vocab_size, "that was given", model.source)
    sources.check_vocabulary(model, tokenizer.vocabulary, f"the vocabulary ({vocab_file})")
    if missing := [weight for weight in model.missing() if weight.startswith(use.head)]:
        raise MorphbertError(
            f"{model.source} has no {use.name} ({', '.join(missing)}), so it cannot {use.purpose}: give a pretrained "
            "model with it."
        )


class MaskFiller:
    """A model and its tokenizer, ready to fill masks; computes in float32 on whatever device there is."""

    def __init__(
        self, checkpoint: str, tokenizer: Tokenizer, config_file: str | None = None, flags: ModelFlags = FIRST
    ):
        """Loads the weights.

        Args:
          checkpoint: a prefix, a folder of which the newest is taken, or another model that `sources.read` reads.
          tokenizer: of the vocabulary that the model was trained with.
          config_file: the model's `bert_config.json`; None takes the one beside the checkpoint.
          flags: the flags for messages.

        Raises:
          MorphbertError: nothing readable there, or configuration, weights and vocabulary do not belong together.
        """
        model = read_with_head(checkpoint, tokenizer, config_file, flags)
        self.config = model.config
        self.tokenizer = tokenizer
        self._parameters = {name: tf.constant(value) for name, value in model.weights.items()}
        # Each length of a sentence is compiled separately, as intended; TensorFlow would warn.
        tf.get_logger().addFilter(lambda record: "retracing" not in record.getMessage())

    def __call__(self, text: str, top_k: int = 5) -> list[Filled]:
        """Returns the `top_k` most likely pieces for each [MASK], in order.

        Raises:
          MorphbertError: there is no [MASK], or the text is longer than the model's positions.
        """
        pieces, positions = self._masks(text)
        probabilities = self._probabilities(self.tokenizer.convert_tokens_to_ids(pieces), positions)
        return [
            Filled(position, self._best(row, top_k))
            for position, row in zip(positions, probabilities, strict=True)
        ]

    def check(self, text: str) -> None:
        """Refuses a text that a call refuses.

        Raises:
          MorphbertError: there is no [MASK], or the text is longer than the model's positions.
        """
        self._masks(text)

    def alternatives(self, text: str, place: int, top_k: int = 5) -> Alternatives:
        """Returns the pieces that the model predicts where a mask replaces one piece of a text.

        Args:
          place: the number of the piece, from 0, as `Segmenter` gives the pieces.

        Raises:
          MorphbertError: there is no such piece, or the text is longer than the model's positions.
        """
        pieces = self._pieces(text)
        if not 0 <= place < len(pieces) - 2:
            raise MorphbertError(f"the text has {len(pieces) - 2} pieces, so there is no piece {place}.")
        position = place + 1  # after [CLS]
        ids = self.tokenizer.convert_tokens_to_ids(pieces)
        own, piece = ids[position], self.tokenizer.vocabulary.special.written(pieces[position])
        ids[position] = self.tokenizer.vocab[MASK]
        (row,) = self._probabilities(ids, [position])
        best = self._best(row, top_k)
        if pieces[position] == MASK:
            return Alternatives(piece, None, None, best)
        rank = 1 + int(np.sum(row[: len(self.tokenizer.vocabulary)] > row[own]))
        return Alternatives(piece, float(row[own]), rank, best)

    def _masks(self, text: str) -> tuple[list[str], list[int]]:
        """Returns the pieces of a text and the positions of [MASK] among them."""
        pieces = self._pieces(text)
        positions = [index for index, piece in enumerate(pieces) if piece == MASK]
        if not positions:
            raise MorphbertError(
                phrase(
                    "there is no {mask} in {text}: write it in the place of the piece to predict.",
                    mask=MASK,
                    text=repr(text),
                )
            )
        return pieces, positions

    def _pieces(self, text: str) -> list[str]:
        """Returns the pieces of a text between `[CLS]` and `[SEP]`."""
        pieces = [CLS, *encode_special(self.tokenizer, text).tokens, SEP]
        if len(pieces) > self.config.max_position_embeddings:
            raise MorphbertError(
                phrase(
                    "the text has {pieces} pieces, but the model has {positions} positions: shorten it.",
                    pieces=len(pieces),
                    positions=self.config.max_position_embeddings,
                )
            )
        return pieces

    def _best(self, row: np.ndarray, top_k: int) -> tuple[tuple[str, float], ...]:
        """Returns the most likely pieces of a row of probabilities, [V]; rows without a piece are none."""
        vocabulary = self.tokenizer.vocabulary.lines
        best = np.argsort(-row[: len(vocabulary)], kind="stable")[:top_k]
        return tuple((vocabulary[i], float(row[i])) for i in best)

    def _probabilities(self, ids: list[int], positions: list[int]) -> np.ndarray:
        """Ids [L], positions [M] → float32 [M, V]."""
        row = tf.constant([ids])
        inputs = EncoderInputs(row, tf.ones_like(row), tf.zeros_like(row))
        hidden = encode(self._parameters, self.config, inputs)
        logits = masked_lm_logits(self._parameters, self.config, hidden, tf.constant([positions]))
        return tf.nn.softmax(logits[0]).numpy()
