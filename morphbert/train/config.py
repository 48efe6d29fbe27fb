"""Everything that decides a run, in one frozen value."""

from __future__ import annotations

import dataclasses

from morphbert.data.records import RecordShape
from morphbert.model.config import BertConfig
from morphbert.model.electra import Electra
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.input.record_sets import RecordSet
from morphbert.train.optimizers.config import OptimizerConfig
from morphbert.train.phases import Phase
from morphbert.train.step_config import StepConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The configuration of a run of any objective; the names are those of the flags.

    Attributes:
      step: how a step is computed.
      devices: where.
    """

    bert_config: BertConfig
    output_dir: str
    init_checkpoint: str | None = None
    do_train: bool = True
    do_eval: bool = False
    eval_every: int | None = None
    train_batch_size: int = 32
    eval_batch_size: int = 8
    save_checkpoints_steps: int = 1000
    keep_checkpoint_max: int = 5
    iterations_per_loop: int = 1000
    log_steps: int = 100
    on_divergence: str = "stop"
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    step: StepConfig = dataclasses.field(default_factory=StepConfig)
    devices: DeviceConfig = dataclasses.field(default_factory=DeviceConfig)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(LoopConfig):
    """One pretraining run. Names are those of the flags of `run_pretraining.py`, which explains them.

    With `electra`, `bert_config` is the discriminator's configuration.
    `records` and `eval_records` are the files of `--input_file` and `--eval_input_file`, one set for each length; with
    `phases`, `records` are in their order, and a set's share is its steps. `vocab_file` is for a run's output only:
    it is not needed to train. `train_time` is in seconds. `plugins` are the names and digests of the plugin files.
    """

    records: tuple[RecordSet, ...]
    masked_lm_schedule: str | None = None
    z_loss: float = 0.0
    ema_decay: float | None = None
    train_time: float | None = None
    electra: Electra | None = None
    phases: tuple[Phase, ...] = ()
    eval_records: tuple[RecordSet, ...] = ()
    vocab_file: str | None = None
    eval_at_start: bool = False
    dry_run: bool = False
    max_eval_steps: int = 100
    grammar_file: str | None = None
    async_checkpoints: bool = False
    shuffle_buffer_size: int = 1000
    plugins: tuple[str, ...] = ()

    @property
    def networks(self) -> tuple[BertConfig, ...]:
        """The configurations of all networks that are trained."""
        return (self.bert_config,) if self.electra is None else (self.bert_config, self.electra.generator)

    @property
    def shape(self) -> RecordShape:
        """L and P of the longest records."""
        return max((chosen.form.shape for chosen in self.records), key=lambda shape: shape.max_seq_length)

    @property
    def input_files(self) -> tuple[str, ...]:
        """All files to train on."""
        return tuple(file for chosen in self.records for file in chosen.files)
