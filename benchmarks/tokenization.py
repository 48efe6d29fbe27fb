"""Characters a second and core: our tokenizers, the bare Mecab engine, and the tokenizers people come from.

    python benchmarks/tokenization.py TEXT_FILE --vocab_dir=VOCABULARY_FOLDER [--bert=CHECKOUT]

TEXT_FILE is UTF-8 with a paragraph a line, or JSON Lines with the field `text`; `.gz` is unpacked. `--last` takes the
last part of it, text that nothing else has read. `--bert` is a checkout of google-research/bert, whose tokenizer is
then timed too. All of them read a block of text in turn, each time in another order, in one process, so that what else
the machine does falls on all alike. They read the whole text `--repeat` times; the first time, when nothing is
remembered yet, and the best are shown. The ratios are what carries over to another machine. `encode` and Hugging Face
give pieces, ids, character ranges and word numbers.
"""

import argparse
import functools
import importlib.util
import itertools
import json
import os
import sys
import time
import types

import mecab_ko

from morphbert.formats.lines import read_lines
from morphbert.text.description import make_tokenizer
from morphbert.text.loading import load_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.words import WordSplitter

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def load_google(checkout, vocabulary):
    """google-research/bert's FullTokenizer, with the one use of TensorFlow 1 (opening a file) replaced."""
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.gfile = types.SimpleNamespace(GFile=functools.partial(open, encoding="utf-8", newline="\n"))
    six = types.ModuleType("six")
    six.PY3 = True
    before = {name: sys.modules.get(name) for name in ("tensorflow", "six")}
    sys.modules.update(tensorflow=tensorflow, six=six)
    spec = importlib.util.spec_from_file_location("original", os.path.join(checkout, "tokenization.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, old in before.items():
        if old is None:
            del sys.modules[name]
        else:
            sys.modules[name] = old
    return module.FullTokenizer(vocabulary, do_lower_case=False).tokenize


def load_hugging_face(vocabulary, lowercase, strip_accents):
    """Hugging Face's Rust tokenizer itself, without the Python layer of transformers; None if not installed."""
    try:
        import tokenizers
    except ImportError:
        return None
    fast = tokenizers.BertWordPieceTokenizer(vocabulary, lowercase=lowercase, strip_accents=strip_accents)

    def encode(text):
        found = fast.encode(text, add_special_tokens=False)
        return found.ids, found.tokens, found.offsets, found.word_ids

    return encode


# What is done to text without an analyser: the name, lower case, accents stripped.
CASINGS = (("cased", False, False), ("lower case", True, False), ("lower case, no accents", True, True))


def contestants(vocab_dir, checkout):
    vocabulary = os.path.join(vocab_dir, "vocab.txt")

    def plain(*casing):
        return make_tokenizer(load_vocabulary(vocabulary), WordSplitter(Normalizer("bert", *casing)))

    # Each has a tokenizer of its own, so that none finds what another has remembered.
    found = {
        "Mecab engine alone, wakati": mecab_ko.Tagger("-Owakati").parse,
        "morphbert with Mecab, tokenize": load_tokenizer(vocab_dir).tokenize,
        "morphbert with Mecab, encode": load_tokenizer(vocab_dir).encode,
    }
    pairs = [
        (f"morphbert with Mecab, {call}", "Mecab engine alone, wakati") for call in ("tokenize", "encode")
    ]
    for name, *casing in CASINGS:
        ours, theirs = f"morphbert {name}, encode", f"Hugging Face, Rust, {name}"
        found[ours] = plain(*casing).encode
        hugging_face = load_hugging_face(vocabulary, *casing)
        if hugging_face is not None:
            found[theirs] = hugging_face
            pairs.append((ours, theirs))
    ours = "morphbert cased, tokenize"
    found[ours] = plain(False).tokenize
    if checkout:
        found["google-research/bert"] = load_google(checkout, vocabulary)
        pairs.append((ours, "google-research/bert"))
    return found, pairs


def take_turns(functions, lines):
    """The seconds of processor time of each function over all lines."""
    order = list(functions)
    seconds = dict.fromkeys(order, 0.0)
    for block in blocks(lines):
        for name in order:
            function = functions[name]
            start = time.process_time()
            for line in block:
                function(line)
            seconds[name] += time.process_time() - start
        order.append(order.pop(0))
    return seconds


def blocks(lines, characters=50_000):
    """Lines in blocks, each long enough for the processor's caches to belong to the tokenizer that reads it."""
    block, size = [], 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= characters:
            yield block
            block, size = [], 0
    yield block


def read_text(path):
    lines = list(read_lines(path))
    if ".json" in os.path.basename(path):
        lines = [line for row in lines for line in json.loads(row)["text"].splitlines()]
    return [line for line in lines if line.strip()]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text")
    parser.add_argument("--vocab_dir", required=True)
    parser.add_argument("--bert", help="a checkout of google-research/bert")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--last", type=int, help="the number of characters, from the end; default: all")
    arguments = parser.parse_args()
    lines = read_text(arguments.text)
    if arguments.last:
        sizes = itertools.accumulate(map(len, reversed(lines)))
        lines = lines[-1 - sum(size < arguments.last for size in sizes) :]
    characters = sum(map(len, lines))
    functions, pairs = contestants(arguments.vocab_dir, arguments.bert)
    turns = [take_turns(functions, lines) for _ in range(arguments.repeat)]
    first, best = (
        {name: characters / choose([turn[name] for turn in turns]) / 1e6 for name in functions}
        for choose in (lambda seconds: seconds[0], min)
    )
    print(f"{characters:,} characters; million characters a second of processor time,")
    print(f"{'':50}{'first turn':>12}{f'best of {arguments.repeat}':>12}")
    for name in functions:
        print(f"  {name:48}{first[name]:>12.2f}{best[name]:>12.2f}")
    for ours, theirs in pairs:
        ratios = (speed[ours] / speed[theirs] for speed in (first, best))
        print(f"  {f'{ours} / {theirs}':76}" + "".join(f"{ratio:>8.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
