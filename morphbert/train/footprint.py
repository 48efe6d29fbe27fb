"""Estimates the memory and disk space of a run before it starts."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Mapping

from morphbert.errors import MorphbertError
from morphbert.model.config import BertConfig
from morphbert.model.cost import keys_of
from morphbert.model.parameters import Parameter
from morphbert.train.config import RunConfig
from morphbert.train.input.record_sets import RecordSet

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Sizes in bytes, except the number of parameters.

    Attributes:
      parameters: weights of the model.
      state: weights, gradients and both moments, float32, on each device; with the gradients of both halves of the
        batch where these are computed side by side, and with the moving average of the weights if there is one.
      activations: the values that the backward pass keeps of one device's share of a batch, and the masked LM's scores.
      checkpoint: one checkpoint on disk.
    """

    parameters: int
    state: int
    activations: int
    checkpoint: int

    def __str__(self) -> str:
        """Returns the estimate in a line."""
        return (
            f"about {_gigabytes(self.state)} for weights, gradients and moments and {_gigabytes(self.activations)} "
            f"for activations on each device; {_gigabytes(self.checkpoint)} a checkpoint"
        )


def estimate(
    config: RunConfig, parameters: Mapping[str, Parameter], num_replicas: int, by_halves: bool
) -> Footprint:
    """Estimates the memory of training; the activations are those of Korthikanti et al. 2022, section 4.1.

    That is 34 B L H + 5 B N L² bytes a layer in 16 bits, twice that in 32; an allocator's waste is not in it.
    """
    size = sum(math.prod(parameter.shape) for parameter in parameters.values())
    most = max(
        sum(_activations(config, model, chosen, num_replicas) for model in config.networks)
        for chosen in config.records
    )
    average = 4 if config.ema_decay is not None else 0
    return Footprint(size, ((20 if by_halves else 16) + average) * size, most, (12 + average) * size)


def _activations(config: RunConfig, model: BertConfig, records: RecordSet, num_replicas: int) -> int:
    shape = records.form.shape
    parts = num_replicas * config.step.gradient_accumulation_steps
    batch = (records.batch_size or config.train_batch_size) // parts
    length, width = _BYTES[config.step.dtype], model.hidden_size
    positions = batch * shape.max_seq_length
    keys = [keys_of(model, layer, shape.max_seq_length) for layer in range(model.num_hidden_layers)]
    pairs = [positions * 2.5 * model.num_attention_heads * number * length for number in keys]
    layers = [positions * 17 * width * length + one for one in pairs]
    blocks = model.num_hidden_layers * model.inner_group_num
    if (
        config.step.recompute and config.step.recompute_policy == "attention"
    ):  # the weights of one layer at a time
        kept = blocks * positions * 17 * width * length + max(pairs)
    elif config.step.recompute:  # one layer at a time, and the inputs of the others
        kept = max(layers) + (blocks - 1) * positions * width * length
    else:
        kept = model.inner_group_num * sum(layers)
    scores = 3 * 4 * batch * records.form.predictions * model.vocab_size if model.has_masked_lm else 0
    return int(kept + scores)


def check_disk(
    directory: str, checkpoint: int, keep: int, best: bool = False, flag: str = "--output_dir"
) -> None:
    """Refuses a local directory without room for the checkpoints that are kept, and one being written.

    `best`: whether the best one is kept apart. `flag`: the setting that names the directory.

    Raises:
      MorphbertError: the room is insufficient; the message has the required and the free space.
    """
    if "://" in directory:
        return
    held = sum(
        entry.stat().st_size for entry in os.scandir(directory) if entry.name.startswith("model.ckpt-")
    )
    number = keep + 1 + best
    needed, free = checkpoint * number - held, shutil.disk_usage(directory).free
    if needed > free:
        raise MorphbertError(
            f"{flag}={directory} has {_gigabytes(free)} free, but {number} checkpoints take "
            f"{_gigabytes(checkpoint * number)}: free some space, choose another folder, or lower "
            "--keep_checkpoint_max."
        )


def warn_of_memory(needs: Footprint, replicas: int) -> None:
    """Warns if `replicas` on this machine need nearly all or more of its free memory (Linux)."""
    free = _free_memory()
    if free is not None and replicas * (needs.state + needs.activations) > free:
        several = f" for each of {replicas} replicas" if replicas > 1 else ""
        print(
            f"warning: {_gigabytes(needs.state + needs.activations)}{several} are estimated, but this machine has "
            f"{_gigabytes(free)} free: lower --train_batch_size, or raise --gradient_accumulation_steps or give "
            "--recompute, which keep the batch.",
            flush=True,
        )


def warn_of_limit(needs: Footprint) -> None:
    """Warns about a `ulimit -v` for this process: beyond the limit TensorFlow ends it, often without a message."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    print(
        f"warning: this process may have {_gigabytes(limit)} of address space (ulimit -v); {_gigabytes(needs.state)} "
        f"of weights and {_gigabytes(needs.activations)} of activations are estimated, beside several gigabytes that "
        "TensorFlow reserves. If the run ends without a message, this limit is the reason: raise it (ulimit -v "
        "unlimited), or lower --train_batch_size. The same command continues from the last checkpoint.",
        flush=True,
    )


def _free_memory() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            lines = dict(line.split(":", 1) for line in stream)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
