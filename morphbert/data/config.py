"""What the records of a run should be, checked as a whole before any work begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from morphbert.data.records import RecordShape
from morphbert.errors import UsageError

Objective = Literal["nsp", "sop", "none"]
MaskingUnit = Literal["piece", "morpheme", "eojeol"]


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
        ):
            _require(value in choices, name, value, f"one of {', '.join(choices)}")

    @property
    def shape(self) -> RecordShape:
        return RecordShape(self.max_seq_length, self.max_predictions_per_seq)


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"--{name}={value} is out of range: it has to be {rule}.")
