"""Regenerates pretraining_data.json: digests of google-research/bert's records of the documents here.

    python tests/golden/regenerate_pretraining_data.py PATH_OF_A_CHECKOUT

It runs that project's own create_pretraining_data.py (last commit, eedf571) in a process of its own under
TensorFlow 2, whose `compat.v1` still has everything that the program asks `tensorflow` for.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence

from morphbert.data.example_message import parse_example
from morphbert.data.records import read_records

HERE = os.path.dirname(os.path.abspath(__file__))
DIGESTS = os.path.join(HERE, "pretraining_data.json")

# name → input files, number of output files, flags. Paths are completed by `command_flags`.
CASES: dict[str, tuple[Sequence[str], int, Mapping[str, str]]] = {
    "korean cased": (
        ["documents_ko.txt", "documents_ko_2.txt"],
        1,
        {"vocab_file": "vocab_ko.txt", "do_lower_case": "false", "max_seq_length": "64"},
    ),
    "korean cased, whole words, three files": (
        ["documents_ko_2.txt", "documents_ko.txt"],
        3,
        {
            "vocab_file": "vocab_ko.txt",
            "do_lower_case": "false",
            "do_whole_word_mask": "true",
            "max_seq_length": "48",
            "max_predictions_per_seq": "7",
            "dupe_factor": "3",
            "random_seed": "7",
        },
    ),
    "korean lower-cased, short sequences": (
        ["documents_ko.txt"],
        1,
        {
            "vocab_file": "vocab_ko.txt",
            "max_seq_length": "20",
            "max_predictions_per_seq": "20",
            "masked_lm_prob": "0.4",
            "short_seq_prob": "0.6",
            "dupe_factor": "2",
        },
    ),
    "english": (["documents_en.txt"], 1, {"vocab_file": "vocab_en.txt"}),
    "english, whole words, two files": (
        ["documents_en.txt", "documents_en.txt"],
        2,
        {
            "vocab_file": "vocab_en.txt",
            "do_whole_word_mask": "true",
            "max_seq_length": "32",
            "max_predictions_per_seq": "5",
            "dupe_factor": "4",
            "random_seed": "0",
        },
    ),
}

_RUN = """
import runpy, sys
import tensorflow.compat.v1 as tf
sys.modules["tensorflow"] = tf
sys.path.insert(0, sys.argv[1])
sys.argv[:2] = [sys.argv[1] + "/create_pretraining_data.py"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def output_names(folder: str, count: int) -> list[str]:
    return [os.path.join(folder, f"records{index}.tfrecord") for index in range(count)]


def command_flags(name: str, folder: str) -> list[str]:
    """The flags of one case as both programs take them; its output files go into `folder`."""
    inputs, outputs, flags = CASES[name]
    words = [
        "--input_file=" + ",".join(os.path.join(HERE, file) for file in inputs),
        "--output_file=" + ",".join(output_names(folder, outputs)),
    ]
    for flag, value in flags.items():
        words.append(f"--{flag}={os.path.join(HERE, value) if flag == 'vocab_file' else value}")
    return words


def original_command(checkout: str, flags: Iterable[str]) -> list[str]:
    """The command line that runs the original program with these flags."""
    return [sys.executable, "-c", _RUN, os.path.abspath(checkout), *flags]


def run_original(checkout: str, flags: Iterable[str]) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        original_command(checkout, flags),
        check=True,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def digest(path: str) -> dict[str, object]:
    """Number of records in a file and the hash of their parsed contents, in their order."""
    content = hashlib.sha256()
    count = 0
    with open(path, "rb") as stream:
        for record in read_records(stream):
            content.update(json.dumps(parse_example(record), sort_keys=True).encode())
            count += 1
    return {"records": count, "sha256": content.hexdigest()}


def main() -> None:
    if len(sys.argv) != 2 or not os.path.exists(os.path.join(sys.argv[1], "create_pretraining_data.py")):
        sys.exit(__doc__)
    digests = {}
    for name, (_, outputs, _) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                run_original(sys.argv[1], command_flags(name, folder))
            except subprocess.CalledProcessError as error:
                sys.exit(f"{name}: the original program failed:\n{error.stderr}")
            digests[name] = [digest(path) for path in output_names(folder, outputs)]
        print(f"{name}: {digests[name]}")
    with open(DIGESTS, "w", encoding="utf-8") as stream:
        json.dump(digests, stream, indent=2, sort_keys=True)
        stream.write("\n")


if __name__ == "__main__":
    main()
