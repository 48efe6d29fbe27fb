"""morphbert: BERT pretraining for Korean, from raw text to a model that can be used.

The way of the data, one sub-package a stage:

    text     characters → pieces            (no TensorFlow)
    data     pieces → training records      (no TensorFlow)
    model    configuration and graph
    train    records → weights
    interop  weights ↔ the world
    finetune weights → tasks
    cli      one module a command: flags → one frozen config → one call
"""

__version__ = "0.1.0"
