"""`evaluate_grammar.py`: a model and minimal pairs → how many it orders rightly; or, with `--input_file`, the pairs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from morphbert import files, quiet_tensorflow
from morphbert.api.grammar import evaluate_grammar
from morphbert.cli.command import Command
from morphbert.errors import MorphbertError
from morphbert.grammar.making import GrammarPairsConfig, make_grammar_pairs
from morphbert.grammar.phenomena import PHENOMENA
from morphbert.interop.configs import GrammarConfig


def _command() -> Command:
    return Command(
        "evaluate_grammar.py",
        "Tells how often a model prefers a right Korean sentence to one with a wrong morpheme; makes such pairs.",
        """
        evaluate_grammar.py --input_file=held_out.txt --grammar_file=grammar.jsonl
        evaluate_grammar.py --checkpoint=out/model --grammar_file=grammar.jsonl --output_file=out/grammar.json
        """,
        GrammarConfig,
        ("input_file", GrammarPairsConfig),
    )


def _make(config: GrammarPairsConfig) -> None:
    start = time.monotonic()
    made = make_grammar_pairs(config)
    width = max(map(len, PHENOMENA))
    for name, phenomenon in PHENOMENA.items():
        print(f"{name:<{width}}  {made.counts[name]:>6}  {phenomenon.example}")
    print(
        f"Grammar: read {made.sentences:,} sentences, wrote {made.total:,} pairs to {config.grammar_file} in "
        f"{time.monotonic() - start:.0f} s."
    )


def _evaluate(config: GrammarConfig) -> None:
    if not files.exists(config.grammar_file):  # said before TensorFlow is loaded
        raise MorphbertError(
            f"--grammar_file={config.grammar_file}: there is no such file. Make it with --input_file=TEXT."
        )
    quiet_tensorflow.load()
    start = time.monotonic()
    result = evaluate_grammar(config)
    print(result.table())
    scored = (
        "every piece"
        if config.positions == "all"
        else f"changed pieces and {config.context_words} words around"
    )
    where = f", written to {config.output_file}" if config.output_file else ""
    print(f"Grammar: scored {scored} in {time.monotonic() - start:.0f} s{where}.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return _command().run(
        argv, lambda config: _make(config) if isinstance(config, GrammarPairsConfig) else _evaluate(config)
    )


if __name__ == "__main__":
    sys.exit(main())
