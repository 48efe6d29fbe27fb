"""The models that `time_to_quality.py` compares: each trains in steps and evaluates itself."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WEIGHT_DECAY, CLIP_NORM, WARMUP_STEPS = 0.01, 1.0, 100


class Contestant(Protocol):
    """A model in training."""

    choice: str

    def steps(self, count: int) -> None:
        """Takes steps."""

    def evaluate(self) -> float:
        """Returns the masked-LM loss of the held-out records, in nats a prediction."""

    def save(self, folder: Path) -> None:
        """Writes what `load` reads, and the model for fine-tuning."""

    def load(self, folder: Path) -> None:
        """Goes on from there, after `arguments.taken` steps."""


def model_config(arguments: argparse.Namespace, modern: bool) -> Any:
    """The configuration of one of our sizes, without dropout."""
    from morphbert.model.config import BertConfig
    from morphbert.text.loading import load_tokenizer

    name = f"modern-{arguments.model}" if modern else arguments.model
    path = REPOSITORY / "morphbert" / "model" / "configs" / f"{name}.json"
    vocab_size = len(load_tokenizer(arguments.vocab_file).vocabulary)
    changes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "vocab_size": vocab_size}
    return BertConfig(**{**json.loads(path.read_text()), **changes})


def record_format(arguments: argparse.Namespace, vocab_size: int) -> Any:
    """The form of the records, which the file itself tells."""
    from morphbert.data.manifest import load_manifest
    from morphbert.data.records import RecordShape
    from morphbert.train.input.records import RecordFormat, find_layout

    manifest = load_manifest(arguments.train_file)
    if manifest is None:
        sys.exit(
            f"{arguments.train_file} has no manifest beside it: make it with create_pretraining_data.py."
        )
    values = json.loads(manifest.to_json())
    shape = RecordShape(values["max_seq_length"], values["max_predictions_per_seq"])
    return RecordFormat(shape, vocab_size, 2, find_layout([arguments.train_file]))


class Ours:
    """The step of run_pretraining.py over its own input."""

    choice = ""

    def __init__(self, arguments: argparse.Namespace, modern: bool):
        import tensorflow as tf

        from morphbert.model.losses import COUNTS, counts, pretraining_sums
        from morphbert.model.parameters import TrainableModel
        from morphbert.train.cluster.strategy import DeviceConfig, build_strategy, share_processors
        from morphbert.train.input.records import Reading, evaluation_dataset, training_dataset
        from morphbert.train.objective import pretraining_objective
        from morphbert.train.optimizers.optimizer import Optimizer
        from morphbert.train.step import StepConfig, TrainingStep
        from morphbert.train.train_state import TrainState

        share_processors()
        config = model_config(arguments, modern)
        strategy = build_strategy(DeviceConfig()).strategy
        objective = pretraining_objective(config)
        with strategy.scope():
            model = TrainableModel(config, objective.parameters, arguments.seed)
            train_state = TrainState(model, Optimizer(_rate(arguments), model.declared))
        step = StepConfig(dtype=arguments.dtype, seed=arguments.seed)
        self._training = TrainingStep(objective, train_state, strategy, step)
        form = record_format(arguments, config.vocab_size)
        reading = Reading(arguments.batch, arguments.seed, 10_000)
        dataset = training_dataset([arguments.train_file], form, reading)
        self._iterator = iter(dataset.skip(arguments.taken))
        self._state = tf.train.Checkpoint(model=model.parameters, optimizer=train_state.optimizer)
        self._config = config
        held_out = evaluation_dataset([arguments.eval_file], form, arguments.batch)
        # Whole batches: the last one may hold copies.
        self._held_out = list(held_out.take(arguments.eval_batches))[:-1]

        @tf.function(autograph=False)
        def sums(batch: dict[str, tf.Tensor]) -> tf.Tensor:
            weights = {name: tf.convert_to_tensor(value) for name, value in model.parameters.items()}
            loss = pretraining_sums(weights, config, batch)["masked_lm_loss"]
            return tf.stack([loss, counts(batch)[COUNTS[0]]])

        self._sums = sums

    def steps(self, count: int) -> None:
        import tensorflow as tf

        self._training.run(self._iterator, tf.constant(count))[0].numpy()

    def evaluate(self) -> float:
        loss, number = np.sum([self._sums(batch).numpy() for batch in self._held_out], 0)
        return float(loss / number)

    def save(self, folder: Path) -> None:
        self._state.write(str(folder / "model.ckpt-0"))
        (folder / "bert_config.json").write_text(self._config.to_json(), encoding="utf-8")

    def load(self, folder: Path) -> None:
        self._state.read(str(folder / "model.ckpt-0")).assert_consumed()


def _rate(arguments: argparse.Namespace) -> Any:
    """AdamW with a constant rate, which falls to 0 over the last steps where these are known."""
    from morphbert.train.optimizers.config import ScheduledConfig

    falling = arguments.falling_steps
    last = arguments.taken + falling
    return ScheduledConfig(
        optimizer="adamw",
        learning_rate=arguments.rate,
        schedule="warmup_stable_decay" if falling else "constant",
        decay_share=falling / last if falling else 0.1,
        num_train_steps=last if falling else 10**9,
        num_warmup_steps=WARMUP_STEPS,
    )


class HuggingFace:
    """A model of transformers, scored at the masked positions, in the fastest of several settings."""

    def __init__(self, arguments: argparse.Namespace, modern: bool):
        import torch

        torch.manual_seed(arguments.seed)
        self._torch, self._arguments = torch, arguments
        config = model_config(arguments, modern)
        self._train, self._held_out = (
            _arrays(arguments, config.vocab_size, train) for train in (True, False)
        )
        self._order = _shuffled(len(self._train["input_ids"]), arguments.batch, arguments.seed)
        self.choice = arguments.choice or self._fastest(modern, config)
        attention, dtype, *compiled = self.choice.split(", ")
        torch.manual_seed(arguments.seed)
        self._build(modern, config, attention, dtype, bool(compiled))
        order = _shuffled(len(self._train["input_ids"]), arguments.batch, arguments.seed)
        self._order = itertools.islice(order, arguments.taken, None)
        if compiled:
            self._compile_only()

    def _fastest(self, modern: bool, config: Any) -> str:
        """The setting with the shortest step: kind of attention, type of numbers, compiled or not."""
        dtypes = ("float32", "bfloat16") if self._arguments.dtype == "bfloat16" else ("float32",)
        plain = [(attention, dtype) for attention in ("sdpa", "eager") for dtype in dtypes]
        fastest = min(plain, key=lambda setting: self._seconds(modern, config, *setting, compiled=False))
        uncompiled, compiled = (
            self._seconds(modern, config, *fastest, compiled) for compiled in (False, True)
        )
        return ", ".join([*fastest, *(["compiled"] if compiled < uncompiled else [])])

    def _seconds(self, modern: bool, config: Any, attention: str, dtype: str, compiled: bool) -> float:
        """The shortest step of some, in one setting; infinite where this machine cannot compile it."""
        self._build(modern, config, attention, dtype, compiled)
        try:
            self.steps(2)
        except Exception as error:
            if not compiled:
                raise
            print(f"{attention}, {dtype}, compiled: {error}", file=sys.stderr)
            return float("inf")
        clock = time.process_time if self._arguments.clock == "processor" else time.perf_counter
        seconds = []
        for _ in range(6):
            started = clock()
            self.steps(1)
            seconds.append(clock() - started)
        return min(seconds)

    def _build(self, modern: bool, config: Any, attention: str, dtype: str, compiled: bool) -> None:
        import transformers

        torch, self._dtype = self._torch, dtype
        common = {
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_hidden_layers,
            "num_attention_heads": config.num_attention_heads,
            "intermediate_size": config.intermediate_size,
            "attn_implementation": attention,
        }
        if modern:
            special = dict.fromkeys(
                ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0
            )
            made = transformers.ModernBertConfig(
                **common,
                **special,
                global_attn_every_n_layers=config.global_attn_every_n_layers,
                local_attention=config.local_attention,
            )
            model = transformers.ModernBertForMaskedLM(made)
            self._encoder, self._head = model.model, lambda hidden: model.decoder(model.head(hidden))
        else:
            made = transformers.BertConfig(
                **common, hidden_act="gelu_new", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
            )
            model = transformers.BertForMaskedLM(made)
            self._encoder, self._head = model.bert, model.cls
        self._model = model.train()
        decayed = [p for _, p in model.named_parameters() if p.ndim > 1]
        others = [p for _, p in model.named_parameters() if p.ndim == 1]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=self._arguments.rate, eps=1e-6, fused=True)
        falling = self._arguments.falling_steps
        last = self._arguments.taken + falling
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer,
            lambda step: min(1.0, step / WARMUP_STEPS, max(0.0, (last - step) / falling) if falling else 1.0),
        )
        self._loss = torch.compile(self._loss_sum) if compiled else self._loss_sum

    def _compile_only(self) -> None:
        batch = {
            name: self._torch.tensor(rows[: self._arguments.batch]) for name, rows in self._train.items()
        }
        with self._precision():
            self._loss(**batch).backward()
        self._optimizer.zero_grad(set_to_none=True)

    def _precision(self) -> Any:
        return self._torch.autocast("cpu", self._torch.bfloat16, enabled=self._dtype == "bfloat16")

    def _loss_sum(self, input_ids: Any, input_mask: Any, positions: Any, labels: Any, weights: Any) -> Any:
        from torch.nn.functional import cross_entropy

        hidden = self._encoder(input_ids, attention_mask=input_mask).last_hidden_state
        rows = self._torch.arange(input_ids.shape[0])[:, None]
        scores = self._head(hidden[rows, positions])
        losses = cross_entropy(scores.flatten(0, 1).float(), labels.flatten(), reduction="none")
        return (losses * weights.flatten()).sum()

    def steps(self, count: int) -> None:
        for _ in range(count):
            rows = next(self._order)
            batch = {name: self._torch.tensor(values[rows]) for name, values in self._train.items()}
            with self._precision():
                loss = self._loss(**batch) / batch["weights"].sum()
            loss.backward()
            self._torch.nn.utils.clip_grad_norm_(self._model.parameters(), CLIP_NORM)
            self._optimizer.step()
            self._schedule.step()
            self._optimizer.zero_grad(set_to_none=True)

    def evaluate(self) -> float:
        size = self._arguments.batch
        loss = number = 0.0
        self._model.eval()
        with self._torch.no_grad():
            for first in range(0, len(self._held_out["input_ids"]), size):
                part = {
                    name: self._torch.tensor(rows[first : first + size])
                    for name, rows in self._held_out.items()
                }
                loss += float(self._loss_sum(**part))
                number += float(part["weights"].sum())
        self._model.train()
        return loss / number

    def save(self, folder: Path) -> None:
        parts = (self._model, self._optimizer, self._schedule)
        self._torch.save([part.state_dict() for part in parts], folder / "state.pt")
        self._model.save_pretrained(folder / "model")

    def load(self, folder: Path) -> None:
        states = self._torch.load(folder / "state.pt", weights_only=True)
        for part, state in zip((self._model, self._optimizer, self._schedule), states, strict=True):
            part.load_state_dict(state)


def _arrays(arguments: argparse.Namespace, vocab_size: int, train: bool) -> dict[str, np.ndarray]:
    """Returns the features that PyTorch's contestants read, of training records or the held-out ones of ours."""
    from morphbert.train.input.records import evaluation_dataset

    form = record_format(arguments, vocab_size)
    batches = list(
        evaluation_dataset([arguments.train_file], form, arguments.batch)
        if train
        else evaluation_dataset([arguments.eval_file], form, arguments.batch).take(arguments.eval_batches)
    )
    names = {
        "input_ids": "input_ids",
        "input_mask": "input_mask",
        "positions": "masked_lm_positions",
        "labels": "masked_lm_ids",
        "weights": "masked_lm_weights",
    }
    joined = {
        ours: np.concatenate([batch[name].numpy() for batch in batches[:-1]]) for ours, name in names.items()
    }
    return {name: rows if name == "weights" else rows.astype(np.int64) for name, rows in joined.items()}


def _shuffled(number: int, batch: int, seed: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(number)
        yield from (order[first : first + batch] for first in range(0, number - batch + 1, batch))


CONTESTANTS: dict[str, Callable[[argparse.Namespace], Contestant]] = {
    "bert": lambda arguments: Ours(arguments, modern=False),
    "modern": lambda arguments: Ours(arguments, modern=True),
    "hf-bert": lambda arguments: HuggingFace(arguments, modern=False),
    "hf-modernbert": lambda arguments: HuggingFace(arguments, modern=True),
}
