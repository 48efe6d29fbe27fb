"""Fills in the templates of the pages."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from morphbert.pages.phrases import Phrase, Text, in_korean, phrase


def render(template: str, **values: Any) -> str:
    """Returns a whole HTML document: a template of this package with values; same values, same text.

    Values are shown as text: markup in them is escaped. A name that the template uses and `values` lacks is an error.
    """
    return _templates().get_template(template).render(**values)


def translated(text: Text) -> Markup:
    """Returns a text as HTML; of a phrase both forms, and a browser whose language is Korean shows the Korean one."""
    if not isinstance(text, Phrase):
        return escape(text)
    return Markup("<span{}>{}</span>").format(_korean_attribute(text), code_marked(str(text)))


def untranslated(text: str) -> Markup:
    """Returns data, such as a name or a path, as HTML that no translator of a browser changes."""
    return Markup('<span translate="no">{}</span>').format(text)


def code_marked(text: str) -> Markup:
    """Returns plain text with `code` between backticks as HTML."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    )


def _korean_attribute(text: Text, name: str = "ko") -> Markup:
    """Returns the attribute from which the page takes the Korean form of an element's text; none for other texts."""
    if not isinstance(text, Phrase):
        return Markup()
    return Markup(' data-{}="{}"').format(name, text.korean)


@cache
def _templates() -> jinja2.Environment:
    folder = os.path.join(os.path.dirname(__file__), "templates")
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["t"] = lambda form: translated(phrase(form))
    made.filters["shown"] = translated
    made.filters["data"] = untranslated
    made.filters["korean"] = in_korean
    made.filters["ko"] = _korean_attribute
    made.filters["ko_label"] = lambda text: _korean_attribute(text, "ko-label")
    return made
