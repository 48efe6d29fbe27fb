"""A model as ONNX: `model.onnx` (encoder) and `masked_lm.onnx`, built operation by operation.

The converter from TensorFlow's graphs (tf2onnx) does not run with the TensorFlow and NumPy of today; a BERT is a
dozen kinds of operation, so it is written down once more here, for `onnx.helper`. Names of inputs and outputs are
those of transformers' exports. Axes: B sequences, L positions, H hidden, N heads, D = H / N.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

import morphbert
from morphbert.errors import MorphbertError
from morphbert.interop.pretrained import Pretrained
from morphbert.model import names as weight_names
from morphbert.model.config import BertConfig
from morphbert.model.functions import HIDDEN
from morphbert.model.names import BlockNames, layer_blocks
from morphbert.model.parameters import encoder_parameters, pooler_parameters
from morphbert.model.rotary import rotation

ENCODER_NAME = "model.onnx"
MASKED_LM_NAME = "masked_lm.onnx"
DISCRIMINATOR_NAME = "discriminator.onnx"
# The first with LayerNormalization, and the file format of its time: old runtimes read it.
_OPSET, _IR_VERSION = 17, 8
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclasses.dataclass(frozen=True)
class _View:
    """The inputs of a layer's attention: the bias of the scores, and cosines and sines of rotary angles, if any."""

    bias: str
    angles: tuple[str, ...]


class _Graph:
    """Operations and constants in the order in which they are asked for; every method returns a tensor's name."""

    def __init__(self, config: BertConfig, weights: Mapping[str, np.ndarray], half: bool = False):
        """With `half` everything between the inputs and the outputs is float16."""
        self.config = config
        self.half = half
        self.float_type = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        self._views: dict[bool, _View] = {}
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def apply(self, kind: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"node_{name}", **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        if self.half and value.dtype == np.float32:
            value = value.astype(np.float16)
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self._weights[name])

    def number(self, value: float) -> str:
        return self.constant(f"float_{value}", np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant("int_" + "_".join(map(str, values)), np.array(values, np.int64))

    def dense(self, name: str, inputs: str) -> str:
        product = self.apply("MatMul", inputs, self.weight(f"{name}/kernel"))
        return self.shift(product, f"{name}/bias")

    def shift(self, inputs: str, bias: str) -> str:
        """Adds a bias, if the model has it."""
        return self.apply("Add", inputs, self.weight(bias)) if bias in self._weights else inputs

    def norm(self, name: str, inputs: str) -> str:
        scale, epsilon = self.weight(f"{name}/gamma"), self.config.layer_norm_eps
        if self.config.norm_type == "rms_norm":
            square = self.apply("ReduceMean", self.apply("Mul", inputs, inputs), axes=[-1], keepdims=1)
            size = self.apply("Sqrt", self.apply("Add", square, self.number(epsilon)))
            return self.shift(self.apply("Mul", self.apply("Div", inputs, size), scale), f"{name}/beta")
        shift = [self.weight(f"{name}/beta")] if f"{name}/beta" in self._weights else []
        return self.apply("LayerNormalization", inputs, scale, *shift, axis=-1, epsilon=epsilon)

    def halves(self, x: str, width: int) -> tuple[str, str]:
        """[..., 2 W] → [..., W], [..., W]."""
        axis = self.integers(-1)
        first = self.apply("Slice", x, self.integers(0), self.integers(width), axis)
        return first, self.apply("Slice", x, self.integers(width), self.integers(2 * width), axis)

    def feed_forward(self, x: str) -> str:
        """Returns the activation between the feed-forward layer's matrices, gated or not."""
        act = self.config.hidden_act
        if not self.config.mlp_gate:
            return self.activation(act, x)
        first, gate = self.halves(x, self.config.intermediate_size)
        return self.apply("Mul", self.activation(act, first), gate)

    def activation(self, act: str, x: str) -> str:
        if act == "silu":
            return self.apply("Mul", x, self.apply("Sigmoid", x))
        if act in ("relu", "tanh"):
            return self.apply(act.capitalize(), x)
        if act == "linear":
            return x
        if act == "gelu_erf":
            inner = self.apply("Erf", self.apply("Mul", x, self.number(math.sqrt(0.5))))
        elif act not in ("gelu", "gelu_new"):
            raise MorphbertError(f"hidden_act {act!r} cannot be exported as ONNX. Use --format=saved_model.")
        else:  # the tanh form: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))
            cubic = self.apply("Mul", self.apply("Mul", x, x), self.number(0.044715))
            factor = self.apply(
                "Mul", self.apply("Add", cubic, self.number(1.0)), self.number(math.sqrt(2 / math.pi))
            )
            inner = self.apply("Tanh", self.apply("Mul", x, factor))
        gate = self.apply("Mul", self.apply("Add", inner, self.number(1.0)), self.number(0.5))
        return self.apply("Mul", x, gate)

    def embeddings(self) -> str:
        """input_ids, token_type_ids [B, L] → [B, L, H]."""
        total = self.apply("Gather", self.weight(weight_names.WORD_EMBEDDINGS), "input_ids")
        if self.config.type_vocab_size:
            segments = self.apply("Gather", self.weight(weight_names.SEGMENT_EMBEDDINGS), "token_type_ids")
            total = self.apply("Add", total, segments)
        if self.config.position_embedding_type == "absolute":
            total = self.apply("Add", total, self.positions())
        if self.config.embedding_norm or not self.config.pre_layer_norm:
            total = self.norm(weight_names.EMBEDDING_NORM, total)
        narrow = self.config.embedding_width != self.config.hidden_size
        return self.dense(weight_names.mapping_name(self.config), total) if narrow else total

    def positions(self) -> str:
        """→ [L, E], or [B, L, E] for RoBERTa, which counts the pieces that are not padding."""
        table = self.weight(weight_names.POSITION_EMBEDDINGS)
        if not self.config.position_offset:
            return self.first_rows(table)
        counted = self.apply("CumSum", "attention_mask", self.constant("int_axis", np.array(1, np.int64)))
        counted = self.apply("Mul", counted, "attention_mask")
        return self.apply(
            "Gather", table, self.apply("Add", counted, self.integers(self.config.position_offset - 1))
        )

    def first_rows(self, table: str) -> str:
        """[positions, ...] → [L, ...]."""
        length = self.apply("Shape", "input_ids", start=1, end=2)
        return self.apply("Slice", table, self.integers(0), length, self.integers(0))

    def view(self, layer: int) -> _View:
        """Returns the inputs of a layer's attention besides the hidden states."""
        reaches_all = self.config.is_global(layer)
        if reaches_all not in self._views:
            bias = self.attention_bias()
            if not reaches_all:
                bias = self.apply("Add", bias, self.window_bias())
            self._views[reaches_all] = _View(bias, self.angles(reaches_all))
        return self._views[reaches_all]

    def window_bias(self) -> str:
        """→ [L, L], 0 within the window and -10000 outside."""
        places = np.arange(self.config.max_position_embeddings)
        row = self.first_rows(self.constant("int_places", places))
        far = self.apply(
            "Sub",
            self.apply("Unsqueeze", row, self.integers(1)),
            self.apply("Unsqueeze", row, self.integers(0)),
        )
        half = self.constant("int_half", np.array((self.config.local_attention or 0) // 2))
        outside = self.apply("Cast", self.apply("Greater", self.apply("Abs", far), half), to=self.float_type)
        return self.apply("Mul", outside, self.number(HIDDEN))

    def angles(self, reaches_all: bool) -> tuple[str, ...]:
        """→ cosines and sines of the rotary angles, [L, D/2] each; none of learned positions."""
        config = self.config
        if config.position_embedding_type == "absolute":
            return ()
        places = tf.range(config.max_position_embeddings)[None]
        theta = config.global_rope_theta if reaches_all else config.local_rope_theta
        tables = rotation(places, config.hidden_size // config.num_attention_heads, theta)
        return tuple(
            self.first_rows(self.constant(f"{name}_{theta}", table.numpy()[0, 0]))
            for name, table in zip(("cosines", "sines"), tables, strict=True)
        )

    def rotate(self, x: str, cosines: str, sines: str) -> str:
        """[B, N, L, D] → [B, N, L, D], as `rotary.rotate`."""
        first, second = self.halves(x, self.config.hidden_size // self.config.num_attention_heads // 2)
        turned = (
            self.apply("Sub", self.apply("Mul", first, cosines), self.apply("Mul", second, sines)),
            self.apply("Add", self.apply("Mul", second, cosines), self.apply("Mul", first, sines)),
        )
        return self.apply("Concat", *turned, axis=-1)

    def attention_bias(self) -> str:
        """attention_mask [B, L] → [B, 1, 1, L], 0 or -10000, as in training."""
        mask = self.apply("Cast", "attention_mask", to=self.float_type)
        bias = self.apply("Mul", self.apply("Sub", self.number(1.0), mask), self.number(HIDDEN))
        return self.apply("Unsqueeze", bias, self.integers(1, 2))

    def attention(self, name: str, hidden: str, view: _View) -> str:
        """[B, L, H] → [B, L, H], before the output projection."""
        heads = self.config.num_attention_heads
        size = self.config.hidden_size // heads

        def project(part: str) -> str:
            split = self.apply(
                "Reshape", self.dense(f"{name}/{part}", hidden), self.integers(0, 0, heads, size)
            )
            return self.apply("Transpose", split, perm=[0, 2, 1, 3])

        query, key = project("query"), project("key")  # [B, N, L, D]
        if view.angles:
            query, key = (self.rotate(values, *view.angles) for values in (query, key))
        query = self.apply("Mul", query, self.number(1.0 / math.sqrt(size)))
        key = self.apply("Transpose", key, perm=[0, 1, 3, 2])
        scores = self.apply("Add", self.apply("MatMul", query, key), view.bias)
        context = self.apply("MatMul", self.apply("Softmax", scores, axis=-1), project("value"))
        joined = self.apply("Transpose", context, perm=[0, 2, 1, 3])  # [B, L, N, D]
        return self.apply("Reshape", joined, self.integers(0, 0, self.config.hidden_size))

    def encode(self) -> str:
        """Returns the last layer's output, [B, L, H].

        Raises:
          MorphbertError: the graph lacks a part of the network.
        """
        hidden = self.embeddings()
        for layer, blocks in enumerate(layer_blocks(self.config)):
            for names in blocks:
                hidden = self.block(names, hidden, self.view(layer))
        if self.config.pre_layer_norm:
            hidden = self.norm(weight_names.FINAL_NORM, hidden)
        self._refuse_unread()
        return hidden

    def _refuse_unread(self) -> None:
        """Raises MorphbertError if a weight of the encoder is not in the graph, which then computes another network."""
        pooler = pooler_parameters(self.config)
        unread = [
            name
            for name in encoder_parameters(self.config)
            if name not in pooler and name not in self.constants
        ]
        if unread:
            raise MorphbertError(
                f"the model cannot be exported as ONNX, because morphbert/interop/onnx_graph.py does not compute with "
                f"the weight {unread[0]}. Use --format=saved_model."
            )

    def block(self, names: BlockNames, hidden: str, view: _View) -> str:
        """[B, L, H] → [B, L, H]: `transformer_block` without dropout."""
        first = self.config.pre_layer_norm
        before = self.norm(names.attention_norm, hidden) if first and names.normalizes_attention else hidden
        context = self.dense(names.attention_output, self.attention(names.self_attention, before, view))
        hidden = self.apply("Add", context, hidden)
        if first:
            before = self.norm(names.output_norm, hidden)
        else:
            before = hidden = self.norm(names.attention_norm, hidden)
        update = self.dense(names.output, self.feed_forward(self.dense(names.intermediate, before)))
        hidden = self.apply("Add", update, hidden)
        return hidden if first else self.norm(names.output_norm, hidden)

    def pool(self, hidden: str) -> str:
        first = self.apply("Gather", hidden, self.constant("int_first", np.array(0, np.int64)), axis=1)
        return self.apply("Tanh", self.dense(weight_names.POOLER, first))

    def masked_lm(self, hidden: str) -> str:
        act = self.config.classifier_activation or self.config.hidden_act
        inner = self.norm(
            weight_names.TRANSFORM_NORM, self.activation(act, self.dense(weight_names.TRANSFORM, hidden))
        )
        # Transposed in the graph: the table is stored once, and runtimes transpose it once, when they load it.
        table = self.apply("Transpose", self.weight(weight_names.WORD_EMBEDDINGS), perm=[1, 0])
        return self.shift(self.apply("MatMul", inner, table), f"{weight_names.MASKED_LM}/output_bias")

    def discriminator(self, hidden: str) -> str:
        """[B, L, H] → [B, L]."""
        inner = self.activation(self.config.hidden_act, self.dense(weight_names.DISCRIMINATOR, hidden))
        return self.apply("Squeeze", self.dense(weight_names.DISCRIMINATOR_SCORE, inner), self.integers(-1))

    def output(self, name: str, value: str) -> None:
        """Names a result, which is float32 in any case."""
        self.apply("Cast", value, output=name, to=TensorProto.FLOAT)

    def model(self, outputs: Mapping[str, Sequence[str | int]]) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in (_INPUTS if self.config.type_vocab_size else _INPUTS[:2])
        ]
        results = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
            for name, shape in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "bert", inputs, results, list(self.constants.values()))
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="morphbert",
            producer_version=morphbert.__version__,
        )
        onnx.checker.check_model(made)
        return made


def encoder(model: Pretrained, half: bool = False) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids int64 [B, L] → last_hidden_state [B, L, H], pooler_output [B, H].

    A model without segments takes the first two, and one without a pooler gives the first.
    """
    graph = _Graph(model.config, model.weights, half)
    hidden = graph.encode()
    graph.output("last_hidden_state", hidden)
    width = model.config.hidden_size
    outputs: dict[str, Sequence[str | int]] = {"last_hidden_state": ["batch", "length", width]}
    if model.config.pooler:
        graph.output("pooler_output", graph.pool(hidden))
        outputs["pooler_output"] = ["batch", width]
    return graph.model(outputs)


def masked_lm(model: Pretrained, half: bool = False) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids int64 [B, L] → logits [B, L, V] of every position."""
    graph = _Graph(model.config, model.weights, half)
    graph.output("logits", graph.masked_lm(graph.encode()))
    return graph.model({"logits": ["batch", "length", model.config.vocab_size]})


def discriminator(model: Pretrained, half: bool = False) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids int64 [B, L] → logits [B, L]: above 0, a piece is likely replaced."""
    graph = _Graph(model.config, model.weights, half)
    graph.output("logits", graph.discriminator(graph.encode()))
    return graph.model({"logits": ["batch", "length"]})


def write(folder: str, model: Pretrained, int8: bool = False, fp16: bool = False) -> None:
    """Writes both files; of an ELECTRA's discriminator `discriminator.onnx` in place of `masked_lm.onnx`.

    Args:
      folder: where to.
      model: with every weight.
      int8: also `model.int8.onnx` and `masked_lm.int8.onnx`: matrices as 8-bit integers, activations scaled as they
        come (onnxruntime's dynamic quantization).
      fp16: also `model.fp16.onnx` and `masked_lm.fp16.onnx`: half the size, for GPUs; results are float32.
    """
    head = (MASKED_LM_NAME, masked_lm) if model.config.has_masked_lm else (DISCRIMINATOR_NAME, discriminator)
    for name, make in ((ENCODER_NAME, encoder), head):
        path = os.path.join(folder, name)
        onnx.save(make(model), path)
        if fp16:
            onnx.save(make(model, True), path.removesuffix(".onnx") + ".fp16.onnx")
        if int8:
            _quantize(path)


def _quantize(path: str) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It advises on the root logger to preprocess, which changes nothing for this graph.
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        quantize_dynamic(path, path.removesuffix(".onnx") + ".int8.onnx", weight_type=QuantType.QInt8)
    finally:
        logging.getLogger().setLevel(level)
