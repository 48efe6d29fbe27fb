"""`fill_mask.py`: shows the most likely pieces for each [MASK] of a sentence."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator

from morphbert import quiet_tensorflow
from morphbert.api.exchange import filling_tokenizer, mask_filler
from morphbert.cli.command import Command, main_of
from morphbert.hints import held_back
from morphbert.interop.configs import FillMaskConfig
from morphbert.text.unknown_share import say_unknown_share


def _command() -> Command:
    return Command(
        "fill_mask.py",
        "Shows a pretrained model's predictions for each [MASK] of a sentence, in the terminal or in the browser.",
        """
        fill_mask.py --checkpoint=out/model --vocab_file=out/vocab --text='대한민국의 [MASK]은 국민에게 있다.'
        fill_mask.py --checkpoint=out/model --vocab_file=out/vocab --serve
        fill_mask.py --checkpoint=out/model --serve --compare_checkpoint=out/other_model
        """,
        FillMaskConfig,
    )


def _sentences(text: str | None) -> Iterator[str]:
    if text is not None:
        yield text
        return
    for line in sys.stdin:
        if line.strip():
            yield line.strip()


def _fill(config: FillMaskConfig) -> None:
    if not config.vocab_file:  # a named vocabulary is checked before TensorFlow is loaded
        quiet_tensorflow.load()
    if config.serve:
        _serve(config)
        return
    with held_back():
        filler = mask_filler(config)
        if config.text is not None:
            filler.check(config.text)
    asked: list[str] = []
    for sentence in _sentences(config.text):
        asked.append(sentence)
        print(sentence)
        for filled in filler(sentence, config.top_k):
            print(
                "  [MASK]: " + "  ".join(f"{piece} {probability:.1%}" for piece, probability in filled.pieces)
            )
    say_unknown_share(filler.tokenizer, asked, "the sentences")


def _serve(config: FillMaskConfig) -> None:
    with held_back():
        tokenizer = filling_tokenizer(config)
        quiet_tensorflow.load()
        from morphbert.interop.fill_mask import COMPARED
        from morphbert.interop.fill_mask_page import Filling, PageServer

        filling = Filling(config.checkpoint, tokenizer, config.bert_config_file)
        compared = None
        if config.compare_checkpoint:
            other = dataclasses.replace(
                config,
                checkpoint=config.compare_checkpoint,
                vocab_file=config.compare_vocab_file,
                bert_config_file=None,
            )
            tokenizer = filling_tokenizer(other, COMPARED.vocab_file)
            compared = Filling(other.checkpoint, tokenizer, flags=COMPARED)
    with PageServer(filling, config.port, compared) as server:
        beside = f" beside {compared.first} of {compared.name}" if compared else ""
        print(f"page: {server.url} shows {filling.first}{beside} (Ctrl-C ends it)", flush=True)
        server.serve_forever()
        print("page: closed")


main = main_of(_command, _fill)


if __name__ == "__main__":
    sys.exit(main())
