"""morphbert: BERT pretraining for Korean, from raw text to a usable model.

The packages, in the order in which data passes through them:

    formats  files → rows and documents      (no TensorFlow)
    text     characters → pieces             (no TensorFlow)
    corpus   documents → clean sentences     (no TensorFlow)
    vocab    words counted → a vocabulary    (no TensorFlow)
    grammar  text → minimal pairs            (no TensorFlow)
    data     pieces → training records       (no TensorFlow)
    model    configuration and graph
    train    records → weights
    interop  weights ↔ other programs
    finetune weights → tasks
    api      commands that join several packages, as functions
    cli      one module a command: flags → one frozen config → one call

Every command is one configuration and one function:

    import morphbert

    morphbert.build_vocab(morphbert.VocabularyConfig(input_file="corpus.txt", vocab_dir="vocab", vocab_size=8000))

Use of a model:

    model, tokenizer = morphbert.load("out/model")      # a run, a TensorFlow 1 checkpoint, a Hugging Face folder
    inputs = tokenizer(["사과나무를 심었습니다."], padding=True, return_tensors="np")
    hidden, pooled = model(**inputs)                    # [batch, length, hidden], [batch, hidden]
    model.save("out/for-others", format="huggingface")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphbert.api.exchange import export_model, extract_features, fill_mask, import_model
    from morphbert.api.grammar import evaluate_grammar
    from morphbert.api.pretraining import PretrainingConfig, run_pretraining
    from morphbert.api.reporting import TrainingReportConfig, training_report
    from morphbert.api.tasks import fine_tune, predict
    from morphbert.api.vocabularies import load_tokenizer
    from morphbert.corpus.cleaning import Cleaning
    from morphbert.corpus.preparation import CorpusConfig, prepare_corpus
    from morphbert.data.config import InstanceConfig
    from morphbert.data.creation import PretrainingDataConfig, create_pretraining_data
    from morphbert.data.inspection import InspectConfig, inspect_records
    from morphbert.finetune.config import (
        FineTuneConfig,
        LossConfig,
        PieceHeadConfig,
        RelationHeadConfig,
        TextHeadConfig,
    )
    from morphbert.finetune.plugins import register_head, register_loss, register_metric, register_task
    from morphbert.finetune.task_configs import (
        ClassificationConfig,
        MultipleChoiceConfig,
        PredictConfig,
        RelationConfig,
        SpanConfig,
        TaggingConfig,
    )
    from morphbert.formats.raw_documents import InputFormat
    from morphbert.grammar.making import GrammarPairsConfig, make_grammar_pairs
    from morphbert.interop.bert_model import BertModel
    from morphbert.interop.configs import (
        ExportConfig,
        ExtractConfig,
        FillMaskConfig,
        GrammarConfig,
        ImportConfig,
    )
    from morphbert.interop.fill_mask import Filled
    from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
    from morphbert.interop.loaded import load, save
    from morphbert.model.config import BertConfig
    from morphbert.model.variants import register_model
    from morphbert.train.cluster.config import DeviceConfig
    from morphbert.train.optimizers.config import OptimizerConfig
    from morphbert.train.step_config import StepConfig
    from morphbert.vocab.building import VocabularyConfig, build_vocab
    from morphbert.vocab.comparing import CompareConfig, compare_vocabs

__version__ = "0.1.0"

# Loaded on first use: work on text and records does not need TensorFlow, which takes seconds to load.
_HOMES = {
    "BertConfig": "morphbert.model.config",
    "BertModel": "morphbert.interop.bert_model",
    "PretrainedTokenizer": "morphbert.interop.huggingface.pretrained_tokenizer",
    "load": "morphbert.interop.loaded",
    "save": "morphbert.interop.loaded",
    "CorpusConfig": "morphbert.corpus.preparation",
    "prepare_corpus": "morphbert.corpus.preparation",
    "Cleaning": "morphbert.corpus.cleaning",
    "InputFormat": "morphbert.formats.raw_documents",
    "VocabularyConfig": "morphbert.vocab.building",
    "CompareConfig": "morphbert.vocab.comparing",
    "build_vocab": "morphbert.vocab.building",
    "compare_vocabs": "morphbert.vocab.comparing",
    "load_tokenizer": "morphbert.api.vocabularies",
    "InstanceConfig": "morphbert.data.config",
    "PretrainingDataConfig": "morphbert.data.creation",
    "create_pretraining_data": "morphbert.data.creation",
    "InspectConfig": "morphbert.data.inspection",
    "inspect_records": "morphbert.data.inspection",
    "OptimizerConfig": "morphbert.train.optimizers.config",
    "StepConfig": "morphbert.train.step_config",
    "DeviceConfig": "morphbert.train.cluster.config",
    "PretrainingConfig": "morphbert.api.pretraining",
    "run_pretraining": "morphbert.api.pretraining",
    "TrainingReportConfig": "morphbert.api.reporting",
    "training_report": "morphbert.api.reporting",
    "Filled": "morphbert.interop.fill_mask",
    "ExportConfig": "morphbert.interop.configs",
    "ImportConfig": "morphbert.interop.configs",
    "FillMaskConfig": "morphbert.interop.configs",
    "ExtractConfig": "morphbert.interop.configs",
    "export_model": "morphbert.api.exchange",
    "import_model": "morphbert.api.exchange",
    "fill_mask": "morphbert.api.exchange",
    "GrammarPairsConfig": "morphbert.grammar.making",
    "make_grammar_pairs": "morphbert.grammar.making",
    "GrammarConfig": "morphbert.interop.configs",
    "evaluate_grammar": "morphbert.api.grammar",
    "extract_features": "morphbert.api.exchange",
    "FineTuneConfig": "morphbert.finetune.config",
    "TextHeadConfig": "morphbert.finetune.config",
    "PieceHeadConfig": "morphbert.finetune.config",
    "RelationHeadConfig": "morphbert.finetune.config",
    "LossConfig": "morphbert.finetune.config",
    "ClassificationConfig": "morphbert.finetune.task_configs",
    "TaggingConfig": "morphbert.finetune.task_configs",
    "RelationConfig": "morphbert.finetune.task_configs",
    "SpanConfig": "morphbert.finetune.task_configs",
    "MultipleChoiceConfig": "morphbert.finetune.task_configs",
    "PredictConfig": "morphbert.finetune.task_configs",
    "register_head": "morphbert.finetune.plugins",
    "register_loss": "morphbert.finetune.plugins",
    "register_metric": "morphbert.finetune.plugins",
    "register_model": "morphbert.model.variants",
    "register_task": "morphbert.finetune.plugins",
    "fine_tune": "morphbert.api.tasks",
    "predict": "morphbert.api.tasks",
}
# The names whose modules import TensorFlow; functions of commands do when they are called.
_WITH_TENSORFLOW = ("BertModel", "PretrainedTokenizer", "load", "save")

__all__ = [
    "BertConfig",
    "BertModel",
    "ClassificationConfig",
    "Cleaning",
    "CompareConfig",
    "CorpusConfig",
    "DeviceConfig",
    "ExportConfig",
    "ExtractConfig",
    "FillMaskConfig",
    "Filled",
    "FineTuneConfig",
    "GrammarConfig",
    "GrammarPairsConfig",
    "ImportConfig",
    "InputFormat",
    "InspectConfig",
    "InstanceConfig",
    "LossConfig",
    "MultipleChoiceConfig",
    "OptimizerConfig",
    "PieceHeadConfig",
    "PredictConfig",
    "PretrainedTokenizer",
    "PretrainingConfig",
    "PretrainingDataConfig",
    "RelationConfig",
    "RelationHeadConfig",
    "SpanConfig",
    "StepConfig",
    "TaggingConfig",
    "TextHeadConfig",
    "TrainingReportConfig",
    "VocabularyConfig",
    "__version__",
    "build_vocab",
    "compare_vocabs",
    "create_pretraining_data",
    "evaluate_grammar",
    "export_model",
    "extract_features",
    "fill_mask",
    "fine_tune",
    "import_model",
    "inspect_records",
    "load",
    "load_tokenizer",
    "make_grammar_pairs",
    "predict",
    "prepare_corpus",
    "register_head",
    "register_loss",
    "register_metric",
    "register_model",
    "register_task",
    "run_pretraining",
    "save",
    "training_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _WITH_TENSORFLOW:
        importlib.import_module("morphbert.quiet_tensorflow").load()
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
