"""Imports a model of any known format as one of ours, and lists the weights that were taken."""

from __future__ import annotations

from morphbert.errors import MorphbertError
from morphbert.hints import held_back
from morphbert.interop import electra, native, sources
from morphbert.interop.adapting import with_positions, with_vocabulary
from morphbert.interop.configs import ImportConfig
from morphbert.interop.pretrained import Pretrained, check_keeps, new_folder
from morphbert.interop.vocabularies import tokenizer_of, write_vocabulary
from morphbert.model.parameters import pretraining_parameters
from morphbert.plugins import load_plugins
from morphbert.text.loading import load_tokenizer
from morphbert.text.tokenizer import Tokenizer


@held_back()
def import_model(config: ImportConfig) -> list[str]:
    """Writes the folder; returns lines about its content. Loads the model's plugins.

    Raises:
      MorphbertError: the input does not fit together, or the folder cannot be written; nothing is left then.
    """
    load_plugins(config.plugin)
    model = sources.read(
        config.checkpoint,
        bert_config_file=config.bert_config_file,
        vocab_file=config.vocab_file,
        do_lower_case=config.do_lower_case,
        allow_pickle=config.allow_pickle,
    )
    model = electra.chosen(model, config.electra_network)
    notes = origin_of_parts(model)
    tokenizer, vocabulary = tokenizer_of(model), model.vocabulary
    if config.new_vocab_file is not None:
        if tokenizer is None:
            raise MorphbertError(
                f"--new_vocab_file: there is no vocabulary beside {model.source}, so its embeddings cannot be mapped: "
                "give --vocab_file, the one it was trained with."
            )
        new, vocabulary = load_tokenizer(config.new_vocab_file), config.new_vocab_file
        model, mapped = with_vocabulary(model, tokenizer, new)
        notes.append(f"vocabulary: {mapped}")
        tokenizer = new
    if config.max_position_embeddings is not None:
        before = model.config.max_position_embeddings
        model = with_positions(model, config.max_position_embeddings)
        notes.append(f"positions: {before} before, {config.max_position_embeddings} now")
    read = (model.source, model.vocabulary, config.new_vocab_file, config.bert_config_file)
    check_keeps(config.output_dir, read)
    with new_folder(config.output_dir, config.overwrite) as folder:
        native.write(folder, model.completed(config.seed))
        _write_vocabulary(folder, tokenizer, vocabulary)
    return notes


def _write_vocabulary(folder: str, tokenizer: Tokenizer | None, source: str | None) -> None:
    if tokenizer is not None and source is not None:
        write_vocabulary(folder, tokenizer, source)


def origin_of_parts(model: Pretrained) -> list[str]:
    """Returns a table of the weights of each part that the source has or lacks, and the names of its other weights."""
    parts: dict[str, list[str]] = {}
    for name, parameter in pretraining_parameters(model.config).items():
        parts.setdefault(parameter.part, []).append(name)
    lines = [f"{'weights':<22}{'taken':>7}{'new':>7}"]
    for part, names in parts.items():
        taken = sum(name in model.weights for name in names)
        lines.append(f"{part:<22}{taken:>7}{len(names) - taken:>7}")
    missing = model.missing()
    if missing:
        lines.append(f"new, with initial values: {', '.join(missing)}")
    if model.left_over:
        lines.append(f"left over, not taken: {', '.join(model.left_over)}")
    return lines
