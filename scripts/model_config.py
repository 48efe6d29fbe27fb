"""A model's configuration for a vocabulary: model_config.py SOURCE.json vocab.txt TARGET.json."""

import json
import sys

source, vocabulary, target = sys.argv[1:]
with open(source, encoding="utf-8") as stream:
    config = json.load(stream)
with open(vocabulary, "rb") as stream:
    config["vocab_size"] = stream.read().count(b"\n")
with open(target, "w", encoding="utf-8") as stream:
    json.dump(config, stream, indent=2, sort_keys=True)
    stream.write("\n")
