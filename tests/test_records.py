"""The bytes of records: against protobuf and TensorFlow's own reader, and damaged in every way."""

import contextlib
import gzip
import io
import struct

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphbert.data import records
from morphbert.data.example_message import parse_example
from morphbert.data.manifest import Manifest, load_manifest, manifest_path
from morphbert.data.matrices import framed_rows
from morphbert.errors import MorphbertError

VALUES = {
    "input_ids": [2, 0, 127, 128, 31999, 119_546, 200_000, 3],
    "masked_lm_weights": [1.0, 0.1, 0.0],
    "next_sentence_labels": [1],
    "empty": [],
    "negative": [-1, 2**63 - 1, -(2**63)],
    "한국어": [5],
}


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def tensorflow_example(tf, values):
    feature = {}
    for name, numbers in values.items():
        if numbers and isinstance(numbers[0], float):
            feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=numbers))
        else:
            feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))
    return tf.train.Example(features=tf.train.Features(feature=feature))


def test_serialized_bytes_are_protobufs_own(tf):
    expected = tensorflow_example(tf, VALUES).SerializeToString(deterministic=True)
    assert records.serialize_example(VALUES) == expected


def test_arrays_and_lists_give_the_same_bytes():
    arrays = {"input_ids": np.array([1, 300], np.int32), "masked_lm_weights": np.array([1, 0], np.float32)}
    lists = {"input_ids": [1, 300], "masked_lm_weights": [1.0, 0.0]}
    assert records.serialize_example(arrays) == records.serialize_example(lists)


def test_parse_reads_what_protobuf_writes(tf):
    parsed = parse_example(tensorflow_example(tf, VALUES).SerializeToString())
    assert parsed.keys() == VALUES.keys()
    for name, numbers in VALUES.items():
        assert parsed[name] == pytest.approx(numbers)


def test_parse_reads_unpacked_lists():
    # One field per value, as encoders from before proto3 write them.
    int_list = b"\x08\x05\x08\xac\x02"
    feature = b"\x1a" + bytes([len(int_list)]) + int_list
    entry = b"\x0a\x01x\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    assert parse_example(b"\x0a" + bytes([len(features)]) + features) == {"x": [5, 300]}


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_parse_of_any_bytes_is_a_result_or_a_value_error(data):
    with contextlib.suppress(ValueError):
        parse_example(data)


@given(
    st.dictionaries(
        st.text(max_size=5).filter(lambda s: s.isprintable()),
        st.one_of(
            st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8),
            st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=8),
        ),
        max_size=4,
    )
)
@settings(max_examples=200, deadline=None)
def test_parse_inverts_serialize(values):
    assert parse_example(records.serialize_example(values)) == values


def test_files_are_read_by_tensorflow_and_back(tf, tmp_path):
    payloads = [b"", b"a", bytes(range(256)) * 5]
    ours = tmp_path / "ours"
    with open(ours, "wb") as stream:
        writer = records.RecordWriter(stream)
        for payload in payloads:
            writer.write(payload)
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(ours))] == payloads
    theirs = str(tmp_path / "theirs.gz")
    with tf.io.TFRecordWriter(theirs, options="GZIP") as tf_writer:
        for payload in payloads:
            tf_writer.write(payload)
    with gzip.open(theirs) as stream:
        assert list(records.read_records(stream)) == payloads


@pytest.mark.parametrize("rows", [1, 300])
@pytest.mark.parametrize(
    ("least", "most"), [(0, 100), (0, 200), (0, 32_000), (0, 2**22), (-1, 40), (-1, 16_000)]
)
def test_many_records_at_once_are_each_of_them(rows, least, most):
    """Numbers of one to four and of ten bytes, beside features of fixed length, in records of many lengths."""
    random = np.random.default_rng(most)
    kept = random.random((rows, 128)) < random.random((rows, 1))
    columns = {
        "input_ids": np.where(kept, random.integers(least, most, (rows, 128)), 0),
        "masked_lm_ids": random.integers(0, 300, (rows, 3)),
        "masked_lm_weights": random.integers(0, 2, (rows, 20)).astype(np.float32),
        "input_mask": random.random((rows, 128)) < 0.5,
        "next_sentence_labels": random.integers(0, 2, (rows, 1)).astype(np.uint8),
    }
    each = [
        records.frame(
            records.serialize_example({name: values[row].tolist() for name, values in columns.items()})
        )
        for row in range(rows)
    ]
    assert framed_rows(columns) == b"".join(each)


def test_damage_is_found_and_named():
    stream = io.BytesIO()
    writer = records.RecordWriter(stream)
    for payload in (b"first", b"second", b"third"):
        writer.write(payload)
    data = stream.getvalue()
    second = 16 + len(b"first")
    for position in range(second, second + 16 + len(b"second")):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        reader = records.read_records(io.BytesIO(bytes(damaged)))
        assert next(reader) == b"first"
        with pytest.raises(records.CorruptRecord, match=f"record 1 \\(at byte {second}\\)") as caught:
            next(reader)
        assert (caught.value.number, caught.value.offset) == (1, second)
    whole = {0, second, second + 22, len(data)}
    for end in range(len(data)):
        if end not in whole:
            with pytest.raises(records.CorruptRecord, match="ends after"):
                list(records.read_records(io.BytesIO(data[:end])))


def test_damaged_gzip_is_a_corrupt_record():
    stream = io.BytesIO()
    records.RecordWriter(stream).write(bytes(1000))
    packed = gzip.compress(stream.getvalue())
    with pytest.raises(records.CorruptRecord):
        list(records.read_records(gzip.GzipFile(fileobj=io.BytesIO(packed[: len(packed) // 2]))))


def test_a_length_with_a_sound_checksum_and_nothing_behind_it():
    header = struct.pack("<Q", 10)
    crc = google_crc32c.value(header)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    with pytest.raises(records.CorruptRecord, match="ends after 0 of 14 bytes"):
        list(records.read_records(io.BytesIO(header + struct.pack("<I", masked))))


def test_the_schema():
    schema = records.features(records.RecordShape(128, 20))
    assert [f.length for f in schema.values()] == [128, 128, 128, 20, 20, 20, 1]
    assert {name for name, f in schema.items() if f.dtype == "float"} == {"masked_lm_weights"}


MANIFEST = Manifest(
    tokenizer={"sha256": "0" * 64, "size": 8},
    max_seq_length=128,
    max_predictions_per_seq=20,
    objective="nsp",
    masking={"unit": "piece", "prob": 0.15, "static": True},
    mode="fast",
    dupe_factor=10,
    short_seq_prob=0.1,
    random_seed=12345,
    num_records=3,
    num_documents=2,
    num_sentences=4,
    inputs=[{"name": "헌법.txt", "bytes": 12}],
    outputs={"train.tfrecord": 3},
)


def test_manifest_round_trip(tmp_path):
    record_file = str(tmp_path / "train.tfrecord")
    assert load_manifest(record_file) is None
    assert load_manifest(record_file, io.FileIO) is None
    with open(manifest_path(record_file), "w", encoding="utf-8") as stream:
        stream.write(MANIFEST.to_json())
    assert load_manifest(record_file) == MANIFEST
    assert "헌법.txt" in MANIFEST.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a manifest"),
        ('{"format_version": 99, "morphbert_version": "9.1"}', "format version 99.*9.1"),
        ('{"format_version": 1}', "incomplete"),
    ],
)
def test_manifest_that_cannot_be_used(text, message):
    with pytest.raises(MorphbertError, match=message):
        Manifest.from_json(text, "x.manifest.json")
