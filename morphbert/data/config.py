"""What the records of a run should be, checked as a whole before any work begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from morphbert.data.records import RecordLayout, RecordShape
from morphbert.errors import UsageError

Objective = Literal["nsp", "sop", "none"]
MaskingUnit = Literal["piece", "morpheme", "eojeol"]
Masking = Literal["static", "dynamic"]

# Pieces that a packed example has on average at least, where nobody says how many examples share a sequence.
_PIECES_PER_EXAMPLE = 8


@dataclass(frozen=True)
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
    masking: "static" masks stand in the records; "dynamic" ones are drawn in training, anew in each pass.
    mask_words: units in which one of these words stands are `mask_words_factor` times as likely to be drawn first
      as others. How many pieces are masked stays the same.
    pack_sequences: several short examples share a sequence, and do not see each other.
    max_examples_per_seq: how many of them at most; 0 is one for every 8 pieces of the sequence.
    cross_documents: for "none": a sequence that a document leaves room in is filled up with others (RoBERTa's
      FULL-SENTENCES, arXiv:1907.11692, section 4.2), with a `[SEP]` between; they do see each other.
    length_bins: ascending lengths, the last one L: each instance is padded to the least of them that holds it,
      and written to the files of that length.
    """

    max_seq_length: int = 128
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    dupe_factor: int = 10
    random_seed: int = 12345
    objective: Objective = "nsp"
    masking_unit: MaskingUnit = "piece"
    mask_token_prob: float = 0.8
    random_token_prob: float = 0.1
    max_span_length: int = 1
    span_prob: float = 0.2
    max_word_pieces: int = 0
    masking: Masking = "static"
    mask_words: tuple[str, ...] = ()
    mask_words_factor: float = 3.0
    pack_sequences: bool = False
    max_examples_per_seq: int = 0
    cross_documents: bool = False
    length_bins: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Raises UsageError for a value out of its range or two that exclude each other."""
        # Below five, no random short length exists (google-research/bert draws from 2 to L − 3).
        _require(self.max_seq_length >= 5, "max_seq_length", self.max_seq_length, "at least 5")
        _require(
            1 <= self.max_predictions_per_seq <= self.max_seq_length,
            "max_predictions_per_seq",
            self.max_predictions_per_seq,
            f"between 1 and --max_seq_length ({self.max_seq_length}); "
            "--max_seq_length × --masked_lm_prob, rounded up, is the usual choice",
        )
        _require(0 < self.masked_lm_prob <= 1, "masked_lm_prob", self.masked_lm_prob, "above 0 and at most 1")
        _require(0 <= self.short_seq_prob <= 1, "short_seq_prob", self.short_seq_prob, "between 0 and 1")
        for name, probability in (
            ("mask_token_prob", self.mask_token_prob),
            ("random_token_prob", self.random_token_prob),
        ):
            _require(0 <= probability <= 1, name, probability, "between 0 and 1")
        _require(
            self.mask_token_prob + self.random_token_prob <= 1 + 1e-9,
            "random_token_prob",
            self.random_token_prob,
            f"at most 1 together with --mask_token_prob ({self.mask_token_prob})",
        )
        _require(self.max_span_length >= 1, "max_span_length", self.max_span_length, "at least 1")
        _require(0 < self.span_prob <= 1, "span_prob", self.span_prob, "above 0 and at most 1")
        _require(self.max_word_pieces >= 0, "max_word_pieces", self.max_word_pieces, "at least 0")
        _require(self.dupe_factor >= 1, "dupe_factor", self.dupe_factor, "at least 1")
        for name, value, choices in (
            ("objective", self.objective, get_args(Objective)),
            ("masking_unit", self.masking_unit, get_args(MaskingUnit)),
            ("masking", self.masking, get_args(Masking)),
        ):
            _require(value in choices, name, value, f"one of {', '.join(choices)}")
        self._check_mask_words()
        self._check_room()

    def _check_mask_words(self) -> None:
        _require(self.mask_words_factor >= 1, "mask_words_factor", self.mask_words_factor, "at least 1")
        if self.mask_words and self.masking == "dynamic":
            raise UsageError(
                "--mask_words_file needs --masking=static: dynamic records do not carry which words are listed."
            )

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

    def of_bin(self, length: int) -> InstanceConfig:
        """The same with one length, and places for predictions in proportion."""
        places = -(-self.max_predictions_per_seq * length // self.max_seq_length)
        return replace(self, max_seq_length=length, max_predictions_per_seq=places, length_bins=())


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"--{name}={value} is out of range: it has to be {rule}.")
