"""`fill_mask.py`: the likeliest pieces for each [MASK] of a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from absl import flags

from morphbert.cli import quiet_tensorflow
from morphbert.cli.command import Command


def _command() -> Command:
    command = Command(
        "fill_mask.py",
        "Shows what a pretrained model guesses for each [MASK] of a sentence.",
        """
        fill_mask.py --checkpoint=out/model --vocab_file=out/vocab --text='대한민국의 [MASK]은 국민에게 있다.'
        """,
    )
    command.group("Model")
    command.string(
        "checkpoint",
        None,
        "The model: a folder, of which the newest checkpoint is taken, or a prefix such as out/model/model.ckpt-1000.",
        required=True,
    )
    command.string(
        "bert_config_file", None, "Its configuration. Default: bert_config.json beside the checkpoint."
    )
    command.string(
        "vocab_file",
        None,
        "The vocabulary that it was trained with: a folder made by build_vocab.py, or a plain vocab.txt.",
        required=True,
    )
    command.boolean(
        "do_lower_case", None, "For a plain vocab.txt: lower-case the text. Default: yes, as in BERT."
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
    return command


def _sentences(text: str | None) -> Iterator[str]:
    if text is not None:
        yield text
        return
    for line in sys.stdin:
        if line.strip():
            yield line.strip()


def _fill(values: flags.FlagValues) -> None:
    from morphbert.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(values.vocab_file, values.do_lower_case, values.allow_tokenizer_mismatch)
    tokenizer.check_for_pretraining(values.vocab_file)
    quiet_tensorflow.load()
    from morphbert.interop.fill_mask import MaskFiller

    filler = MaskFiller(values.checkpoint, tokenizer, values.bert_config_file)
    for sentence in _sentences(values.text):
        print(sentence)
        for filled in filler(sentence, values.top_k):
            print(
                "  [MASK]: " + "  ".join(f"{piece} {probability:.1%}" for piece, probability in filled.pieces)
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return _command().run(argv, _fill)


if __name__ == "__main__":
    sys.exit(main())
