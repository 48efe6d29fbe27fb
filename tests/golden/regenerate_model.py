"""Regenerates model.json: the output of google-research/bert's own modeling.py with a checkpoint that we export.

    pip install tf_keras                  # for the layers of TensorFlow 1 that TensorFlow 2 no longer has
    python tests/golden/regenerate_model.py PATH_OF_A_CHECKOUT

That project's modeling.py and run_pretraining.py (last commit, eedf571) run in a process of their own under
TensorFlow 2's `compat.v1`: `modeling.BertModel`, its way of reading a checkpoint, and both heads. Of their
imports, `tf.contrib` is gone; `tensorflow_1.py` has a stand-in for its `layer_norm`.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
VALUES = os.path.join(HERE, "model.json")
CONFIG = {
    "vocab_size": 40,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}
BATCH = {
    "input_ids": [[2, 7, 31, 12, 3, 39, 5, 3], [2, 18, 4, 3, 0, 0, 0, 0]],
    "input_mask": [[1] * 8, [1] * 4 + [0] * 4],
    "segment_ids": [[0] * 5 + [1] * 3, [0] * 8],
    "masked_lm_positions": [[2, 5], [1, 2]],
}

_RUN = """
import os, sys, types
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow.compat.v1 as tf

here, checkout, folder, source, target = sys.argv[1:]
sys.path.insert(0, here)
from tensorflow_1 import stand_in_for_contrib

tf.disable_v2_behavior()
tf.contrib = stand_in_for_contrib()
sys.modules["tensorflow"] = tf
sys.path.insert(0, checkout)
optimization = types.ModuleType("optimization")  # asks for tf.train.Optimizer and the like, and is not used
sys.modules["optimization"] = optimization
import modeling, run_pretraining

batch = np.load(source)
config = modeling.BertConfig.from_json_file(os.path.join(folder, "bert_config.json"))
ids, mask, segments, positions = (
    tf.constant(batch[name], tf.int32)
    for name in ("input_ids", "input_mask", "segment_ids", "masked_lm_positions")
)
model = modeling.BertModel(config, False, ids, mask, segments, use_one_hot_embeddings=False)
_, _, masked = run_pretraining.get_masked_lm_output(
    config, model.get_sequence_output(), model.get_embedding_table(), positions, positions, tf.ones(positions.shape)
)
_, _, following = run_pretraining.get_next_sentence_output(
    config, model.get_pooled_output(), tf.zeros([ids.shape[0]], tf.int32)
)
checkpoint = os.path.join(folder, "bert_model.ckpt")
variables = tf.trainable_variables()
mapping, initialized = modeling.get_assignment_map_from_checkpoint(variables, checkpoint)
left = [v.name for v in variables if v.name not in initialized]
assert not left, left
tf.train.init_from_checkpoint(checkpoint, mapping)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    results = {
        "hidden_states": model.get_sequence_output(),
        "first_layer": model.get_all_encoder_layers()[0],
        "embeddings": model.get_embedding_output(),
        "pooled_output": model.get_pooled_output(),
        "masked_lm_log_probs": masked,
        "next_sentence_log_probs": following,
    }
    np.savez(target, **session.run(results))
"""


def weights_by_formula(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights that need no file: waves, of another phase for each name."""
    weights = {}
    for name, shape in shapes.items():
        steps = np.arange(math.prod(shape)).reshape(shape)
        wave = 0.3 * np.sin(0.7 * steps + zlib.crc32(name.encode()) % 1000)
        weights[name] = (wave + name.endswith("gamma")).astype(np.float32)
    return weights


def run_original(checkout: str, folder: str, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the original makes of a batch with the checkpoint and the configuration in `folder`."""
    with tempfile.TemporaryDirectory() as place:
        source, target = os.path.join(place, "in.npz"), os.path.join(place, "out.npz")
        np.savez(source, **batch)
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [sys.executable, "-c", _RUN, HERE, os.path.abspath(checkout), folder, source, target],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the original program failed:\n{done.stderr[-3000:]}")
        return dict(np.load(target))


def regenerate(
    target: str,
    sizes: Mapping[str, int],
    run: Callable[[str, str, dict[str, np.ndarray]], Mapping[str, np.ndarray]],
) -> None:
    """Exports a model of `sizes`, has the original compute with it, and writes the numbers down."""
    if len(sys.argv) != 2 or not os.path.exists(os.path.join(sys.argv[1], "modeling.py")):
        sys.exit(sys.modules["__main__"].__doc__)
    from morphbert.interop import google
    from morphbert.interop.pretrained import Pretrained
    from morphbert.model.config import BertConfig
    from morphbert.model.parameters import pretraining_parameters

    config = BertConfig(**sizes)
    shapes = {name: parameter.shape for name, parameter in pretraining_parameters(config).items()}
    batch = {name: np.array(rows, np.int32) for name, rows in BATCH.items()}
    with tempfile.TemporaryDirectory() as folder:
        google.write(folder, Pretrained(config, weights_by_formula(shapes), "formula"))
        found = run(sys.argv[1], folder, batch)
    write_values(target, found)


def write_values(target: str, found: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name as lists of numbers; prints their shapes."""
    content = {name: [float(f"{x:.7g}") for x in np.ravel(values)] for name, values in found.items()}
    with open(target, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=None, sort_keys=True)
        stream.write("\n")
    print({name: np.shape(values) for name, values in found.items()})


if __name__ == "__main__":
    regenerate(VALUES, CONFIG, run_original)
