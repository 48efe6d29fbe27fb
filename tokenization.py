"""google-research/bert's `tokenization` module by name, over `morphbert.text`; `MecabTokenizer` beside it."""

from morphbert.text.google import (  # noqa: F401
    BasicTokenizer,
    FullTokenizer,
    MecabTokenizer,
    WordpieceTokenizer,
    _is_control,
    _is_punctuation,
    _is_whitespace,
    convert_by_vocab,
    convert_ids_to_tokens,
    convert_to_unicode,
    convert_tokens_to_ids,
    load_vocab,
    printable_text,
    validate_case_matches_checkpoint,
    whitespace_tokenize,
)
