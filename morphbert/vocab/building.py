"""Raw text → a vocabulary folder: counting, learning, measuring, writing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from morphbert.errors import MorphbertError
from morphbert.files import atomic_write, exists, expand, is_remote
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.jamo import word_characters_of_jamo
from morphbert.text.loading import load_tokenizer, load_vocabulary_of, make_analyzer, make_tokenizer
from morphbert.text.metadata import METADATA_NAME, metadata_bytes
from morphbert.text.normalize import Form, Normalizer
from morphbert.text.user_dictionary import USER_DICTIONARY_NAME, compile_user_dictionary
from morphbert.text.vocabulary import (
    SPECIAL_TOKENS,
    VOCABULARY_NAME,
    Vocabulary,
    vocabulary_bytes,
    vocabulary_from_tokens,
)
from morphbert.text.words import Continuation, WordSplitter
from morphbert.vocab.counting import WordCounts, count_characters, count_words
from morphbert.vocab.figures import Figures, Paragraph, answer_ceiling, measure
from morphbert.vocab.learning import LearnedPieces, Learner, assemble, choose_alphabet, extend, learn
from morphbert.vocab.report import EXAMPLES, Measured, Report, markdown
from morphbert.vocab.report_html import html

REPORT_NAMES = ("report.md", "report.html")
LONGEST_EXAMPLE = 120  # characters


@dataclass(frozen=True)
class BuildConfig:
    """Everything that decides the vocabulary, and how many processes make it.

    Attributes:
      input_file: paths and globs with commas.
      morpheme_tags: where the analyser's boundaries count (see `morphbert.text.morpheme_tags`).
      user_dictionary: path of a file with words of one's own for the analyser.
      normalization: None takes `bert` without an analyser and cased, `nfc` otherwise.
      min_character_count, character_coverage: which characters the alphabet keeps.
      special_tokens, unused_slots: further lines after the five special tokens.
      init_vocab: a vocabulary folder or `vocab.txt` whose pieces are kept with their ids and added to.
      held_out_share: share of the lines that are kept back and measured.
      num_examples: how many of those the report shows cut into pieces.
    """

    input_file: str
    vocab_dir: str
    vocab_size: int = 32_000
    analyzer: str = "mecab"
    morpheme_tags: str = ""
    user_dictionary: str = ""
    continuation: Continuation = "eojeol"
    do_lower_case: bool = False
    normalization: Form | None = None
    learner: Learner = "bpe"
    min_character_count: int = 1
    character_coverage: float = 1.0
    special_tokens: tuple[str, ...] = ()
    unused_slots: int = 0
    init_vocab: str = ""
    held_out_share: float = 0.01
    num_examples: int = 5
    num_workers: int = 1


@dataclass(frozen=True)
class BuiltVocabulary:
    """What was made: for the line that the command prints, and for tests."""

    files: int
    counts: WordCounts
    pieces: LearnedPieces
    figures: Figures


def build_vocabulary(config: BuildConfig, questions: Iterable[Paragraph] | None = None) -> BuiltVocabulary:
    """Learns a vocabulary and writes `vocab.txt`, the metadata and the report into the folder.

    Same input and settings, same bytes, whatever the number of workers.

    Args:
      questions: paragraphs with the places of answers, for the report.

    Raises:
      MorphbertError: unreadable or empty input, a folder that cannot be written, or a size too small for the
        alphabet.
    """
    _check_special_tokens(config.special_tokens)
    paths = expand(config.input_file)
    _check_folder(config.vocab_dir)
    old = _vocabulary_to_extend(config)
    splitter = make_splitter(config)
    counts = count_words(paths, splitter, config.num_workers, config.held_out_share)
    # Held-out lines teach the learner nothing, but their characters belong into the alphabet: no character of
    # the text becomes [UNK]. What is measured on them is the vocabulary without those.
    characters = counts.characters + count_characters(counts.held_out, splitter)
    alphabet = choose_alphabet(characters, config.min_character_count, config.character_coverage)
    if splitter.decomposes:
        # Few enough to have them all: then every syllable can be written, seen or not.
        alphabet += sorted(set(word_characters_of_jamo()).difference(alphabet))
    learned = learn(config.learner, counts.words, alphabet, config.vocab_size)
    if old is None:
        pieces = assemble(
            characters, alphabet, learned, config.vocab_size, config.special_tokens, config.unused_slots
        )
    else:
        pieces = extend(old.tokens, characters, alphabet, learned, config.vocab_size, config.special_tokens)
    vocabulary = vocabulary_from_tokens(pieces.tokens)
    tokenizer = make_tokenizer(vocabulary, splitter)
    only_held_out = set(characters).difference(counts.characters)
    measured = make_tokenizer(
        vocabulary_from_tokens(token for token in pieces.tokens if token not in only_held_out), splitter
    )
    column = Measured(
        "this vocabulary",  # and not the folder's name: same input and settings, same bytes
        tokenizer,
        measure(measured, counts.held_out),
        None if questions is None else answer_ceiling(tokenizer, questions),
    )
    report = _report(config, paths, counts, pieces, column)
    contents = {VOCABULARY_NAME: vocabulary_bytes(vocabulary.tokens), **report_bytes(report)}
    if isinstance(splitter.analyzer, MecabAnalyzer) and splitter.analyzer.user_dictionary is not None:
        contents[USER_DICTIONARY_NAME] = splitter.analyzer.user_dictionary
    # The metadata last: a folder without it is not taken for a vocabulary.
    description = tokenizer.describe()
    if old is not None:
        description["init_vocab"] = {
            "size": len(old),
            "sha256": old.sha256,
            "filled_unused": pieces.filled,
            "appended": pieces.appended,
            "new_pieces": [piece._asdict() for piece in pieces.new],
        }
    contents[METADATA_NAME] = metadata_bytes(description)
    for name, content in contents.items():
        with atomic_write(os.path.join(config.vocab_dir, name)) as stream:
            stream.write(content)
    return BuiltVocabulary(len(paths), counts, pieces, column.figures)


def make_splitter(config: BuildConfig) -> WordSplitter:
    """The tokenizer's first half, as the metadata will describe it."""
    form = config.normalization
    if form is None:
        form = "bert" if config.analyzer == "none" and not config.do_lower_case else "nfc"
    if form == "bert" and config.analyzer != "none":
        raise MorphbertError(
            f"--normalization=bert does not go with --analyzer={config.analyzer}: an analyser reads composed text. "
            "Leave the flag out."
        )
    normalizer = Normalizer(form, config.do_lower_case)
    compiled = None
    if config.user_dictionary:
        compiled = compile_user_dictionary(config.user_dictionary, normalizer)
    analyzer = make_analyzer(config.analyzer, config.morpheme_tags, compiled)
    return WordSplitter(normalizer, analyzer, config.continuation)


def _check_special_tokens(tokens: tuple[str, ...]) -> None:
    for token in tokens:
        if (
            re.fullmatch(r"\[[^\s\[\]]+\]", token) is None
            or tokens.count(token) > 1
            or token in SPECIAL_TOKENS
        ):
            raise MorphbertError(
                f"--special_tokens: {token!r} has to be written in square brackets without spaces, once, and be "
                f"none of {' '.join(SPECIAL_TOKENS)}. Example: --special_tokens=[USER],[URL]"
            )


def _vocabulary_to_extend(config: BuildConfig) -> Vocabulary | None:
    """The vocabulary of `--init_vocab`, which has to cut text as the new one will."""
    if not config.init_vocab:
        return None
    if config.unused_slots:
        raise MorphbertError(
            "--unused_slots does not go with --init_vocab: its [unusedN] are there already and are filled."
        )
    path = os.path.join(config.init_vocab, METADATA_NAME)
    if not exists(path):
        old = load_vocabulary_of(config.init_vocab)
        old.check_for_pretraining(config.init_vocab)
        return old
    old_tokenizer = load_tokenizer(config.init_vocab)
    then, now = old_tokenizer.splitter.describe(), make_splitter(config).describe()
    for key, value in then.items():
        if now[key] != value:
            shown = (
                json.dumps(side.get("name", side) if isinstance(side, dict) else side)
                for side in (value, now[key])
            )
            raise MorphbertError(
                "--init_vocab={} was made with {} {} and this run has {}: old and new pieces would not fit together. "
                "Give the same flags that made it.".format(config.init_vocab, key, *shown)
            )
    return old_tokenizer.vocabulary


def _check_folder(folder: str) -> None:
    """Before the work of minutes, not after it; the folder is made only when there is something to put into it."""
    if is_remote(folder):
        return
    existing = os.path.abspath(folder)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise MorphbertError(
            f"--vocab_dir={folder} cannot be made: {existing} is not a folder. Give the path of a folder."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise MorphbertError(f"--vocab_dir={folder}: {existing} is not writable. Choose another folder.")


def report_bytes(report: Report) -> dict[str, bytes]:
    """Name of the file → its content, for both forms of a report."""
    texts = (markdown(report), html(report))
    return {name: text.encode("utf-8") for name, text in zip(REPORT_NAMES, texts, strict=True)}


def example_lines(lines: Sequence[str], wanted: int) -> tuple[str, ...]:
    """Some of the lines to show, from beginning to end; not the very short, not the long."""
    fit = [text for text in map(Normalizer(), lines) if 10 <= len(text) <= LONGEST_EXAMPLE]
    return tuple(dict.fromkeys(fit[len(fit) * number // wanted] for number in range(wanted) if fit))


def _report(
    config: BuildConfig, paths: list[str], counts: WordCounts, pieces: LearnedPieces, column: Measured
) -> Report:
    reserved = len(SPECIAL_TOKENS) + len(config.special_tokens) + config.unused_slots
    learned = len(pieces.tokens) - pieces.alphabet - pieces.unused - reserved
    lines = (
        f"{len(pieces.tokens):,} lines: {reserved:,} special tokens, {pieces.alphabet:,} characters (plain and with "
        f"`##`), {learned:,} learned pieces, {pieces.unused:,} unused."
    )
    if config.init_vocab:
        lines = (
            f"{len(pieces.tokens):,} lines: those of another vocabulary with their ids, {pieces.filled:,} new pieces "
            f"in its `[unusedN]` and {pieces.appended:,} behind it (which ones, `{METADATA_NAME}` says); "
            f"{pieces.unused:,} unused."
        )
    notes = (
        lines,
        f"Learned with `{config.learner}` from {len(paths):,} file(s): {counts.lines:,} lines, "
        f"{counts.characters_read:,} characters, {len(counts.words) + counts.dropped_words:,} distinct words "
        f"(analyser {config.analyzer}, continuation {config.continuation}, "
        f"{'lower-cased' if config.do_lower_case else 'cased'}).",
        f"Characters left out: {len(pieces.uncovered):,}, {pieces.uncovered.total():,} occurrences.",
    )
    measured = bool(column.figures.lines)
    return Report(
        "Vocabulary",
        notes if measured else (*notes, "No lines were held out, so nothing was measured."),
        "On lines that were held out" if measured else "",
        (column,),
        ("A character that only these lines have counts as unknown here, though the vocabulary has it.",),
        (*EXAMPLES, *example_lines(counts.held_out, config.num_examples)),
    )
