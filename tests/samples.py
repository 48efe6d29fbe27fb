"""Where the sample texts are, and the tiny model that tests train on them."""

import json
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
SHAPE = ["--max_seq_length=64", "--max_predictions_per_seq=10"]


def write_config(path, **changes):
    """Writes a tiny `bert_config.json` with some values changed; returns its path."""
    values = {
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
    }
    path.write_text(json.dumps({**values, **changes}), encoding="utf-8")
    return path
