"""How long build_vocab.py takes and how much memory it needs, for a corpus and for many times as much text.

    python benchmarks/vocabulary.py petitions.txt reviews.txt [--repeat=1,10,70] [--analyzer=none]

With `--repeat`, a copy changes the syllables of one line in twenty, each copy in its own way: so the distinct words
grow with the text, as they do in a real corpus. `memory` is the peak of anonymous memory of all processes together
(see data.py). The copies go to `--folder`, one corpus at a time.
"""

import argparse
import os
import shutil
import sys
import tempfile

from data import REPOSITORY, measure

_SYLLABLES = range(ord("가"), ord("힣") + 1)


def write_copies(paths, copies, output):
    """The files `copies` times, 5% of the lines of each copy but the first with other syllables."""
    with open(output, "wb") as out:
        for copy in range(copies):
            # A step within the syllables, different for every copy: 사과 becomes two others.
            moved = {
                code: ord("가") + (code - ord("가") + 151 * copy) % len(_SYLLABLES) for code in _SYLLABLES
            }
            for path in paths:
                with open(path, encoding="utf-8", newline="\n") as lines:
                    for number, line in enumerate(lines):
                        changed = copy and (number + copy) % 20 == 0
                        out.write((line.translate(moved) if changed else line).encode("utf-8"))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", nargs="+", help="text files, a sentence a line")
    parser.add_argument("--repeat", default="1", help="how many copies, several with commas")
    parser.add_argument("--analyzer", default="mecab")
    parser.add_argument("--learner", default="bpe")
    parser.add_argument("--vocab_size", default="32000")
    parser.add_argument("--num_workers", default="0")
    parser.add_argument("--folder", help="where the corpora are written (default: a temporary folder)")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(dir=arguments.folder)
    print(f"{'':<44}{'wall':>11}{'cpu':>11}{'memory':>12}")
    try:
        for copies in map(int, arguments.repeat.split(",")):
            corpus = os.path.join(folder, "corpus.txt")
            write_copies(arguments.text, copies, corpus)
            measure(
                f"{os.path.getsize(corpus) / 1e6:.0f} MB of text, {arguments.analyzer}, {arguments.learner}",
                [
                    sys.executable,
                    str(REPOSITORY / "build_vocab.py"),
                    f"--input_file={corpus}",
                    f"--vocab_dir={os.path.join(folder, 'vocab')}",
                    f"--vocab_size={arguments.vocab_size}",
                    f"--analyzer={arguments.analyzer}",
                    f"--learner={arguments.learner}",
                    f"--num_workers={arguments.num_workers}",
                ],
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
