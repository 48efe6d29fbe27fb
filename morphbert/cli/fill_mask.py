"""`fill_mask.py`: the likeliest pieces for each [MASK] of a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli import model_flags, quiet_tensorflow
from morphbert.cli.command import Command
from morphbert.errors import UsageError

if TYPE_CHECKING:
    from morphbert.text.tokenizer import Tokenizer


def _command() -> Command:
    command = Command(
        "fill_mask.py",
        "Shows what a pretrained model guesses for each [MASK] of a sentence, here or on a page in the browser.",
        """
        fill_mask.py --checkpoint=out/model --vocab_file=out/vocab --text='대한민국의 [MASK]은 국민에게 있다.'
        fill_mask.py --checkpoint=out/model --vocab_file=out/vocab --serve
        """,
    )
    command.group("Model")
    command.string(
        "checkpoint",
        None,
        "The model: a folder, of which the newest checkpoint is taken, or a prefix such as out/model/model.ckpt-1000. "
        "Hugging Face folders and TensorFlow 1 checkpoints are taken too.",
        required=True,
    )
    model_flags.define_parts(
        command,
        "For a plain vocab.txt: lower-case the text. Default: yes, as in BERT; for one beside the model, unless it has "
        "capital letters.",
    )
    command.boolean(
        "allow_tokenizer_mismatch",
        False,
        "Go on with a warning where Mecab, its dictionary, the casing or vocab.txt are not what the vocabulary folder "
        "was made with. Text may then be cut into other pieces.",
    )
    command.group("Text")
    command.string(
        "text",
        None,
        "A sentence with one or more [MASK]. Without it, sentences are read from standard input, one a line.",
    )
    command.integer("top_k", 5, "Pieces to show for each [MASK].", lower_bound=1)
    command.group("Page")
    command.boolean(
        "serve",
        False,
        "Show a page in the browser instead: type a sentence, see the likeliest pieces with bars and how the sentence "
        "is cut, switch between the checkpoints of the run. Only this machine can reach it.",
    )
    command.integer(
        "port",
        8501,
        "Where the page listens, on 127.0.0.1; 0 for any free one.",
        lower_bound=0,
        upper_bound=65535,
    )
    return command


def _sentences(text: str | None) -> Iterator[str]:
    if text is not None:
        yield text
        return
    for line in sys.stdin:
        if line.strip():
            yield line.strip()


def _tokenizer(values: flags.FlagValues) -> Tokenizer:
    from morphbert.text.loading import load_tokenizer

    if values.vocab_file:
        tokenizer = load_tokenizer(values.vocab_file, values.do_lower_case, values.allow_tokenizer_mismatch)
        tokenizer.check_for_pretraining(values.vocab_file)
        return tokenizer
    quiet_tensorflow.load()
    from morphbert.interop import sources
    from morphbert.interop.vocabularies import tokenizer_of

    model = sources.read(values.checkpoint, values.bert_config_file, None, values.do_lower_case)
    found = tokenizer_of(model)
    if found is None:
        raise UsageError(
            f"--vocab_file is required: there is no vocabulary beside {model.source}. Give the one that the model was "
            "trained with."
        )
    return found


def _fill(values: flags.FlagValues) -> None:
    if values.serve and values.text is not None:
        raise UsageError("--serve and --text: give one of them.")
    tokenizer = _tokenizer(values)
    quiet_tensorflow.load()
    if values.serve:
        _serve(values, tokenizer)
        return
    from morphbert.interop.fill_mask import MaskFiller

    filler = MaskFiller(values.checkpoint, tokenizer, values.bert_config_file)
    for sentence in _sentences(values.text):
        print(sentence)
        for filled in filler(sentence, values.top_k):
            print(
                "  [MASK]: " + "  ".join(f"{piece} {probability:.1%}" for piece, probability in filled.pieces)
            )


def _serve(values: flags.FlagValues, tokenizer: Tokenizer) -> None:
    from morphbert.interop.fill_mask_page import Filling, PageServer

    filling = Filling(values.checkpoint, tokenizer, values.bert_config_file)
    with PageServer(filling, values.port) as server:
        print(f"page: {server.url} shows {filling.first} (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("page: closed")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return _command().run(argv, _fill)


if __name__ == "__main__":
    sys.exit(main())
