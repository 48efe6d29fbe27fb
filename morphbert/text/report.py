"""What a vocabulary does to text that it was not learned from: figures, and the report in its folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from morphbert.text.tokenizer import Encoding, Tokenizer
from morphbert.text.vocabulary import UNK


@dataclass(frozen=True)
class Figures:
    """Counts over some lines; the rates are properties of them.

    Attributes:
      eojeols_with_unknown: eojeols with at least one [UNK].
      whole_eojeols: eojeols that are a single piece, [UNK] not counted.
      characters: of the original text inside pieces, so without spaces.
    """

    lines: int
    eojeols: int
    pieces: int
    characters: int
    unknown_pieces: int
    eojeols_with_unknown: int
    whole_eojeols: int

    @property
    def pieces_per_eojeol(self) -> float:
        return self.pieces / max(1, self.eojeols)

    @property
    def characters_per_piece(self) -> float:
        return self.characters / max(1, self.pieces)

    @property
    def unknown_share(self) -> float:
        """Share of the eojeols that contain [UNK]."""
        return self.eojeols_with_unknown / max(1, self.eojeols)


def measure(tokenizer: Tokenizer, lines: Iterable[str]) -> Figures:
    """Tokenizes the lines and counts; nothing is kept but the counts."""
    count = eojeols = pieces = characters = unknown = with_unknown = whole = 0
    for line in lines:
        count += 1
        encoding = tokenizer.encode(line)
        pieces += len(encoding.tokens)
        characters += _covered(encoding.offsets)
        per_eojeol = _pieces_by_eojeol(encoding)
        eojeols += len(per_eojeol)
        for tokens in per_eojeol:
            missing = tokens.count(UNK)
            unknown += missing
            with_unknown += missing > 0
            whole += len(tokens) == 1 and not missing
    return Figures(count, eojeols, pieces, characters, unknown, with_unknown, whole)


def _covered(offsets: Iterable[tuple[int, int]]) -> int:
    """How many characters lie in ascending ranges; those that two pieces share count once."""
    total = position = 0
    for start, end in offsets:
        total += max(0, end - max(start, position))
        position = max(position, end)
    return total


def _pieces_by_eojeol(encoding: Encoding) -> list[list[str]]:
    grouped: list[list[str]] = []
    last = -1
    for token, word in zip(encoding.tokens, encoding.word_ids, strict=True):
        if word != last:
            grouped.append([])
            last = word
        grouped[-1].append(token)
    return grouped


def figures_table(figures: Figures) -> str:
    """A Markdown table of the figures."""
    rows = [
        ("lines", f"{figures.lines:,}"),
        ("eojeols", f"{figures.eojeols:,}"),
        ("pieces per eojeol", f"{figures.pieces_per_eojeol:.3f}"),
        ("characters per piece", f"{figures.characters_per_piece:.3f}"),
        ("eojeols in one piece", f"{100 * figures.whole_eojeols / max(1, figures.eojeols):.1f}%"),
        ("eojeols with [UNK]", f"{100 * figures.unknown_share:.3f}%"),
        ("[UNK] among the pieces", f"{100 * figures.unknown_pieces / max(1, figures.pieces):.3f}%"),
    ]
    return "\n".join(
        ["| held-out text | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]
    )


# The same for every vocabulary, so that two reports can be held side by side.
_EXAMPLES = (
    "사과나무를 심었습니다.",
    "어제 친구랑 본 영화가 생각보다 재미있어서 두 번 봤다.",
    "대한민국(大韓民國)의 주권은 국민에게 있고, 모든 권력은 국민으로부터 나온다.",
    "2019년 3월 1일, BERT를 한국어로 다시 학습시키기 시작했다.",
    "코로나바이러스감염증 때문에 재택근무를 하게 되었어요ㅠㅠ",
    "진짜 개꿀잼ㅋㅋㅋ 안보면 후회함!!",
    "할아버지께서는 안녕히 주무셨습니까?",
)


def examples(tokenizer: Tokenizer) -> str:
    """Some fixed sentences and their pieces, as a Markdown list."""
    return "\n".join(f"- {text}<br>`{' '.join(tokenizer.tokenize(text))}`" for text in _EXAMPLES)
