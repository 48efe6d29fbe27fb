"""Everything that decides a run, in one frozen value."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from morphbert.data.records import RecordShape
from morphbert.model.config import BertConfig
from morphbert.model.electra import Electra
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.input.record_sets import RecordSet
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.phases import Phase
from morphbert.train.step_config import StepConfig

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The configuration of a run of any objective; the names are those of the flags, which have the defaults.

    Attributes:
      step: how a step is computed.
      devices: where.
    """

    bert_config: BertConfig
    output_dir: str
    init_checkpoint: str | None
    do_train: bool
    eval_every: int | None
    train_batch_size: int
    eval_batch_size: int
    save_checkpoints_steps: int
    keep_checkpoint_max: int
    iterations_per_loop: int
    log_steps: int
    on_divergence: str
    optimizer: ScheduledConfig
    step: StepConfig
    devices: DeviceConfig

    @classmethod
    def of(cls, config: object, **resolved: Any) -> Self:
        """Returns a run with the resolved values; a command's configuration has all others, under the same names."""
        names = {field.name for field in dataclasses.fields(cls)} - resolved.keys()
        return cls(**resolved, **{name: getattr(config, name) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(LoopConfig):
    """One pretraining run. Names are those of the flags of `run_pretraining.py`, which explains them.

    With `electra`, `bert_config` is the discriminator's configuration.
    `records` and `eval_records` are the files of `--input_file` and `--eval_input_file`, one set for each length; with
    `phases`, `records` are in their order, and a set's share is its steps. `vocab_file` is for a run's output only:
    it is not needed to train. `train_time` is in seconds. `plugins` are the names and digests of the plugin files.
    """

    records: tuple[RecordSet, ...]
    do_eval: bool
    masked_lm_schedule: str | None
    z_loss: float
    ema_decay: float | None
    train_time: float | None
    electra: Electra | None
    phases: tuple[Phase, ...]
    eval_records: tuple[RecordSet, ...]
    vocab_file: str | None
    eval_at_start: bool
    dry_run: bool
    max_eval_steps: int
    grammar_file: str | None
    async_checkpoints: bool
    shuffle_buffer_size: int
    plugins: tuple[str, ...]

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
