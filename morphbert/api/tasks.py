"""Fine-tuning and prediction as single calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphbert.finetune.config import FineTuneConfig
from morphbert.finetune.task_configs import PredictConfig

if TYPE_CHECKING:
    from morphbert.finetune.experiment import FineTuned
    from morphbert.finetune.prediction import Predicted


def fine_tune(config: FineTuneConfig) -> FineTuned:
    """Trains a task's head on a pretrained encoder, evaluates it and predicts with it, as far as the config says so.

    Example:
      `fine_tune(ClassificationConfig(init_checkpoint="out/model", train_file="train.tsv", eval_file="test.tsv",
      output_dir="out/reviews", do_train=True, do_eval=True)).figures["accuracy"]`

    Args:
      config: of the task: `ClassificationConfig`, `TaggingConfig`, `RelationConfig`, `SpanConfig` or
        `MultipleChoiceConfig`.

    Returns:
      The figures of the held-out examples, and the signal that stopped it early, if one did.

    Raises:
      MorphbertError: a file is damaged, the folder holds another task's model, or a part fails.
    """
    from morphbert.finetune import experiment

    return experiment.fine_tune(config)


def predict(config: PredictConfig) -> Predicted:
    """Writes each row of a JSON Lines file again with a fine-tuned model's `prediction` in it.

    Raises:
      MorphbertError: there is no such model, a line is no object, or lacks what the task needs; no file is left then.
    """
    from morphbert.finetune import prediction

    return prediction.predict(config)
