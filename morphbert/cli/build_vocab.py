"""`build_vocab.py`: raw text → a vocabulary folder; or, with `--compare`, vocabularies side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from absl import flags

from morphbert.cli.command import Command
from morphbert.errors import UsageError
from morphbert.finetune.questions import read_questions
from morphbert.parallel import default_workers
from morphbert.text.loading import ANALYZERS
from morphbert.vocab.building import REPORT_NAMES, BuildConfig, BuiltVocabulary, build_vocabulary
from morphbert.vocab.comparing import CompareConfig, compare
from morphbert.vocab.figures import Paragraph
from morphbert.vocab.learning import LEARNERS
from morphbert.vocab.report import figures_table


def _command() -> Command:
    command = Command(
        "build_vocab.py",
        "Learns a WordPiece vocabulary from raw text, on morphemes; or compares vocabularies.",
        """
        build_vocab.py --input_file='corpus/*.txt.gz' --vocab_dir=vocab/mine --vocab_size=32000
        build_vocab.py --compare=vocab/mine,vocab/ko-mecab-8k --input_file=heldout.txt --report_dir=out/comparison
        """,
    )
    command.group("Input and output")
    command.string(
        "input_file",
        None,
        "UTF-8 text, plain or .gz or .bz2: a path, a glob in quotes, or several of both with commas. A line is "
        "analysed as a whole, so have sentences or paragraphs on lines, not single words; empty lines do not count. "
        "Example: --input_file='news/*.txt,wiki.txt.gz'",
        required=True,
    )
    command.string(
        "vocab_dir",
        None,
        "Folder for vocab.txt, morphbert_tokenizer.json (what else decides the pieces), and report.md and report.html "
        "(what the vocabulary does to text that it was not learned from). Required, but for --compare.",
    )
    command.group("Words")
    command.enum(
        "analyzer",
        "mecab",
        ANALYZERS,
        "What cuts eojeols into morphemes before pieces are learned. none is plain BERT. The konlpy: ones "
        "need the package konlpy (GPL-3) and, but for konlpy:Mecab, Java; they are 10 to 100 times slower.",
    )
    command.string(
        "morpheme_tags",
        "",
        "Where morphemes are cut apart, by their part-of-speech tags (--analyzer=mecab); the default is everywhere. "
        "Tags say where alone, tags with a minus before what not. J: only particles (josa), 사과나무 ##를 심었습니다; "
        "J,E: particles and endings; -E: endings stay with their stem, 사과 ##나무 ##를 심었습니다.",
    )
    command.string(
        "user_dictionary",
        "",
        "Words of your own for Mecab, one a line: WORD, or WORD,TAG, or WORD,TAG,COST (a lower cost wins more "
        "often; the default 0 nearly always), or lines as in mecab-ko-dic. They are compiled into the vocabulary "
        "folder. Example line: 갑분싸,NNG",
    )
    command.enum(
        "continuation",
        "eojeol",
        ["eojeol", "morpheme"],
        "What ## means. eojeol: every piece but the first of an eojeol has it, 사과 ##나무 ##를 심 ##었 ##습니다, "
        "and the spacing can be restored. morpheme: every morpheme starts without, 사과 ##나무 를 심 었 습니다.",
    )
    command.boolean(
        "do_lower_case", False, "Lower-case and strip accents. Hangul has no case and stays as it is."
    )
    command.enum(
        "normalization",
        None,
        ["nfc", "jamo", "bert"],
        "nfc composes text (한 written as three Jamo becomes one character). jamo takes syllables apart after the "
        "analysis, so that pieces may end within one (sub-characters, as in KR-BERT); nothing is lost. bert does what "
        "google-research/bert does, to the character; with --do_lower_case it takes Hangul apart into Jamo. Default: "
        "bert for cased text without an analyser, else nfc.",
    )
    _define_learning(command)
    _define_report(command)
    return command


def _define_learning(command: Command) -> None:
    command.group("Learning")
    command.integer(
        "vocab_size",
        32000,
        "Lines of vocab.txt, exactly. Where the text has too few pieces, [unused0], [unused1]… fill up.",
        lower_bound=6,
    )
    command.enum(
        "learner",
        "bpe",
        LEARNERS,
        "bpe: byte-pair merges, by SentencePiece. unigram: a unigram language model, by SentencePiece. wordpiece: "
        "frequent substrings, by tensorflow_text. char: characters only.",
    )
    command.integer(
        "min_character_count",
        1,
        "Characters seen less often are left out and become [UNK].",
        lower_bound=1,
    )
    command.number(
        "character_coverage",
        1.0,
        "The rarest characters are left out as long as this share of the text stays covered. With 1 every character "
        "is kept, which for noisy text takes 7,000 lines; small vocabularies do better with 0.9995.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    command.string(
        "special_tokens",
        "",
        "Further special tokens, with commas, right after [PAD] [UNK] [CLS] [SEP] [MASK]. Text is never cut into "
        "them; they are for programs to insert. Example: --special_tokens=[USER],[URL]",
    )
    command.integer(
        "unused_slots",
        0,
        "Lines [unused0], [unused1]… to reserve for words that are added later without changing other ids.",
        lower_bound=0,
    )
    command.string(
        "init_vocab",
        "",
        "Extend this vocabulary (a folder, or a plain vocab.txt) instead of starting anew, to go on pretraining on "
        "another domain: every old piece keeps its id, new ones take the place of [unusedN] and then follow behind, up "
        "to --vocab_size. Other flags have to be those that made it.",
    )
    command.number(
        "held_out_share",
        0.01,
        "Share of the lines (at most 5,000) that are not learned from but measured, for the report.",
        lower_bound=0.0,
        upper_bound=0.5,
    )
    command.integer(
        "num_workers",
        0,
        "Processes for the analysis; 0 takes all cores. The result does not depend on it.",
        lower_bound=0,
    )


def _define_report(command: Command) -> None:
    command.group("Report and comparison")
    command.string(
        "compare",
        "",
        "Learn nothing; cut the text of --input_file with these vocabularies (folders, or plain vocab.txt files, with "
        "commas) and put the figures side by side. The text should be one that none of them was learned from. "
        "Example: --compare=vocab/mine,vocab/ko-mecab-8k",
    )
    command.string(
        "report_dir",
        "",
        "With --compare, a folder for report.md and report.html. Without it the figures are only printed.",
    )
    command.string(
        "answers_file",
        "",
        "Questions in the format of SQuAD and KorQuAD: the report then says how many answers begin and end where "
        "tokens do, which is the most that a model can give exactly. Example: --answers_file=KorQuAD_v1.0_dev.json",
    )
    command.integer(
        "num_examples",
        5,
        "Lines of the measured text that the report shows cut into pieces, beside some fixed sentences.",
        lower_bound=0,
    )
    command.boolean(
        "allow_tokenizer_mismatch",
        False,
        "With --compare, only warn where a folder was made with another engine or dictionary than is installed.",
    )


def _outcome(config: BuildConfig, built: BuiltVocabulary, seconds: float) -> str:
    measured = ""
    if built.figures.lines:
        measured = (
            f"; held out: {built.figures.pieces_per_eojeol:.2f} pieces an eojeol, "
            f"{100 * built.figures.unknown_share:.2f}% of eojeols with [UNK]"
        )
    return (
        f"Vocabulary: read {built.counts.lines:,} lines ({built.counts.characters_read:,} characters) of "
        f"{built.files} file(s), wrote {len(built.pieces.tokens):,} pieces to {config.vocab_dir} "
        f"in {seconds:.0f} s{measured}."
    )


def _warn(built: BuiltVocabulary) -> None:
    size, pieces = len(built.pieces.tokens), built.pieces
    if pieces.unused:
        print(
            f"build_vocab.py: warning: the text has only {size - pieces.unused:,} pieces; the other "
            f"{pieces.unused:,} of {size:,} lines are [unused0], [unused1]… Give more text or a smaller --vocab_size.",
            file=sys.stderr,
        )
    elif 2 * pieces.alphabet > size:
        print(
            f"build_vocab.py: warning: {pieces.alphabet:,} of the {size:,} lines are single characters, which leaves "
            "few for words. --character_coverage=0.9995 leaves out the rarest.",
            file=sys.stderr,
        )


def _questions(path: str) -> list[Paragraph] | None:
    """A SQuAD file → its paragraphs with the places of all answers."""
    if not path:
        return None
    questions, account = read_questions(path)
    print(f"Answers: {account}.", file=sys.stderr)
    paragraphs: dict[str, list[tuple[int, int]]] = {}
    for question in questions:
        spans = paragraphs.setdefault(question.context, [])
        spans += [(answer.start, answer.start + len(answer.text)) for answer in question.answers]
    return list(paragraphs.items())


def _compare(command: Command, values: flags.FlagValues) -> None:
    if command.given("vocab_dir"):
        raise UsageError(
            "--vocab_dir is for learning; --compare writes its report to --report_dir. Leave one of the two out."
        )
    config = CompareConfig(
        tuple(path.strip() for path in values.compare.split(",") if path.strip()),
        values.input_file,
        values.report_dir,
        values.do_lower_case if command.given("do_lower_case") else None,
        values.allow_tokenizer_mismatch,
        values.num_examples,
    )
    start = time.monotonic()
    report = compare(config, _questions(values.answers_file))
    print(figures_table(report.columns))
    where = f", wrote {' and '.join(REPORT_NAMES)} to {config.report_dir}" if config.report_dir else ""
    print(
        f"Comparison: cut {report.columns[0].figures.lines:,} lines with {len(report.columns)} vocabularies{where} in "
        f"{time.monotonic() - start:.0f} s."
    )


def _build(values: flags.FlagValues) -> None:
    for name in ("report_dir", "allow_tokenizer_mismatch"):
        if values[name].value:
            raise UsageError(f"--{name} goes with --compare; the report of learning lies in --vocab_dir.")
    if not values.vocab_dir:
        raise UsageError(
            "--vocab_dir is required: the folder for the vocabulary (or --compare for a comparison)."
        )
    if values.character_coverage == 0.0:
        raise UsageError(
            "--character_coverage=0 would leave out every character: give a share such as 0.9995."
        )
    special = tuple(token.strip() for token in values.special_tokens.split(",") if token.strip())
    chosen = {name: values[name].value for name in BuildConfig.__dataclass_fields__}
    config = BuildConfig(
        **{**chosen, "num_workers": values.num_workers or default_workers(), "special_tokens": special}
    )
    start = time.monotonic()
    built = build_vocabulary(config, _questions(values.answers_file))
    _warn(built)
    print(_outcome(config, built, time.monotonic() - start))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    command = _command()
    return command.run(argv, lambda values: _compare(command, values) if values.compare else _build(values))


if __name__ == "__main__":
    sys.exit(main())
