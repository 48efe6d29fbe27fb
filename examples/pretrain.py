"""Pretrains a small Korean BERT from Python: text → vocabulary → records → training → export → filled masks.

    python examples/pretrain.py [FOLDER]     # FOLDER receives everything, out/example by default

The text is the constitution of Korea, which the extra `konlpy` carries; with it and `cpu` installed, this takes a few
minutes. 19,000 characters make no useful model: give your own files, a larger model and more steps.
"""

import importlib.util
import sys
from pathlib import Path

import morphbert as mb

SHAPE = {"max_seq_length": 64, "max_predictions_per_seq": 10}
VOCAB_SIZE = 1200


def main(folder: str = "out/example", num_train_steps: int = 300) -> list[mb.Filled]:
    """Runs the whole chain; returns the likeliest pieces for each [MASK] of a sentence."""
    out = Path(folder)
    text = Path(importlib.util.find_spec("konlpy").origin).parent / "data/corpus/kolaw/constitution.txt"
    corpus, vocab, records, model = out / "corpus.txt", out / "vocab", out / "train.tfrecord", out / "model"

    mb.prepare_corpus(mb.CorpusConfig(input_file=text, output_file=corpus))
    mb.build_vocab(mb.VocabularyConfig(input_file=corpus, vocab_dir=vocab, vocab_size=VOCAB_SIZE))
    print(mb.load_tokenizer(vocab).tokenize("모든 권력은 국민으로부터 나온다."))

    instances = mb.InstanceConfig(masking="dynamic", objective="none", **SHAPE)
    data = mb.PretrainingDataConfig(
        input_file=corpus, vocab_file=vocab, output_file=records, instances=instances, do_whole_word_mask=True
    )
    mb.create_pretraining_data(data)

    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    (out / "bert_config.json").write_text(mb.BertConfig(VOCAB_SIZE, **sizes).to_json(), encoding="utf-8")
    run = mb.PretrainingConfig(
        bert_config_file=out / "bert_config.json",
        input_file=records,
        vocab_file=vocab,
        output_dir=model,
        do_train=True,
        num_train_steps=num_train_steps,
        warmup_proportion=0.1,
        optimizer=mb.OptimizerConfig(learning_rate=1e-3),
        **SHAPE,
    )
    mb.run_pretraining(run)

    exported = mb.ExportConfig(checkpoint=model, output_dir=out / "huggingface", format="huggingface")
    mb.export_model(exported)
    return mb.fill_mask(mb.FillMaskConfig(checkpoint=model, text="모든 권력은 [MASK]으로부터 나온다."))


if __name__ == "__main__":
    for mask in main(*sys.argv[1:2]):
        print("  ".join(f"{piece} {probability:.1%}" for piece, probability in mask.pieces))
