"""Flags, YAML keys and checks that are made from the fields of a configuration class."""

from pathlib import Path
from typing import Literal

import pytest

from morphbert import options
from morphbert.cli.command import Command
from morphbert.errors import UsageError
from morphbert.options import configuration, option


@configuration
class Inner:
    rate: float = option(default=0.5, above=0, at_most=1, help="A rate.", flag="the_rate")
    names: tuple[str, ...] = option(default=("가", "나"), help="Names.", group="Other")
    unseen: int = 7


@configuration
class Outer:
    path: str = option(help="A path.", group="Files")
    lengths: tuple[int, ...] = option(default=(), help="Lengths.")
    kind: Literal["a", "b"] | None = option(default=None, help="A kind.")
    inner: Inner = options.options(default=Inner(names=("다",)), group="Inner")
    steps: int | None = option(default=None, at_least=1, help="Steps.", group="Files")
    epochs: float | None = option(default=None, above=0, help="Epochs.", instead_of="steps")
    deep: bool = option(default=True, help="Whether.")


def command():
    return Command("outer.py", "Does nothing.", "", Outer)


def parsed(*argv):
    received = []
    status = command().run(list(argv), received.append)
    assert status == (0 if received else 2)
    return received[0] if received else None


def test_flags_fill_the_fields_and_those_within():
    found = parsed("--path=p", "--lengths=1, 2", "--kind", "b", "--the_rate=1", "--nodeep", "--epochs=2")
    assert found == Outer(
        path="p",
        lengths=(1, 2),
        kind="b",
        inner=Inner(rate=1.0, names=("다",)),
        epochs=2.0,
        deep=False,
    )
    assert parsed("--path=p") == Outer(path="p")
    assert parsed("--path=p", "--names=라,마").inner.names == ("라", "마")


def test_help_has_the_groups_types_and_defaults(capsys):
    assert command().run(["--help"], None) == 0
    text = capsys.readouterr().out
    flags = [
        line.strip() for line in text.splitlines() if line.startswith(("  --", "Files", "Inner", "Other"))
    ]
    assert flags == [
        *("Files:", "--path=TEXT  (required)", "--lengths=TEXT", "--kind=a|b", "--steps=N"),
        *("--epochs=X", "--[no]deep  (default: true)"),
        *("Inner:", "--the_rate=X  (default: 0.5)"),
        *("Other:", "--names=TEXT  (default: 다)"),
        "--config=TEXT",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "--steps=0 is out of range: it must be at least 1."),
        ({"epochs": float("nan")}, "--epochs=nan is out of range: it must be above 0."),
        ({"steps": 1.5}, "--steps=1.5 must be a whole number"),
        ({"steps": True}, "--steps=True must be a whole number"),
        ({"path": 3}, "--path=3 must be text"),
        ({"deep": "yes"}, "--deep='yes' must be True or False"),
        ({"kind": "c"}, "--kind=c is out of range: it must be one of a, b."),
        ({"lengths": "1,2"}, "--lengths='1,2' must be a tuple"),
        ({"lengths": (1, "2")}, "--lengths='2' must be a whole number"),
    ],
)
def test_values_are_checked_when_the_configuration_is_made(values, message):
    with pytest.raises(UsageError) as raised:
        Outer(**{"path": "p", **values})
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--path is required: A path."),
        (["--path=p", "--steps=0"], "--steps=0 is out of range"),
        (["--path=p", "--the_rate=0"], "--the_rate=0.0 is out of range: it must be above 0 and at most 1."),
        (["--path=p", "--lengths=1,x"], "--lengths=1,x is not a list of numbers"),
        (["--path=p", "--names=a,,b"], "--names is empty at place 2 of 'a,,b'"),
        (["--path=p", "--step=1"], "steps"),
    ],
)
def test_command_lines_are_checked(argv, message, capsys):
    assert parsed(*argv) is None
    assert message in capsys.readouterr().err


def test_paths_and_lists_are_taken():
    found = Outer(path=Path("a") / "b", lengths=[1, 2])
    assert (found.path, found.lengths) == ("a/b", (1, 2))


def test_a_required_field_may_follow_others_and_what_changed_is_known():
    assert options.changed(Outer(path="p", inner=Inner(names=("다",), rate=0.25))) == {
        "path": "p",
        "the_rate": 0.25,
    }


def test_a_file_gives_what_the_command_line_does_not(tmp_path):
    path = tmp_path / "all.yaml"
    path.write_text(
        "outer: {path: p, lengths: [1, 2], steps: 5, the_rate: 0.1}\nbuild_vocab: {vocab_size: 9}\n"
    )
    found = parsed(f"--config={path}", "--the_rate=0.2", "--epochs=1")
    assert found == Outer(path="p", lengths=(1, 2), epochs=1.0, inner=Inner(names=("다",), rate=0.2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outer: {pat: p}", "unknown key 'pat' in the section outer. Did you mean path?"),
        ("outre: {path: p}", "'outre' is not a section. Did you mean outer?"),
        ("build_vocab: {vocab_size: 9}", "has no section outer"),
        ("outer: {path: p, steps: many}", "steps: "),
        ("outer: {path: p, steps: 0}", "--steps=0 is out of range"),
    ],
)
def test_mistakes_in_a_file_are_named(text, message, tmp_path, capsys):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    assert parsed(f"--config={path}") is None
    assert message in capsys.readouterr().err


@configuration
class Trainer:
    train_batch_size: int = option(default=1, help="Batch.")
    dtype: str = option(default="float32", help="Type.")


@pytest.mark.parametrize(
    ("flag", "ours"),
    [("--per_device_train_batch_size=8", "--train_batch_size"), ("--bf16", "--dtype=bfloat16")],
)
def test_hugging_faces_names_are_suggested(flag, ours, capsys):
    assert Command("run.py", "Trains.", "", Trainer).run([flag], print) == 2
    error = capsys.readouterr().err
    assert f"is a name of Hugging Face's; here it is {ours}." in error
    # A command that has no such flag suggests none.
    assert command().run([flag], print) == 2
    assert "Hugging Face" not in capsys.readouterr().err


@pytest.mark.parametrize("value", ["1e3", "1.5", "", "9" * 5000])
def test_a_whole_number_in_another_form_is_refused_with_the_form(value, capsys):
    assert command().run(["--path=p", f"--steps={value}"], None) == 2
    said = capsys.readouterr().err
    assert "it must be a whole number in digits, such as 1000" in said
    assert "4300" not in said


@configuration
class Kinds:
    folder: options.PathStr | None = option(default=None, help="A folder.")
    files: tuple[options.PathStr, ...] = option(default=(), help="Files.")
    steps: options.PositiveInt | None = option(default=None, help="Steps.")
    rate: options.Share = option(default=0.5, help="A share.")
    small: options.NonNegativeInt = option(default=0, at_most=3, help="A number with one more bound.")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "--steps=0 is out of range: it must be at least 1."),
        ({"rate": 1.5}, "--rate=1.5 is out of range: it must be between 0 and 1."),
        ({"small": 4}, "--small=4 is out of range: it must be between 0 and 3."),
        ({"small": -1}, "--small=-1 is out of range: it must be between 0 and 3."),
    ],
)
def test_the_type_of_a_field_sets_its_bounds(values, message):
    with pytest.raises(UsageError, match=message):
        Kinds(**values)


def test_paths_are_known_by_their_type(monkeypatch):
    monkeypatch.setattr(options, "in_form_of_disk", lambda path: path.upper())
    assert Kinds(folder="a", files=("b", "c")) == Kinds(folder="A", files=("B", "C"))
