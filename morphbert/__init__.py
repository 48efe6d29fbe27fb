"""morphbert: BERT pretraining for Korean, from raw text to a model that can be used.

The way of the data, one sub-package a stage:

    formats  files → rows and documents      (no TensorFlow)
    text     characters → pieces             (no TensorFlow)
    corpus   documents → clean sentences     (no TensorFlow)
    vocab    words counted → a vocabulary    (no TensorFlow)
    data     pieces → training records      (no TensorFlow)
    model    configuration and graph
    train    records → weights
    interop  weights ↔ the world
    finetune weights → tasks
    cli      one module a command: flags → one frozen config → one call

In Python:

    import morphbert

    model, tokenizer = morphbert.load("out/model")      # a run, a TensorFlow 1 checkpoint, a Hugging Face folder
    inputs = tokenizer(["사과나무를 심었습니다."], padding=True, return_tensors="np")
    hidden, pooled = model(**inputs)                    # [batch, length, hidden], [batch, hidden]
    model.save("out/for-others", format="huggingface")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphbert.interop.bert_model import BertModel
    from morphbert.interop.loading import load, save
    from morphbert.model.config import BertConfig

__version__ = "0.1.0"

__all__ = ["BertConfig", "BertModel", "__version__", "load", "save"]

# Loaded when they are first asked for: text and records are worked on without TensorFlow, which takes seconds.
_HOMES = {
    "BertConfig": "morphbert.model.config",
    "BertModel": "morphbert.interop.bert_model",
    "load": "morphbert.interop.loading",
    "save": "morphbert.interop.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
