"""A pretraining step as one writes it in JAX, compiled for a device that is not there, as `accelerators.py` asks.

    .venv-xla/bin/python benchmarks/accelerators_jax.py FOLDER

FOLDER/program.json is a `StepProgram`, FOLDER/target.json a target's request; FOLDER/compilation.json and
FOLDER/optimized.txt come out, as from `accelerator_check/compilation.py`. Needs only JAX.

The step has the operations of the step of morphbert: the same model, dropout at the same places and rates, losses,
clipping, Adam with weight decay in float32. Only the warm-up of the learning rate is shifted by one step. It is written
as Hugging Face's Flax and PyTorch models are: three dense layers and heads behind positions for BERT, one joined dense
layer for ModernBERT, scores as [B, N, L, L], masks added to them, gradients by JAX. Random bits come from the device's
own generator (`unsafe_rbg`), JAX's fastest.
"""

import functools
import json
import math
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

COMPILATION = Path(__file__).resolve().parents[1] / "morphbert" / "train" / "accelerator_check"
TABLES = ("word", "type", "position")


def shapes(c):
    """Shapes of all weights by name, for the configuration `c`."""
    hidden, inner, pieces = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    found = {"word": (pieces, hidden), "output/bias": (pieces,)}
    if c["type_vocab_size"]:
        found["type"] = (c["type_vocab_size"], hidden)
    if c["position_embedding_type"] == "absolute":
        found["position"] = (c["max_position_embeddings"], hidden)

    def dense(name, inputs, outputs, bias):
        found.update({f"{name}/kernel": (inputs, outputs)} | ({f"{name}/bias": (outputs,)} if bias else {}))

    def norm(name):
        found.update({f"{name}/gamma": (hidden,)} | ({f"{name}/beta": (hidden,)} if c["norm_bias"] else {}))

    norm("embeddings/norm")
    for layer in range(c["num_hidden_layers"]):
        for part in ("qkv",) if c["pre_layer_norm"] else ("query", "key", "value"):
            dense(f"{layer}/{part}", hidden, hidden * (3 if part == "qkv" else 1), c["attention_bias"])
        dense(f"{layer}/output", hidden, hidden, c["attention_bias"])
        dense(f"{layer}/inner", hidden, inner * (2 if c["mlp_gate"] else 1), c["mlp_bias"])
        dense(f"{layer}/outer", inner, hidden, c["mlp_bias"])
        if not (c["pre_layer_norm"] and c["embedding_norm"] and layer == 0):
            norm(f"{layer}/attention_norm")
        norm(f"{layer}/output_norm")
    if c["pre_layer_norm"]:
        norm("final_norm")
    dense("transform", hidden, hidden, c["classifier_bias"])
    norm("transform/norm")
    if c["pooler"]:
        dense("pooler", hidden, hidden, True)
    if c["next_sentence_head"]:
        found |= {"next/kernel": (2, hidden), "next/bias": (2,)}
    return found


class Model:
    """The network's functions for one step; weights and keys of the random bits are given."""

    def __init__(self, config, weights, key):
        self.config, self.weights, self.key, self.drops = config, weights, key, 0

    def dense(self, name, x):
        """[..., in] → [..., out]."""
        y = x @ self.weights[f"{name}/kernel"]
        return y + self.weights[f"{name}/bias"] if f"{name}/bias" in self.weights else y

    def norm(self, name, x):
        """LayerNorm in float32."""
        if f"{name}/gamma" not in self.weights:
            return x
        y = x.astype(jnp.float32)
        y = (y - y.mean(-1, keepdims=True)) * jax.lax.rsqrt(
            y.var(-1, keepdims=True) + self.config["layer_norm_eps"]
        )
        y = y * self.weights[f"{name}/gamma"].astype(jnp.float32)
        if f"{name}/beta" in self.weights:
            y = y + self.weights[f"{name}/beta"].astype(jnp.float32)
        return y.astype(x.dtype)

    def dropout(self, x, rate):
        """Zeroes a share `rate` of the elements."""
        if not rate:
            return x
        self.drops += 1
        kept = jax.random.bernoulli(jax.random.fold_in(self.key, self.drops), 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), jnp.zeros([], x.dtype)).astype(x.dtype)

    def gelu(self, x):
        """In float32; the exact form where the configuration names it."""
        exact = self.config["hidden_act"] == "gelu_erf"
        return jax.nn.gelu(x.astype(jnp.float32), approximate=not exact)

    def heads(self, layer, x):
        """[B, L, H] → query, key, value [B, L, N, D]."""
        rows, length, hidden = x.shape
        heads = self.config["num_attention_heads"]
        if self.config["pre_layer_norm"]:
            joined = self.dense(f"{layer}/qkv", x).reshape(rows, length, 3, heads, hidden // heads)
            return [joined[:, :, number] for number in range(3)]
        parts = ("query", "key", "value")
        return [
            self.dense(f"{layer}/{part}", x).reshape(rows, length, heads, hidden // heads) for part in parts
        ]

    def attention(self, layer, x, mask):
        """[B, L, H] and int [B, L] → [B, L, H]."""
        c, length = self.config, x.shape[1]
        query, key, value = self.heads(layer, x)
        every = c["global_attn_every_n_layers"]
        reaches_all = c["local_attention"] is None or layer % every == 0
        visible = mask[:, None, None, :] > 0
        if not reaches_all:
            place = jnp.arange(length)
            visible &= jnp.abs(place[:, None] - place[None]) <= c["local_attention"] // 2
        if c["position_embedding_type"] == "rotary":
            theta = c["global_rope_theta"] if reaches_all else c["local_rope_theta"]
            query, key = (rotated(values, theta) for values in (query, key))
        bias = jnp.where(visible, 0.0, -10000.0).astype(x.dtype)
        scores = jnp.einsum("bqnd,bknd->bnqk", query, key) / jnp.asarray(math.sqrt(query.shape[-1]), x.dtype)
        shares = jax.nn.softmax((scores + bias).astype(jnp.float32), -1).astype(x.dtype)
        shares = self.dropout(shares, c["attention_probs_dropout_prob"])
        return jnp.einsum("bnqk,bknd->bqnd", shares, value).reshape(x.shape)

    def feed_forward(self, layer, x):
        """[B, L, H] → [B, L, H]."""
        inner = self.dense(f"{layer}/inner", x)
        if self.config["mlp_gate"]:
            first, second = jnp.split(inner, 2, -1)
            inner = self.gelu(first) * second.astype(jnp.float32)
        else:
            inner = self.gelu(inner)
        return self.dense(f"{layer}/outer", inner.astype(x.dtype))

    def encode(self, batch, dtype):
        """The batch → [B, L, H]."""
        c, w = self.config, self.weights
        x = w["word"][batch["input_ids"]]
        if "type" in w:
            x = x + w["type"][batch["segment_ids"]]
        if "position" in w:
            x = x + w["position"][None, : x.shape[1]]
        rate = c["hidden_dropout_prob"]
        x = self.dropout(self.norm("embeddings/norm", x).astype(dtype), rate)
        for layer in range(c["num_hidden_layers"]):
            if c["pre_layer_norm"]:
                seen = self.attention(layer, self.norm(f"{layer}/attention_norm", x), batch["input_mask"])
                x = x + self.dropout(self.dense(f"{layer}/output", seen), rate)
                x = x + self.dropout(self.feed_forward(layer, self.norm(f"{layer}/output_norm", x)), rate)
                continue
            seen = self.dense(f"{layer}/output", self.attention(layer, x, batch["input_mask"]))
            x = self.norm(f"{layer}/attention_norm", self.dropout(seen, rate) + x)
            x = self.norm(f"{layer}/output_norm", self.dropout(self.feed_forward(layer, x), rate) + x)
        return self.norm("final_norm", x) if c["pre_layer_norm"] else x


def rotated(values, theta):
    """Rotary positions: [B, L, N, D] → [B, L, N, D], computed in float32."""
    length, size = values.shape[1], values.shape[-1]
    steps = theta ** (-jnp.arange(0, size, 2) / size)
    angles = (jnp.arange(length)[:, None] * steps)[None, :, None]
    first, second = jnp.split(values.astype(jnp.float32), 2, -1)
    turned = [
        first * jnp.cos(angles) - second * jnp.sin(angles),
        second * jnp.cos(angles) + first * jnp.sin(angles),
    ]
    return jnp.concatenate(turned, -1).astype(values.dtype)


def loss_of(weights, batch, key, config, dtype):
    """Masked-LM loss, plus the next sentence's, and the numbers of right predictions."""
    cast = {name: value if name in TABLES else value.astype(dtype) for name, value in weights.items()}
    model = Model(config, cast, key)
    hidden = model.encode(batch, dtype)
    picked = jnp.take_along_axis(hidden, batch["masked_lm_positions"][:, :, None], 1)
    rows = model.norm("transform/norm", model.gelu(model.dense("transform", picked)).astype(dtype))
    logits = (rows.reshape(-1, rows.shape[-1]) @ weights["word"].astype(dtype).T).astype(jnp.float32)
    logits = logits + weights["output/bias"]
    labels, counted = batch["masked_lm_ids"].reshape(-1), batch["masked_lm_weights"].reshape(-1)
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)[:, 0]
    loss = (losses * counted).sum() / (counted.sum() + 1e-5)
    right = [((logits.argmax(-1) == labels) * counted).sum()]
    if config["next_sentence_head"]:
        pooled = jnp.tanh(model.dense("pooler", hidden[:, 0]))
        pairs = (pooled @ cast["next/kernel"].T + cast["next/bias"]).astype(jnp.float32)
        wanted = batch["next_sentence_labels"]
        loss = loss - jnp.take_along_axis(jax.nn.log_softmax(pairs), wanted, 1).mean()
        right.append((pairs.argmax(-1) == wanted[:, 0]).sum())
    return loss, right


def step(weights, means, squares, count, batch, config, optimizer, dtype):
    """One update of all weights by Adam; `means` and `squares` are its moments."""
    key = jax.random.fold_in(jax.random.key(0), count)
    (loss, right), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, batch, key, config, dtype)
    norm = jnp.sqrt(sum(jnp.square(gradient).sum() for gradient in gradients.values()))
    clip = jnp.minimum(1.0, optimizer["clip_norm"] / norm)
    done = count.astype(jnp.float32)
    warm = jnp.minimum(1.0, (done + 1) / max(1, optimizer["num_warmup_steps"]))
    rate = optimizer["learning_rate"] * warm * (1 - done / optimizer["num_train_steps"])
    one, two = optimizer["beta_1"], optimizer["beta_2"]
    after, new_means, new_squares = {}, {}, {}
    for name, weight in weights.items():
        gradient = gradients[name] * clip
        new_means[name] = one * means[name] + (1 - one) * gradient
        new_squares[name] = two * squares[name] + (1 - two) * jnp.square(gradient)
        update = new_means[name] / (jnp.sqrt(new_squares[name]) + optimizer["epsilon"])
        if weight.ndim > 1:
            update = update + optimizer["weight_decay_rate"] * weight
        after[name] = weight - rate * update
    return after, new_means, new_squares, count + 1, (loss, norm, rate, right)


def compiled_for_tpu(function, arguments, device):
    """Figures and text, as `compilation.result_of` returns them."""
    from compilation import result_of

    place = jax.sharding.SingleDeviceSharding(device)
    compiled = jax.jit(function, donate_argnums=(0, 1, 2, 3), in_shardings=place, out_shardings=place)
    started = time.monotonic()
    done = compiled.lower(*arguments).compile()
    return result_of(done.runtime_executable(), device, time.monotonic() - started)


def compiled_for_gpu(function, arguments, device):
    """The same; JAX places nothing on a described GPU, so that the module goes to the compiler without a place."""
    from compilation import compiled_for

    traced = jax.jit(function, donate_argnums=(0, 1, 2, 3)).trace(*arguments)
    module = traced.lower(lowering_platforms=("cuda",)).compiler_ir("stablehlo")
    with module.context:
        return compiled_for(device, module)


def main(folder):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_default_prng_impl", "unsafe_rbg")
    sys.path.insert(0, str(COMPILATION))
    from compilation import device_of

    program = json.loads((folder / "program.json").read_text(encoding="utf-8"))["program"]
    activation = program["bert_config"]["hidden_act"]
    if not activation.startswith("gelu"):
        sys.exit(f"hidden_act is {activation!r}: this step has GELU only")
    target = json.loads((folder / "target.json").read_text(encoding="utf-8"))["target"]
    device = device_of(target)
    weights = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32)
        for name, shape in shapes(program["bert_config"]).items()
    }
    batch = {
        one["name"]: jax.ShapeDtypeStruct(tuple(one["shape"]), jnp.dtype(one["dtype"]))
        for one in program["batch"]
    }
    function = functools.partial(
        step,
        config=program["bert_config"],
        optimizer=program["optimizer"],
        dtype=jnp.dtype(program["step"]["dtype"]),
    )
    arguments = weights, weights, weights, jax.ShapeDtypeStruct((), jnp.int32), batch
    result, text = (compiled_for_tpu if target["platform"] == "tpu" else compiled_for_gpu)(
        function, arguments, device
    )
    (folder / "optimized.txt").write_text(text, encoding="utf-8")
    (folder / "compilation.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
