"""The configuration of a run's records, which is checked as a whole before any work begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from morphbert.data.records import RecordLayout, RecordShape
from morphbert.errors import UsageError
from morphbert.options import NonNegativeInt, PositiveInt, Share, configuration, option, optional

ObjectiveName = Literal["nsp", "sop", "none"]
MaskingUnit = Literal["piece", "morpheme", "eojeol"]
Masking = Literal["static", "dynamic"]

# The least average number of pieces of a packed example, which gives the default of examples per sequence.
_PIECES_PER_EXAMPLE = 8


# The groups of flags without a counterpart in google-research/bert.
MASKS = "Masks (--mode=fast)"
LESS_PADDING = "Less padding (--mode=fast)"
MACHINE = "Machine (--mode=fast)"
BEYOND_MACHINE = "Beyond one machine (--mode=fast)"
FAST_ONLY = (MASKS, LESS_PADDING, MACHINE, BEYOND_MACHINE)


@configuration
class InstanceConfig:
    """The configuration of training instances, with the names of google-research/bert's flags.

    Attributes:
      max_seq_length, max_predictions_per_seq: L and P, in pieces; L counts `[CLS]` and the `[SEP]`s.
      masked_lm_prob: the share of an instance's pieces to predict.
      short_seq_prob: the share of instances with a random target length between 2 and L − 3.
      dupe_factor: the number of passes over the corpus, each with other instances and masks.
      objective: the meaning of `next_sentence_labels`: for "nsp", 1 = B does not follow A; for "sop", 1 = A and B are
        swapped; "none" has one segment and no label.
      masking_unit: the unit whose pieces are masked together; None for pieces, or for what `do_whole_word_mask` of
        the command means.
      mask_token_prob, random_token_prob: the shares of predicted pieces that `[MASK]` and a random piece replace; the
        rest is not replaced.
      max_span_length: the largest number of units in a span. 1 masks single units. Above 1, spans with geometric
        lengths (`span_prob`) are masked (SpanBERT, arXiv:1907.10529, section 3.1: 10 and 0.2), and a whole span is
        replaced in the same way.
      max_word_pieces: units of more pieces are never masked; 0 means no limit.
      masking: with "static", the records contain the masks; with "dynamic", training draws new masks in each pass.
      eval_masked_lm_prob: the share for held-out records, whose masks are then static; None for the same masks as the
        other records.
      mask_words: units that contain one of these words are `mask_words_factor` times as likely to be drawn first as
        others. The number of masked pieces does not change.
      pack_sequences: whether several short examples share a sequence without seeing each other.
      max_examples_per_seq: the largest number of examples in a sequence; 0 means one for every 8 pieces.
      cross_documents: for "none", whether further documents fill the rest of a sequence (RoBERTa's FULL-SENTENCES,
        arXiv:1907.11692, section 4.2), divided by `[SEP]`; they see each other.
      length_bins: ascending lengths, the last one L. Each instance is padded to the shortest sufficient length and
        written to the files of that length.
    """

    max_seq_length: int = option(
        default=128, at_least=5, help="The number of pieces in a sequence, with [CLS] and both [SEP]."
    )
    max_predictions_per_seq: PositiveInt = option(
        default=20,
        help="The largest number of masked pieces in a sequence: --max_seq_length × --masked_lm_prob, rounded up. 20 "
        "at 128 and 0.15, 77 at 512.",
    )
    masked_lm_prob: float = option(default=0.15, above=0, at_most=1, help="The share of the pieces to mask.")
    short_seq_prob: Share = option(
        default=0.1,
        help="The share of sequences with a random target length instead of the full one, because fine-tuning has "
        "short inputs. 0.1 makes every tenth sequence short.",
    )
    dupe_factor: PositiveInt = option(
        default=10,
        help="The number of passes over the corpus, each with other masks and pairs. Held-out documents are gone "
        "through once.",
    )
    random_seed: int = option(default=12345, help="The seed of all random choices.")
    objective: ObjectiveName = option(
        default="nsp",
        help="The objective of the second segment. nsp: it follows the first (0) or is from another document (1). "
        "sop: both are in order (0) or swapped (1). none: one segment, no label.",
    )
    masking_unit: MaskingUnit | None = optional(
        help="The unit that is masked together (piece, unless --do_whole_word_mask is given). A punctuation mark is "
        "a separate unit."
    )
    masking: Masking = option(
        default="static",
        group=MASKS,
        help="static: the records contain the masks, and --dupe_factor is the number of different masks of each "
        "text. dynamic: run_pretraining.py draws new masks in each pass, by the same rules, so --dupe_factor=1 is "
        "enough.",
    )
    eval_masked_lm_prob: float | None = optional(
        above=0,
        at_most=1,
        help="The share of the pieces to mask in held-out records, which then contain their masks for any --masking "
        "and --masked_lm_prob: models that are trained on different masks are evaluated on the same ones. Example: "
        "0.15",
    )
    mask_token_prob: Share = option(
        default=0.8, help="The share of the pieces to predict that [MASK] replaces."
    )
    random_token_prob: Share = option(
        default=0.1, help="The share that a random piece replaces; the rest is not replaced."
    )
    max_span_length: PositiveInt = option(
        default=1, help="Above 1, spans of up to this many units are masked, as in SpanBERT, which uses 10."
    )
    span_prob: float = option(
        default=0.2,
        above=0,
        at_most=1,
        help="A span ends after each unit with this probability: 0.2 gives spans of 4 units on average.",
    )
    max_word_pieces: NonNegativeInt = option(
        default=0,
        help="Never mask units of more pieces than this: such units are often numbers, names or addresses. 0 means "
        "no limit.",
    )
    mask_words: tuple[str, ...] = ()
    mask_words_factor: float = option(
        default=3.0, at_least=1, help="The factor by which listed words are masked more often."
    )
    pack_sequences: bool = option(
        default=False,
        group=LESS_PADDING,
        help="Put several short examples into one sequence. They do not see each other: attention, positions and "
        "labels are each example's own. For corpora of short documents.",
    )
    max_examples_per_seq: int = option(
        default=0,
        help="The largest number of examples in a sequence; 0 means one for every 8 pieces of --max_seq_length.",
    )
    cross_documents: bool = option(
        default=False,
        help="With --objective=none: fill the rest of a sequence with further documents, divided by [SEP], as "
        "RoBERTa does. They see each other.",
    )
    length_bins: tuple[int, ...] = option(
        default=(),
        help="Write a set of files for each of these lengths, and each example to the shortest sufficient length; "
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
        if self.mask_words and self.masking == "dynamic":
            raise UsageError(
                "--mask_words_file needs --masking=static: dynamic records do not carry which words are listed."
            )
        self._check_room()

    def _check_room(self) -> None:
        """Checks packing, crossing and bins, which reduce padding in different ways."""
        _require(
            0 <= self.max_examples_per_seq <= self.max_seq_length,
            "max_examples_per_seq",
            self.max_examples_per_seq,
            f"between 0 and --max_seq_length ({self.max_seq_length})",
        )
        if self.cross_documents and self.objective != "none":
            raise UsageError(
                f"--cross_documents needs --objective=none: with {self.objective} the segments have different "
                "meanings. --pack_sequences fills sequences without mixing examples."
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
    def unit(self) -> MaskingUnit:
        """The unit whose pieces are masked together."""
        return self.masking_unit or "piece"

    @property
    def shape(self) -> RecordShape:
        return RecordShape(self.max_seq_length, self.max_predictions_per_seq)

    @property
    def examples(self) -> int:
        """The largest number of examples in a sequence."""
        if not (self.pack_sequences or self.cross_documents):
            return 1
        return self.max_examples_per_seq or max(2, self.max_seq_length // _PIECES_PER_EXAMPLE)

    @property
    def layout(self) -> RecordLayout:
        labelled = self.objective != "none"
        packed = (self.examples if labelled else 1) if self.pack_sequences else 0
        return RecordLayout(labelled, self.masking == "dynamic", packed)

    def of_split(self, name: str) -> InstanceConfig:
        """Returns the same for one side of the held-out split, "all", "train" or "eval"."""
        if name != "eval" or self.eval_masked_lm_prob is None:
            return self
        return replace(self, masking="static", masked_lm_prob=self.eval_masked_lm_prob)

    def of_bin(self, length: int) -> InstanceConfig:
        """Returns the same with one length, and places for predictions in proportion."""
        places = -(-self.max_predictions_per_seq * length // self.max_seq_length)
        return replace(self, max_seq_length=length, max_predictions_per_seq=places, length_bins=())


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"--{name}={value} is out of range: it must be {rule}.")
