"""Regenerates electra.json: the output of google-research/electra's own code with a checkpoint that we export.

    python tests/golden/regenerate_electra.py PATH_OF_A_CHECKOUT

The checkpoint holds both networks, which share embeddings wider than the generator. Of that project (last commit,
8a46635), `modeling.BertModel`, the generator's `get_token_logits` and `get_softmax_output` and the discriminator's
`_get_discriminator_output` run under TensorFlow 2's `compat.v1`. Of their imports, `tf.contrib` and `tf.layers` are
gone; `tensorflow_1.py` has stand-ins for the two functions that they call.
"""

import os
import sys
import tempfile
import types
import zlib

import numpy as np
import tensorflow.compat.v1 as tf
from regenerate_model import CONFIG as SIZES
from regenerate_model import write_values

HERE = os.path.dirname(os.path.abspath(__file__))
VALUES = os.path.join(HERE, "electra.json")
_SHARED = {
    **SIZES,
    "embedding_size": 8,
    "hidden_act": "gelu_erf",
    "pooler": False,
    "next_sentence_head": False,
}
CONFIGS = {
    "discriminator": {**_SHARED, "electra": "discriminator"},
    "generator": {
        **_SHARED,
        "electra": "generator",
        "hidden_size": 4,
        "num_attention_heads": 2,
        "intermediate_size": 7,
    },
}
# 38 and 12 are masked in the first row, 18 in the second, whose last prediction is none; 9 and 1 replace two of them.
BATCH = {
    "original_ids": [[2, 7, 38, 12, 3, 39, 5, 3], [2, 18, 11, 3, 0, 0, 0, 0]],
    "masked_ids": [[2, 7, 4, 4, 3, 39, 5, 3], [2, 4, 11, 3, 0, 0, 0, 0]],
    "replaced_ids": [[2, 7, 9, 12, 3, 39, 5, 3], [2, 1, 11, 3, 0, 0, 0, 0]],
    "input_mask": [[1] * 8, [1] * 4 + [0] * 4],
    "segment_ids": [[0] * 5 + [1] * 3, [0] * 8],
    "masked_lm_positions": [[2, 3], [1, 0]],
    "masked_lm_ids": [[38, 12], [18, 0]],
    "masked_lm_weights": [[1.0, 1.0], [1.0, 0.0]],
}


def original(checkout):
    """The original's modeling.py and run_pretraining.py as modules."""
    from tensorflow_1 import WithLayers, stand_in_for_contrib

    stand_in_for_contrib()
    for unused in ("optimization", "tokenization"):
        sys.modules[f"model.{unused}"] = types.ModuleType(unused)
    sys.modules["util.training_utils"] = types.ModuleType("training_utils")
    sys.path.insert(0, checkout)
    import model
    import util

    model.optimization = model.tokenization = util.training_utils = None
    from model import modeling
    from pretrain import pretrain_helpers

    import run_pretraining

    modeling.tf = run_pretraining.tf = pretrain_helpers.tf = WithLayers("tensorflow")
    return modeling, run_pretraining, pretrain_helpers


def run_original(checkout, folder, configs, batch):
    """What the original makes of the batch with the checkpoint in `folder`."""
    modeling, run_pretraining, helpers = original(checkout)
    with tf.Graph().as_default(), tf.Session() as session:
        given = {name: tf.constant(values) for name, values in batch.items()}
        sizes = {}
        for name, config in configs.items():
            known = {k: v for k, v in config.items() if k not in ("embedding_size", "pooler", "electra")}
            sizes[name] = modeling.BertConfig.from_dict({**known, "hidden_act": "gelu"})

        def network(name, ids, scope):
            return modeling.BertModel(
                sizes[name],
                False,
                given[ids],
                given["input_mask"],
                given["segment_ids"],
                use_one_hot_embeddings=False,
                scope=scope,
                embedding_size=configs[name]["embedding_size"],
            )

        generator = network("generator", "masked_ids", "generator")
        picked = helpers.gather_positions(generator.get_sequence_output(), given["masked_lm_positions"])
        with tf.variable_scope("generator_predictions"):
            logits = run_pretraining.get_token_logits(
                picked, generator.get_embedding_table(), sizes["generator"]
            )
        masked = run_pretraining.get_softmax_output(
            logits, given["masked_lm_ids"], given["masked_lm_weights"], sizes["generator"].vocab_size
        )
        discriminator = network("discriminator", "replaced_ids", "electra")
        settings = types.SimpleNamespace(
            _bert_config=sizes["discriminator"], _config=types.SimpleNamespace(electric_objective=False)
        )
        inputs = types.SimpleNamespace(input_mask=given["input_mask"])
        replaced = tf.cast(tf.not_equal(given["replaced_ids"], given["original_ids"]), tf.int32)
        found = run_pretraining.PretrainingModel._get_discriminator_output(
            settings, inputs, discriminator, replaced
        )
        reader = tf.train.load_checkpoint(os.path.join(folder, "bert_model.ckpt"))
        names = {variable.op.name for variable in tf.trainable_variables()}
        assert names == set(reader.get_variable_to_shape_map()), names
        for variable in tf.trainable_variables():
            variable.load(reader.get_tensor(variable.op.name), session)
        results = {
            "generator_states": generator.get_sequence_output(),
            "generator_logits": logits,
            "generator_loss": masked.loss,
            "discriminator_states": discriminator.get_sequence_output(),
            "discriminator_probabilities": found.probs,
            "discriminator_loss": found.loss,
        }
        return session.run(results)


def weights_of_both():
    """→ weights of each network, which need no file; they share the discriminator's embeddings."""
    from morphbert.model.config import BertConfig
    from morphbert.model.parameters import pretraining_parameters

    weights = {}
    for name, config in CONFIGS.items():
        weights[name] = {}
        for key, parameter in pretraining_parameters(BertConfig(**config)).items():
            random = np.random.RandomState(zlib.crc32(key.encode()))  # the same numbers in every NumPy
            middle = 1.0 if parameter.initial == "ones" else 0.0
            weights[name][key] = random.normal(middle, 0.5, parameter.shape).astype(np.float32)
    embeddings = {n: v for n, v in weights["discriminator"].items() if n.startswith("bert/embeddings/")}
    weights["generator"] |= embeddings
    return weights


def export(folder):
    """Writes the checkpoint of both networks."""
    from morphbert.interop import electra, google
    from morphbert.interop.pretrained import Pretrained
    from morphbert.model.config import BertConfig

    configs = {name: BertConfig(**values) for name, values in CONFIGS.items()}
    weights = weights_of_both()
    other = electra.joined(weights["generator"], configs["generator"])
    model = Pretrained(
        configs["discriminator"], weights["discriminator"], "random weights", other_network=other
    )
    google.write(folder, model)


def main():
    if len(sys.argv) != 2 or not os.path.exists(os.path.join(sys.argv[1], "run_pretraining.py")):
        sys.exit(__doc__)
    types_of = {"masked_lm_weights": np.float32}
    batch = {name: np.array(rows, types_of.get(name, np.int32)) for name, rows in BATCH.items()}
    with tempfile.TemporaryDirectory() as folder:
        export(folder)
        found = run_original(sys.argv[1], folder, CONFIGS, batch)
    write_values(VALUES, found)


if __name__ == "__main__":
    main()
