"""A tokenizer without analyser as TensorFlow operations: raw text → ids in the graph, through tensorflow_text."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tensorflow_text as tf_text

from morphbert.text.description import LONGEST_WORD
from morphbert.text.normalize import Normalizer
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import CLS, PAD, SEP, UNK

_NO_LIMIT = 2**31 - 1
# In no vocabulary: it stands for a word that google-research/bert finds too long.
_TOO_LONG = "\x01"


class TextCutter(tf.Module):
    """The same pieces as `Tokenizer.encode`, between [CLS] and [SEP], cut to the model's length and padded."""

    def __init__(self, tokenizer: Tokenizer, max_length: int):
        """Builds the tables.

        Args:
          tokenizer: without analyser, over a WordPiece vocabulary.
          max_length: pieces of a text at most, [CLS] and [SEP] included.
        """
        super().__init__()
        normalizer = tokenizer.splitter.normalizer
        self._normalizer = normalizer
        # Asked of our own code for each character: tables of another library know another version of Unicode.
        plain = Normalizer(normalizer.form)
        self._space = _class_of(lambda char: plain(f"a{char}a") == "a a")
        self._dropped = _class_of(lambda char: plain(f"a{char}a") == "aa")
        self._alone = _class_of(tokenizer.splitter.stands_alone)
        self._ids = {name: tokenizer.vocab[name] for name in (CLS, SEP, PAD)}
        self._room = max_length - 2
        self._pieces = tf_text.FastWordpieceTokenizer(
            list(tokenizer.vocabulary.tokens),
            token_out_type=tf.int32,
            unknown_token=UNK,
            max_bytes_per_word=_NO_LIMIT,
            no_pretokenization=True,
        )

    def __call__(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Text string [B] → input_ids, input_mask, segment_ids int32 [B, L]."""
        words = tf.strings.split(self._normalized(text))
        if longest := LONGEST_WORD.get(self._normalizer.form):
            long = tf.strings.length(words.flat_values, "UTF8_CHAR") > longest
            words = words.with_flat_values(tf.where(long, _TOO_LONG, words.flat_values))
        pieces = self._pieces.tokenize(words).merge_dims(-2, -1)[:, : self._room]
        ends = [tf.fill([pieces.nrows(), 1], self._ids[name]) for name in (CLS, SEP)]
        rows = tf.concat([ends[0], pieces, ends[1]], axis=1)
        ids = rows.to_tensor(self._ids[PAD])
        mask = tf.ones_like(rows).to_tensor()
        return ids, mask, tf.zeros_like(ids)

    def _normalized(self, text: tf.Tensor) -> tf.Tensor:
        """`Normalizer.__call__`, with spaces around characters that stand alone."""
        text = tf.strings.regex_replace(text, self._space, " ")
        text = tf.strings.regex_replace(text, self._dropped, "")
        if self._normalizer.do_lower_case:
            text = tf.strings.lower(text, "utf-8")
        if self._normalizer.strips:
            text = tf.strings.regex_replace(tf_text.normalize_utf8(text, "NFD"), r"\p{Mn}", "")
        if self._normalizer.composes:
            text = tf_text.normalize_utf8(text, "NFC")
        return tf.strings.regex_replace(text, self._alone, r" \0 ")


def _class_of(belongs: Callable[[str], bool]) -> str:
    """Returns RE2's character class of the characters for which a predicate holds."""
    ranges: list[list[int]] = []
    for code in range(1, 0x110000):
        if 0xD800 <= code < 0xE000 or not belongs(chr(code)):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges) + "]"
