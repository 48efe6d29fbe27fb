"""Word counts → the pieces of a vocabulary of exactly the wanted size.

The order of a vocabulary: special tokens, further ones that were asked for, reserved `[unusedN]`, the alphabet
(every character that was seen, as it was seen: beginning a word or, with `##`, continuing one), then the learner's
pieces, the best first. With the alphabet complete, greedy longest-match-first cuts every word of the text without
[UNK], whatever the other pieces are.
"""

from __future__ import annotations

import io
import itertools
import re
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import sentencepiece
from tqdm import tqdm

from morphbert.errors import MorphbertError
from morphbert.text.vocabulary import SPECIAL_TOKENS
from morphbert.text.wordpiece import CONTINUATION
from morphbert.vocab.counting import word_characters

# SentencePiece's sign for the beginning of a word; ours are fed to it with the sign in place of the missing ##.
_BEGINS = "\u2581"
# Characters that SentencePiece keeps for itself. Words with them are left out of learning, not of the alphabet.
_RESERVED = frozenset("\u2581\u2585\t\n\0")
_LONGEST_PIECE = 16


Learner = Literal["bpe", "unigram", "wordpiece", "char"]
LEARNERS: tuple[Learner, ...] = get_args(Learner)


class NewPiece(NamedTuple):
    """A piece that an extended vocabulary has and the old one had not: its id, and the `[unusedN]` that stood there."""

    id: int
    old: str | None  # None behind the last line of the old vocabulary
    new: str


@dataclass(frozen=True)
class LearnedPieces:
    """The lines of `vocab.txt`, and what they are made of.

    Attributes:
      tokens: exactly `vocab_size` of them.
      alphabet: how many are single characters from the alphabet.
      unused: how many are `[unusedN]` at the end, because the text had no more pieces.
      uncovered: characters (plain or ##) that were seen and left out, with their counts.
      new: where another vocabulary was extended, what came to it, by id; further `[unusedN]` do not count.
    """

    tokens: tuple[str, ...]
    alphabet: int
    unused: int
    uncovered: Counter[str]
    new: tuple[NewPiece, ...] = ()

    @property
    def filled(self) -> int:
        """How many new pieces stand in the place of an old `[unusedN]`."""
        return sum(piece.old is not None for piece in self.new)

    @property
    def appended(self) -> int:
        """How many new pieces stand behind the old vocabulary."""
        return len(self.new) - self.filled


def choose_alphabet(
    characters: Counter[str], min_count: int = 1, coverage: float = 1.0, most: int | None = None
) -> list[str]:
    """Returns the characters to keep, the most frequent first (equal counts by code point).

    Args:
      characters: counts of `가` and `##가`.
      min_count: characters that were seen less often are left out.
      coverage: the rarest may be left out as long as this share of all occurrences stays; 1 keeps all.
      most: how many are kept at most; None for no limit.
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
    return kept[:most]


def assemble(
    characters: Counter[str],
    alphabet: list[str],
    learned: Iterable[str],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    unused_slots: int = 0,
) -> LearnedPieces:
    """Special tokens + alphabet + the first learned pieces that are not there yet, filled up to the size.

    Args:
      special_tokens: further ones, right after BERT's five.
      unused_slots: how many `[unusedN]` to reserve after those, whatever the text has.

    Raises:
      MorphbertError: the size is too small for the special tokens and the alphabet; the minimum is named.
    """
    reserved = [f"[unused{number}]" for number in range(unused_slots)]
    tokens = dict.fromkeys((*SPECIAL_TOKENS, *special_tokens, *reserved, *alphabet))
    least = len(tokens)
    if vocab_size < least:
        raise MorphbertError(
            f"--vocab_size={vocab_size} is too small: the special and unused tokens and the {len(alphabet)} "
            f"characters of the text (plain and with {CONTINUATION}) need {least}. Give --vocab_size={least} or more, "
            "or leave rare characters out, which then become [UNK]: --character_coverage=0.9995 or "
            "--min_character_count=5."
        )
    for piece in learned:
        if len(tokens) == vocab_size:
            break
        tokens.setdefault(piece)
    unused = vocab_size - len(tokens)
    tokens.update(dict.fromkeys(f"[unused{number}]" for number in range(unused_slots, unused_slots + unused)))
    left_out = set(characters).difference(alphabet)
    return LearnedPieces(
        tuple(tokens),
        len(alphabet),
        unused,
        Counter({character: characters[character] for character in left_out}),
    )


def extend(
    old: Sequence[str],
    characters: Counter[str],
    alphabet: list[str],
    learned: Iterable[str],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
) -> LearnedPieces:
    """An existing vocabulary with what another text needs more; every old piece keeps its id.

    New pieces go into the old `[unusedN]` first and then behind the last line; what is still `[unusedN]` at the end
    is counted as unused. Special tokens come first, then characters, then the learner's pieces.

    Raises:
      MorphbertError: the size is smaller than the old vocabulary, or too small for the new characters.
    """
    if vocab_size < len(old):
        raise MorphbertError(
            f"--vocab_size={vocab_size} is smaller than the vocabulary of --init_vocab, which has {len(old)} lines and "
            f"keeps them all: give --vocab_size={len(old)} or more."
        )
    tokens = list(old)
    slots = [number for number, token in enumerate(tokens) if re.fullmatch(r"\[unused\d+\]", token)]
    known = set(tokens)
    needed = [token for token in dict.fromkeys((*special_tokens, *alphabet)) if token not in known]
    room = len(slots) + vocab_size - len(tokens)
    if len(needed) > room:
        raise MorphbertError(
            f"--vocab_size={vocab_size} is too small: the text has {len(needed)} characters and special tokens that "
            f"the vocabulary of --init_vocab lacks, and there is room for {room}. Give --vocab_size="
            f"{vocab_size + len(needed) - room} or more, or leave rare ones out: --character_coverage=0.9995 or "
            "--min_character_count=5."
        )
    wanted = list(dict.fromkeys((*needed, *(piece for piece in learned if piece not in known))))[:room]
    places = [*slots, *range(len(old), len(old) + len(wanted))]
    new = tuple(
        NewPiece(place, old[place] if place < len(old) else None, piece)
        for place, piece in zip(places, wanted, strict=False)
    )
    tokens += [""] * sum(piece.old is None for piece in new)
    for piece in new:
        tokens[piece.id] = piece.new
    taken = {int(token[len("[unused") : -1]) for token in old if re.fullmatch(r"\[unused\d+\]", token)}
    more = (f"[unused{number}]" for number in itertools.count() if number not in taken)
    tokens += itertools.islice(more, vocab_size - len(tokens))
    have = set(tokens)
    return LearnedPieces(
        tuple(tokens),
        len([token for token in alphabet if token not in known]),
        len([token for token in tokens if re.fullmatch(r"\[unused\d+\]", token)]),
        Counter({character: count for character, count in characters.items() if character not in have}),
        new,
    )


def learn(learner: Learner, words: Collection[tuple[str, int]], alphabet: list[str], size: int) -> list[str]:
    """Pieces of two characters and more, the best first; as many as there are, if fewer than `size`.

    Args:
      learner: the method; `char` learns nothing: the vocabulary is its alphabet.
      words: (word, count), sorted by word; continuing words with `##`.
      alphabet: words with a character outside it are left out: they become [UNK] anyway.
      size: how many pieces are wanted at least, if there are as many.
    """
    methods = {"bpe": learn_bpe, "unigram": learn_unigram, "wordpiece": learn_wordpiece}
    if learner not in methods:
        return []
    with _time_shown(f"Learning pieces ({learner}, {len(words):,} words)"):
        return methods[learner](words, alphabet, size)


@contextmanager
def _time_shown(what: str) -> Iterator[None]:
    """A line with the time that went by, on a terminal: learners do not say how far they are."""
    over = threading.Event()
    with tqdm(desc=what, bar_format="{desc}: {elapsed}", disable=None, file=sys.stderr) as line:

        def refresh() -> None:
            while not over.wait(1):
                line.refresh()

        clock = threading.Thread(target=refresh, daemon=True)
        if not line.disable:
            clock.start()
        try:
            yield
        finally:
            over.set()
            if clock.is_alive():
                clock.join()


def learn_bpe(words: Collection[tuple[str, int]], alphabet: list[str], size: int) -> list[str]:
    """Byte-pair merges in the order of learning (Sennrich et al. 2016), by SentencePiece.

    Each distinct word is given once with its count. A word that begins an eojeol carries SentencePiece's sign for
    that, so `사과` and `##사과` are learned apart. The number of threads changes nothing.
    """
    # Merges of the sign with one character are in the alphabet already: that many more are needed.
    return _learn_sentencepiece(words, alphabet, size, model_type="bpe")


def learn_unigram(words: Collection[tuple[str, int]], alphabet: list[str], size: int) -> list[str]:
    """Pieces of a unigram language model (Kudo 2018), the likeliest first, by SentencePiece.

    The model is fitted for its own way of cutting; WordPiece cuts with the same pieces, longest first. Other numbers
    of threads add in another order and give other pieces: it is always one.
    """
    return _learn_sentencepiece(words, alphabet, size, model_type="unigram", num_threads=1)


def _learn_sentencepiece(
    words: Collection[tuple[str, int]], alphabet: list[str], size: int, **more: Any
) -> list[str]:
    lines = _sentencepiece_lines(words, frozenset(alphabet))
    first = next(lines, None)
    if first is None:
        return []
    model = io.BytesIO()
    symbols = len({character.removeprefix(CONTINUATION) for character in alphabet}) + 2
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=itertools.chain((first,), lines),
            model_writer=model,
            input_format="tsv",
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
            **more,
        )
    except (RuntimeError, OSError) as error:
        raise MorphbertError(f"SentencePiece could not learn from the text: {error}") from error
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = (processor.id_to_piece(number) for number in range(1, processor.get_piece_size()))
    return [piece for piece in map(_as_wordpiece, pieces) if piece is not None]


def learn_wordpiece(words: Collection[tuple[str, int]], alphabet: list[str], size: int) -> list[str]:
    """Frequent substrings by tensorflow_text's WordPiece learner, the longest and most frequent kept.

    It searches the count from which on a substring is kept, and hits the size only roughly: it is asked for a tenth
    more, and what comes is ordered by its count. It knows no words that continue others, so those are given with a
    sign in front, which becomes their `##` afterwards.
    """
    try:
        from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as library
    except ImportError as error:
        raise MorphbertError(
            "--learner=wordpiece needs the package tensorflow-text (pip install tensorflow-text), which has no wheel "
            f"for every platform: {error}. The learners bpe and unigram need nothing more."
        ) from error
    known = frozenset(alphabet)
    counts = [
        (word if not _continues(word) else _BEGINS + word.removeprefix(CONTINUATION), count)
        for word, count in words
        if _RESERVED.isdisjoint(word) and known.issuperset(word_characters(word))
    ]
    if not counts:
        return []
    learned = library.learn(
        counts,
        vocab_size=size + size // 10 + len(alphabet),
        reserved_tokens=[],
        lower_thresh=2,
        max_token_length=_LONGEST_PIECE + 1,
        max_unique_chars=len(alphabet) + 1,
        include_joiner_token=True,
    )
    pieces = dict.fromkeys(
        CONTINUATION + piece[1:] if piece.startswith(_BEGINS) else piece for piece in learned
    )
    longer = [piece for piece in pieces if len(piece) - _continues(piece) * len(CONTINUATION) > 1]
    uses = _substring_counts(words, longer)
    return sorted(longer, key=lambda piece: (-uses[piece], piece))


def _substring_counts(words: Collection[tuple[str, int]], pieces: Iterable[str]) -> Counter[str]:
    """How often each piece stands in the words, at a beginning or, with `##`, after it; overlaps count."""
    wanted = frozenset(pieces)
    counts: Counter[str] = Counter()
    for word, count in words:
        continues = _continues(word)
        text = word[len(CONTINUATION) :] if continues else word
        for start in range(len(text)):
            prefix = CONTINUATION if start or continues else ""
            for end in range(start + 2, min(len(text), start + _LONGEST_PIECE) + 1):
                piece = prefix + text[start:end]
                if piece in wanted:
                    counts[piece] += count
    return counts


def _continues(word: str) -> bool:
    return word.startswith(CONTINUATION) and len(word) > len(CONTINUATION)


def _sentencepiece_lines(words: Collection[tuple[str, int]], known: frozenset[str]) -> Iterator[str]:
    for word, count in words:
        if _RESERVED.isdisjoint(word) and known.issuperset(word_characters(word)):
            yield f"{word[len(CONTINUATION) :] if _continues(word) else _BEGINS + word}\t{count}"


def _as_wordpiece(piece: str) -> str | None:
    """`"▁사과"` → `"사과"`, `"과나무"` → `"##과나무"`; None for a single character, which the alphabet has."""
    begins = piece.startswith(_BEGINS)
    text = piece.removeprefix(_BEGINS)
    if len(text) < 2:
        return None
    return text if begins else CONTINUATION + text
