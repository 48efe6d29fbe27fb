"""A model as ONNX: `model.onnx` (encoder) and `masked_lm.onnx`, built operation by operation.

The converter from TensorFlow's graphs (tf2onnx) does not run with the TensorFlow and NumPy of today; a BERT is a
dozen kinds of operation, so it is written down once more here, for `onnx.helper`. Names of inputs and outputs are
those of transformers' exports. Axes: B sequences, L positions, H hidden, N heads, D = H / N.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import morphbert
from morphbert.errors import MorphbertError
from morphbert.interop.pretrained import Pretrained
from morphbert.model.config import BertConfig
from morphbert.model.names import EMBEDDING_MAPPING, FINAL_NORM, BlockNames, layer_blocks

ENCODER_NAME = "model.onnx"
MASKED_LM_NAME = "masked_lm.onnx"
# The first with LayerNormalization, and the file format of its time: old runtimes read it.
_OPSET, _IR_VERSION = 17, 8
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _Graph:
    """Operations and constants in the order in which they are asked for; every method returns a tensor's name."""

    def __init__(self, config: BertConfig, weights: Mapping[str, np.ndarray], half: bool = False):
        """With `half` everything between the inputs and the outputs is float16."""
        self.config = config
        self.half = half
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
        return self.apply("Add", product, self.weight(f"{name}/bias"))

    def layer_norm(self, name: str, inputs: str) -> str:
        scale, shift = self.weight(f"{name}/gamma"), self.weight(f"{name}/beta")
        return self.apply(
            "LayerNormalization",
            inputs,
            scale,
            shift,
            axis=-1,
            epsilon=self.config.layer_norm_eps,
        )

    def activation(self, x: str) -> str:
        act = self.config.hidden_act
        if act in ("relu", "tanh"):
            return self.apply(act.capitalize(), x)
        if act == "linear":
            return x
        if act == "gelu_erf":
            inner = self.apply("Erf", self.apply("Mul", x, self.number(math.sqrt(0.5))))
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
        table = "bert/embeddings"
        words = self.apply("Gather", self.weight(f"{table}/word_embeddings"), "input_ids")
        segments = self.apply("Gather", self.weight(f"{table}/token_type_embeddings"), "token_type_ids")
        total = self.apply("Add", self.apply("Add", words, segments), self.positions())
        if not self.config.pre_layer_norm:
            total = self.layer_norm(f"{table}/LayerNorm", total)
        narrow = self.config.embedding_width != self.config.hidden_size
        return self.dense(EMBEDDING_MAPPING, total) if narrow else total

    def positions(self) -> str:
        """→ [L, E], or [B, L, E] for RoBERTa, which counts the pieces that are not padding."""
        table = self.weight("bert/embeddings/position_embeddings")
        if not self.config.position_offset:
            length = self.apply("Shape", "input_ids", start=1, end=2)
            return self.apply("Slice", table, self.integers(0), length, self.integers(0))
        counted = self.apply("CumSum", "attention_mask", self.constant("int_axis", np.array(1, np.int64)))
        counted = self.apply("Mul", counted, "attention_mask")
        return self.apply(
            "Gather", table, self.apply("Add", counted, self.integers(self.config.position_offset - 1))
        )

    def attention_bias(self) -> str:
        """attention_mask [B, L] → [B, 1, 1, L], 0 or -10000, as in training."""
        mask = self.apply(
            "Cast", "attention_mask", to=TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        )
        bias = self.apply("Mul", self.apply("Sub", self.number(1.0), mask), self.number(-10000.0))
        return self.apply("Unsqueeze", bias, self.integers(1, 2))

    def attention(self, name: str, hidden: str, bias: str) -> str:
        """[B, L, H] → [B, L, H], before the output projection."""
        heads = self.config.num_attention_heads
        size = self.config.hidden_size // heads

        def project(part: str, order: Sequence[int]) -> str:
            split = self.apply(
                "Reshape", self.dense(f"{name}/{part}", hidden), self.integers(0, 0, heads, size)
            )
            return self.apply("Transpose", split, perm=order)

        query = self.apply(
            "Mul", project("query", [0, 2, 1, 3]), self.number(1.0 / math.sqrt(size))
        )  # [B, N, L, D]
        scores = self.apply("Add", self.apply("MatMul", query, project("key", [0, 2, 3, 1])), bias)
        context = self.apply("MatMul", self.apply("Softmax", scores, axis=-1), project("value", [0, 2, 1, 3]))
        joined = self.apply("Transpose", context, perm=[0, 2, 1, 3])  # [B, L, N, D]
        return self.apply("Reshape", joined, self.integers(0, 0, self.config.hidden_size))

    def encode(self) -> str:
        """The last layer's output, [B, L, H]."""
        hidden, bias = self.embeddings(), self.attention_bias()
        for layer in layer_blocks(self.config):
            for names in layer:
                hidden = self.block(names, hidden, bias)
        return self.layer_norm(FINAL_NORM, hidden) if self.config.pre_layer_norm else hidden

    def block(self, names: BlockNames, hidden: str, bias: str) -> str:
        """[B, L, H] → [B, L, H]: `transformer_block` without dropout."""
        first = self.config.pre_layer_norm
        before = self.layer_norm(names.attention_norm, hidden) if first else hidden
        context = self.dense(names.attention_output, self.attention(names.self_attention, before, bias))
        hidden = self.apply("Add", context, hidden)
        if first:
            before = self.layer_norm(names.output_norm, hidden)
        else:
            before = hidden = self.layer_norm(names.attention_norm, hidden)
        update = self.dense(names.output, self.activation(self.dense(names.intermediate, before)))
        hidden = self.apply("Add", update, hidden)
        return hidden if first else self.layer_norm(names.output_norm, hidden)

    def pool(self, hidden: str) -> str:
        first = self.apply("Gather", hidden, self.constant("int_first", np.array(0, np.int64)), axis=1)
        return self.apply("Tanh", self.dense("bert/pooler/dense", first))

    def masked_lm(self, hidden: str) -> str:
        name = "cls/predictions"
        inner = self.activation(self.dense(f"{name}/transform/dense", hidden))
        inner = self.layer_norm(f"{name}/transform/LayerNorm", inner)
        # Transposed in the graph: the table is stored once, and runtimes transpose it once, when they load it.
        table = self.apply("Transpose", self.weight("bert/embeddings/word_embeddings"), perm=[1, 0])
        return self.apply("Add", self.apply("MatMul", inner, table), self.weight(f"{name}/output_bias"))

    def output(self, name: str, value: str) -> None:
        """Names a result, which is float32 in any case."""
        self.apply("Cast", value, output=name, to=TensorProto.FLOAT)

    def model(self, outputs: Mapping[str, Sequence[str | int]]) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in _INPUTS
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
    """input_ids, attention_mask, token_type_ids int64 [B, L] → last_hidden_state [B, L, H], pooler_output [B, H]."""
    graph = _Graph(model.config, model.weights, half)
    hidden = graph.encode()
    graph.output("last_hidden_state", hidden)
    graph.output("pooler_output", graph.pool(hidden))
    width = model.config.hidden_size
    return graph.model({"last_hidden_state": ["batch", "length", width], "pooler_output": ["batch", width]})


def masked_lm(model: Pretrained, half: bool = False) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids int64 [B, L] → logits [B, L, V] of every position."""
    graph = _Graph(model.config, model.weights, half)
    graph.output("logits", graph.masked_lm(graph.encode()))
    return graph.model({"logits": ["batch", "length", model.config.vocab_size]})


def write(folder: str, model: Pretrained, int8: bool = False, fp16: bool = False) -> None:
    """Writes both files.

    Args:
      folder: where to.
      model: with every weight.
      int8: also `model.int8.onnx` and `masked_lm.int8.onnx`: matrices as 8-bit integers, activations scaled as they
        come (onnxruntime's dynamic quantization).
      fp16: also `model.fp16.onnx` and `masked_lm.fp16.onnx`: half the size, for GPUs; results are float32.

    Raises:
      MorphbertError: the model has parts that are not written down here.
    """
    if keys := model.config.modern_keys():
        raise MorphbertError(
            f"{model.source} has {', '.join(keys)}, which --format=onnx does not write: use --format=saved_model or, "
            "for a ModernBERT, --format=huggingface."
        )
    for name, make in ((ENCODER_NAME, encoder), (MASKED_LM_NAME, masked_lm)):
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
