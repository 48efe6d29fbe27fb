"""Regenerates albert.json: the output of google-research/albert's own modeling.py with a checkpoint that we export.

    python tests/golden/regenerate_albert.py PATH_OF_A_CHECKOUT

Its modeling.py (last commit, b772393) runs under TensorFlow 2's `compat.v1`. Of its imports, `tf.contrib` and
`tf.layers` are gone; `tensorflow_1.py` has stand-ins for the two functions that it calls.
"""

import os
import sys
import types

import tensorflow.compat.v1 as tf
from regenerate_model import CONFIG as SIZES
from regenerate_model import regenerate

HERE = os.path.dirname(os.path.abspath(__file__))
VALUES = os.path.join(HERE, "albert.json")
CONFIG = {
    **SIZES,
    "embedding_size": 6,
    "num_hidden_layers": 4,
    "num_hidden_groups": 2,
    "inner_group_num": 2,
}


def original(checkout):
    """The original's modeling.py as a module."""
    from tensorflow_1 import WithLayers, stand_in_for_contrib

    stand_in_for_contrib()
    sys.modules.setdefault("albert", types.ModuleType("albert")).__path__ = [checkout]
    from albert import modeling

    modeling.tf = WithLayers("tensorflow")
    return modeling


def run_original(checkout, folder, batch):
    """What the original makes of a batch with the checkpoint and the configuration in `folder`."""
    modeling = original(checkout)
    with tf.Graph().as_default(), tf.Session() as session:
        config = modeling.AlbertConfig.from_json_file(os.path.join(folder, "bert_config.json"))
        inputs = [tf.constant(batch[name], tf.int32) for name in ("input_ids", "input_mask", "segment_ids")]
        model = modeling.AlbertModel(config, False, *inputs)
        checkpoint = os.path.join(folder, "bert_model.ckpt")
        reader = tf.train.load_checkpoint(checkpoint)
        for variable in tf.trainable_variables():  # every one of the checkpoint's, under the original's name
            variable.load(reader.get_tensor(variable.op.name), session)
        results = {
            "hidden_states": model.get_sequence_output(),
            "pooled_output": model.get_pooled_output(),
        }
        return session.run(results)


if __name__ == "__main__":
    regenerate(VALUES, CONFIG, run_original)
