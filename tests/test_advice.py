"""Warnings about a fine-tuned model that has learned nothing."""

import dataclasses
import re

import numpy as np
import pytest
from runs import logged
from samples import MECAB_VOCABULARY
from tasks import write_tiny_config

from morphbert.cli.run_classifier import main
from morphbert.finetune.advice import Advice, entropy, one_class
from morphbert.finetune.config import LossConfig
from morphbert.finetune.confusion import Confusion
from morphbert.train import loop


def test_the_loss_of_guessing_is_the_entropy_of_the_classes():
    assert entropy((30, 10)) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert LossConfig(counts=(5, 5, 0)).chance == pytest.approx(np.log(2))
    for other in ({"loss": "focal"}, {"label_smoothing": 0.1}, {"class_weights": True}, {"counts": ()}):
        assert LossConfig(**{"counts": (5, 5), **other}).chance == np.inf


def test_a_loss_at_chance_is_said_only_after_the_warm_up():
    advice = Advice(chance=0.69, warmup=10, learning_rate=5e-5, pretrained=False, frozen=True)
    assert advice.of_line(15, {"loss": 0.69}) is None  # steps 1 to 15, of which ten are the warm-up
    assert advice.of_line(20, {"loss": 0.5}) is None
    said = advice.of_line(30, {"loss": 0.688})
    assert "loss of steps 21 to 30 is 0.6880, and guessing without reading gives 0.6900" in said
    assert "it is 5e-05" in said
    assert "--init_checkpoint" in said
    assert "--freeze_layers" in said
    other = dataclasses.replace(advice, chance=np.inf, pretrained=True, frozen=False)
    assert other.of_line(50, {"loss": 0.69}) is None
    assert "--init_checkpoint" not in other.remedies()
    assert "--freeze_layers" not in other.remedies()


def test_one_class_that_takes_all_is_said():
    wanted = np.array([0, 0, 0, 1])
    assert "all 4 predictions are '부정', which 75.0%" in one_class(
        Confusion.of(wanted, 0 * wanted, ("부정", "긍정"))
    )
    assert one_class(Confusion.of(wanted, np.array([0, 0, 1, 0]), ("부정", "긍정"))) is None
    assert (
        one_class(Confusion.of(0 * wanted, 0 * wanted, ("부정", "긍정"))) is None
    )  # the examples have one class too
    assert one_class(None) is None


def test_a_run_that_cannot_learn_says_both(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop, "FIRST_LINE_AFTER", 0.0)
    write_tiny_config(tmp_path)
    rows = [f"같은 영화\t{number % 2}" for number in range(8)]
    (tmp_path / "train.tsv").write_text("\n".join(["document\tlabel", *rows]) + "\n", encoding="utf-8")
    flags = [
        *(f"--bert_config_file={tmp_path}/bert_config.json", f"--vocab_file={MECAB_VOCABULARY}"),
        *(
            f"--train_file={tmp_path}/train.tsv",
            f"--eval_file={tmp_path}/train.tsv",
            "--do_train",
            "--do_eval",
        ),
        *("--num_train_steps=8", "--num_warmup_steps=4", "--log_steps=4", "--learning_rate=1e-9"),
        *(f"--output_dir={tmp_path}/out", "--max_seq_length=8", "--train_batch_size=8", "--strategy=cpu"),
    ]
    assert main(flags) == 0
    said = capsys.readouterr().out
    assert said.count("warning: after the warm-up, the loss of steps 5 to 8") == 1
    # One early line, which is not recorded.
    assert re.findall(r"^step (\d)/8  loss .* left$", said, re.M) == ["2", "4", "8"]
    recorded = logged(tmp_path / "out")
    assert [line["step"] for line in recorded if line["kind"] == "train"] == [4, 8]
    assert "warning: all 8 predictions are" in said
    assert said.count("What usually helps: a pretrained model") == 2
