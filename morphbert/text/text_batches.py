"""Distinguishes the text arguments of transformers' `tokenizer(…)`: one text, a pair, or a batch of either."""

from __future__ import annotations

from typing import Any


def texts_and_pairs(text: Any, text_pair: Any, words: bool) -> tuple[list[tuple[Any, Any]], bool]:
    """Returns the texts or pairs of a tokenizer call, and whether they were a batch.

    `("가", "나")` → `[("가", "나")], False`; `(["가", "나"], None)` → `[("가", None), ("나", None)], True`; in a batch,
    a tuple of two is a pair.

    Args:
      text: a text, or a list of texts or pairs. With `words`, a text is a list of its words. A list of ids is a text.
      text_pair: the second text of each pair, in the same form.
      words: whether the texts are lists of words.

    Raises:
      ValueError: the arguments have another form.
    """
    if isinstance(text, str) or (text and isinstance(text[0], int)):
        return [(text, text_pair)], False
    if words and text and isinstance(text[0], str):
        return [(text, text_pair)], False
    if text_pair is not None:
        if isinstance(text_pair, str) or len(text_pair) != len(text):
            raise ValueError("a batch of texts needs a batch of text pairs of the same size.")
        return list(zip(text, text_pair, strict=True)), True
    pairs: list[tuple[Any, Any]] = []
    for item in text:
        is_pair = isinstance(item, (tuple, list)) and len(item) == 2 and not isinstance(item[0], int)
        if is_pair and (not words or isinstance(item, tuple)):
            pairs.append((item[0], item[1]))
        elif not words and isinstance(item, (tuple, list)) and item and isinstance(item[0], str):
            raise ValueError(f"a text or a pair of texts is expected, not {len(item)} texts.")
        else:
            pairs.append((item, None))
    return pairs, True
