"""How tests of data creation run its command, on real Korean sentences, and read and judge what it made."""

from pathlib import Path

from samples import GOLDEN

from morphbert.cli.create_pretraining_data import main
from morphbert.data.example_message import parse_example
from morphbert.data.records import read_records

KOREAN = f"{GOLDEN / 'documents_ko.txt'},{GOLDEN / 'documents_ko_2.txt'}"
VOCABULARY = GOLDEN / "vocab_ko.txt"


def flags(output, **more):
    values = {
        "input_file": KOREAN,
        "vocab_file": VOCABULARY,
        "do_lower_case": "false",
        "max_seq_length": 32,
        "max_predictions_per_seq": 5,
        "dupe_factor": 3,
        "output_file": output,
        **more,
    }
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def create(output, **more):
    assert main(flags(output, **more)) == 0


def read(path):
    with open(path, "rb") as stream:
        return [parse_example(record) for record in read_records(stream)]


def files_of(folder):
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file()}


def within_three_standard_errors(successes, trials, probability):
    """Whether independent trials with a probability may well have so many successes."""
    error = (probability * (1 - probability) / trials) ** 0.5
    return abs(successes / trials - probability) <= 3 * error
