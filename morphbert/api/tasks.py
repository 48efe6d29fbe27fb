"""Fine-tuning and prediction as single calls."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from morphbert import quiet_tensorflow
from morphbert.finetune.checks import check_before_loading
from morphbert.finetune.config import FineTuneConfig
from morphbert.finetune.task_configs import PredictConfig

if TYPE_CHECKING:
    from morphbert.finetune.experiment import FineTuned
    from morphbert.finetune.prediction import Predicted


def fine_tune(config: FineTuneConfig) -> FineTuned:
    """Trains a task's head on a pretrained encoder, evaluates it and predicts with it, as the config requests.

    Example:
      `fine_tune(ClassificationConfig(init_checkpoint="out/model", train_file="train.tsv", eval_file="test.tsv",
      output_dir="out/reviews", do_train=True, do_eval=True)).figures["accuracy"]`

    Args:
      config: the task's configuration, such as `ClassificationConfig` or `TaggingConfig`.

    Returns:
      The figures of the held-out examples, and the signal that stopped the run early, if any.

    Raises:
      MorphbertError: a file is damaged, the folder contains another task's model, or a part fails.
    """
    check_before_loading(config)
    quiet_tensorflow.load()
    from morphbert.api import adaptation
    from morphbert.finetune import experiment
    from morphbert.finetune.tasks import kind_of

    if config.adapt_on:
        task = kind_of(config)
        try:
            config = adaptation.adapt(config, lambda path: task.texts(config, path))
        except adaptation.Stopped as stop:
            return experiment.FineTuned(stopped_by=stop.signal)
        config = dataclasses.replace(config, adapt_on=None)
    return experiment.fine_tune(config)


def predict(config: PredictConfig) -> Predicted:
    """Writes each row of a table as JSON Lines, with a fine-tuned model's `prediction`, or with an `error`.

    Returns:
      The number of rows, and of rows without a prediction.

    Raises:
      MorphbertError: the model is missing, or a line is not an object or lacks a field; no file is written then.
    """
    quiet_tensorflow.load()
    from morphbert.finetune import prediction

    return prediction.predict(config)
