"""A task whose scores are one linear layer, or a plugin's head, on vectors of the encoder's states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import tensorflow as tf

from morphbert.finetune.config import HeadConfig
from morphbert.finetune.heads import (
    contextual,
    head_dropout,
    head_width,
    linear,
    linear_parameters,
    lstm_parameters,
    sentence_vector,
)
from morphbert.finetune.plugin_head import check_shape, own_head, own_parameters, own_states
from morphbert.finetune.plugins import Head
from morphbert.finetune.task import Task
from morphbert.model.config import BertConfig
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter


def saved_values(saved: Mapping[str, Any], pooling: str = "cls") -> dict[str, Any]:
    """Returns a task's arguments from what `HeadTask.to_dict` wrote; `pooling` replaces a missing one."""
    return {
        "head": HeadConfig.from_dict(saved, pooling),
        "max_seq_length": saved["max_seq_length"],
        "custom_head": saved.get("custom_head"),
    }


class HeadTask(Task, Protocol):
    """The network of all tasks here: an LSTM if there is one, a vector of the states, dropout and a linear layer."""

    #: The name of the linear layer.
    output: ClassVar[str] = "output"
    #: Whether every piece has scores, as opposed to every sequence.
    of_pieces: ClassVar[bool] = False
    #: Whether the linear layer reads its vectors through dropout.
    output_dropout: ClassVar[bool] = True

    @property
    def custom_head(self) -> str | None:
        """The name of a plugin's head, which replaces this one."""

    @property
    def outputs(self) -> int:
        """The number of scores of a sequence or a piece, C."""

    @property
    def plugin_head(self) -> Head | None:
        """The plugin's head, if there is one."""
        return own_head(self.custom_head)

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `task.json` that all these tasks have; a task adds its own values."""
        own_head = {} if self.custom_head is None else {"custom_head": self.custom_head}
        return {
            "task": self.name,
            **self.head.to_dict(),
            "max_seq_length": self.max_seq_length,
            **own_head,
        }

    def parameters(self, config: BertConfig) -> dict[str, Parameter]:
        """Returns the head's weights, [C, D] and [C], and an LSTM's."""
        if self.plugin_head is not None:
            return own_parameters(self.plugin_head, head_width(self.head, config), self.outputs)
        return {
            **lstm_parameters(self.head, config),
            **linear_parameters(self.output, self.outputs, self.vector_width(config)),
        }

    def scores(
        self,
        parameters: Parameters,
        config: BertConfig,
        hidden: tf.Tensor,
        batch: Batch,
        key: tf.Tensor | None,
    ) -> tf.Tensor:
        """Returns the scores of each sequence, float32 [B, C], or of each piece, float32 [B, L, C]."""
        head, sequences = self.plugin_head, self.sequences(batch)

        def dropped(inputs: tf.Tensor) -> tf.Tensor:
            return head_dropout(inputs, config, key)

        if head is not None:
            states = own_states(head, hidden, sequences)
            scores = head.scores(parameters, states, sequences, dropped)
            check_shape(head, scores, self.outputs, self.of_pieces)
            return self.postprocess(tf.cast(scores, tf.float32), batch)
        hidden = contextual(parameters, hidden, sequences["input_mask"], self.head)
        vector = self.vector(parameters, config, hidden, sequences)
        return self.postprocess(
            linear(parameters, self.output, dropped(vector) if self.output_dropout else vector), batch
        )

    def sequences(self, batch: Batch) -> Batch:
        """Returns the arrays [B, L] of the sequences that the encoder reads."""
        return batch

    def postprocess(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Returns the task's scores, from those of its sequences or pieces."""
        return scores

    def vector_width(self, config: BertConfig) -> int:
        """Returns the size of a vector, D."""
        return head_width(self.head, config)

    def vector(
        self, parameters: Parameters, config: BertConfig, hidden: tf.Tensor, batch: Batch
    ) -> tf.Tensor:
        """Returns the vector of each sequence, [B, D], or of each piece, [B, L, D]."""
        if self.of_pieces:
            return hidden
        return sentence_vector(parameters, config, hidden, batch["input_mask"], self.head)


class LabelTask(HeadTask, Protocol):
    """A task with one score for each label, of which one is correct."""

    labels: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `task.json`."""
        return {**super().to_dict(), "labels": list(self.labels)}

    @property
    def outputs(self) -> int:
        """The number of labels."""
        return len(self.labels)

    @property
    def guessing(self) -> float:
        """The loss of guessing a label."""
        assert self.loss is not None
        return self.loss.guessing(len(self.labels))
