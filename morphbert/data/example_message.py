"""Reads `tf.train.Example` messages with protobuf, without TensorFlow."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_PACKAGE = "morphbert"
_Field = descriptor_pb2.FieldDescriptorProto


def parse_example(data: bytes) -> dict[str, list[int] | list[float]]:
    """Returns the values of a serialized `tf.train.Example` by name, from packed and unpacked lists.

    Raises:
      ValueError: the bytes are not an Example of int64 and float features.
    """
    try:
        features = _example_class().FromString(data).features.feature
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a tf.train.Example: {error}") from error
    values: dict[str, list[int] | list[float]] = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list":
            raise ValueError(f"not a tf.train.Example of numbers: the feature {name} contains bytes")
        values[name] = list(getattr(feature, kind).value) if kind else []
    return values


@cache
def _example_class() -> Any:
    """Returns the message class, as tensorflow/core/example/{example,feature}.proto define it.

    It has a separate descriptor pool, because TensorFlow registers the same messages in the default pool.
    """
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package=_PACKAGE, syntax="proto3")
    for name, kind in (
        ("BytesList", _Field.TYPE_BYTES),
        ("FloatList", _Field.TYPE_FLOAT),
        ("Int64List", _Field.TYPE_INT64),
    ):
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, label=_Field.LABEL_REPEATED, type=kind)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), start=1):
        field = _add_message(feature, name.replace("List", "_list").lower(), number, name)
        field.oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _add_message(entry, "value", 2, "Feature")
    _add_message(features, "feature", 1, "Features.FeatureEntry").label = _Field.LABEL_REPEATED
    _add_message(file.message_type.add(name="Example"), "features", 1, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


def _add_message(owner: Any, name: str, number: int, kind: str) -> Any:
    """Adds a field whose type is a message of this file."""
    return owner.field.add(
        name=name,
        number=number,
        label=_Field.LABEL_OPTIONAL,
        type=_Field.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.{kind}",
    )
