"""Phrases that a page shows in English or Korean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from morphbert.pages.korean import KOREAN


@dataclass(frozen=True)
class Phrase:
    """An English phrase with a Korean form.

    Attributes:
      form: the key of `KOREAN`, with a `{name}` for each value.
      values: names and values, each a phrase or something whose text needs no translation.
    """

    form: str
    values: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        """Returns the English text."""
        return self.form.format(**dict(self.values))

    @property
    def korean(self) -> str:
        """The Korean text. `code` between backticks stays so."""
        return KOREAN[self.form].format(**{name: in_korean(value) for name, value in self.values})


# A text without translation, such as a name, or a phrase.
Text = str | Phrase


def phrase(form: str, **values: Any) -> Phrase:
    """Returns a phrase with its values; `morphbert/pages/korean.py` has the Korean form.

    Raises:
      ValueError: it does not.
    """
    if form not in KOREAN:
        raise ValueError(f"the phrase {form!r} has no Korean form: add it to morphbert/pages/korean.py.")
    return Phrase(form, tuple(values.items()))


def in_korean(text: Any) -> Any:
    """Returns the Korean text of a phrase, and anything else as it is."""
    return text.korean if isinstance(text, Phrase) else text
