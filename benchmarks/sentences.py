"""Sentence splitters of prepare_corpus.py: characters a second of processor time, and memory.

    python benchmarks/sentences.py TEXT_FILE [--splitters=rule,kiwipiepy,kss] [--seconds=30]

TEXT_FILE is what prepare_corpus.py reads, for example JSON Lines with the field `text`. Each splitter runs in a process
of its own on one core, over the paragraphs of the text in one shuffled order, until it is through or has had
`--seconds` of processor time. Loading a model does not count, and is given apart. Splitters that are not installed are
passed over. `--show=N` prints N paragraphs as each one cuts them, to judge by eye.
"""

import argparse
import importlib.util
import json
import random
import resource
import subprocess
import sys
import time

from morphbert.corpus.cleaning import Cleaning
from morphbert.corpus.splitters import load_splitter
from morphbert.formats.raw_documents import InputFormat, json_paragraphs, read_documents


def paragraphs_of(path, field, seed):
    clean = Cleaning()
    found = []
    for document in read_documents(path, InputFormat()):
        lines = json_paragraphs(document, [field]) if document.is_json else document.lines
        found += clean("\n".join(lines))
    random.Random(seed).shuffle(found)
    return found


def measure(name, paragraphs, seconds):
    """One splitter in this process → a dictionary of figures."""
    before = peak_megabytes()
    start = time.process_time()
    split = load_splitter(name)
    split("날씨가 좋다. 나가자.")
    loaded = time.process_time()
    characters = sentences = 0
    for paragraph in paragraphs:
        sentences += len(split(paragraph))
        characters += len(paragraph)
        if time.process_time() - loaded > seconds:
            break
    spent = time.process_time() - loaded
    return {
        "characters": characters,
        "sentences": sentences,
        "per_second": characters / spent,
        "load_seconds": loaded - start,
        "megabytes": peak_megabytes(),
        "megabytes_of_text": before,
    }


def peak_megabytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text")
    parser.add_argument("--text_field", default="text")
    parser.add_argument("--splitters", default="rule,kiwipiepy,kss")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, metavar="N")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # the process of one splitter
    arguments = parser.parse_args()
    if arguments.only or arguments.show:
        paragraphs = paragraphs_of(arguments.text, arguments.text_field, arguments.seed)
    if arguments.only:
        print(json.dumps(measure(arguments.only, paragraphs, arguments.seconds)))
        return
    names = [
        name
        for name in arguments.splitters.split(",")
        if name in ("rule", "line") or importlib.util.find_spec(name) is not None
    ]
    for paragraph in paragraphs[: arguments.show] if arguments.show else ():
        for name in names:
            print(f"{name:>10}  " + " | ".join(load_splitter(name)(paragraph)))
        print()
    if arguments.show:
        return
    print(
        f"{'splitter':10} {'characters/s':>12} {'peak MB':>8} {'load s':>7} {'characters':>11} {'sentences':>10}"
    )
    figures = {}
    for name in names:
        command = [sys.executable, __file__, *sys.argv[1:], f"--only={name}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures[name] = of = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{name:10} {of['per_second']:12,.0f} {of['megabytes']:8,.0f} {of['load_seconds']:7.1f} "
            f"{of['characters']:11,} {of['sentences']:10,}",
            flush=True,
        )
    for name, of in figures.items():
        if name != "rule" and "rule" in figures:
            print(f"rule / {name}: {figures['rule']['per_second'] / of['per_second']:,.0f} times as fast")
    print(f"(of each peak, {min(of['megabytes_of_text'] for of in figures.values()):,.0f} MB are the text)")


if __name__ == "__main__":
    main()
