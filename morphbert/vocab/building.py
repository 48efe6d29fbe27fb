"""Raw text → a vocabulary folder: counting, learning, measuring, writing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from morphbert.errors import MorphbertError, UsageError
from morphbert.files import atomic_write, exists, expand, is_remote
from morphbert.options import configuration, option
from morphbert.parallel import default_workers
from morphbert.text.analyzers import USER_DICTIONARY_NAME, MecabAnalyzer
from morphbert.text.jamo import word_characters_of_jamo
from morphbert.text.loading import (
    ANALYZERS,
    load_tokenizer,
    load_vocabulary_of,
    make_analyzer,
    make_tokenizer,
)
from morphbert.text.metadata import METADATA_NAME, metadata_bytes
from morphbert.text.normalize import Form, Normalizer
from morphbert.text.user_dictionary import compile_user_dictionary
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


@configuration
class VocabularyConfig:
    """Everything that decides a vocabulary, and how many processes make it.

    Attributes:
      morpheme_tags: where the analyser's boundaries count (see `morphbert.text.morpheme_tags`).
      normalization: None takes `bert` without an analyser and cased, `nfc` otherwise.
    """

    input_file: str = option(
        group="Input and output",
        help="Text, plain or packed as .gz, .bz2, .xz or .zst: a path, a folder, a glob in quotes, several of these "
        "with commas, or @LIST, a text file with one of them a line. A line is analysed as a whole, so have sentences "
        "or paragraphs on lines, not single words; empty lines do not count. Example: "
        "--input_file='news/*.txt,wiki.txt.gz'",
    )
    encoding: str = option(
        default="utf-8", help="The encoding of the text. Example: --encoding=cp949, of older Korean files."
    )
    vocab_dir: str = option(
        help="Folder for vocab.txt, morphbert_tokenizer.json (what else decides the pieces), and report.md and "
        "report.html (what the vocabulary does to text that it was not learned from). Required, except with --compare.",
    )
    analyzer: str = option(
        default="mecab",
        choices=tuple(ANALYZERS),
        group="Words",
        help="What cuts eojeols into morphemes before pieces are learned. none is plain BERT. The konlpy: ones need "
        "the package konlpy (GPL-3) and, except for konlpy:Mecab, Java; they are 10 to 100 times slower.",
    )
    morpheme_tags: str = option(
        default="",
        help="Where morphemes are cut apart, by their part-of-speech tags (--analyzer=mecab); the default is "
        "everywhere. Tags say where alone, tags with a minus before what not. J: only particles (josa), 사과나무 ##를 "
        "심었습니다; J,E: particles and endings; -E: endings stay with their stem, 사과 ##나무 ##를 심었습니다.",
    )
    user_dictionary: str = option(
        default="",
        help="Words of your own for Mecab, one a line: WORD, or WORD,TAG, or WORD,TAG,COST (a lower cost wins more "
        "often; the default 0 nearly always), or lines as in mecab-ko-dic. They are compiled into the vocabulary "
        "folder. Example line: 갑분싸,NNG",
    )
    continuation: Continuation = option(
        default="eojeol",
        help="What ## means. eojeol: every piece but the first of an eojeol has it, 사과 ##나무 ##를 심 ##었 ##습니다, "
        "and the spacing can be restored. morpheme: every morpheme starts without, 사과 ##나무 를 심 었 습니다.",
    )
    do_lower_case: bool = option(
        default=False, help="Lower-case and strip accents. Hangul has no case and stays as it is."
    )
    normalization: Form | None = option(
        default=None,
        help="nfc composes text (한 written as three Jamo becomes one character). jamo takes syllables apart after the "
        "analysis, so that pieces may end within one (sub-characters, as in KR-BERT); nothing is lost. bert does what "
        "google-research/bert does, to the character; with --do_lower_case it takes Hangul apart into Jamo. Default: "
        "bert for cased text without an analyser, else nfc.",
    )
    vocab_size: int = option(
        default=32_000,
        at_least=6,
        group="Learning",
        help="Lines of vocab.txt, exactly. Where the text has too few pieces, [unused0], [unused1]… fill up.",
    )
    learner: Learner = option(
        default="bpe",
        help="bpe: byte-pair merges, by SentencePiece. unigram: a unigram language model, by SentencePiece. wordpiece: "
        "frequent substrings, by tensorflow_text. char: the most frequent characters, as many as --vocab_size has "
        "room for; the others become [UNK].",
    )
    min_character_count: int = option(
        default=1, at_least=1, help="Characters seen less often are left out and become [UNK]."
    )
    character_coverage: float = option(
        default=1.0,
        at_least=0,
        at_most=1,
        help="The rarest characters are left out as long as this share of the text stays covered. With 1 every "
        "character is kept, which for noisy text takes 7,000 lines; small vocabularies do better with 0.9995.",
    )
    special_tokens: tuple[str, ...] = option(
        default=(),
        help="Further special tokens, with commas, right after [PAD] [UNK] [CLS] [SEP] [MASK]. Text is never cut into "
        "them; they are for programs to insert. Example: --special_tokens=[USER],[URL]",
    )
    unused_slots: int = option(
        default=0,
        at_least=0,
        help="Lines [unused0], [unused1]… to reserve for words that are added later without changing other ids.",
    )
    init_vocab: str = option(
        default="",
        help="Extend this vocabulary (a folder, or a plain vocab.txt) instead of learning all pieces, to go on "
        "pretraining on another domain: every old piece keeps its id, new ones take the place of [unusedN] and then "
        "follow behind, up to --vocab_size. Other flags have to be those that made it.",
    )
    held_out_share: float = option(
        default=0.01,
        at_least=0,
        at_most=0.5,
        help="Share of the lines (at most 5,000) that are not learned from but measured, for the report.",
    )
    num_workers: int = option(
        default=0,
        at_least=0,
        help="Processes for the analysis; 0 takes all cores. The result does not depend on it.",
    )
    answers_file: str = option(
        default="",
        group="Report and comparison",
        help="Questions in the format of SQuAD and KorQuAD: the report then says how many answers begin and end where "
        "tokens do, which is the most that a model can give exactly. Example: --answers_file=KorQuAD_v1.0_dev.json",
    )
    num_examples: int = option(
        default=5,
        at_least=0,
        help="Lines of the measured text that the report shows cut into pieces, beside some fixed sentences.",
    )

    def __post_init__(self) -> None:
        """Raises UsageError for a share that would leave nothing."""
        if self.character_coverage == 0.0:
            raise UsageError(
                "--character_coverage=0 would leave out every character: give a share such as 0.9995."
            )


@dataclass(frozen=True)
class BuiltVocabulary:
    """What was made: for the line that the command prints, and for tests."""

    files: int
    counts: WordCounts
    pieces: LearnedPieces
    figures: Figures


def build_vocabulary(
    config: VocabularyConfig, questions: Iterable[Paragraph] | None = None
) -> BuiltVocabulary:
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
    workers = config.num_workers or default_workers()
    counts = count_words(paths, splitter, workers, config.held_out_share, config.encoding)
    # Held-out lines teach the learner nothing, but their characters belong into the alphabet: no character of
    # the text becomes [UNK]. What is measured on them is the vocabulary without those.
    characters = counts.characters + count_characters(counts.held_out, splitter)
    alphabet = choose_alphabet(
        characters, config.min_character_count, config.character_coverage, _most_characters(config, old)
    )
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


def make_splitter(config: VocabularyConfig) -> WordSplitter:
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


def _most_characters(config: VocabularyConfig, old: Vocabulary | None) -> int | None:
    """Returns how many characters have room, of a vocabulary of characters alone; others hold all of them."""
    if config.learner != "char" or old is not None:
        return None
    return max(0, config.vocab_size - _reserved(config))


def _reserved(config: VocabularyConfig) -> int:
    """Returns how many lines special and reserved tokens take."""
    return len(SPECIAL_TOKENS) + len(config.special_tokens) + config.unused_slots


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


def _vocabulary_to_extend(config: VocabularyConfig) -> Vocabulary | None:
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
    for key in [*then, *(key for key in now if key not in then)]:
        value, other = then.get(key), now.get(key)
        if value != other:
            shown = (
                json.dumps(side.get("name", side) if isinstance(side, dict) else side)
                for side in (value, other)
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
    config: VocabularyConfig, paths: list[str], counts: WordCounts, pieces: LearnedPieces, column: Measured
) -> Report:
    reserved = _reserved(config)
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
