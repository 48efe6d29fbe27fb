"""Learns a vocabulary of exactly the requested size from word counts.

The order of a vocabulary: special tokens, additional special tokens, reserved `[unusedN]`, the alphabet (every
  character in each form that occurs: at the beginning of a word, or with `##` later in one), then the learner's pieces,
  best first. With a complete alphabet, greedy longest-match-first cuts every word of the text without [UNK], whatever
  the other pieces are.
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
from typing import Any, Literal, NamedTuple

import sentencepiece
from tqdm import tqdm

from morphbert.errors import MorphbertError
from morphbert.text.vocabulary import BEGINS, SPECIAL_TOKENS
from morphbert.text.wordpiece import CONTINUATION, is_continuation, piece_text
from morphbert.vocab.counting import word_characters

# Characters that SentencePiece reserves. Words with them are excluded from learning, but not from the alphabet.
_RESERVED = frozenset(BEGINS + "\u2585\t\n\0")
_LONGEST_PIECE = 16


Learner = Literal["bpe", "unigram", "wordpiece", "char"]


class NewPiece(NamedTuple):
    """A piece that an extended vocabulary adds: its id, and the `[unusedN]` that it replaces."""

    id: int
    old: str | None  # None after the last line of the old vocabulary
    new: str


@dataclass(frozen=True)
class LearnedPieces:
    """The lines of `vocab.txt` and their composition.

    Attributes:
      tokens: exactly `vocab_size` tokens.
      alphabet: the number of single characters from the alphabet.
      unused: the number of `[unusedN]` at the end, because the text has no more pieces.
      uncovered: the omitted characters (plain or ##) with their counts.
      new: the pieces that extend another vocabulary, by id, without further `[unusedN]`.
    """

    tokens: tuple[str, ...]
    alphabet: int
    unused: int
    uncovered: Counter[str]
    new: tuple[NewPiece, ...] = ()

    @property
    def filled(self) -> int:
        """The number of new pieces that replace an old `[unusedN]`."""
        return sum(piece.old is not None for piece in self.new)

    @property
    def appended(self) -> int:
        """The number of new pieces after the old vocabulary."""
        return len(self.new) - self.filled


def choose_alphabet(
    characters: Counter[str], min_count: int = 1, coverage: float = 1.0, most: int | None = None
) -> list[str]:
    """Returns the characters to keep, the most frequent first (equal counts by code point).

    Args:
      characters: the counts of `가` and `##가`.
      min_count: characters that were seen less often are left out.
      coverage: the share of all occurrences that must stay when the rarest are left out; 1 keeps all.
      most: the largest number of kept characters; None for no limit.
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


class Candidates(NamedTuple):
    """The lines that a text offers for a vocabulary.

    Attributes:
      characters: the count of each character of the text.
      alphabet: those to take, in order.
      learned: the learner's pieces, the best first.
    """

    characters: Counter[str]
    alphabet: list[str]
    learned: Iterable[str]


def assemble(
    candidates: Candidates,
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    unused_slots: int = 0,
) -> LearnedPieces:
    """Joins special tokens, alphabet and the first new learned pieces, and fills the rest with `[unusedN]`.

    Args:
      special_tokens: additional ones, directly after BERT's five.
      unused_slots: the number of `[unusedN]` to reserve after those.

    Raises:
      MorphbertError: the size is too small for the special tokens and the alphabet. The message names the minimum.
    """
    characters, alphabet, learned = candidates
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
    candidates: Candidates,
    vocab_size: int,
    special_tokens: Sequence[str],
    own_spelling: Collection[str],
) -> LearnedPieces:
    """Returns an existing vocabulary with the additional pieces of another text; every old piece keeps its id.

    New pieces first replace the old `[unusedN]` and then follow the last line; the remaining `[unusedN]` count as
    unused. Special tokens come first, then characters, then the learner's pieces. No new line is spelled like one of
    `own_spelling`, the old file's spelling of BERT's special tokens.

    Raises:
      MorphbertError: the size is smaller than the old vocabulary, or too small for the new characters.
    """
    characters, alphabet, learned = candidates
    if vocab_size < len(old):
        raise MorphbertError(
            f"--vocab_size={vocab_size} is smaller than the vocabulary of --init_vocab, whose {len(old)} lines are "
            f"all kept. Give --vocab_size={len(old)} or more."
        )
    tokens = list(old)
    slots = [number for number, token in enumerate(tokens) if re.fullmatch(r"\[unused\d+\]", token)]
    known = set(tokens)
    needed = [token for token in dict.fromkeys((*special_tokens, *alphabet)) if token not in known]
    room = len(slots) + vocab_size - len(tokens)
    if len(needed) > room:
        raise MorphbertError(
            f"--vocab_size={vocab_size} is too small: the vocabulary of --init_vocab lacks {len(needed)} characters "
            f"and special tokens of the text, and has room for {room}. Give "
            f"--vocab_size={vocab_size + len(needed) - room} or more, or leave rare ones out: "
            "--character_coverage=0.9995 or --min_character_count=5."
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
    taken = {*old, *own_spelling}
    more = (slot for slot in map("[unused{}]".format, itertools.count()) if slot not in taken)
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
    """Returns pieces of two or more characters, best first; fewer than `size` if the text has fewer.

    Args:
      learner: the method; `char` learns no pieces, so the vocabulary is its alphabet.
      words: pairs (word, count), sorted by word; continuing words begin with `##`.
      alphabet: the kept characters; words with other characters, which become [UNK], are ignored.
      size: the least number of pieces to return, if the text has as many.
    """
    methods = {"bpe": learn_bpe, "unigram": learn_unigram, "wordpiece": learn_wordpiece}
    if learner not in methods:
        return []
    with _time_shown(f"Learning pieces ({learner}, {len(words):,} words)"):
        return methods[learner](words, alphabet, size)


@contextmanager
def _time_shown(what: str) -> Iterator[None]:
    """Shows the elapsed time on a terminal, because learners report no progress."""
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
    """Returns byte-pair merges in learning order (Sennrich et al. 2016), by SentencePiece.

    SentencePiece receives each distinct word once with its count. A word that begins an eojeol carries SentencePiece's
    beginning sign, so `사과` and `##사과` are learned separately. The result does not depend on the number of threads.
    """
    # Merges of the sign with one character are already in the alphabet, so that many more merges are needed.
    return _learn_sentencepiece(words, alphabet, size, model_type="bpe")


def learn_unigram(words: Collection[tuple[str, int]], alphabet: list[str], size: int) -> list[str]:
    """Returns pieces of a unigram language model (Kudo 2018), most likely first, by SentencePiece.

    The model is fitted for its own segmentation; WordPiece uses the same pieces, longest first. The number of threads
    is always one, because other numbers change the order of sums and therefore the pieces.
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
    symbols = len({piece_text(character) for character in alphabet}) + 2
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
    """Returns frequent substrings by tensorflow_text's WordPiece learner, longest and most frequent first.

    The learner searches for a count threshold and reaches the size only approximately, so this requests a tenth more
    pieces and orders them by count. The learner does not support continuing words, so they carry a sign that is
    replaced by `##` afterwards.
    """
    try:
        from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as library
    except ImportError as error:
        raise MorphbertError(
            "--learner=wordpiece needs the package tensorflow-text (pip install tensorflow-text), which does not "
            f"have wheels for all platforms: {error}. The learners bpe and unigram need no further package."
        ) from error
    known = frozenset(alphabet)
    counts = [
        (BEGINS + piece_text(word) if is_continuation(word) else word, count)
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
        CONTINUATION + piece[1:] if piece.startswith(BEGINS) else piece for piece in learned
    )
    longer = [piece for piece in pieces if len(piece_text(piece)) > 1]
    uses = _substring_counts(words, longer)
    return sorted(longer, key=lambda piece: (-uses[piece], piece))


def _substring_counts(words: Collection[tuple[str, int]], pieces: Iterable[str]) -> Counter[str]:
    """Counts each piece in the words, at their beginning or, with `##`, after it; overlaps count."""
    wanted = frozenset(pieces)
    counts: Counter[str] = Counter()
    for word, count in words:
        continues = is_continuation(word)
        text = piece_text(word)
        for start in range(len(text)):
            prefix = CONTINUATION if start or continues else ""
            for end in range(start + 2, min(len(text), start + _LONGEST_PIECE) + 1):
                piece = prefix + text[start:end]
                if piece in wanted:
                    counts[piece] += count
    return counts


def _sentencepiece_lines(words: Collection[tuple[str, int]], known: frozenset[str]) -> Iterator[str]:
    """Yields words and counts as SentencePiece reads them: words without `##` begin with its sign."""
    for word, count in words:
        if _RESERVED.isdisjoint(word) and known.issuperset(word_characters(word)):
            yield f"{piece_text(word) if is_continuation(word) else BEGINS + word}\t{count}"


def _as_wordpiece(piece: str) -> str | None:
    """Returns WordPiece's form of a piece: `"▁사과"` → `"사과"`, `"과나무"` → `"##과나무"`; None for a single
    character.
    """
    begins = piece.startswith(BEGINS)
    text = piece.removeprefix(BEGINS)
    if len(text) < 2:
        return None
    return text if begins else CONTINUATION + text
