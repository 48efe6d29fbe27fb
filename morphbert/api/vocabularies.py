"""Loads the tokenizer of any vocabulary in one call."""

from __future__ import annotations

import os

from morphbert.text import loading
from morphbert.text.foreign import is_foreign
from morphbert.text.metadata import METADATA_NAME
from morphbert.text.sentencepiece_tokenizer import find_model
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import VOCABULARY_NAME


def load_tokenizer(path: str | os.PathLike[str], do_lower_case: bool | None = None) -> Tokenizer:
    """Loads the tokenizer of any vocabulary.

    Args:
      path: a folder of `build_vocab`, a run or an exported model; a folder with a SentencePiece model; a Hugging Face
        folder with `vocab.txt`; or a plain `vocab.txt`.
      do_lower_case: for a plain `vocab.txt`. None takes the value of a Hugging Face file beside it. Without such a
        file, text is lower-cased as in BERT, which decomposes Hangul. A vocabulary with Hangul syllables is therefore
        cased if it has capital letters; else text is lower-cased and Hangul stays whole.

    Raises:
      MorphbertError: there is no vocabulary, or `do_lower_case` contradicts the folder's metadata.
    """
    name = os.fspath(path)
    described = os.path.exists(os.path.join(name, METADATA_NAME)) or is_foreign(name)
    if os.path.isdir(name) and not described and find_model(name) is None:
        name = os.path.join(name, VOCABULARY_NAME)
    return loading.load_tokenizer(name, do_lower_case)
