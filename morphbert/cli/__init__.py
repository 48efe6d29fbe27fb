"""The commands: one module each, which makes flags of a configuration class and calls one function with it."""

FINE_TUNING = (
    "run_classifier",
    "run_ner",
    "run_squad",
    "run_re",
    "run_multiple_choice",
)
# In the order in which they are used. A command's module has its name, and `main`.
COMMANDS = (
    "prepare_corpus",
    "build_vocab",
    "create_pretraining_data",
    "inspect_records",
    "import_model",
    "run_pretraining",
    "training_report",
    "fill_mask",
    "evaluate_grammar",
    "export_model",
    "extract_features",
    *FINE_TUNING,
    "predict",
)
