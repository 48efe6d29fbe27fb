"""Experiment files of another shape, translated key by key: `TOKENIZER`, `MODEL`, `MODE` in capitals.

TOKENIZER: vocab/mine
MODEL:
  modelname: bert_config.json
  PARAMETERS: {learning_rate: 3e-5, batch_size: 32}
  CHECKPOINT: out/model
MODE: do_train
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from morphbert.cli.foreign_names import suggestion

_SIGNS = ("TOKENIZER", "MODEL", "MODE", "PARAMETERS")
_OURS = {
    "tokenizer": "vocab_file",
    "checkpoint": "init_checkpoint",
    "modelname": "bert_config_file",
    "batch_size": "train_batch_size",
    "epochs": "num_train_epochs",
    "max_len": "max_seq_length",
}


def is_of_other_shape(content: Mapping[Any, Any]) -> bool:
    """Returns whether a file has the keys in capitals of the other shape."""
    return any(sign in content for sign in _SIGNS)


def translation(content: Mapping[Any, Any], sections: Mapping[str, str]) -> str:
    """Returns a line for each value of the file: its key and value, and the section and key here.

    Args:
      content: the file.
      sections: the section of each key that the command has.
    """
    lines = []
    for path, value in _values(content):
        key = path[-1].lower()
        if key == "mode":
            modes = value if isinstance(value, list) else [value]
            lines += [_line(("MODE",), mode, str(mode), "true", sections) for mode in modes]
        else:
            lines.append(_line(path, value, _OURS.get(key, key), str(value), sections))
    return "\n".join(lines)


def _line(path: tuple[str, ...], value: Any, name: str, ours: str, sections: Mapping[str, str]) -> str:
    given = f"  {'.'.join(path)}: {value}"
    if name in sections:
        return f"{given} → section {sections[name]}: {name}: {ours}"
    return f"{given} → {suggestion(name, sections) or 'this command has no such key: leave it out.'}"


def _values(content: Mapping[Any, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in content.items():
        path = (*above, str(key))
        if isinstance(value, Mapping):
            yield from _values(value, path)
        else:
            yield path, value
