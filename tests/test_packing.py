"""Less padding: packed examples stay apart, crossing documents, length bins, and listed words masked more often."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from creating import read
from hypothesis import given
from hypothesis import strategies as st
from samples import GOLDEN, write_config

from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.inspect_records import main as inspect
from morphbert.cli.run_pretraining import main as train
from morphbert.data import listed_words
from morphbert.data.config import InstanceConfig
from morphbert.data.manifest import load_manifest
from morphbert.data.outputs import binned_name
from morphbert.data.packing import best_fit
from morphbert.data.records import RecordShape, features
from morphbert.errors import UsageError
from morphbert.model.config import BertConfig
from morphbert.model.losses import counts, pretraining_sums, total_loss
from morphbert.model.parameters import pretraining_parameters
from morphbert.text.loading import load_tokenizer

TOKENS = (GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines()
CLS, SEP, SIZE = TOKENS.index("[CLS]"), TOKENS.index("[SEP]"), len(TOKENS)


@pytest.fixture(scope="module")
def short_documents(tmp_path_factory):
    """Real Korean sentences, two to a document, some documents of one: like news with titles."""
    lines = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines()
    lines += (GOLDEN / "documents_ko_2.txt").read_text(encoding="utf-8").splitlines()
    sentences = [line for line in lines if line.strip()]
    path = tmp_path_factory.mktemp("text") / "short.txt"
    texts = [sentences[n : n + 1 + n % 3] for n in range(0, len(sentences), 2)]
    path.write_text("\n\n".join("\n".join(text) for text in texts), encoding="utf-8")
    return path


def make(text, output, *more):
    flags = [
        f"--input_file={text}",
        f"--vocab_file={GOLDEN}/vocab_ko.txt",
        f"--output_file={output}",
        *("--do_lower_case=false", "--max_seq_length=128", "--max_predictions_per_seq=20", "--dupe_factor=2"),
        *more,
    ]
    assert create(flags) == 0
    return read(output)


def unmasked(record):
    ids = list(record["input_ids"])
    for position, label, weight in zip(
        *(record[f"masked_lm_{name}"] for name in ("positions", "ids", "weights")), strict=True
    ):
        if weight:
            ids[position] = label
    return ids


def examples_of(record):
    """(pieces, segments, label) of each example of a record, packed or not, as they were before the masks."""
    ids = unmasked(record) if "masked_lm_ids" in record else record["input_ids"]
    sequences = record.get("sequence_ids") or [int(number > 0) for number in ids]
    labels = record.get("next_sentence_labels", [None] * 200)
    for number, group in itertools.groupby(range(len(ids)), lambda position: sequences[position]):
        if number:
            at = list(group)
            yield (
                tuple(ids[p] for p in at),
                tuple(record["segment_ids"][p] for p in at),
                labels[number - 1],
            )


def padding(records):
    return sum(record["input_ids"].count(0) for record in records) / sum(len(r["input_ids"]) for r in records)


@pytest.mark.parametrize("objective", ["nsp", "sop", "none"])
@pytest.mark.parametrize("masking", ["static", "dynamic"])
def test_packed_records_hold_the_same_examples(objective, masking, short_documents, tmp_path):
    flags = (f"--objective={objective}", f"--masking={masking}")
    apart = make(short_documents, tmp_path / "apart", *flags)
    packed = make(short_documents, tmp_path / "packed", *flags, "--pack_sequences")
    manifest = load_manifest(str(tmp_path / "packed"))
    assert manifest.num_records == len(packed) < 0.8 * len(apart)
    assert padding(packed) < 0.12 < padding(apart)
    schema = features(RecordShape(128, 20), manifest.layout)
    expected = sorted(example for record in apart for example in examples_of(record))
    assert sorted(example for record in packed for example in examples_of(record)) == expected
    for record in packed:
        assert {n: len(v) for n, v in record.items()} == {n: f.length for n, f in schema.items()}
        starts = [p for p in range(128) if record["sequence_ids"][p] and not record["position_ids"][p]]
        assert [record["input_ids"][start] for start in starts] == [CLS] * len(starts)
        if objective != "none":
            given = record["cls_positions"]
            assert given == starts + [0] * (len(given) - len(starts))
    assert inspect([f"--input_file={tmp_path}/packed", f"--vocab_file={GOLDEN}/vocab_ko.txt"]) == 0


def as_batch(records):
    return {
        name: tf.constant([record[name] for record in records], tf.float32 if "weights" in name else tf.int32)
        for name in records[0]
    }


def test_packed_examples_do_not_see_each_other(short_documents, tmp_path):
    """The losses and gradients of packed examples are those of the same examples in sequences of their own."""
    packed = make(short_documents, tmp_path / "packed", "--pack_sequences")[:6]
    apart = [record for whole in packed for record in unpacked(whole)]
    assert len(apart) >= 12
    config = BertConfig(SIZE, 32, 2, 2, 64, max_position_embeddings=128, type_vocab_size=2)
    random = np.random.default_rng(1)
    weights = {
        name: tf.constant(random.normal(float(p.initial == "ones"), 0.2, p.shape).astype(np.float32))
        for name, p in pretraining_parameters(config).items()
    }
    results = []
    for batch in (as_batch(packed), as_batch(apart)):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            sums = pretraining_sums(weights, config, batch)
            loss = total_loss(sums, counts(batch))
        results.append((sums, counts(batch), tape.gradient(loss, weights)))
    for one, other in zip(*(result[0].items() for result in results), strict=True):
        np.testing.assert_allclose(one[1], other[1], rtol=1e-5, err_msg=one[0])
    assert float(results[0][1]["next_sentence"]) == len(apart)
    np.testing.assert_array_equal(*(result[1]["masked_lm"] for result in results))
    for name in weights:
        one, other = (tf.convert_to_tensor(result[2][name]) for result in results)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=name)


def unpacked(record):
    """A packed record as records of one example each."""
    count = max(record["sequence_ids"])
    for number in range(1, count + 1):
        at = [p for p in range(128) if record["sequence_ids"][p] == number]
        length = len(at)
        masks = [
            (position - at[0], label)
            for position, label, weight in zip(
                *(record[f"masked_lm_{name}"] for name in ("positions", "ids", "weights")), strict=True
            )
            if weight and at[0] <= position <= at[-1]
        ]
        empty = [0] * (20 - len(masks))
        yield {
            "input_ids": [record["input_ids"][p] for p in at] + [0] * (128 - length),
            "input_mask": [1] * length + [0] * (128 - length),
            "segment_ids": [record["segment_ids"][p] for p in at] + [0] * (128 - length),
            "masked_lm_positions": [position for position, _ in masks] + empty,
            "masked_lm_ids": [label for _, label in masks] + empty,
            "masked_lm_weights": [1.0] * len(masks) + [0.0] * len(empty),
            "next_sentence_labels": [record["next_sentence_labels"][number - 1]],
        }


@pytest.mark.long
@pytest.mark.parametrize("masking", ["static", "dynamic"])
def test_training_on_packed_records(masking, short_documents, tmp_path):
    make(short_documents, tmp_path / "packed", "--pack_sequences", f"--masking={masking}")
    config = write_config(tmp_path / "bert_config.json", vocab_size=SIZE, max_position_embeddings=128)
    flags = [
        f"--bert_config_file={config}",
        f"--input_file={tmp_path}/packed",
        f"--output_dir={tmp_path}/model",
        *("--do_train", "--do_eval", "--eval_at_start", "--strategy=cpu", "--train_batch_size=8"),
        *("--num_train_steps=30", "--num_warmup_steps=3", "--learning_rate=3e-3", "--max_seq_length=128"),
        "--max_predictions_per_seq=20",
    ]
    assert train(flags) == 0
    results = (tmp_path / "model" / "eval_results.txt").read_text()
    metrics = dict(line.split(" = ") for line in results.splitlines())
    assert float(metrics["masked_lm_loss"]) < np.log(SIZE) - 0.5
    assert float(metrics["next_sentence_loss"]) < 1.0


def test_a_sequence_goes_on_with_another_document(short_documents, tmp_path):
    alone = make(short_documents, tmp_path / "alone", "--objective=none")
    crossing = make(short_documents, tmp_path / "crossing", "--objective=none", "--cross_documents")
    assert len(crossing) < 0.8 * len(alone)
    assert padding(crossing) < 0.1 < padding(alone)
    assert (
        features(RecordShape(128, 20), load_manifest(str(tmp_path / "crossing")).layout).keys()
        == crossing[0].keys()
    )

    def stretches(records):
        for record in records:
            text = [number for number in unmasked(record) if number]
            assert text[0] == CLS
            assert CLS not in text[1:]
            assert text[-1] == SEP
            assert not any(record["segment_ids"])
            yield from (
                tuple(part) for is_sep, part in itertools.groupby(text[1:], lambda n: n == SEP) if not is_sep
            )

    assert sorted(stretches(crossing)) == sorted(stretches(alone))


def test_length_bins_hold_the_same_examples(short_documents, tmp_path):
    apart = make(short_documents, tmp_path / "apart" / "r")
    flags = ["--num_shards=2", "--length_bins=32,64,128"]
    with pytest.raises(FileNotFoundError):
        make(short_documents, tmp_path / "bins" / "r", *flags)
    found = []
    for length, places in ((32, 5), (64, 10), (128, 20)):
        for name in ("00000-of-00002", "00001-of-00002"):
            file = tmp_path / "bins" / f"r-len{length}-{name}"
            manifest = load_manifest(str(file))
            assert (manifest.max_seq_length, manifest.max_predictions_per_seq) == (length, places)
            records = read(file)
            assert manifest.outputs[file.name] == len(records)
            for record in records:
                assert len(record["input_ids"]) == length
                assert sum(record["input_mask"]) > (length // 2 if length > 32 else 0)
                found += examples_of(record)
    assert sorted(found) == sorted(example for record in apart for example in examples_of(record))


def test_listed_words_are_masked_more_often_and_the_share_stays(short_documents, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("사람\n\n국민\n", encoding="utf-8")
    tokenizer = load_tokenizer(str(GOLDEN / "vocab_ko.txt"), False)
    listed = listed_words.pieces_of_words(listed_words.read_words(str(words)), tokenizer)
    shares = []
    for more in ([], [f"--mask_words_file={words}", "--mask_words_factor=20"]):
        records = make(short_documents, tmp_path / "r", "--dupe_factor=30", "--do_whole_word_mask", *more)
        ids = np.array([unmasked(record) for record in records])
        masked = np.zeros(ids.shape, bool)
        for row, record in enumerate(records):
            masked[
                row,
                [
                    p
                    for p, w in zip(record["masked_lm_positions"], record["masked_lm_weights"], strict=True)
                    if w
                ],
            ] = True
        at = listed_words.occurrences(ids, listed)
        assert at.sum() > 50
        shares.append((masked[at].mean(), masked.sum() / (ids > 0).sum()))
    (before, all_before), (after, all_after) = shares
    assert after > 2.5 * before
    assert all_after == pytest.approx(all_before, rel=0.05)
    assert load_manifest(str(tmp_path / "r")).masking["mask_words"]["number"] == 2


def test_occurrences_of_runs():
    ids = np.array([[2, 7, 8, 9, 7, 8, 3, 0], [2, 8, 9, 7, 7, 9, 3, 0]])
    found = listed_words.occurrences(ids, [(7, 8), (9,), (7, 8, 9), tuple(range(20))])
    assert found.astype(int).tolist() == [[0, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1, 0, 0]]


@given(st.lists(st.integers(1, 40), max_size=200), st.integers(40, 90), st.integers(1, 9))
def test_best_fit_holds_everything_once(lengths, capacity, most):
    groups = best_fit(np.array(lengths, np.int64), capacity, most)
    assert sorted(groups.order.tolist()) == list(range(len(lengths)))
    assert groups.sizes.sum() == len(lengths)
    ends = np.cumsum(groups.sizes)
    firsts = []
    for end, size in zip(ends, groups.sizes, strict=True):
        members = groups.order[end - size : end].tolist()
        assert members == sorted(members)
        assert sum(lengths[member] for member in members) <= capacity
        assert len(members) <= most
        firsts.append(members[0])
    assert firsts == sorted(firsts)


def test_names_of_bins():
    assert binned_name("a/t.tfrecord", 64) == "a/t.tfrecord-len64"
    assert binned_name("t.tfrecord-00001-of-00004.gz", 32) == "t.tfrecord-len32-00001-of-00004.gz"
    assert binned_name("t.gz", 32) == "t-len32.gz"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"length_bins": (64, 32, 128)}, "ascending lengths"),
        ({"length_bins": (32, 64)}, "max_seq_length"),
        ({"length_bins": (4, 128)}, "from 5 up"),
        ({"cross_documents": True}, "needs --objective=none"),
        ({"pack_sequences": True, "length_bins": (64, 128)}, "exclude each other"),
        ({"cross_documents": True, "pack_sequences": True, "objective": "none"}, "exclude each other"),
        ({"mask_words": ("사람",), "masking": "dynamic"}, "needs --masking=static"),
        ({"masking": "both"}, "--masking=both"),
        ({"mask_words_factor": 0.5}, "at least 1"),
        ({"max_examples_per_seq": 1000}, "between 0 and"),
    ],
)
def test_what_does_not_go_together(values, message):
    with pytest.raises(UsageError, match=message):
        InstanceConfig(**values)


def test_flags_of_packing_are_not_googles(tmp_path, capsys):
    flags = [
        f"--input_file={GOLDEN}/documents_ko.txt",
        f"--vocab_file={GOLDEN}/vocab_ko.txt",
        f"--output_file={tmp_path}/r",
        "--mode=google",
    ]
    assert create([*flags, "--pack_sequences"]) == 2
    assert "--pack_sequences needs --mode=fast" in capsys.readouterr().err
    empty = Path(tmp_path / "words.txt")
    empty.write_text("\n", encoding="utf-8")
    assert create([*flags[:3], f"--mask_words_file={empty}"]) == 2
    assert "contains no word" in capsys.readouterr().err
    empty.write_text("𝔘𝔫𝔟𝔢𝔨𝔞𝔫𝔫𝔱\n", encoding="utf-8")
    assert create([*flags[:3], "--do_lower_case=false", f"--mask_words_file={empty}"]) == 1
    assert "none of the 1 words" in capsys.readouterr().err
    assert create([*flags[:3], "--length_bins=32,x"]) == 2
    assert "is not a list of numbers" in capsys.readouterr().err
