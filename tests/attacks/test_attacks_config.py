"""Configurations that ask for all memory or all time: refused by name, at once."""

from __future__ import annotations

import json

import pytest

from morphbert.cli.bounded_yaml import parse_yaml
from morphbert.cli.prepare_corpus import main
from morphbert.data.manifest import Manifest
from morphbert.data.store import open_store
from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune.task_file import read_task
from morphbert.model.config import BertConfig
from morphbert.structured import DEEPEST, RepeatedKey, load_json, parse_json
from morphbert.text.metadata import parse_metadata

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "key",
    [
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "hidden_size",
        "max_position_embeddings",
        "type_vocab_size",
    ],
)
def test_sizes_of_a_model_are_bounded(key):
    values = {"vocab_size": 100, key: 1_000_000_000}
    with pytest.raises(MorphbertError, match=rf"{key} is 1000000000; at most [\d,]+ are taken"):
        BertConfig.from_dict(values)


@pytest.mark.parametrize("levels", [DEEPEST - 1, DEEPEST + 1, 100_000])
@pytest.mark.parametrize("form", ["[{}]", '{{"a": {}}}'])
def test_json_has_a_deepest_level(levels, form):
    opening, _, closing = form.format("\n").partition("\n")
    text = opening * levels + "1" + closing * levels
    if levels < DEEPEST:
        assert parse_json(text, "a.json") == load_json(text.encode())
        return
    with pytest.raises(
        MorphbertError, match=r"a.json: not JSON \(values are nested more than 100 levels deep\)"
    ):
        parse_json(text, "a.json")


def test_every_reader_of_json_has_it(tmp_path):
    """None ends in RecursionError."""
    for name in ("task.json", "store.json", "bert_config.json"):
        (tmp_path / name).write_text(DEEP)
    readers = {
        "task": lambda: read_task(str(tmp_path)),
        "tokenizer": lambda: parse_metadata(DEEP.encode(), "morphbert_tokenizer.json"),
        "model": lambda: BertConfig.from_json_file(str(tmp_path / "bert_config.json")),
        "manifest": lambda: Manifest.from_json(DEEP),
        "store": lambda: open_store(str(tmp_path)),
    }
    for name, read in readers.items():
        with pytest.raises((MorphbertError, ValueError)) as error:
            read()
        assert "nested more than 100 levels deep" in str(error.value), name


def test_a_key_that_is_there_twice_is_named(tmp_path):
    """The last one would win in silence."""
    twice = '{"vocab_size": 100, "hidden_size": 32,\n"hidden_size": 64, "num_attention_heads": 2}'
    (tmp_path / "bert_config.json").write_text(twice)
    with pytest.raises(
        MorphbertError, match=r"the key 'hidden_size' occurs more than once in one object \(line 2\)"
    ):
        BertConfig.from_json_file(str(tmp_path / "bert_config.json"))
    with pytest.raises(MorphbertError, match="the key 'format_version' occurs more than once"):
        parse_metadata(b'{"format_version": 1, "format_version": 2}', "morphbert_tokenizer.json")


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ('{"a": {"b": 1},\n"c": [{"b": 1}, {"b": 2}],\n\n"a": 3}', "a", 4),
        ('[{"a": ",{",\n"b": [1, {}, "b"], "\\u0061": 2}]', "a", 2),
        ('{"\\"{": "}", "a\\\\": "\\"{", "\\"{": 1}', '"{', 1),
        ('[{"a": 1,\n"a": 2}, not JSON', "a", 2),
        ('\ufeff{"": 1, "": 1}', "", 1),
    ],
)
def test_a_repeated_key_is_found_in_its_line(text, key, line):
    for given in (text, text.encode()):
        with pytest.raises(RepeatedKey) as error:
            load_json(given)
        assert (error.value.key, error.value.line) == (key, line)


def test_a_byte_order_mark_changes_nothing():
    for text in ('\ufeff{"a": 1}', b'\xef\xbb\xbf{"a": 1}'):
        assert load_json(text) == {"a": 1}


def bomb(levels: int, width: int = 9) -> str:
    """Each level is a list of aliases of the one before: `width ** levels` values."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels + 1)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bomb(9), r"aliases \(\*name\) expand to more than 100,000 values"),
        ("[" * 50_000, "nested more than 100 levels deep"),
        ("{a: " * 50_000, "nested more than 100 levels deep"),
        ("".join("  " * n + "a:\n" for n in range(500)), "nested more than 100 levels deep"),
        ("- " * 2_000 + "a", "nested more than 100 levels deep"),
        ("a: &a [*a]", r"the alias \*a is within the collection that it names"),
        ("a" * 2_000_000, "longer than"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("a:\n  b: 1\n  c: 2\n  'b': 3", r"a\.yaml, line 4: the key 'b' occurs more than once"),
        ("- {a: 1}\n- {b: 1, b: 1}", r"a\.yaml, line 2: the key 'b' occurs more than once"),
        ("a: *b", "is not YAML"),
        ("\t- a", "is not YAML"),
    ],
)
def test_yaml_is_bounded(text, reason):
    with pytest.raises(MorphbertError, match=reason):
        parse_yaml(text, "a.yaml")


def test_yaml_of_every_day_is_read():
    assert parse_yaml("a: &a {b: [1, 2.5, true, 텍스트]}\nc: *a\n", "a.yaml") == {
        name: {"b": [1, 2.5, True, "텍스트"]} for name in ("a", "c")
    }
    assert parse_yaml("a: &a {b: 1}\nc:\n  <<: *a\n  b: 2\n", "a.yaml")["c"] == {"b": 2}
    assert parse_yaml(bomb(3), "a.yaml")["a3"][0][0][0] == ["x"]


@pytest.mark.parametrize("text", [bomb(9), "[" * 50_000, "- a\n- b", "\ufeff[", "\0"])
def test_a_command_answers_a_hostile_experiment(tmp_path, capsys, text):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    assert main([f"--config={path}", f"--input_file={path}", f"--output_file={tmp_path / 'out.txt'}"]) in (
        1,
        2,
    )
    assert "Traceback" not in capsys.readouterr().err
    assert json.dumps(sorted(one.name for one in tmp_path.iterdir())) == '["a.yaml"]'


@pytest.mark.parametrize("value", ["1" * 5_000, "2026-02-31"])
def test_a_yaml_value_that_python_cannot_hold_is_named(value):
    with pytest.raises(UsageError, match=r"x\.yaml is not YAML"):
        parse_yaml(f"a: {value}", "x.yaml")
