"""Where the sample texts are, and the tiny model that tests train on them."""

import json
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
MECAB_VOCABULARY = ROOT / "vocab" / "ko-mecab-8k"
SENTENCES = [
    "사과나무를 심었습니다.",
    "대한민국의 주권은 국민에게 있고, 모든 권력은 국민으로부터 나온다.",
    "나는 [MASK]에 간다. 진짜 개꿀잼ㅋㅋㅋ 안보면 후회함!!",
    "  BERT(2019)를  한국어로 다시 학습시키기 韓國語 시작했다\u3000😀 ",
]
SHAPE = ["--max_seq_length=64", "--max_predictions_per_seq=10"]


def write_config(path, **changes):
    """Writes a tiny `bert_config.json` with some values changed; returns its path."""
    values = {
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
    }
    path.write_text(json.dumps({**values, **changes}), encoding="utf-8")
    return path


def save_tensorflow_1(prefix, tensors):
    """Writes tensors by name as a checkpoint of TensorFlow 1, which has names and no objects."""
    import tensorflow as tf

    names, values = list(tensors), list(map(tf.constant, tensors.values()))
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)


def write_random_model(folder, vocabulary, seed=3, **changes):
    """Writes a tiny model of random weights for a vocabulary folder in our own format; returns its path."""
    import numpy as np

    from morphbert.interop import native
    from morphbert.interop.pretrained import Pretrained
    from morphbert.interop.vocabularies import write_vocabulary
    from morphbert.model.config import BertConfig
    from morphbert.model.parameters import pretraining_parameters
    from morphbert.text.loading import load_tokenizer

    folder.mkdir()
    tokenizer = load_tokenizer(str(vocabulary))
    values = json.loads(write_config(folder / "bert_config.json").read_text())
    config = BertConfig(**{**values, "vocab_size": len(tokenizer.vocabulary), **changes})
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(1.0 if p.initial == "ones" else 0.0, 0.2, p.shape).astype(np.float32)
        for name, p in pretraining_parameters(config).items()
    }
    native.write(str(folder), Pretrained(config, weights, "random"))
    write_vocabulary(str(folder), tokenizer, str(vocabulary))
    return folder


def zeros(path):
    """Damages a file: its bytes are zero, as after a power failure."""
    path.write_bytes(bytes(path.stat().st_size))


def flipped_bit(path):
    """Damages a file: one bit in its middle is another."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def make_records(folder, outputs, *flags):
    """Writes records of real Korean sentences, 64 pieces and 10 masks each; returns the folder."""
    from morphbert.cli.create_pretraining_data import main

    files = [
        f"--input_file={GOLDEN}/documents_ko.txt,{GOLDEN}/documents_ko_2.txt",
        f"--vocab_file={GOLDEN}/vocab_ko.txt",
        "--output_file=" + ",".join(f"{folder}/{name}" for name in outputs.split(",")),
    ]
    assert main([*files, "--do_lower_case=false", *SHAPE, *flags]) == 0
    return folder


def learn_vocabulary(folder, text, size, *flags):
    """Learns a vocabulary of a text file; returns its folder."""
    from morphbert.cli.build_vocab import main

    files = [f"--input_file={text}", f"--vocab_dir={folder}"]
    assert main([*files, f"--vocab_size={size}", "--num_workers=1", *flags]) == 0
    return folder
