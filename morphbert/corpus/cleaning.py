"""Cleans raw text before sentence splitting: addresses, HTML, remains of markup, long runs of characters.

The patterns are deliberately narrow. `<기생충>` and `<Her>` are film titles and `a < b` is a comparison, so only names
of HTML elements count as tags. `R&D` is not a character reference. Hangul directly after an address is a particle. `**`
more often masks a name than marks bold type.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from morphbert.options import NonNegativeInt, configuration, option
from morphbert.text.normalize import Normalizer, normalize_unicode

Form = Literal["nfc", "nfkc", "none"]
Treatment = Literal["keep", "remove", "replace"]
Replacement = str | Callable[[re.Match[str]], str]

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]{1,63}\.)+[a-z]{2,}", re.ASCII | re.IGNORECASE)
_PATH = r"[a-z0-9\-._~:/?#@!$&'()*+,;=%|]*[a-z0-9\-_~/#@$&*+=%]"
_URL = re.compile(
    rf"(?:https?|ftp)://{_PATH}|(?<![\w@./-])(?:www\.{_PATH}"
    rf"|(?:[a-z0-9-]{{1,63}}\.)+(?:com|net|org|gov|edu|info|kr|jp|cn|io|me|be|tv|ly|gl)(?![\w-])(?:[/?]{_PATH})?)",
    re.ASCII | re.IGNORECASE,
)

_ELEMENTS = (
    "a abbr address article aside audio b big blockquote body br button caption center cite code col colgroup dd del "
    "details dfn div dl dt em embed figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe "
    "img input ins kbd label legend li link main map mark math meta nav noscript nowiki object ol option p param pre q "
    "ref rp rt ruby s samp script section select small source span strike strong style sub summary sup svg table tbody "
    "td templatestyles textarea tfoot th thead time title tr tt u ul var video wbr"
).split()
_BLOCKS = (
    "address|article|aside|blockquote|br|center|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li|main|nav|ol|option|"
    "p|pre|section|table|td|th|tr|ul"
)
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
# Invisible content: from an opening mark to the first closing mark of its kind, if that is near.
_UNSEEN = re.compile(r"<(script|style)\b[^<>]*>|<!--", re.IGNORECASE)
_UNSEEN_END = {
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
    "": re.compile(r"-->"),
}
_LONGEST_UNSEEN = 5000
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS})(?:\s[^<>]{{0,2000}})?/?>", re.IGNORECASE)
_TAG = re.compile(rf"</?(?:{'|'.join(_ELEMENTS)})(?:\s[^<>]{{0,2000}})?/?>", re.IGNORECASE)

_TEMPLATE_DEPTH = 20
_INNERMOST_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}|\{\|[^{}]*\|\}")
_MARKUP: tuple[tuple[re.Pattern[str], Replacement], ...] = tuple(
    (re.compile(pattern, re.MULTILINE | re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"\[\[(?:파일|그림|분류|file|image|category):[^\[\]]*(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]", ""),
        (r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]", r"\1"),  # [[문서|글]] → 글
        (r"!\[[^\[\]]*\]\([^()\s]*\)", ""),  # Markdown's images
        (r"\[([^\[\]]+)\]\((?:https?:|/|#)[^()\s]*\)", r"\1"),  # and links
        (r"\[https?://[^\s\[\]]{1,2000}(\s[^\[\]]*)?\]", lambda found: (found[1] or "").lstrip()),
        (r"'{2,5}(?=[^\s'])([^'\n]{1,300}?)(?<=[^\s'])'{2,5}", r"\1"),  # '''굵게'''
        (r"__(?:NOTOC|TOC|FORCETOC|NOEDITSECTION)__", ""),
        (r"^[ \t]*==(.*)==[ \t]*$", lambda found: found[1].strip("=").strip(" \t")),  # == 역사 ==
        (r"^[ \t]*#{1,6}[ \t]+", ""),
        (r"^[ \t]*```.*$", ""),
        (r"^(?:Section|BULLET|NUMBER|INDENT):{4}[-*#:]*[ \t]*", ""),  # WikiExtractor's
        (r"(?<=[^\s\[])\[(?:\d{1,3}|(?:주|각주|note) ?\d{1,3}|편집|출처 필요|edit|citation needed)\]", ""),
        (r"(?<![a-z])(?:formula|codice)_\d+", ""),
        (r"[(（][\s,;:·]*[)）]", ""),  # the remains of a template in brackets
    )
)
_SURROGATE = re.compile("[\ud800-\udfff]")


@configuration
class Cleaning:
    """The changes to the text. In addition, white space always becomes one space.

    Attributes:
      normalization: `nfc` composes; `nfkc` also replaces ｆｕｌｌ width letters and ① by plain ones; `none` changes
        nothing.
      remove_control_characters: removes control and format characters (zero-width space, BOM…).
      urls, emails: `remove` deletes them, and `replace` writes `[URL]` and `[EMAIL]`.
      remove_html: removes tags, comments and scripts and decodes character references (`&amp;`); block elements divide
        paragraphs.
      remove_markup: removes the remains of wikitext, WikiExtractor and Markdown, and keeps the marked text.
      max_repeats: the length to which longer runs of one character except digits are shortened; 0 keeps them.
    """

    normalization: Form = option(
        default="nfc",
        help="nfc composes decomposed Hangul (macOS file names); nfkc also makes ｗｉｄｅ letters and ① plain.",
    )
    remove_control_characters: bool = option(
        default=True, help="Remove control and format characters: zero-width space, BOM, NUL and the like."
    )
    urls: Treatment = option(
        default="keep",
        help="Addresses of web pages: replace puts [URL] in their place (build_vocab.py --special_tokens can make it "
        "one piece).",
    )
    emails: Treatment = option(
        default="keep",
        help="E-mail addresses: replace puts [EMAIL] in their place (build_vocab.py --special_tokens can make it one "
        "piece).",
    )
    remove_html: bool = option(
        default=False,
        help="Remove HTML tags, comments and scripts, and decode references such as &amp;. <기생충> is not a tag.",
    )
    remove_markup: bool = option(
        default=False,
        help="Remove the remains of wikitext, WikiExtractor's marks and Markdown: {{…}}, [[…|…]], '''…''', "
        "== … ==, [1].",
    )
    max_repeats: NonNegativeInt = option(
        default=0,
        help="Shorten longer runs of one character except digits to this length; 0 keeps them. With 3, ㅋㅋㅋㅋㅋ "
        "becomes ㅋㅋㅋ.",
    )

    def __call__(self, text: str, note: Callable[[str, str], None] | None = None) -> list[str]:
        r"""Returns the clean paragraphs of a document, without empty ones.

        `Cleaning(max_repeats=2, urls="remove")("아ㅋㅋㅋㅋ http://a.kr/b 봐\n\n응")` → `["아ㅋㅋ 봐", "응"]`

        Args:
          note: receives the kind and the text of each removal.
        """
        found = _Remover(note)
        if self.remove_html:
            text = _without_html(text, found)
        if self.remove_markup:
            text = _without_markup(text, found)
        # E-mail first: the part after the @ is a site's name.
        for kind, treatment, pattern in (
            ("e-mail address", self.emails, _EMAIL),
            ("URL", self.urls, _URL),
        ):
            if treatment != "keep":
                mark = "" if treatment == "remove" else "[URL]" if kind == "URL" else "[EMAIL]"
                text = found.replace(kind, pattern, text, mark)
        paragraphs = []
        for line in text.split("\n"):
            paragraph = self._normalized(line)
            if self.max_repeats:
                paragraph = _shorten_runs(paragraph, self.max_repeats, found)
            if paragraph:
                paragraphs.append(paragraph)
        return paragraphs

    def _normalized(self, line: str) -> str:
        if self.normalization == "nfkc":
            line = normalize_unicode("NFKC", line)
        if self.remove_control_characters and self.normalization != "none":
            return _NFC(line)
        if self.remove_control_characters:
            line = "".join(c for c in line if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf"))
        elif self.normalization == "nfc":
            line = normalize_unicode("NFC", line)
        return _SURROGATE.sub("\ufffd", " ".join(line.split()))


_NFC = Normalizer("nfc")


class _Remover:
    """Replaces matches and reports them."""

    def __init__(self, note: Callable[[str, str], None] | None):
        self._note = note

    def replace(self, kind: str, pattern: re.Pattern[str], text: str, replacement: Replacement) -> str:
        if self._note is None:
            return pattern.sub(replacement, text)

        def replaced(match: re.Match[str]) -> str:
            self.note(kind, match.group())
            return match.expand(replacement) if isinstance(replacement, str) else replacement(match)

        return pattern.sub(replaced, text)

    def note(self, kind: str, text: str) -> None:
        if self._note is not None:
            self._note(kind, text)


def _without_html(text: str, found: _Remover) -> str:
    r"""`"가&amp;나<br>다 <기생충>"` → `"가&나\n다 <기생충>"`."""
    if "&" in text:
        for _ in range(2):  # `&amp;lt;` is common in pages that were encoded twice
            text = _REFERENCE.sub(lambda match: html.unescape(match.group()), text)
    if "<" not in text:
        return text
    text = _without_unseen(text, found)
    text = found.replace("HTML", _BLOCK_TAG, text, "\n")
    return found.replace("HTML", _TAG, text, "")


def _without_unseen(text: str, found: _Remover) -> str:
    """Returns the text without comments and scripts; searches each kind of closing mark once, for any number of
    openings.
    """
    kept: list[str] = []
    at = 0
    ahead: dict[str, re.Match[str] | None] = {}
    for opening in _UNSEEN.finditer(text):
        if opening.start() < at:
            continue
        kind = (opening[1] or "").lower()
        closing = ahead.get(kind)
        if kind not in ahead or (closing is not None and closing.start() < opening.end()):
            closing = ahead[kind] = _UNSEEN_END[kind].search(text, opening.end())
        if closing is not None and closing.start() - opening.end() <= _LONGEST_UNSEEN:
            found.note("HTML", text[opening.start() : closing.end()])
            kept += [text[at : opening.start()], " "]
            at = closing.end()
    return "".join([*kept, text[at:]])


def _without_markup(text: str, found: _Remover) -> str:
    """`"'''서울'''은 [[대한민국|한국]]의 수도이다.[1]"` → `"서울은 한국의 수도이다."`."""
    for _ in range(_TEMPLATE_DEPTH):  # templates are nested: the innermost are removed first
        if not _INNERMOST_TEMPLATE.search(text):
            break
        text = found.replace("markup", _INNERMOST_TEMPLATE, text, "")
    for pattern, replacement in _MARKUP:
        text = found.replace("markup", pattern, text, replacement)
    return text


@lru_cache
def _runs(most: int) -> re.Pattern[str]:
    return re.compile(rf"([^\d\s])\1{{{most},}}")


def _shorten_runs(text: str, most: int, found: _Remover) -> str:
    """Shortens runs of a character: `("아ㅋㅋㅋㅋㅋ", 2)` → `"아ㅋㅋ"`; digits stay, because 1000000 is a number."""
    return found.replace("long run", _runs(most), text, r"\1" * most)
