"""Characters a second and core: our tokenizers, the bare Mecab engine, and the tokenizers people come from.

    python benchmarks/tokenization.py TEXT_FILE --vocab_dir=VOCABULARY_FOLDER [--bert=CHECKOUT]

TEXT_FILE is UTF-8 with a paragraph a line, or JSON Lines with the field `text`; `.gz` is unpacked. `--bert` is a
checkout of google-research/bert, whose tokenizer is then timed too. Each one reads the whole text `--repeat` times in
turn with the others, in one process; the first time, when nothing is remembered yet, and the best are shown. The ratios
are what carries over to another machine.
"""

import argparse
import functools
import importlib.util
import json
import os
import sys
import time
import types

import mecab_ko

from morphbert.formats.lines import read_lines
from morphbert.text.loading import bert_tokenizer, load_tokenizer
from morphbert.text.vocabulary_file import load_vocabulary

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


def load_hugging_face(vocabulary):
    """Hugging Face's Rust tokenizer itself, without the Python layer of transformers; None if not installed."""
    try:
        import tokenizers
    except ImportError:
        return None
    fast = tokenizers.BertWordPieceTokenizer(vocabulary, lowercase=False, strip_accents=False)
    return lambda text: fast.encode(text, add_special_tokens=False).tokens


def contestants(vocab_dir, checkout):
    vocabulary = os.path.join(vocab_dir, "vocab.txt")

    def plain():
        return bert_tokenizer(load_vocabulary(vocabulary), do_lower_case=False)

    # Each has a tokenizer of its own, so that none finds what another has remembered.
    found = {
        "Mecab engine alone, wakati": mecab_ko.Tagger("-Owakati").parse,
        "morphbert with Mecab, tokenize": load_tokenizer(vocab_dir).tokenize,
        "morphbert with Mecab, encode": load_tokenizer(vocab_dir).encode,
        "morphbert without analyser, tokenize": plain().tokenize,
        "morphbert without analyser, encode": plain().encode,
    }
    hugging_face = load_hugging_face(vocabulary)
    if hugging_face is not None:
        found["Hugging Face, Rust"] = hugging_face
    if checkout:
        found["google-research/bert"] = load_google(checkout, vocabulary)
    return found


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
    arguments = parser.parse_args()
    lines = read_text(arguments.text)
    characters = sum(map(len, lines))
    functions = contestants(arguments.vocab_dir, arguments.bert)
    times = {name: [] for name in functions}
    for _ in range(arguments.repeat):
        for name, function in functions.items():
            start = time.process_time()
            for line in lines:
                function(line)
            times[name].append(time.process_time() - start)
    first, best = (
        {name: characters / choose(seconds) / 1e6 for name, seconds in times.items()}
        for choose in (lambda seconds: seconds[0], min)
    )
    print(f"{characters:,} characters; million characters a second of processor time,")
    print(f"{'':40}{'first turn':>12}{f'best of {arguments.repeat}':>12}")
    for name in functions:
        print(f"  {name:38}{first[name]:>12.2f}{best[name]:>12.2f}")
    pairs = [("with Mecab", "Mecab engine alone, wakati")]
    pairs += [
        ("without analyser", name) for name in ("google-research/bert", "Hugging Face, Rust") if name in best
    ]
    for ours, theirs in pairs:
        for call in ("tokenize", "encode"):
            name = f"morphbert {ours}, {call}"
            ratios = (speed[name] / speed[theirs] for speed in (first, best))
            print(f"  {f'{ours}, {call} / {theirs}':56}" + "".join(f"{ratio:>8.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
