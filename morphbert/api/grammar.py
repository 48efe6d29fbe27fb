"""Scores minimal pairs with a pretrained model in one call, to measure its knowledge of Korean grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphbert import quiet_tensorflow
from morphbert.api.exchange import filling_tokenizer
from morphbert.atomic_files import atomic_write, check_apart, json_bytes
from morphbert.grammar.cutting import Cutter
from morphbert.grammar.pairs import read_pairs
from morphbert.hints import held_back
from morphbert.interop.configs import GrammarConfig

if TYPE_CHECKING:
    from morphbert.grammar.results import GrammarResult


def evaluate_grammar(config: GrammarConfig) -> GrammarResult:
    """Scores minimal pairs with a pretrained model, and writes the counts where `output_file` says so.

    Returns:
      The numbers of pairs and of those whose correct sentence has the higher score, by phenomenon.

    Raises:
      MorphbertError: pairs, model or vocabulary cannot be read or do not belong together; no file is written then.
    """
    if config.output_file is not None:
        check_apart([config.output_file], [("--grammar_file", config.grammar_file)])
    pairs = read_pairs(config.grammar_file)
    quiet_tensorflow.load()
    import tensorflow as tf
    from tqdm import tqdm

    from morphbert.interop.fill_mask import read_for_pairs
    from morphbert.train.grammar import GrammarEvaluator

    with held_back():
        tokenizer = filling_tokenizer(config)
        model = read_for_pairs(config.checkpoint, tokenizer, config.bert_config_file, config.electra_network)
    cutter = Cutter(tokenizer, model.config.max_position_embeddings, config.positions, config.context_words)
    evaluator = GrammarEvaluator(model.config, pairs, cutter, config.batch_pieces)
    weights = {name: tf.constant(value) for name, value in model.weights.items()}
    with tqdm(desc="Scoring", unit=" pairs", total=evaluator.scored, disable=None) as progress:
        result = evaluator(weights, done=progress.update)
    assert result is not None  # nothing asked it to stop
    if config.output_file is not None:
        scored: dict[str, str | int] = {"positions": config.positions, "context_words": config.context_words}
        if not model.config.has_masked_lm:
            scored["scored_by"] = "discriminator"
        written = {
            "checkpoint": model.source,
            "grammar_file": config.grammar_file,
            **scored,
            **result.to_dict(),
        }
        with atomic_write(config.output_file) as stream:
            stream.write(json_bytes(written, indent=1) + b"\n")
    return result
