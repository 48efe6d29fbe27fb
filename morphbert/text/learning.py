"""Word counts → the pieces of a vocabulary of exactly the wanted size.

The order of a vocabulary: special tokens, the alphabet (every character that was seen, as it was seen: beginning
a word or, with `##`, continuing one), then the learner's pieces, the earliest learned first. With the alphabet
complete, greedy longest-match-first cuts every word of the text without [UNK], whatever the other pieces are.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sentencepiece

from morphbert.errors import MorphbertError
from morphbert.text.counting import word_characters
from morphbert.text.vocabulary import SPECIAL_TOKENS
from morphbert.text.wordpiece import CONTINUATION

# SentencePiece's sign for the beginning of a word; ours are fed to it with the sign in place of the missing ##.
_BEGINS = "\u2581"
# Characters that SentencePiece keeps for itself. Words with them are left out of learning, not of the alphabet.
_RESERVED = frozenset("\u2581\u2585\t\n\0")
_LONGEST_PIECE = 16


@dataclass(frozen=True)
class LearnedPieces:
    """The lines of `vocab.txt`, and what they are made of.

    Attributes:
      tokens: exactly `vocab_size` of them.
      alphabet: how many are single characters from the alphabet.
      unused: how many are `[unusedN]`, because the text had no more pieces.
      uncovered: characters (plain or ##) that were seen and left out, with their counts.
    """

    tokens: tuple[str, ...]
    alphabet: int
    unused: int
    uncovered: Counter[str]


def choose_alphabet(characters: Counter[str], min_count: int = 1, coverage: float = 1.0) -> list[str]:
    """The characters to keep, the most frequent first (equal counts by code point).

    Args:
      characters: counts of `가` and `##가`.
      min_count: what was seen less often is left out.
      coverage: the rarest may be left out as long as this share of all occurrences stays; 1 keeps all.
    """
    ranked = sorted(
        ((count, character) for character, count in characters.items() if count >= min_count),
        key=lambda item: (-item[0], item[1]),
    )
    wanted = coverage * characters.total()
    kept: list[str] = []
    covered = 0
    for count, character in ranked:
        if coverage < 1.0 and covered >= wanted:
            break
        kept.append(character)
        covered += count
    return kept


def assemble(
    characters: Counter[str], alphabet: list[str], learned: Iterable[str], vocab_size: int
) -> LearnedPieces:
    """Special tokens + alphabet + the first learned pieces that are not there yet, filled up to the size.

    Raises:
      MorphbertError: the size is too small for the special tokens and the alphabet; the minimum is named.
    """
    tokens = dict.fromkeys((*SPECIAL_TOKENS, *alphabet))
    least = len(tokens)
    if vocab_size < least:
        raise MorphbertError(
            f"--vocab_size={vocab_size} is too small: the special tokens and the {len(alphabet)} characters of "
            f"the text (plain and with {CONTINUATION}) need {least}. Give --vocab_size={least} or more, or leave "
            "rare characters out, which then become [UNK]: --character_coverage=0.9995 or "
            "--min_character_count=5."
        )
    for piece in learned:
        if len(tokens) == vocab_size:
            break
        tokens.setdefault(piece)
    unused = vocab_size - len(tokens)
    tokens.update(dict.fromkeys(f"[unused{number}]" for number in range(unused)))
    left_out = set(characters).difference(alphabet)
    return LearnedPieces(
        tuple(tokens),
        len(alphabet),
        unused,
        Counter({character: characters[character] for character in left_out}),
    )


def learn_bpe(words: Iterable[tuple[str, int]], alphabet: list[str], size: int) -> list[str]:
    """Byte-pair merges in the order of learning, written as WordPiece pieces (Sennrich et al. 2016).

    SentencePiece's BPE, given each distinct word once with its count. A word that begins an eojeol carries
    SentencePiece's sign for that, so `사과` and `##사과` are learned apart. Fewer than `size` come where the words
    are all whole pieces already. The number of threads changes nothing.

    Args:
      words: (word, count), continuing words with `##`.
      alphabet: words with a character outside it are left out: they become [UNK] anyway.
      size: how many pieces beyond single characters are wanted at least, if there are as many.
    """
    known = frozenset(alphabet)
    lines = list(_sentencepiece_lines(words, known))
    if not lines:
        return []
    model = io.BytesIO()
    symbols = len({character.removeprefix(CONTINUATION) for character in alphabet}) + 2
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            input_format="tsv",
            model_type="bpe",
            # Merges of the sign with one character are in the alphabet already: that many more are needed.
            vocab_size=size + 2 * symbols,
            hard_vocab_limit=False,
            character_coverage=1.0,
            max_sentencepiece_length=_LONGEST_PIECE,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            unk_id=0,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise MorphbertError(f"SentencePiece could not learn from the text: {error}") from error
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = (processor.id_to_piece(number) for number in range(1, processor.get_piece_size()))
    return [piece for piece in map(_as_wordpiece, pieces) if piece is not None]


def _sentencepiece_lines(words: Iterable[tuple[str, int]], known: frozenset[str]) -> Iterator[str]:
    for word, count in words:
        if _RESERVED.isdisjoint(word) and known.issuperset(word_characters(word)):
            continues = word.startswith(CONTINUATION) and len(word) > len(CONTINUATION)
            yield f"{word[len(CONTINUATION) :] if continues else _BEGINS + word}\t{count}"


def _as_wordpiece(piece: str) -> str | None:
    """`"▁사과"` → `"사과"`, `"과나무"` → `"##과나무"`; None for a single character, which the alphabet has."""
    begins = piece.startswith(_BEGINS)
    text = piece.removeprefix(_BEGINS)
    if len(text) < 2:
        return None
    return text if begins else CONTINUATION + text
