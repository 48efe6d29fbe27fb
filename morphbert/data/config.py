"""What the records of a run should be, checked as a whole before any work begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from morphbert.data.records import RecordLayout, RecordShape
from morphbert.errors import UsageError
from morphbert.options import configuration, option

Objective = Literal["nsp", "sop", "none"]
MaskingUnit = Literal["piece", "morpheme", "eojeol"]
Masking = Literal["static", "dynamic"]

# Pieces that a packed example has on average at least, where nobody says how many examples share a sequence.
_PIECES_PER_EXAMPLE = 8


# In the titles of groups of flags that google-research/bert has no counterpart of.
FAST_ONLY = " (--mode=fast)"
MASKS = "Masks" + FAST_ONLY


@configuration
class InstanceConfig:
    """How documents become training instances; the names are those of google-research/bert's flags.

    max_seq_length, max_predictions_per_seq: L and P, in pieces; L counts `[CLS]` and the `[SEP]`s.
    masked_lm_prob: share of an instance's pieces that are to be predicted.
    short_seq_prob: share of instances that aim at a random length between 2 and L − 3.
    dupe_factor: how often the corpus is gone through, each time with other instances and masks.
    objective: what `next_sentence_labels` says: "nsp" 1 = B is not what follows A; "sop" 1 = A and B
      are swapped; "none" one segment and no label.
    masking_unit: what is masked together.
    mask_token_prob, random_token_prob: of what is predicted, the share replaced by `[MASK]` and by a random
      piece; the rest stays as it is.
    max_span_length: units in a span at most. 1 masks units one by one; above, spans of units are masked,
      their lengths geometric with `span_prob` (SpanBERT, arXiv:1907.10529, section 3.1: 10 and 0.2), and
      all of a span is replaced in the same way.
    max_word_pieces: units of more pieces than this are never masked; 0 is no limit.
    masking: "static" masks stand in the records; "dynamic" ones are drawn in training, others in each pass.
    eval_masked_lm_prob: the share of held-out records, whose masks then are static; None for those of the others.
    mask_words: units in which one of these words stands are `mask_words_factor` times as likely to be drawn first
      as others. How many pieces are masked stays the same.
    pack_sequences: several short examples share a sequence, and do not see each other.
    max_examples_per_seq: how many of them at most; 0 is one for every 8 pieces of the sequence.
    cross_documents: for "none": a sequence that a document leaves room in is filled up with others (RoBERTa's
      FULL-SENTENCES, arXiv:1907.11692, section 4.2), with a `[SEP]` between; they do see each other.
    length_bins: ascending lengths, the last one L: each instance is padded to the least of them that holds it,
      and written to the files of that length.
    """

    max_seq_length: int = option(
        default=128, at_least=5, help="Pieces in a sequence, [CLS] and both [SEP] counted."
    )
    max_predictions_per_seq: int = option(
        default=20,
        at_least=1,
        help="Masked pieces in a sequence at most: --max_seq_length × --masked_lm_prob, rounded up. 20 at 128 and "
        "0.15, 77 at 512.",
    )
    masked_lm_prob: float = option(default=0.15, above=0, at_most=1, help="Share of the pieces to mask.")
    short_seq_prob: float = option(
        default=0.1,
        at_least=0,
        at_most=1,
        help="Share of sequences that aim at a random length instead of the full one, because fine-tuning will see "
        "short ones. 0.1 makes every tenth short.",
    )
    dupe_factor: int = option(
        default=10,
        at_least=1,
        help="How often to go through the corpus, with other masks and pairs each time. Held-out documents are gone "
        "through once.",
    )
    random_seed: int = option(default=12345, help="Another number gives another choice of everything.")
    objective: Objective = option(
        default="nsp",
        help="What the second segment is for. nsp: is it what follows (0) or from another document (1)? sop: are the "
        "two in order (0) or swapped (1)? none: one segment, no label.",
    )
    masking_unit: MaskingUnit = "piece"
    masking: Masking = option(
        default="static",
        group=MASKS,
        help="static: masks stand in the records, and --dupe_factor says how many different ones each text gets. "
        "dynamic: run_pretraining.py draws others in each pass, by the same rules, so --dupe_factor=1 is enough.",
    )
    eval_masked_lm_prob: float | None = option(
        default=None,
        above=0,
        at_most=1,
        help="Share of the pieces to mask in held-out records, whose masks then stand in the records, whatever "
        "--masking and --masked_lm_prob are: models that are trained on different masks are evaluated on the same "
        "ones. Example: 0.15",
    )
    mask_token_prob: float = option(
        default=0.8, at_least=0, at_most=1, help="Of the pieces to predict, the share replaced by [MASK]."
    )
    random_token_prob: float = option(
        default=0.1,
        at_least=0,
        at_most=1,
        help="The share replaced by a random piece; what is left of 1 stays as it is.",
    )
    max_span_length: int = option(
        default=1,
        at_least=1,
        help="Above 1, spans of up to this many units are masked, as in SpanBERT, which uses 10.",
    )
    span_prob: float = option(
        default=0.2,
        above=0,
        at_most=1,
        help="A span ends after each unit with this probability: 0.2 gives spans of 4 units on average.",
    )
    max_word_pieces: int = option(
        default=0,
        at_least=0,
        help="Never mask units of more pieces than this: what is cut into many is often a number, a name or an "
        "address. 0 is no limit.",
    )
    mask_words: tuple[str, ...] = ()
    mask_words_factor: float = option(
        default=3.0, at_least=1, help="How much likelier the listed words are masked."
    )
    pack_sequences: bool = option(
        default=False,
        group="Less padding" + FAST_ONLY,
        help="Put several short examples into one sequence. They do not see each other: attention, positions and "
        "labels are each example's own. For corpora of short documents.",
    )
    max_examples_per_seq: int = option(
        default=0,
        help="How many examples share a sequence at most; 0 is one for every 8 pieces of --max_seq_length.",
    )
    cross_documents: bool = option(
        default=False,
        help="With --objective=none: fill the room that a document leaves with others, [SEP] between them, as RoBERTa "
        "does. They do see each other.",
    )
    length_bins: tuple[int, ...] = option(
        default=(),
        help="Write a set of files for each of these lengths, and each example to the shortest that holds it; "
        "run_pretraining.py --group_by_length trains on all of them. Example: --length_bins=32,64,128",
    )

    def __post_init__(self) -> None:
        """Raises UsageError for two values that exclude each other."""
        _require(
            self.max_predictions_per_seq <= self.max_seq_length,
            "max_predictions_per_seq",
            self.max_predictions_per_seq,
            f"between 1 and --max_seq_length ({self.max_seq_length}); "
            "--max_seq_length × --masked_lm_prob, rounded up, is the usual choice",
        )
        _require(
            self.mask_token_prob + self.random_token_prob <= 1 + 1e-9,
            "random_token_prob",
            self.random_token_prob,
            f"at most 1 together with --mask_token_prob ({self.mask_token_prob})",
        )
        units = get_args(MaskingUnit)
        _require(self.masking_unit in units, "masking_unit", self.masking_unit, f"one of {', '.join(units)}")
        if self.mask_words and self.masking == "dynamic":
            raise UsageError(
                "--mask_words_file needs --masking=static: dynamic records do not carry which words are listed."
            )
        self._check_room()

    def _check_room(self) -> None:
        """Packing, crossing and bins each mend padding in their own way."""
        _require(
            0 <= self.max_examples_per_seq <= self.max_seq_length,
            "max_examples_per_seq",
            self.max_examples_per_seq,
            f"between 0 and --max_seq_length ({self.max_seq_length})",
        )
        if self.cross_documents and self.objective != "none":
            raise UsageError(
                f"--cross_documents needs --objective=none: with {self.objective} the segments have a meaning of "
                "their own. --pack_sequences fills sequences without mixing examples."
            )
        chosen = [
            name
            for name, value in (
                ("cross_documents", self.cross_documents),
                ("pack_sequences", self.pack_sequences),
                ("length_bins", self.length_bins),
            )
            if value
        ]
        if len(chosen) > 1:
            raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other: give one of them.")
        bins = self.length_bins
        if bins and (list(bins) != sorted(set(bins)) or bins[0] < 5 or bins[-1] != self.max_seq_length):
            raise UsageError(
                f"--length_bins={','.join(map(str, bins))}: give ascending lengths from 5 up, the last of them "
                f"--max_seq_length ({self.max_seq_length})."
            )

    @property
    def shape(self) -> RecordShape:
        return RecordShape(self.max_seq_length, self.max_predictions_per_seq)

    @property
    def examples(self) -> int:
        """How many examples share a sequence at most."""
        if not (self.pack_sequences or self.cross_documents):
            return 1
        return self.max_examples_per_seq or max(2, self.max_seq_length // _PIECES_PER_EXAMPLE)

    @property
    def layout(self) -> RecordLayout:
        labelled = self.objective != "none"
        packed = (self.examples if labelled else 1) if self.pack_sequences else 0
        return RecordLayout(labelled, self.masking == "dynamic", packed)

    def of_split(self, name: str) -> InstanceConfig:
        """The same for one side of the held-out split, "all", "train" or "eval"."""
        if name != "eval" or self.eval_masked_lm_prob is None:
            return self
        return replace(self, masking="static", masked_lm_prob=self.eval_masked_lm_prob)

    def of_bin(self, length: int) -> InstanceConfig:
        """The same with one length, and places for predictions in proportion."""
        places = -(-self.max_predictions_per_seq * length // self.max_seq_length)
        return replace(self, max_seq_length=length, max_predictions_per_seq=places, length_bins=())


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"--{name}={value} is out of range: it has to be {rule}.")
