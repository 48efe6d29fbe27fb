"""A value that a configuration receives from Python counts, or is refused; none is ignored or changed."""

import json

import pytest
from samples import MECAB_VOCABULARY

import morphbert
from morphbert.errors import MorphbertError, UsageError
from morphbert.train.optimizers.optimizer import Optimizer

RUN = {"train_file": "train.tsv", "output_dir": "out", "do_train": True}
PRETRAINING = {"bert_config_file": "bert_config.json", "input_file": "a.tfrecord", "output_dir": "out"}


@pytest.mark.parametrize("name", ["eval_file", "do_eval"])
def test_a_task_without_a_field_of_others_does_not_take_it(name):
    """KorQuAD's task evaluates on its `predict_file`."""
    with pytest.raises(TypeError, match=name):
        morphbert.SpanConfig(**RUN, **{name: "dev.json"})
    config = morphbert.ClassificationConfig(**RUN, **{name: "dev.tsv" if name == "eval_file" else False})
    assert getattr(config, name) in ("dev.tsv", False)


@pytest.mark.parametrize(
    "both",
    [
        {"num_train_steps": 5, "num_train_epochs": 9.0},
        {"num_train_steps": 5, "num_train_epochs": 3.0},  # the default, said
        {"num_warmup_steps": 0, "warmup_proportion": 0.2},
    ],
)
def test_steps_and_their_share_exclude_each_other(both):
    with pytest.raises(UsageError, match=f"give --{next(iter(both))} or --.*, not both"):
        morphbert.ClassificationConfig(**RUN, **both)


@pytest.mark.parametrize(
    ("kind", "given", "steps", "warmup"),
    [
        ("ClassificationConfig", {}, 300, 30),  # 3 epochs of 100 steps, a tenth of them
        ("SpanConfig", {}, 200, 20),
        ("SpanConfig", {"num_train_epochs": 1.0, "warmup_proportion": 0.0}, 100, 0),
        ("SpanConfig", {"num_train_steps": 7, "num_warmup_steps": 2}, 7, 2),
    ],
)
def test_without_a_number_of_steps_epochs_count(kind, given, steps, warmup):
    config = getattr(morphbert, kind)(**RUN, **given)
    assert config.steps_over(3200) == steps
    assert config.warmup_of(steps) == warmup


def test_making_a_configuration_runs_no_code_of_a_plugin(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("raise RuntimeError('실행됨')\n", encoding="utf-8")
    training = morphbert.PretrainingConfig(**PRETRAINING, do_train=True, plugin=(plugin,))
    tuning = morphbert.ClassificationConfig(**RUN, metrics=("nowhere_registered",), plugin=(plugin,))
    for function, config in ((morphbert.run_pretraining, training), (morphbert.fine_tune, tuning)):
        with pytest.raises(MorphbertError, match="cannot be loaded: line 1: RuntimeError: 실행됨"):
            function(config)
    plugin.write_text("", encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"--metrics=nowhere_registered is out of range: .* does not register it"
    ):
        morphbert.fine_tune(tuning)


@pytest.mark.parametrize("check", [{"dry_run": True}, {"compile_for": "h100"}])
def test_a_check_of_a_training_leaves_the_configuration_as_given(check):
    config = morphbert.PretrainingConfig(**PRETRAINING, **check)
    assert (config.do_train, config.trains) == (False, True)


def test_the_unit_of_masks_has_one_place(tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text(
        "한국어 사전학습을 합니다.\n문장이 이어집니다.\n\n다른 문서입니다.\n끝입니다.\n" * 5, encoding="utf-8"
    )
    made = {}
    for unit in (None, "piece", "eojeol"):
        result = morphbert.create_pretraining_data(
            morphbert.PretrainingDataConfig(
                input_file=text,
                vocab_file=MECAB_VOCABULARY,
                output_file=str(tmp_path / f"{unit}.tfrecord"),
                instances=morphbert.InstanceConfig(masking_unit=unit),
                num_workers=1,
            )
        )
        manifest = json.loads((tmp_path / f"{unit}.tfrecord.manifest.json").read_text())
        assert manifest["masking"]["unit"] == result.instances.masking_unit == (unit or "piece")
        made[unit] = (tmp_path / f"{unit}.tfrecord").read_bytes()
    assert made[None] == made["piece"] != made["eojeol"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mask_words_file": "words.txt"}, "mask_words of the instances or mask_words_file, not both"),
        ({"mode": "google"}, "--mask_words_file needs --mode=fast"),
    ],
)
def test_listed_words_are_not_replaced_or_ignored(values, message):
    instances = morphbert.InstanceConfig(mask_words=("사과",))
    files = {"input_file": "a.txt", "vocab_file": "vocab", "output_file": "a.tfrecord"}
    with pytest.raises(UsageError, match=message):
        morphbert.PretrainingDataConfig(**files, instances=instances, **values)


@pytest.mark.parametrize("name", ["num_train_steps", "num_warmup_steps"])
def test_an_optimizer_takes_its_steps_from_the_run(name):
    with pytest.raises(TypeError, match=name):
        morphbert.OptimizerConfig(**{name: 500})


def test_an_optimizer_takes_other_steps_and_nothing_else():
    optimizer = Optimizer(morphbert.OptimizerConfig(learning_rate=1e-3).with_steps(10, 1), {})
    planned = morphbert.OptimizerConfig(learning_rate=1e-3).with_steps(500, 50)
    optimizer.take_steps(planned)
    assert optimizer.config == planned
    with pytest.raises(ValueError, match="more than the numbers of steps"):
        optimizer.take_steps(morphbert.OptimizerConfig(learning_rate=1e-4).with_steps(500, 50))
