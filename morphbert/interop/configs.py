"""The configurations of import, export and use of models; need no TensorFlow."""

from __future__ import annotations

from typing import Any, Literal

from morphbert.errors import UsageError
from morphbert.grammar.cutting import Positions
from morphbert.options import NonNegativeInt, PathStr, PositiveInt, configuration, option, optional
from morphbert.plugins import model_plugin_option
from morphbert.text.text_options import text_encoding_option, tokenizer_mismatch_option

EXPORT_FORMATS = ("huggingface", "google", "saved_model", "onnx")
SAVE_FORMATS = ("ours", *EXPORT_FORMATS)
Pooling = Literal["none", "cls", "mean"]
Network = Literal["discriminator", "generator"]


def _electra_network_option() -> Any:
    return option(
        default=None,
        help="Of a checkpoint that holds both networks of an ELECTRA: the one to take. Default: the one that its "
        "configuration describes; of a run of this program the discriminator.",
    )


def _overwrite_option() -> Any:
    return option(default=False, help="Replace the folder if there is one.")


@configuration
class ModelParts:
    """The parts of a model, which are beside it or elsewhere."""

    bert_config_file: PathStr | None = optional(
        group="Model", help="Its configuration. Default: bert_config.json beside the checkpoint."
    )
    vocab_file: PathStr | None = optional(
        help="The vocabulary that it was trained with: a folder made by build_vocab.py, or a plain vocab.txt. Default: "
        "the one beside the model, if there is one."
    )
    do_lower_case: bool | None = optional(
        help="For a plain vocab.txt: whether text is lower-cased. Default: unless the vocabulary has capital letters."
    )
    plugin: tuple[str, ...] = model_plugin_option()


@configuration
class ExportConfig(ModelParts):
    """One export. `export_model.py --help` explains each field."""

    checkpoint: PathStr = option(
        group="Model",
        help="The model: a folder, of which the newest checkpoint is taken, or a prefix such as "
        "out/model/model.ckpt-1000. Hugging Face folders and TensorFlow 1 checkpoints work too. A fine-tuned model's "
        "folder is exported with its head, to Hugging Face.",
    )
    output_dir: PathStr = option(group="Output", help="The new folder.")
    format: str = option(
        choices=EXPORT_FORMATS,
        help="huggingface: transformers' files, tokenizer and model card. google: a TensorFlow 1 checkpoint under "
        "google-research/bert's names, albert's or electra's. saved_model: TensorFlow's, for TF Serving. onnx: encoder "
        "and masked LM, or an ELECTRA's discriminator.",
    )
    electra_network: Network | None = _electra_network_option()
    overwrite: bool = _overwrite_option()
    push_to_hub: str | None = optional(
        help="huggingface: also upload the folder to the Hugging Face Hub under this name, OWNER/NAME. Needs the extra "
        "hub and a login (hf auth login)."
    )
    hub_private: bool | None = optional(
        help="With --push_to_hub: whether a new model is private. Default: the account's default."
    )
    model_name: str | None = optional(
        group="Details of single formats",
        help="huggingface: the model card's title. Default: the folder's name.",
    )
    sample_text_file: PathStr | None = optional(
        help="huggingface: a text with one sentence per line, on which the agreement of the stock tokenizer with the "
        "exact one is measured for the model card. Example: --sample_text_file=data/corpus.txt"
    )
    with_optimizer: bool = option(
        default=False, help="google: also the optimizer's moments (adam_m, adam_v) and global_step."
    )
    fp16: bool = option(
        default=False, help="onnx: also both models in float16, *.fp16.onnx: half the size, for GPUs."
    )
    int8: bool = option(
        default=False, help="onnx: also both models with matrices of 8-bit integers, *.int8.onnx."
    )


@configuration
class SaveConfig(ExportConfig):
    """The configuration for writing a model in memory, in an export format or in this program's format."""

    format: str = option(choices=SAVE_FORMATS, help="As --format, or ours.")


@configuration
class ImportConfig:
    """One import. `import_model.py --help` explains each field."""

    checkpoint: PathStr = option(
        group="Model",
        help="The model: a Hugging Face folder (BERT, RoBERTa, ALBERT, ModernBERT or ELECTRA), or a TensorFlow 1 "
        "checkpoint of google-research's bert, albert or electra (a folder or a prefix), or one of this program.",
    )
    bert_config_file: PathStr | None = optional(
        help="Its configuration. Default: the one beside the checkpoint."
    )
    vocab_file: PathStr | None = optional(help="Its vocabulary. Default: the one beside it, if there is one.")
    do_lower_case: bool | None = optional(
        help="Whether its plain vocab.txt is for lower-cased text. Default: the value in its tokenizer_config.json, "
        "else true if it has no capital letters."
    )
    electra_network: Network | None = _electra_network_option()
    allow_pickle: bool = option(
        default=False,
        help="Read pytorch_model.bin if there is no model.safetensors. A pickle can run code, so the source "
        "must be trusted.",
    )
    plugin: tuple[str, ...] = model_plugin_option()
    output_dir: PathStr = option(
        group="Output", help="The new folder: for --init_checkpoint and export_model.py."
    )
    new_vocab_file: PathStr | None = optional(
        help="Another vocabulary for it. Pieces of both keep their embeddings; others start from the mean of the old "
        "pieces that spell them. Example: --new_vocab_file=vocab/ko-mecab-32k"
    )
    max_position_embeddings: PositiveInt | None = optional(
        help="The new number of positions, larger or smaller; the existing ones are repeated. Example: 1024"
    )
    seed: NonNegativeInt = option(default=12345, help="The seed of the initial values of missing weights.")
    overwrite: bool = _overwrite_option()


@configuration
class ModelWithTokenizer(ModelParts):
    """A pretrained model and its tokenizer."""

    checkpoint: PathStr = option(
        group="Model",
        help="The model: a folder, of which the newest checkpoint is taken, or a prefix such as "
        "out/model/model.ckpt-1000. Hugging Face folders and TensorFlow 1 checkpoints are taken too.",
    )
    do_lower_case: bool | None = optional(
        help="For a plain vocab.txt: lower-case the text. Default: yes, as in BERT; for one beside the model, unless "
        "it has capital letters."
    )
    allow_tokenizer_mismatch: bool = tokenizer_mismatch_option()


@configuration
class FillMaskConfig(ModelWithTokenizer):
    """A model, and a sentence for it to complete. `fill_mask.py --help` explains each field."""

    text: str | None = optional(
        group="Text",
        help="A sentence with one or more [MASK]. Without it, fill_mask.py reads sentences from standard input, one a "
        "line.",
    )
    top_k: PositiveInt = option(default=5, help="The number of pieces to show for each [MASK].")
    serve: bool = option(
        default=False,
        group="Page",
        help="Show a page in the browser instead: type a sentence, see the most likely pieces with bars and the "
        "sentence's pieces, click a piece for the model's alternatives, switch between the checkpoints of the run. "
        "Only this machine can reach it.",
    )
    compare_checkpoint: PathStr | None = optional(
        help="A second model, which the page shows beside the first, also with another vocabulary. Example: "
        "--compare_checkpoint=out/other_model"
    )
    compare_vocab_file: PathStr | None = optional(
        help="The vocabulary of --compare_checkpoint. Default: the one beside it."
    )
    port: int = option(
        default=8501, at_least=0, at_most=65535, help="The port of the page on 127.0.0.1; 0 for any free one."
    )

    def __post_init__(self) -> None:
        """Raises UsageError for a sentence where a page is asked for, or a comparison where none is."""
        if self.serve and self.text is not None:
            raise UsageError("--serve and --text: give one of them.")
        if self.compare_checkpoint and not self.serve:
            raise UsageError("--compare_checkpoint goes with --serve: the page shows both models.")
        if self.compare_vocab_file and not self.compare_checkpoint:
            raise UsageError("--compare_vocab_file goes with --compare_checkpoint.")


@configuration
class GrammarConfig(ModelWithTokenizer):
    """A model, and minimal pairs for it to order. `evaluate_grammar.py --help` explains each field."""

    grammar_file: PathStr = option(
        group="Pairs", help="The minimal pairs, as evaluate_grammar.py --input_file makes them."
    )
    electra_network: Network | None = optional(
        help="Of an ELECTRA: the network that scores. Default: of a checkpoint with both, the discriminator, by its "
        "probabilities that the pieces are original."
    )
    positions: Positions = option(
        default="changed",
        help="The pieces of a sentence whose log-probabilities are added up. changed: those that differ, and those of "
        "the words around (--context_words). all: every piece, as in Salazar et al. 2020; takes several times as long.",
    )
    context_words: NonNegativeInt = option(
        default=2, help="With --positions=changed: words on either side of the changed ones."
    )
    batch_pieces: PositiveInt = option(
        default=8192, help="Pieces in a call of the network, padding included: lower it to save memory."
    )
    output_file: PathStr | None = optional(group="Output", help="JSON with the counts of every phenomenon.")


@configuration
class ExtractConfig(ModelParts):
    """One extraction. `extract_features.py --help` explains each field."""

    init_checkpoint: PathStr = option(
        group="Model",
        help="The model: a folder or checkpoint of this program or of google-research/bert, or a Hugging Face folder.",
    )
    max_seq_length: int = option(
        default=128,
        at_least=3,
        help="The number of pieces of a text, special tokens included; longer texts are truncated.",
    )
    input_file: str = option(
        group="Texts",
        help="Texts: one text per line, or two as FIRST ||| SECOND; or a table by the file's name: .jsonl, .json, "
        ".parquet, .csv, .tsv. A path, a folder, a glob in quotes, several with commas, or @LIST, a text file with "
        "one of them per line.",
    )
    encoding: str = text_encoding_option("texts")
    text_field: str = option(default="text", help="In a table: the column with the text.")
    text_pair_field: str | None = optional(
        help="In a table: the column with the second text, if there is one."
    )
    output_file: PathStr = option(
        group="Output",
        help="The output in input order: JSON Lines as google-research/bert writes them, or Parquet if the name ends "
        "in .parquet.",
    )
    layers: tuple[int, ...] | None = optional(
        help="The layers to write: -1 is the last, 0 the first. Default: -1,-2,-3,-4, fewer where the model has fewer."
    )
    pooling: Pooling = option(
        default="none",
        help="none: a vector for each piece. cls: the vector of [CLS] only. mean: the mean of all pieces, one vector "
        "per text.",
    )
    batch_size: PositiveInt = option(
        default=32,
        group="Computing",
        help="The number of texts at a time; texts of similar length are batched.",
    )
    use_tpu: bool = option(
        default=False,
        help="A flag of google-research/bert. The command uses a GPU if there is one, but no TPU.",
    )
    master: str | None = optional(help="A flag of google-research/bert without effect in TensorFlow 2.")
    num_tpu_cores: int = option(default=8, help="A flag of google-research/bert without effect here.")
    use_one_hot_embeddings: bool = option(
        default=False, help="A flag of google-research/bert without effect here; the numbers are the same."
    )

    def __post_init__(self) -> None:
        """Raises UsageError for options that only google-research/bert's format has."""
        if self.use_tpu or self.master:
            raise UsageError(
                "--use_tpu and --master: this command computes on the CPU or a GPU. Leave them out."
            )
