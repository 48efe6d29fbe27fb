"""Fills in the templates of the pages."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from morphbert.pages.korean import KOREAN


def render(template: str, **values: Any) -> str:
    """Returns a whole HTML document: a template of this package with values; same values, same text.

    Values are shown as text: markup in them is escaped. A name that the template uses and `values` lacks is an error.
    """
    return _templates().get_template(template).render(**values)


def translated(text: str) -> Markup:
    """Returns an English phrase with its Korean form, which the page shows in a browser whose language is Korean.

    A phrase without a Korean form, such as the name of a figure, is shown as it is.
    """
    if text not in KOREAN:
        return escape(text)  # markup, such as a heading in which a part is translated, stays
    return Markup('<span data-ko="{}">{}</span>').format(KOREAN[text], text)


def code_marked(text: str) -> Markup:
    """Returns plain text with `code` between backticks as HTML."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    )


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
    made.filters["t"] = translated
    made.filters["code_marked"] = code_marked
    made.globals["korean"] = KOREAN
    return made
