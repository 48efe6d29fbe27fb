"""Takes a run to where it starts or continues: its place in the data, its open files, and its weights."""

from __future__ import annotations

import dataclasses
import os

from morphbert.data.mixture import turns
from morphbert.errors import MorphbertError
from morphbert.model.config import BERT_CONFIG_NAME
from morphbert.model.electra import GENERATOR_CONFIG
from morphbert.train.checkpoint import Checkpoints, has_average, load_weights, read_weights
from morphbert.train.config import RunConfig
from morphbert.train.input.record_sets import Feed, RecordSet, one_after_the_other
from morphbert.train.mask_schedule import parse_mask_schedule, with_schedule
from morphbert.train.run_setup import RunSetup
from morphbert.train.run_state import Position, RunState
from morphbert.train.storage import write_text
from morphbert.train.trajectory import same_data


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a run starts in its data.

    Attributes:
      position: the batches of each set of records that are over.
      in_checkpoint: whether the checkpoint has an iterator that stands there; otherwise the reader skips to it.
    """

    position: Position
    in_checkpoint: bool

    @classmethod
    def beginning(cls, config: RunConfig, step: int = 0) -> Place:
        """Returns the beginning of the data, for a run that begins it at a step."""
        return cls(Position([0] * len(config.records), step), in_checkpoint=False)


def place_in_data(setup: RunSetup) -> Place:
    """Returns where the data stands; prints how a continued run differs from that of its checkpoint."""
    config, restored = setup.config, setup.restored
    if restored is None:
        return Place.beginning(config)
    before, now = restored.description, setup.description()
    if not same_data(before, now, say=restored.step < config.optimizer.num_train_steps):
        return Place.beginning(config, restored.step)
    readers = (before.num_workers, before.has_mask_schedule)
    same_readers = readers == (setup.cluster.size, now.has_mask_schedule)
    has_iterator = before.has_iterator and not setup.devices.input_per_host
    return Place(restored.position, same_readers and has_iterator)


@dataclasses.dataclass(frozen=True)
class OpenRun:
    """The parts of a run that move with its steps.

    Attributes:
      feed: the batches.
      state: the part of a checkpoint that is not tensors.
      checkpoints: where the run is saved.
    """

    feed: Feed
    state: RunState
    checkpoints: Checkpoints


def open_run(setup: RunSetup, place: Place) -> OpenRun:
    """Opens the records at a place in the data, and the folder of checkpoints."""
    config, position = setup.config, place.position
    feed = Feed(
        _with_shares(config, position.data_began),
        config.train_batch_size,
        setup.devices,
        seed=config.step.seed,
        shuffle_buffer_size=config.shuffle_buffer_size,
        skipped=None if place.in_checkpoint else position.taken,
        order=one_after_the_other if config.phases else turns,
    )
    feed.taken[:] = position.taken
    # The feed counts on in the list that the checkpoints store.
    stored = Position(feed.taken, position.data_began)
    state = RunState(setup.description(), len(setup.objective.columns), stored)
    checkpoints = Checkpoints(
        config.output_dir,
        setup.train_state,
        feed.position,
        state,
        config.keep_checkpoint_max,
        cluster=setup.cluster,
        reached=lambda: setup.agree(0.0),
        asynchronous=config.async_checkpoints,
    )
    return OpenRun(feed, state, checkpoints)


def _with_shares(config: RunConfig, data_began: int) -> tuple[RecordSet, ...]:
    """Returns the records, with the share of masks in each of their batches where it changes over the run."""
    if config.masked_lm_schedule is None:
        return config.records
    schedule, steps = parse_mask_schedule(config.masked_lm_schedule), config.optimizer.num_train_steps
    return with_schedule(config.records, schedule, steps, data_began, bool(config.phases))


def start_weights(setup: RunSetup, checkpoints: Checkpoints, place: Place) -> int:
    """Gives all variables their values at the start, from a checkpoint if there is one; returns the run's step."""
    if setup.restored is not None:
        return _continue(setup, checkpoints, place)
    config, average = setup.config, setup.train_state.average
    if config.init_checkpoint:
        model, expected = setup.train_state.model, setup.objective.parameters
        missing = load_weights(config.init_checkpoint, model, expected, setup.hooks.read_weights)
        new = f"; new: {', '.join(missing)}" if missing else ""
        taken = f"{len(expected) - len(missing)} of {len(expected)}"
        print(f"training: {taken} weights from {config.init_checkpoint}{new}", flush=True)
        if average:
            average.start_from(model)
    if setup.cluster.is_chief and not config.dry_run:
        _write_model_configs(config)
    return 0


def _continue(setup: RunSetup, checkpoints: Checkpoints, place: Place) -> int:
    restored, average = setup.restored, setup.train_state.average
    assert restored is not None
    checkpoints.restore(restored.path, with_data_position=place.in_checkpoint)
    if average and not has_average(restored.path):
        average.start_from(setup.train_state.model)
        print(f"training: {restored.path} has no moving average, so it begins here", flush=True)
    print(f"training: continuing from {restored.path}", flush=True)
    return restored.step


def _write_model_configs(config: RunConfig) -> None:
    """Writes the configurations beside the checkpoints, so that later stages need no second path."""
    write_text(os.path.join(config.output_dir, BERT_CONFIG_NAME), config.bert_config.to_json())
    if config.electra:
        write_text(os.path.join(config.output_dir, GENERATOR_CONFIG), config.electra.generator.to_json())


def load_for_evaluation(setup: RunSetup) -> int:
    """Loads the weights of a run that is only evaluated; returns their step.

    Raises:
      MorphbertError: there is no checkpoint, or it lacks weights.
    """
    config, restored = setup.config, setup.restored
    source = restored.path if restored else config.init_checkpoint
    if source is None:
        raise MorphbertError(
            f"--do_eval: there is no checkpoint in {config.output_dir}: train first, or give --init_checkpoint."
        )
    read = (lambda path: read_weights(path, as_stored=True)) if restored else setup.hooks.read_weights
    missing = load_weights(source, setup.evaluated_model, setup.objective.parameters, read)
    if missing:
        raise MorphbertError(f"--do_eval: {source} has no {', '.join(missing[:5])}: nothing to evaluate.")
    return restored.step if restored else 0
