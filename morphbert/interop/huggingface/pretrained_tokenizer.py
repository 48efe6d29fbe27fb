"""The tokenizer that `morphbert.load` returns, with the calls of a tokenizer of transformers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.hub import local_path
from morphbert.interop.folders import added_to
from morphbert.interop.huggingface.tokenizer_files import write_tokenizer
from morphbert.interop.pretrained import find_vocabulary
from morphbert.interop.vocabularies import write_vocabulary
from morphbert.model.config import BertConfig, config_file_in
from morphbert.text.loading import load_tokenizer
from morphbert.text.sequences import Sequence as Encoded
from morphbert.text.sequences import check_room, join, longest_first, part_of, windows
from morphbert.text.special_tokens import encode_special
from morphbert.text.text_batches import texts_and_pairs
from morphbert.text.tokenizer import Encoding, Tokenizer
from morphbert.text.unknown_share import UnknownWatch
from morphbert.text.vocabulary import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK

PADDING = ("longest", "max_length", "do_not_pad")
TRUNCATION = ("longest_first", "only_first", "only_second", "do_not_truncate")
TENSORS = ("np", "tf", "pt")
# transformers' own number for "no limit".
_LONGEST = int(1e30)


class BatchEncoding(dict[str, Any]):
    """The result of the tokenizer: a dictionary for `model(**encoding)`, whose entries are attributes too."""

    def __init__(self, columns: Mapping[str, Any], rows: Sequence[Encoded]):
        super().__init__(columns)
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Returns the pieces of a row, including special tokens and padding."""
        return self._rows[batch_index].tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Returns the number of each piece's eojeol in its text; None for special tokens and padding."""
        return [None if number < 0 else number for number in self._rows[batch_index].word_ids]

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Returns the number of each piece's text, 0 or 1; None for special tokens and padding."""
        row = self._rows[batch_index]
        return [
            None if special else segment
            for segment, special in zip(row.segment_ids, row.special_tokens_mask, strict=True)
        ]


@dataclass(frozen=True)
class _Cut:
    """The length of rows, and the handling of longer texts."""

    truncation: str
    max_length: int | None
    stride: int
    special_tokens: bool
    overflowing: bool


class PretrainedTokenizer:
    """Converts texts to a model's input. It is called as a tokenizer of transformers is, by one thread at a time.

    Special tokens that stand in a text are themselves, and an analyser sees the whole text around a `[MASK]`. They are
    spelled as in the vocabulary's file; texts may have BERT's names too.
    `pieces`, the tokenizer of `morphbert.text`, cuts the text.
    """

    def __init__(self, pieces: Tokenizer, source: str, model_max_length: int | None = None) -> None:
        """Makes the tokenizer of a vocabulary.

        Args:
          pieces: the tokenizer that cuts the text.
          source: the vocabulary folder or plain `vocab.txt` that it was loaded from; `save` copies its files.
          model_max_length: the number of pieces that the model takes, to which `truncation=True` cuts.
        """
        self.pieces = pieces
        self.source = source
        self.model_max_length = model_max_length
        self.padding_side = "right"
        self._watch = UnknownWatch(pieces)
        known = pieces.vocab
        self._written = pieces.vocabulary.special.written
        self.pad_token, self.unk_token, self.cls_token, self.sep_token, self.mask_token = map(
            self._written, SPECIAL_TOKENS
        )
        self.pad_token_id, self.unk_token_id, self.cls_token_id, self.sep_token_id, self.mask_token_id = (
            known.get(token) for token in (PAD, UNK, CLS, SEP, MASK)
        )
        self.all_special_tokens = [self._written(token) for token in SPECIAL_TOKENS if token in known]
        self.all_special_ids = pieces.convert_tokens_to_ids(self.all_special_tokens)

    def __len__(self) -> int:
        return len(self.pieces.vocabulary)

    @property
    def vocab_size(self) -> int:
        return len(self)

    def get_vocab(self) -> dict[str, int]:
        """Returns the vocabulary: each piece with its id."""
        return {self._written(token): number for token, number in self.pieces.vocab.items()}

    def __call__(
        self,
        text: str | Sequence[Any],
        text_pair: str | Sequence[Any] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """Returns `input_ids`, `token_type_ids`, `attention_mask` and the other requested columns of texts.

        `tokenizer("사과나무를 심었습니다.")` gives lists of numbers, `tokenizer(["가", "나"])` lists of such lists, and
        with `return_tensors` arrays [batch, length].

        Args:
          text: a text, or a list of texts or of pairs (tuples of two).
          text_pair: the second text of each pair.
          add_special_tokens: whether to add [CLS] and [SEP].
          padding: True or "longest" to the longest row, "max_length", or False.
          truncation: True or "longest_first", "only_first", "only_second", or False.
          max_length: the number of pieces in a row, special tokens included. Default: the model's limit.
          stride: with `return_overflowing_tokens`, the number of pieces that a row shares with the one before it.
          is_split_into_words: whether a text is a list of words, which are cut separately.
          pad_to_multiple_of: the number of which the length of padded rows is a multiple.
          padding_side: "right" or "left". Default: the attribute of that name.
          return_tensors: "np", "tf" or "pt"; None returns lists.
          return_token_type_ids, return_attention_mask: whether to return these columns.
          return_overflowing_tokens: whether truncated pieces make further rows; `overflow_to_sample_mapping` has the
            number of the text of each row.
          return_special_tokens_mask: whether to return 1 for special tokens and padding, and 0 for pieces of the text.
          return_offsets_mapping: whether to return the first character of each piece and the one after its last, in its
            text (in its word, with `is_split_into_words`); (0, 0) for special tokens and padding.
          return_length: whether to return the number of pieces in each row, including padding.

        Raises:
          MorphbertError: the arguments contradict each other, or the text does not fit.
          ValueError: `text` is of another type.
        """
        padding = _chosen("padding", padding, "longest", "do_not_pad", PADDING)
        truncation = _chosen("truncation", truncation, "longest_first", "do_not_truncate", TRUNCATION)
        if max_length is None and (padding == "max_length" or _cuts(truncation)):
            max_length = self.model_max_length
            if max_length is None and padding == "max_length":
                raise MorphbertError("padding='max_length' needs max_length: the model says none.")
        cut = _Cut(truncation, max_length, stride, add_special_tokens, return_overflowing_tokens)
        pairs, batched = texts_and_pairs(text, text_pair, is_split_into_words)
        rows: list[Encoded] = []
        samples: list[int] = []
        for sample, (first, second) in enumerate(pairs):
            made = self._rows(first, second, is_split_into_words, cut)
            rows += made
            samples += [sample] * len(made)
        lengths = [len(row.ids) for row in rows]
        target = _padded_length(lengths, padding, max_length, pad_to_multiple_of)
        side = _one_of("padding_side", padding_side or self.padding_side, ("right", "left"))
        masks = [_placed([1] * length, target, 0, side) for length in lengths]
        rows = [self._padded(row, target, side) for row in rows]
        columns: dict[str, Any] = {"input_ids": [row.ids for row in rows]}
        if return_token_type_ids:
            columns["token_type_ids"] = [row.segment_ids for row in rows]
        if return_attention_mask:
            columns["attention_mask"] = masks
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if return_offsets_mapping:
            columns["offset_mapping"] = [row.offsets for row in rows]
        if return_length:
            columns["length"] = [len(row.ids) for row in rows]
        if return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = samples
        if return_tensors is not None:
            columns = {name: _tensor(name, values, return_tensors) for name, values in columns.items()}
        elif not batched and not return_overflowing_tokens:
            columns = {name: values[0] for name, values in columns.items()}
        return BatchEncoding(columns, rows)

    def _rows(self, first: Any, second: Any, words: bool, cut: _Cut) -> list[Encoded]:
        """Returns the row of a text or pair, or its rows if truncated pieces are kept."""
        a = self._encoded(first, words)
        b = None if second is None else self._encoded(second, words)

        def joined(one: Encoding, other: Encoding | None) -> Encoded:
            row = join(self.pieces, one, other, cut.special_tokens)
            row.tokens[:] = map(self._written, row.tokens)
            return row

        special = 0 if not cut.special_tokens else 2 if b is None else 3
        sizes = len(a.ids), 0 if b is None else len(b.ids)
        if not _cuts(cut.truncation) or cut.max_length is None or sum(sizes) + special <= cut.max_length:
            return [joined(a, b)]
        room = cut.max_length - special
        if cut.truncation == "longest_first" and b is not None:
            if cut.overflowing:
                raise MorphbertError(
                    "truncation='longest_first' of a pair drops pieces of both texts, which cannot be returned as "
                    "rows: give truncation='only_first' or 'only_second'."
                )
            check_room(room, 1, cut.max_length)
            keep = longest_first(*sizes, room)
            return [joined(part_of(a, 0, keep[0]), part_of(b, 0, keep[1]))]
        if cut.truncation == "only_second" and b is None:
            raise MorphbertError("truncation='only_second' needs a second text.")
        if cut.truncation == "only_second":
            assert b is not None
            room -= sizes[0]
            parts = self._parts(b, room, cut)
            return [joined(a, part) for part in parts]
        return [joined(part, b) for part in self._parts(a, room - sizes[1], cut)]

    def _parts(self, encoding: Encoding, room: int, cut: _Cut) -> list[Encoding]:
        assert cut.max_length is not None
        check_room(room, cut.stride + 1 if cut.overflowing else 1, cut.max_length)
        if not cut.overflowing:
            return [part_of(encoding, 0, room)]
        return list(windows(encoding, room, cut.stride))

    def _encoded(self, text: Any, words: bool) -> Encoding:
        if not words:
            if not isinstance(text, str):
                raise ValueError(f"a text is expected, not {type(text).__name__}: {text!r:.60}")
            encoding = encode_special(self.pieces, text)
            self._watch.count(text, encoding)
            return encoding
        whole = Encoding([], [], [], [], [])
        for number, word in enumerate(text):
            part = encode_special(self.pieces, word)
            self._watch.count(word, part)
            morphemes = whole.morpheme_ids[-1] + 1 if whole.morpheme_ids else 0
            whole.ids.extend(part.ids)
            whole.tokens.extend(part.tokens)
            whole.offsets.extend(part.offsets)
            whole.word_ids.extend([number] * len(part.ids))
            whole.morpheme_ids.extend(morphemes + index for index in part.morpheme_ids)
        return whole

    def _padded(self, row: Encoded, length: int | None, side: str) -> Encoded:
        if length is None or len(row.ids) >= length:
            return row
        if self.pad_token_id is None:
            raise MorphbertError(f"the vocabulary has no {PAD}, so rows cannot be padded.")
        return Encoded(
            ids=_placed(row.ids, length, self.pad_token_id, side),
            tokens=_placed(row.tokens, length, self.pad_token, side),
            segment_ids=_placed(row.segment_ids, length, 0, side),
            special_tokens_mask=_placed(row.special_tokens_mask, length, 1, side),
            offsets=_placed(row.offsets, length, (0, 0), side),
            word_ids=_placed(row.word_ids, length, -1, side),
            morpheme_ids=_placed(row.morpheme_ids, length, -1, side),
        )

    def encode(self, text: Any, text_pair: Any = None, **more: Any) -> list[int]:
        """Returns the ids of one text, or of the pair of `text` and `text_pair`; `more` are arguments of a call."""
        ids: list[int] = self(text, text_pair, **more)["input_ids"]
        return ids

    def tokenize(self, text: str) -> list[str]:
        """Returns the pieces of a text, without added special tokens: `"나무를"` → `["나무", "##를"]`."""
        return list(map(self._written, encode_special(self.pieces, text).tokens))

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Returns the id of a piece, or a list of those of several `tokens`; unknown pieces have the id of [UNK]."""
        known, named = self.pieces.vocab, self.pieces.vocabulary.special.named
        if isinstance(tokens, str):
            return known.get(named(tokens), self.unk_token_id)
        return [known.get(named(token), self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> Any:
        """Returns the piece of an id, or the list of the pieces of several."""
        if isinstance(ids, (int, np.integer)):
            return self._written(self.pieces.inv_vocab[int(ids)])
        return list(map(self._written, self.pieces.convert_ids_to_tokens(map(int, ids))))

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        """Returns the text of ids (see `Tokenizer.decode`), including special tokens unless `skip_special_tokens`."""
        parts: list[str] = []
        run: list[int] = []
        left_out = set(self.all_special_ids) if skip_special_tokens else set()
        divides = {self.cls_token_id, self.sep_token_id, self.pad_token_id}
        for number in np.asarray(ids).ravel().tolist():
            if number in left_out:
                continue
            if number in divides:
                parts += [self.pieces.decode(run), self._written(self.pieces.inv_vocab[number])]
                run = []
            else:
                run.append(number)
        parts.append(self.pieces.decode(run))
        return " ".join(filter(None, parts))

    def batch_decode(self, rows: Iterable[Any], skip_special_tokens: bool = False) -> list[str]:
        """Returns `decode` of each of the `rows`, a list of texts."""
        return [self.decode(row, skip_special_tokens) for row in rows]

    @classmethod
    def from_pretrained(cls, path: str, do_lower_case: bool | None = None) -> PretrainedTokenizer:
        """Loads the tokenizer of a model's folder, or of a vocabulary; no weights are read.

        Args:
          path: the folder of a model in any format or of a vocabulary, a plain `vocab.txt`, or a name of the Hugging
            Face Hub.
          do_lower_case: as for `morphbert.load_tokenizer`.

        Raises:
          MorphbertError: there is no vocabulary, or it cannot be read.
        """
        path = local_path(os.fspath(path))
        vocabulary = find_vocabulary(path) if os.path.isdir(path) else path
        if vocabulary is None:
            raise MorphbertError(f"{path} has no vocabulary: give a folder with one, or its vocab.txt.")
        pieces = load_tokenizer(vocabulary, do_lower_case)
        return cls(pieces, vocabulary, _positions_beside(path))

    def save_pretrained(self, folder: str) -> None:
        """Writes the files with which transformers and `from_pretrained` load the tokenizer.

        Other files of the folder stay, and those of the same name are replaced.

        Raises:
          MorphbertError: Hugging Face has no such tokenizer, or the folder cannot be written.
        """
        try:
            with added_to(folder) as made:
                write_tokenizer(made, self.pieces, self.model_max_length or _LONGEST)
        except OSError as error:
            raise MorphbertError(f"{folder} cannot be written: {error.strerror or error}.") from error

    def save(self, folder: str) -> None:
        """Writes the vocabulary and the other files of `load_tokenizer(folder)` into a new folder.

        Raises:
          MorphbertError: the files that it was loaded from are gone, or the folder cannot be written.
        """
        try:
            os.makedirs(folder, exist_ok=True)
            write_vocabulary(folder, self.pieces, self.source)
        except OSError as error:
            raise MorphbertError(
                f"the vocabulary {self.source} cannot be copied to {folder}: {error.strerror or error}."
            ) from error


def _positions_beside(path: str) -> int | None:
    """Returns the positions of the model in a folder; None where no configuration lies there."""
    config = config_file_in(path)
    return None if config is None else BertConfig.from_json_file(config).max_position_embeddings


def _chosen(name: str, value: bool | str, if_true: str, if_false: str, known: Sequence[str]) -> str:
    if isinstance(value, bool) or value is None:
        return if_true if value else if_false
    return _one_of(name, value, known)


def _one_of(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise MorphbertError(f"{name}={value!r} is not known; the values are {', '.join(map(repr, known))}.")
    return value


def _cuts(truncation: str) -> bool:
    return truncation != "do_not_truncate"


def _padded_length(
    lengths: Sequence[int], padding: str, max_length: int | None, multiple: int | None
) -> int | None:
    if padding == "do_not_pad" or not lengths:
        return None
    target = max(lengths) if padding == "longest" or max_length is None else max_length
    return -(-target // multiple) * multiple if multiple else target


def _placed(values: list[Any], length: int | None, filler: Any, side: str) -> list[Any]:
    padding = [filler] * ((length or 0) - len(values))
    return padding + values if side == "left" else values + padding


def _tensor(name: str, values: list[Any], kind: str) -> Any:
    _one_of("return_tensors", kind, TENSORS)
    try:
        array = np.array(values, np.int64)
    except ValueError:
        lengths = sorted({len(row) for row in values})
        raise MorphbertError(
            f"{name} has rows of {', '.join(map(str, lengths[:5]))} pieces, which make no array: give padding=True, "
            "and truncation=True for texts that are too long."
        ) from None
    if kind == "tf":
        import tensorflow as tf

        return tf.constant(array, tf.int32)
    if kind == "pt":
        try:
            import torch
        except ImportError as error:
            raise MorphbertError("return_tensors='pt' needs torch: pip install torch") from error
        return torch.from_numpy(array)
    return array
