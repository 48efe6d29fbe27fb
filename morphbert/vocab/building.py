"""Builds a vocabulary folder from raw text: counting, learning, measuring, writing."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from morphbert.atomic_files import atomic_write, check_apart, check_writable
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import exists, expand
from morphbert.options import NonNegativeInt, PathStr, PositiveInt, Share, configuration, option, optional
from morphbert.pages.phrases import phrase
from morphbert.parallel import default_workers
from morphbert.text.analyzers import USER_DICTIONARY_NAME, MecabAnalyzer
from morphbert.text.description import make_tokenizer
from morphbert.text.jamo import word_characters_of_jamo
from morphbert.text.loading import (
    ANALYZERS,
    load_tokenizer,
    load_vocabulary_of,
    make_analyzer,
)
from morphbert.text.metadata import METADATA_NAME, metadata_bytes
from morphbert.text.normalize import Form, Normalizer
from morphbert.text.text_options import text_encoding_option
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.user_dictionary import compile_user_dictionary
from morphbert.text.vocabulary import (
    BERT_SPELLING,
    SPECIAL_TOKENS,
    VOCABULARY_NAME,
    SpecialTokens,
    Vocabulary,
    vocabulary_bytes,
    vocabulary_from_tokens,
    with_special_tokens,
)
from morphbert.text.vocabulary_file import read_special_tokens_map
from morphbert.text.words import Continuation, WordSplitter
from morphbert.vocab.counting import WordCounts, count_characters, count_words
from morphbert.vocab.figures import Figures, answer_ceiling, measure, read_paragraphs
from morphbert.vocab.learning import (
    Candidates,
    LearnedPieces,
    Learner,
    assemble,
    choose_alphabet,
    extend,
    learn,
)
from morphbert.vocab.report import EXAMPLES, Measured, VocabularyReport, markdown
from morphbert.vocab.report_html import html

REPORT_NAMES = ("report.md", "report.html")
LONGEST_EXAMPLE = 120  # characters


@configuration
class VocabularyConfig:
    """All settings of a vocabulary, and the number of processes.

    Attributes:
      morpheme_tags: the analyser's boundaries that count (see `morphbert.text.morpheme_tags`).
      normalization: None takes `bert` without an analyser and cased, `nfc` otherwise.
    """

    input_file: str = option(
        group="Input and output",
        help="Text, plain or compressed as .gz, .bz2, .xz or .zst: a path, a folder, a glob in quotes, several of "
        "these with commas, or @LIST, a text file with one of them per line. A line is analysed as a whole, so lines "
        "should be sentences or paragraphs, not single words; empty lines are ignored. Example: "
        "--input_file='news/*.txt,wiki.txt.gz'",
    )
    encoding: str = text_encoding_option()
    vocab_dir: PathStr = option(
        help="The folder for vocab.txt, morphbert_tokenizer.json (the other settings of the tokenizer), and "
        "report.md and report.html (the vocabulary's figures on held-out text). Required, except with --compare."
    )
    analyzer: str = option(
        default="mecab",
        choices=tuple(ANALYZERS),
        group="Words",
        help="The analyser that cuts eojeols into morphemes before pieces are learned. none is plain BERT. The "
        "konlpy: analysers need the package konlpy (GPL-3) and, except for konlpy:Mecab, Java; they are 10 to 100 "
        "times slower.",
    )
    morpheme_tags: str = option(
        default="",
        help="The part-of-speech tags at which morphemes are divided (--analyzer=mecab); the default is everywhere. "
        "Tags select the boundaries; tags with a minus exclude the boundaries before them. J: only particles (josa), "
        "사과나무 ##를 심었습니다; J,E: particles and endings; -E: endings stay with their stem, 사과 ##나무 ##를 "
        "심었습니다.",
    )
    user_dictionary: PathStr = option(
        default="",
        help="A file of additional words for Mecab, one per line: WORD, or WORD,TAG, or WORD,TAG,COST (a lower cost "
        "wins more often; the default 0 nearly always), or lines as in mecab-ko-dic. The compiled words are stored "
        "in the vocabulary folder. Example line: 갑분싸,NNG",
    )
    continuation: Continuation = option(
        default="eojeol",
        help="The meaning of ##. eojeol: every piece except the first of an eojeol has it, 사과 ##나무 ##를 심 ##었 "
        "##습니다, and the spacing can be restored. morpheme: the first piece of every morpheme has none, 사과 ##나무 "
        "를 심 었 습니다.",
    )
    do_lower_case: bool = option(
        default=False, help="Lower-case text and strip accents. Hangul does not change."
    )
    normalization: Form | None = optional(
        help="nfc composes text (한 written as three Jamo becomes one character). jamo decomposes syllables after "
        "the analysis, so pieces may end within a syllable (sub-characters, as in KR-BERT); nothing is lost. bert "
        "normalises exactly as google-research/bert; with --do_lower_case it decomposes Hangul into Jamo. Default: "
        "bert for cased text without an analyser, else nfc."
    )
    vocab_size: int = option(
        default=32_000,
        at_least=6,
        group="Learning",
        help="The exact number of lines of vocab.txt. If the text has too few pieces, [unused0], [unused1]… fill the "
        "rest.",
    )
    learner: Learner = option(
        default="bpe",
        help="bpe: byte-pair merges, by SentencePiece. unigram: a unigram language model, by SentencePiece. wordpiece: "
        "frequent substrings, by tensorflow_text. char: the most frequent characters, as many as --vocab_size has "
        "room for; the others become [UNK].",
    )
    min_character_count: PositiveInt = option(
        default=1, help="Rarer characters are left out and become [UNK]."
    )
    character_coverage: Share = option(
        default=1.0,
        help="The share of the text that stays covered when the rarest characters are left out. 1 keeps every "
        "character, which takes 7,000 lines for noisy text; 0.9995 is better for small vocabularies.",
    )
    special_tokens: tuple[str, ...] = option(
        default=(),
        help="Additional special tokens, with commas, directly after [PAD] [UNK] [CLS] [SEP] [MASK]. Text never "
        "becomes one of them; programs insert them. Example: --special_tokens=[USER],[URL]",
    )
    special_tokens_map: str = option(
        default="",
        help="The spelling of [PAD] [UNK] [CLS] [SEP] [MASK] in vocab.txt: a JSON file in the form of Hugging Face's "
        "special_tokens_map.json, or the JSON itself. The vocabulary folder keeps it, so no other command needs the "
        'flag. Example: --special_tokens_map=\'{"pad_token": "<PAD>", "unk_token": "<UNK>", "cls_token": "<CLS>", '
        '"sep_token": "<SEP>", "mask_token": "<MASK>"}\'',
    )
    unused_slots: NonNegativeInt = option(
        default=0,
        help="The number of lines [unused0], [unused1]… to reserve for later words that must not change other ids.",
    )
    init_vocab: PathStr = option(
        default="",
        help="Extend this vocabulary (a folder, or a plain vocab.txt) instead of learning all pieces, to continue "
        "pretraining on another domain. Every old piece keeps its id; new pieces replace [unusedN] and then follow "
        "the last line, up to --vocab_size. The other flags must be those that made the old vocabulary.",
    )
    held_out_share: float = option(
        default=0.01,
        at_least=0,
        at_most=0.5,
        help="The share of the lines (at most 5,000) that is held out and measured for the report.",
    )
    num_workers: NonNegativeInt = option(
        default=0,
        help="The number of processes for the analysis; 0 uses all cores. The result does not depend on it.",
    )
    answers_file: PathStr = option(
        default="",
        group="Report and comparison",
        help="Questions in the format of SQuAD and KorQuAD. The report then has the share of answers that begin and "
        "end at token boundaries, the upper bound of a model's exact match. Example: "
        "--answers_file=KorQuAD_v1.0_dev.json",
    )
    num_examples: NonNegativeInt = option(
        default=5,
        help="The number of lines of the measured text that the report shows as pieces, after some fixed sentences.",
    )

    def __post_init__(self) -> None:
        """Raises UsageError for a share that would remove everything."""
        if self.character_coverage == 0.0:
            raise UsageError(
                "--character_coverage=0 would leave out every character: give a share such as 0.9995."
            )


@dataclass(frozen=True)
class BuiltVocabulary:
    """The result of a build, for the command's message and for tests."""

    files: int
    counts: WordCounts
    pieces: LearnedPieces
    figures: Figures


def build_vocab(config: VocabularyConfig) -> BuiltVocabulary:
    """Learns a vocabulary and writes its folder: `vocab.txt`, the metadata and a report.

    The same input and settings give the same bytes with any number of workers.

    Raises:
      MorphbertError: the input cannot be read or is empty, the folder cannot be written, or the size is too small for
        the alphabet.
      UsageError: a file of the folder is an input.
    """
    questions = read_paragraphs(config.answers_file)
    special = _spelling(config)
    paths = expand(config.input_file)
    check_apart(_outputs(config), _read_files(config, paths))
    check_writable(config.vocab_dir, "vocab_dir")  # before the work of minutes
    old = _vocabulary_to_extend(config, special)
    special = special or (BERT_SPELLING if old is None else old.special)
    own_spelling = set(special.as_map().values())  # no other line may be spelled like them
    _check_special_tokens(config.special_tokens, own_spelling)
    splitter = make_splitter(config)
    workers = config.num_workers or default_workers()
    counts = count_words(paths, splitter, workers, config.held_out_share, config.encoding)
    # The learner does not see held-out lines, but their characters belong in the alphabet, so no character of the text
    # becomes [UNK]. The measured vocabulary lacks these characters.
    characters = counts.characters + count_characters(counts.held_out, splitter)
    pieces = _learned(config, splitter, counts.words, characters, old, own_spelling)
    vocabulary = vocabulary_from_tokens(pieces.tokens, special)
    tokenizer = make_tokenizer(vocabulary, splitter)
    only_held_out = set(characters).difference(counts.characters)
    measured = make_tokenizer(
        vocabulary_from_tokens(token for token in pieces.tokens if token not in only_held_out), splitter
    )
    column = Measured(
        phrase("this vocabulary"),  # not the folder's name: the same input and settings give the same bytes
        tokenizer,
        measure(measured, counts.held_out),
        None if questions is None else answer_ceiling(tokenizer, questions),
    )
    _write(config.vocab_dir, tokenizer, pieces, _report(config, paths, counts, pieces, column), old)
    return BuiltVocabulary(len(paths), counts, pieces, column.figures)


def _learned(
    config: VocabularyConfig,
    splitter: WordSplitter,
    words: Collection[tuple[str, int]],
    characters: Counter[str],
    old: Vocabulary | None,
    own_spelling: Collection[str],
) -> LearnedPieces:
    """Returns the pieces of a new vocabulary or, with `old`, of the extended one."""
    alphabet = choose_alphabet(
        characters, config.min_character_count, config.character_coverage, _most_characters(config, old)
    )
    if splitter.decomposes:
        # These are few enough to include all of them: then every syllable can be written, even an unseen one.
        alphabet += sorted(set(word_characters_of_jamo()).difference(alphabet))
    alphabet = [character for character in alphabet if character not in own_spelling]
    learned = learn(config.learner, words, alphabet, config.vocab_size)
    learned = [piece for piece in learned if piece not in own_spelling]
    candidates = Candidates(characters, alphabet, learned)
    if old is not None:
        return extend(old.tokens, candidates, config.vocab_size, config.special_tokens, own_spelling)
    return assemble(candidates, config.vocab_size, config.special_tokens, config.unused_slots)


def _write(
    folder: str, tokenizer: Tokenizer, pieces: LearnedPieces, report: VocabularyReport, old: Vocabulary | None
) -> None:
    """Writes the folder of a vocabulary."""
    contents = {VOCABULARY_NAME: vocabulary_bytes(tokenizer.vocabulary.lines), **report_bytes(report)}
    analyzer = tokenizer.splitter.analyzer
    if isinstance(analyzer, MecabAnalyzer) and analyzer.user_dictionary is not None:
        contents[USER_DICTIONARY_NAME] = analyzer.user_dictionary
    # The metadata is written last: a folder without it is not a vocabulary.
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
        with atomic_write(os.path.join(folder, name)) as stream:
            stream.write(content)


def make_splitter(config: VocabularyConfig) -> WordSplitter:
    """Returns the word splitter of the configuration, as the metadata will describe it."""
    form = config.normalization
    if form is None:
        form = "bert" if config.analyzer == "none" and not config.do_lower_case else "nfc"
    if form == "bert" and config.analyzer != "none":
        raise MorphbertError(
            f"--normalization=bert cannot be combined with --analyzer={config.analyzer}, because an analyser reads "
            "composed text. Leave the flag out."
        )
    normalizer = Normalizer(form, config.do_lower_case)
    compiled = None
    if config.user_dictionary:
        compiled = compile_user_dictionary(config.user_dictionary, normalizer)
    analyzer = make_analyzer(config.analyzer, config.morpheme_tags, compiled)
    return WordSplitter(normalizer, analyzer, config.continuation)


def _outputs(config: VocabularyConfig) -> list[str]:
    """Returns the files that the command writes or may write."""
    names = (VOCABULARY_NAME, *REPORT_NAMES, USER_DICTIONARY_NAME, METADATA_NAME)
    return [os.path.join(config.vocab_dir, name) for name in names]


def _read_files(config: VocabularyConfig, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields the flags and paths of all files that are read."""
    yield from (("--input_file", path) for path in paths)
    for name in ("user_dictionary", "special_tokens_map", "answers_file", "init_vocab"):
        if path := getattr(config, name):
            yield f"--{name}", path
    if config.init_vocab:
        yield "--init_vocab", os.path.join(config.init_vocab, VOCABULARY_NAME)


def _most_characters(config: VocabularyConfig, old: Vocabulary | None) -> int | None:
    """Returns how many characters have room, of a vocabulary of characters alone; others hold all of them."""
    if config.learner != "char" or old is not None:
        return None
    return max(0, config.vocab_size - _reserved(config))


def _reserved(config: VocabularyConfig) -> int:
    """Returns how many lines special and reserved tokens take."""
    return len(SPECIAL_TOKENS) + len(config.special_tokens) + config.unused_slots


def _check_special_tokens(tokens: tuple[str, ...], own_spelling: Collection[str]) -> None:
    taken = dict.fromkeys((*SPECIAL_TOKENS, *sorted(own_spelling)))
    for token in tokens:
        if re.fullmatch(r"\[[^\s\[\]]+\]", token) is None or tokens.count(token) > 1 or token in taken:
            raise MorphbertError(
                f"--special_tokens: {token!r} must be in square brackets, without spaces, given once, and none of "
                f"{' '.join(taken)}. Example: --special_tokens=[USER],[URL]"
            )


def _spelling(config: VocabularyConfig) -> SpecialTokens | None:
    """Returns the spelling of `--special_tokens_map`, none of whose tokens can be another piece; None without it."""
    if not config.special_tokens_map:
        return None
    special = read_special_tokens_map(config.special_tokens_map)
    for role, token in special.as_map().items():
        if len(token) == 1 or token in config.special_tokens or re.fullmatch(r"\[unused\d+\]", token):
            raise MorphbertError(
                f"--special_tokens_map: {role} is {token}, which other lines of vocab.txt may have: it must have more "
                "than one character, and be neither [unusedN] nor one of --special_tokens."
            )
    return special


def _vocabulary_to_extend(config: VocabularyConfig, special: SpecialTokens | None) -> Vocabulary | None:
    """Returns the vocabulary of `--init_vocab`, whose tokenizer settings must equal the new ones."""
    if not config.init_vocab:
        return None
    if config.unused_slots:
        raise MorphbertError(
            "--unused_slots cannot be combined with --init_vocab, whose existing [unusedN] are filled."
        )
    path = os.path.join(config.init_vocab, METADATA_NAME)
    if not exists(path):
        old = load_vocabulary_of(config.init_vocab)
        if special is not None:
            old = with_special_tokens(old, special, "--special_tokens_map")
        old.check_for_pretraining(config.init_vocab)
        return old
    old_tokenizer = load_tokenizer(config.init_vocab)
    if special is not None and special != old_tokenizer.vocabulary.special:
        raise MorphbertError(
            f"--special_tokens_map contradicts --init_vocab={config.init_vocab}, which was made with "
            f"{' '.join(old_tokenizer.vocabulary.special.as_map().values())}. Leave the flag out."
        )
    then, now = old_tokenizer.splitter.describe(), make_splitter(config).describe()
    for key in [*then, *(key for key in now if key not in then)]:
        value, other = then.get(key), now.get(key)
        if value != other:
            shown = (
                json.dumps(side.get("name", side) if isinstance(side, dict) else side)
                for side in (value, other)
            )
            raise MorphbertError(
                "--init_vocab={} was made with {} {} and this run has {}: old and new pieces would be incompatible. "
                "Give the flags that made it.".format(config.init_vocab, key, *shown)
            )
    return old_tokenizer.vocabulary


def report_bytes(report: VocabularyReport) -> dict[str, bytes]:
    """Returns the file names and contents of both forms of a report."""
    texts = (markdown(report), html(report))
    return {name: text.encode("utf-8") for name, text in zip(REPORT_NAMES, texts, strict=True)}


def example_lines(lines: Sequence[str], wanted: int) -> tuple[str, ...]:
    """Returns lines to show, spread from beginning to end, without very short and long ones."""
    fit = [text for text in map(Normalizer(), lines) if 10 <= len(text) <= LONGEST_EXAMPLE]
    return tuple(dict.fromkeys(fit[len(fit) * number // wanted] for number in range(wanted) if fit))


def _report(
    config: VocabularyConfig, paths: list[str], counts: WordCounts, pieces: LearnedPieces, column: Measured
) -> VocabularyReport:
    reserved = _reserved(config)
    learned = len(pieces.tokens) - pieces.alphabet - pieces.unused - reserved
    lines = phrase(
        "{lines} lines: {reserved} special tokens, {alphabet} characters (plain and with `##`), {learned} learned "
        "pieces, {unused} unused.",
        lines=f"{len(pieces.tokens):,}",
        reserved=f"{reserved:,}",
        alphabet=f"{pieces.alphabet:,}",
        learned=f"{learned:,}",
        unused=f"{pieces.unused:,}",
    )
    if config.init_vocab:
        lines = phrase(
            "{lines} lines: those of another vocabulary with their ids, {filled} new pieces in its `[unusedN]` and "
            "{appended} behind it (which ones, `{file}` says); {unused} unused.",
            lines=f"{len(pieces.tokens):,}",
            filled=f"{pieces.filled:,}",
            appended=f"{pieces.appended:,}",
            file=METADATA_NAME,
            unused=f"{pieces.unused:,}",
        )
    notes = (
        lines,
        phrase(
            "Learned with `{learner}` from {files} file(s): {lines} lines, {characters} characters, {words} distinct "
            "words (analyser {analyser}, continuation {continuation}, {casing}).",
            learner=config.learner,
            files=f"{len(paths):,}",
            lines=f"{counts.lines:,}",
            characters=f"{counts.characters_read:,}",
            words=f"{len(counts.words) + counts.dropped_words:,}",
            analyser=config.analyzer,
            continuation=config.continuation,
            casing=phrase("lower-cased") if config.do_lower_case else phrase("cased"),
        ),
        phrase(
            "Characters left out: {characters}, {occurrences} occurrences.",
            characters=f"{len(pieces.uncovered):,}",
            occurrences=f"{pieces.uncovered.total():,}",
        ),
    )
    measured = bool(column.figures.lines)
    nothing = phrase("No lines were held out, so nothing was measured.")
    return VocabularyReport(
        title=phrase("Vocabulary"),
        notes=notes if measured else (*notes, nothing),
        text=phrase("On lines that were held out") if measured else "",
        columns=(column,),
        remarks=(
            phrase(
                "A character that only these lines have counts as unknown here, though the vocabulary has it."
            ),
        ),
        examples=(*EXAMPLES, *example_lines(counts.held_out, config.num_examples)),
    )
