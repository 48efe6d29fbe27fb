"""Tokenizers with SentencePiece models, as KoBERT's: a folder with one `*.model` and an optional vocabulary.

Pieces at the start of an eojeol carry `▁`; the others carry no mark. Each eojeol is cut separately, with
SentencePiece's result for the whole text, because its pieces do not cross spaces (models are trained with
`split_by_whitespace`).
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable
from typing import Any

import sentencepiece

from morphbert.errors import MorphbertError
from morphbert.files import read_bytes
from morphbert.structured import RepeatedKey, load_json
from morphbert.text.foreign import AlbertSettings, sentencepiece_settings, special_tokens_in
from morphbert.text.normalize import Normalizer
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import (
    BEGINS,
    BERT_SPELLING,
    CLS,
    PAD,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    VOCABULARY_NAME,
    SpecialTokens,
    Vocabulary,
    vocabulary_from_tokens,
    with_special_tokens,
)
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.words import Word, WordSplitter

# The later value in a protocol buffer wins: normalizer_spec (3) { add_dummy_prefix (3): false }.
_NO_DUMMY_PREFIX = b"\x1a\x02\x18\x00"


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model with the methods of `Tokenizer`.

    Text is first cleaned as for `nfc`, then normalised by the model. If the model's normalisation changes an eojeol
    (`㈜` → `(주)`), each of its pieces has the offsets of the whole eojeol.
    """

    def __init__(
        self,
        model: bytes,
        vocabulary: Vocabulary | None = None,
        do_lower_case: bool = False,
        albert: AlbertSettings | None = None,
        special: SpecialTokens = BERT_SPELLING,
    ) -> None:
        """
        Args:
          model: the content of the `*.model` file.
          vocabulary: the ids of pieces, if they differ from the model's.
          albert: the further settings of transformers' AlbertTokenizer; its `do_lower_case` does not count here.
          special: the model's spelling of the special tokens; it is used if the vocabulary has all of them.
        """
        try:
            self._open(model)
        except RuntimeError as error:
            raise MorphbertError(f"the SentencePiece model cannot be read: {error}") from error
        if vocabulary is None:
            size = self._processor.get_piece_size()
            vocabulary = vocabulary_from_tokens(self._processor.id_to_piece(number) for number in range(size))
        if all(token in vocabulary.ids for token in special.as_map().values()):
            vocabulary = with_special_tokens(vocabulary, special, "the SentencePiece model")
        accents = None if albert is None else not albert.keep_accents
        normalizer = Normalizer("nfc", do_lower_case, accents)
        super().__init__(vocabulary, WordSplitter(normalizer, marks_stand_alone=False))
        self.albert = albert is not None
        self.unknown = UNK if UNK in vocabulary.ids else self._processor.id_to_piece(self._processor.unk_id())
        self._fingerprint = {"size": len(model), "sha256": hashlib.sha256(model).hexdigest()}

    def cut_word(self, word: Word) -> list[str]:
        """Returns the pieces of a word, with the unknown token for missing ones: `"학교에"` → `["▁학교", "에"]`.

        A word that continues another (after a mask) begins without `▁`.
        """
        return [
            piece if piece in self.vocab else self.unknown
            for piece in self._pieces(word.text, word.continues)
        ]

    def _open(self, model: bytes) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._inside = sentencepiece.SentencePieceProcessor(model_proto=model + _NO_DUMMY_PREFIX)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_inside"]
        return {**state, "_processor": self._processor.serialized_model_proto()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open(state["_processor"])

    def _pieces(self, text: str, continues: bool = False) -> list[str]:
        processor = self._inside if continues else self._processor
        if self.albert:
            text = text.replace("``", '"').replace("''", '"')
        pieces: list[str] = processor.encode(text, out_type=str)
        # A `▁` alone, or characters that the model's normalisation drops, would leave an eojeol without pieces.
        return pieces or [self.unknown]

    def spans(self, word: Word, pieces: list[str]) -> list[tuple[int, int]]:
        """Returns the character range of each piece, from the pieces before their look-up in the vocabulary."""
        start, end = word.start, word.start + len(word.text)
        written = [piece.replace(BEGINS, "") for piece in self._pieces(word.text, word.continues)]
        if "".join(written) != word.text:
            return [(start, end)] * len(pieces)
        spans = []
        for surface in written:
            spans.append((start, start + len(surface)))
            start += len(surface)
        return spans

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids: the pieces joined, with a space for `▁`."""
        written = self.vocabulary.special.written
        tokens = (token for token in self.convert_ids_to_tokens(ids) if token not in (PAD, CLS, SEP))
        return "".join(map(written, tokens)).replace(BEGINS, " ").strip()

    def describe(self) -> dict[str, Any]:
        """Returns everything that the output depends on; `analyzer` names the model by its hash."""
        rules = {"rules": "albert"} if self.albert else {}
        return {
            **super().describe(),
            "analyzer": {"name": "sentencepiece", "model": self._fingerprint, **rules},
        }


def find_model(folder: str) -> str | None:
    """Returns the path of the folder's only `*.model`, or None.

    Raises:
      MorphbertError: the folder has several.
    """
    found = sorted(glob.glob(os.path.join(glob.escape(folder), "*.model")))
    if len(found) > 1:
        raise MorphbertError(
            f"the folder {folder} has several SentencePiece models ({', '.join(map(os.path.basename, found))}): "
            "leave one."
        )
    return found[0] if found else None


def load_sentencepiece(folder: str, do_lower_case: bool | None = None) -> SentencePieceTokenizer:
    """Loads a folder with one `*.model` and an optional mapping to ids.

    The mapping is `vocab.txt` (one piece per line) or one `*.json` with `token_to_idx`, as KoBERT's. Without a mapping
    the tokenizer uses the model's ids. The keys of an AlbertTokenizer are reproduced. `special_tokens_map.json` and
    `tokenizer_config.json` may state the spelling of the special tokens; a model that has BERT's names keeps them.

    Raises:
      MorphbertError: there is no model or more than one, a key of `tokenizer_config.json` is not reproduced, or the
        spelling cannot be used.
    """
    path = find_model(folder)
    if path is None:
        raise MorphbertError(f"the folder {folder} has no SentencePiece model (*.model).")
    albert = sentencepiece_settings(folder)
    if do_lower_case is None:
        do_lower_case = albert is not None and albert.do_lower_case
    model, mapping = read_bytes(path), _mapping(folder)
    tokenizer = SentencePieceTokenizer(model, mapping, do_lower_case, albert)
    if all(token in tokenizer.vocab for token in SPECIAL_TOKENS):
        return tokenizer
    special = special_tokens_in(folder)
    if special == BERT_SPELLING:
        return tokenizer
    return SentencePieceTokenizer(model, mapping, do_lower_case, albert, special)


def _mapping(folder: str) -> Vocabulary | None:
    plain = os.path.join(folder, VOCABULARY_NAME)
    if os.path.exists(plain):
        return load_vocabulary(plain)
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.json"))):
        try:
            content = load_json(read_bytes(path))
        except RepeatedKey as error:
            raise MorphbertError(f"{path}: {error}. Keep one of them.") from error
        except ValueError:
            continue
        ids = content.get("token_to_idx") if isinstance(content, dict) else None
        if ids is None:
            continue
        if sorted(ids.values()) != list(range(len(ids))):
            raise MorphbertError(f"{path}: the ids of token_to_idx are not 0, 1, 2… without a gap.")
        return vocabulary_from_tokens(sorted(ids, key=ids.__getitem__))
    return None
