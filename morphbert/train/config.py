"""Everything that decides a run, in one frozen value."""

from __future__ import annotations

import dataclasses

from morphbert.data.records import RecordLayout, RecordShape
from morphbert.model.config import BertConfig
from morphbert.train.dynamic_masks import MaskRules
from morphbert.train.optimization import OptimizerConfig
from morphbert.train.records_input import RecordFormat
from morphbert.train.step import StepConfig
from morphbert.train.strategy import DeviceConfig


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One pretraining run. Names are those of the flags of `run_pretraining.py`, which explains them."""

    bert_config: BertConfig
    input_files: tuple[str, ...]
    output_dir: str
    shape: RecordShape
    layout: RecordLayout = dataclasses.field(default_factory=RecordLayout)
    masks: MaskRules | None = None
    eval_files: tuple[str, ...] = ()
    init_checkpoint: str | None = None
    do_train: bool = True
    do_eval: bool = False
    eval_at_start: bool = False
    eval_every: int | None = None
    dry_run: bool = False
    train_batch_size: int = 32
    eval_batch_size: int = 8
    max_eval_steps: int = 100
    save_checkpoints_steps: int = 1000
    keep_checkpoint_max: int = 5
    iterations_per_loop: int = 1000
    log_steps: int = 100
    shuffle_buffer_size: int = 1000
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    step: StepConfig = dataclasses.field(default_factory=StepConfig)
    devices: DeviceConfig = dataclasses.field(default_factory=DeviceConfig)

    @property
    def record_format(self) -> RecordFormat:
        """What the records have to be like."""
        model = self.bert_config
        return RecordFormat(self.shape, model.vocab_size, model.type_vocab_size, self.layout, self.masks)
