"""What a user can get wrong in a training run: said clearly, before work is lost."""

import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from processes import largest_file
from runs import VOCAB_SIZE, arguments, go_back_to, tensors, write_records
from samples import GOLDEN, write_config

from morphbert.cli.run_pretraining import main
from morphbert.train import checkpoint

BAD = [
    (
        "no file",
        lambda d: ["--input_file=nowhere/*.tfrecord"],
        ["nowhere/*.tfrecord", "create_pretraining_data.py"],
        1,
    ),
    ("config missing", lambda d: ["--bert_config_file=nowhere.json"], ["nowhere.json", "cannot be read"], 1),
    ("nothing to do", lambda d: ["--nodo_train"], ["--do_train", "--do_eval"], 2),
    ("master", lambda d: ["--master=grpc://1.2.3.4"], ["--master", "TensorFlow 2"], 2),
    ("masks > length", lambda d: ["--max_predictions_per_seq=70"], ["70", "64"], 2),
    ("length", lambda d: ["--max_seq_length=32"], ["max_seq_length=64", "--max_seq_length=32"], 1),
    (
        "P",
        lambda d: ["--max_predictions_per_seq=20"],
        ["max_predictions_per_seq=10", "max_predictions_per_seq=20"],
        1,
    ),
    (
        "positions",
        lambda d: ["--max_seq_length=128"],
        ["--max_seq_length=128", "max_position_embeddings", "64"],
        1,
    ),
    (
        "heads",
        lambda d: [f"--bert_config_file={write_config(d / 'c.json', num_attention_heads=5)}"],
        ["hidden_size 32 is not divisible by num_attention_heads 5"],
        1,
    ),
    ("replicas", lambda d: ["--num_replicas=2", "--strategy=one_device"], ["--strategy=mirrored"], 1),
    ("no cluster", lambda d: ["--strategy=multi_worker"], ["TF_CONFIG", "Slurm", "run_local_cluster.py"], 1),
    ("rate", lambda d: ["--learning_rate=-1"], ["learning_rate", "-1"], 2),
    ("batch", lambda d: ["--train_batch_size=0"], ["train_batch_size", "0"], 2),
    ("accumulation", lambda d: ["--gradient_accumulation_steps=3"], ["--train_batch_size=16", "3"], 2),
    ("misspelt", lambda d: ["--lerning_rate=1"], ["lerning_rate", "learning_rate"], 2),
    ("init", lambda d: ["--init_checkpoint=nowhere/model.ckpt"], ["nowhere/model.ckpt", "no checkpoint"], 1),
    ("empty", lambda d: [f"--input_file={(d / 'e').touch() or d / 'e'}"], ["no record"], 1),
    ("text file", lambda d: [f"--input_file={GOLDEN}/documents_ko.txt"], ["documents_ko.txt", "record 0"], 1),
    (
        "id beyond the vocabulary, late",
        lambda d: [f"--input_file={write_records(d / 'x', *[{}] * 30, {'input_ids': [VOCAB_SIZE] * 64})}"],
        ["record 30", str(VOCAB_SIZE), "vocab_size"],
        1,
    ),
    (
        "negative id",
        lambda d: [f"--input_file={write_records(d / 'x', {'input_ids': [-1] * 64})}"],
        ["record 0", "-1", "input_ids"],
        1,
    ),
    (
        "no label",
        lambda d: [f"--input_file={write_records(d / 'x', {}, {'next_sentence_labels': None})}"],
        ["record 1", "next_sentence_labels"],
        1,
    ),
]


@pytest.mark.parametrize(
    ("flags", "words", "status"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_bad_input_is_refused_with_the_remedy(flags, words, status, records, tiny_config, tmp_path, capsys):
    chosen = flags(tmp_path)
    run = [
        flag
        for flag in arguments(records, tiny_config, tmp_path / "out")
        if flag.split("=")[0] not in {given.split("=")[0] for given in chosen}
    ]
    assert main([*run, *chosen]) == status
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message


def test_a_damaged_file_is_named_with_the_record(records, tiny_config, tmp_path, capsys):
    good = (records / "a.tfrecord").read_bytes()
    damaged, cut = bytearray(good), good[:-100]
    damaged[len(good) // 2] ^= 0xFF
    for name, data in (("damaged.tfrecord", damaged), ("cut.tfrecord", cut)):
        (tmp_path / name).write_bytes(data)
        flags = arguments(records, tiny_config, tmp_path / "out", f"--input_file={tmp_path / name}")
        assert main(flags) == 1
        message = capsys.readouterr().err
        assert re.search(rf"{name}: record [1-9]\d* \(at byte \d+\)", message), message


def test_a_damaged_held_out_file_is_named_too(finished, records, tiny_config, tmp_path, capsys):
    good = bytearray((records / "a.tfrecord").read_bytes())
    good[len(good) // 2] ^= 0xFF
    (tmp_path / "damaged.tfrecord").write_bytes(good)
    run = arguments(records, tiny_config, tmp_path / "out", "--do_eval", f"--init_checkpoint={finished}")
    run += [f"--eval_input_file={tmp_path}/damaged.tfrecord", "--max_eval_steps=1000"]
    assert main([flag for flag in run if flag != "--do_train"]) == 1
    assert re.search(r"damaged.tfrecord: record [1-9]\d* \(at byte \d+\)", capsys.readouterr().err)


def test_another_models_checkpoint_is_refused_with_the_names_that_differ(finished, records, tmp_path, capsys):
    wider = write_config(tmp_path / "wider.json", vocab_size=VOCAB_SIZE, intermediate_size=96)
    shutil.copytree(finished, tmp_path / "run")
    assert main(arguments(records, wider, tmp_path / "run")) == 1
    message = capsys.readouterr().err
    assert "bert/encoder/layer_0/intermediate/dense/kernel is [32, 64], the model's is [32, 96]" in message
    assert "or another --output_dir." in message


def test_another_models_init_checkpoint_is_refused_with_all_names_that_differ(
    finished, records, tmp_path, capsys
):
    narrower = write_config(tmp_path / "narrower.json", vocab_size=VOCAB_SIZE, hidden_size=16)
    assert main(arguments(records, narrower, tmp_path / "run", f"--init_checkpoint={finished}")) == 1
    message = capsys.readouterr().err
    ours = [name for name in tensors(finished / "model.ckpt-20") if name.startswith("model/")]
    same = 4  # biases of the intermediate layers, the masked LM and the next sentence
    assert message.count(", the model's is [") == len(ours) - same
    assert "or another --init_checkpoint." in message
    assert "--output_dir" not in message


def test_a_deeper_models_checkpoint_is_refused_with_the_names_that_are_missing(
    finished, records, tmp_path, capsys
):
    deeper = write_config(tmp_path / "deeper.json", vocab_size=VOCAB_SIZE, num_hidden_layers=3)
    shutil.copytree(finished, tmp_path / "run")
    assert main(arguments(records, deeper, tmp_path / "run")) == 1
    message = capsys.readouterr().err
    assert "bert/encoder/layer_2/attention/self/query/kernel is missing" in message
    assert len(re.findall(r"bert/encoder/layer_2/\S+ is missing", message)) == 16


def test_a_checkpoint_that_was_cut_off_is_not_used(finished, records, tiny_config, tmp_path, capsys):
    """As a machine that lost its power leaves it: the newest is named, its data is not all there."""
    shutil.copytree(finished, tmp_path / "run")
    data = tmp_path / "run" / "model.ckpt-20.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    assert main(arguments(records, tiny_config, tmp_path / "run")) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"warning: the checkpoint .*model.ckpt-20 is cut off: .* The run uses the one before it", out
    )
    assert "continuing from" in out
    assert "model.ckpt-16" in out
    for name in ("model.ckpt-20", "model.ckpt-16", "model.ckpt-8"):
        (tmp_path / "run" / f"{name}.data-00000-of-00001").write_bytes(b"")
    assert main(arguments(records, tiny_config, tmp_path / "run")) == 1
    assert "is cut off" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00", b"model_checkpoint_path: oops"])
def test_checkpoints_are_found_without_the_file_that_lists_them(
    content, finished, records, tiny_config, tmp_path, capsys
):
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    (output / "checkpoint").unlink()
    if content is not None:
        (output / "checkpoint").write_bytes(content)
    listing = (output / "checkpoint").read_bytes() if content is not None else None
    assert checkpoint.resolve(str(output)) == str(output / "model.ckpt-20")
    data = output / "model.ckpt-20.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    assert checkpoint.resolve(str(output)) == str(output / "model.ckpt-16")
    # Reading changes nothing.
    assert ((output / "checkpoint").read_bytes() if content is not None else None) == listing
    capsys.readouterr()
    flags = ["--keep_checkpoint_max=2", "--num_train_steps=21"]
    assert main(arguments(records, tiny_config, output, *flags)) == 0
    said = capsys.readouterr().out
    assert (
        len(re.findall(r"warning: .*/checkpoint, .*\(model.ckpt-8, model.ckpt-16, model.ckpt-20\)", said))
        == 1
    )
    assert f"continuing from {output}/model.ckpt-16" in said
    # Those that were there before count, so that only as many are kept as were asked for.
    assert sorted(path.name for path in output.glob("*.index")) == [
        "model.ckpt-20.index",
        "model.ckpt-21.index",
    ]
    assert str(output) not in (output / "checkpoint").read_text()


def test_the_list_that_is_made_again_goes_with_its_folder(finished, tmp_path, monkeypatch):
    for folder in (str(tmp_path / "whole"), "relative"):
        monkeypatch.chdir(tmp_path)
        shutil.copytree(finished, folder)
        os.remove(os.path.join(folder, "checkpoint"))
        assert checkpoint.latest(folder).step == 20
        shutil.move(folder, folder + "-moved")
        assert tf.train.latest_checkpoint(folder + "-moved") == folder + "-moved/model.ckpt-20"


def test_a_damaged_checkpoint_is_named(finished, records, tiny_config, tmp_path, capsys):
    go_back_to(8, finished, tmp_path / "run")
    data = tmp_path / "run" / "model.ckpt-8.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    for place in range(1000, len(content), 5000):
        content[place] ^= 0xFF
    data.write_bytes(content)
    assert main(arguments(records, tiny_config, tmp_path / "run")) == 1
    message = capsys.readouterr().err
    assert "model.ckpt-8" in message
    assert "damaged" in message
    assert "Traceback" not in message


def test_a_checkpoint_of_a_newer_program_is_refused(
    finished, records, tiny_config, tmp_path, capsys, monkeypatch
):
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 0)
    assert main(arguments(records, tiny_config, tmp_path / "run")) == 1
    assert (
        "has format version 1, and this program reads versions up to 0: use morphbert"
        in capsys.readouterr().err
    )


def test_another_vocabulary_size_is_found_in_the_manifest(records, tmp_path, capsys):
    config = write_config(tmp_path / "c.json", vocab_size=VOCAB_SIZE - 1)
    assert main(arguments(records, config, tmp_path / "out")) == 1
    message = capsys.readouterr().err
    assert str(VOCAB_SIZE) in message
    assert str(VOCAB_SIZE - 1) in message


def test_rows_of_embeddings_without_a_piece_are_taken_and_said(records, tmp_path, capsys):
    config = write_config(tmp_path / "c.json", vocab_size=VOCAB_SIZE + 3)
    assert main(arguments(records, config, tmp_path / "out", "--dry_run")) == 0
    said = capsys.readouterr().out
    assert said.count(f"{VOCAB_SIZE} pieces, but the model {VOCAB_SIZE + 3} rows of embeddings") == 1


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(records, tiny_config, tmp_path, capsys):
    flags = ["--learning_rate=1e30", "--num_warmup_steps=0", "--save_checkpoints_steps=1"]
    assert main(arguments(records, tiny_config, tmp_path / "out", *flags)) == 1
    message = capsys.readouterr().err
    step = int(re.search(r"step (\d+): .*masked_lm_loss.* is not a finite number", message)[1])
    newest = tf.train.latest_checkpoint(str(tmp_path / "out"))
    assert newest.endswith(f"-{step - 1}")
    assert all(
        np.isfinite(value).all() for name, value in tensors(newest).items() if name.startswith("model/bert")
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere: a read-only folder cannot be made")
def test_an_output_folder_that_cannot_be_written_is_refused(records, tiny_config, tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(arguments(records, tiny_config, tmp_path / "locked" / "out")) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_an_output_folder_that_is_a_file_is_refused(records, tiny_config, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(arguments(records, tiny_config, tmp_path / "file" / "out")) == 1
    assert "--output_dir" in capsys.readouterr().err


@pytest.mark.long
def test_a_disk_that_fills_up_stops_the_run_at_the_last_whole_checkpoint(
    records, tiny_config, tmp_path, capsys
):
    with largest_file(100_000):
        status = main(arguments(records, tiny_config, tmp_path / "out"))
    errors = capsys.readouterr().err
    assert status == 1, errors
    assert "cannot be written" in errors
    assert "Free some space" in errors
    assert "Traceback" not in errors
    assert tf.train.latest_checkpoint(str(tmp_path / "out")) is None
    assert main(arguments(records, tiny_config, tmp_path / "out")) == 0  # with space again


def test_an_output_folder_in_use_is_refused(records, tiny_config, tmp_path, capsys):
    import fcntl

    (tmp_path / "out").mkdir()
    with open(tmp_path / "out" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(arguments(records, tiny_config, tmp_path / "out")) == 1
    assert "in use by another run" in capsys.readouterr().err
