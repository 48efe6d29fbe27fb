"""Flag names of other programs with the equivalent flags here, for suggestions; they are never accepted as flags."""

from __future__ import annotations

from collections.abc import Container

# Names of Hugging Face's TrainingArguments and example scripts, with flags here; the first that a command has counts.
_OURS = {
    "per_device_train_batch_size": ("train_batch_size",),
    "per_gpu_train_batch_size": ("train_batch_size",),
    "per_device_eval_batch_size": ("eval_batch_size", "batch_size"),
    "per_gpu_eval_batch_size": ("eval_batch_size", "batch_size"),
    "warmup_steps": ("num_warmup_steps",),
    "warmup_ratio": ("warmup_proportion",),
    "max_steps": ("num_train_steps",),
    "eval_steps": ("eval_every",),
    "logging_steps": ("log_steps",),
    "save_steps": ("save_checkpoints_steps",),
    "save_total_limit": ("keep_checkpoint_max",),
    "weight_decay": ("weight_decay_rate",),
    "adam_beta1": ("adam_beta_1",),
    "adam_beta2": ("adam_beta_2",),
    "max_grad_norm": ("clip_norm",),
    "lr": ("learning_rate",),
    "lr_scheduler_type": ("schedule",),
    "optim": ("optimizer",),
    "bf16": ("dtype=bfloat16",),
    "fp16": ("dtype=float16",),
    "gradient_checkpointing": ("recompute",),
    "torch_compile": ("xla",),
    "label_smoothing_factor": ("label_smoothing",),
    "metric_for_best_model": ("best_metric",),
    "early_stopping_patience": ("early_stopping",),
    "report_to": ("wandb_project",),
    "data_seed": ("seed",),
    "model_name_or_path": ("init_checkpoint", "checkpoint", "model"),
    "model": ("init_checkpoint", "checkpoint"),
    "config_name": ("bert_config_file",),
    "tokenizer_name": ("vocab_file",),
    "validation_file": ("eval_file", "eval_input_file"),
    "test_file": ("predict_file",),
    "train_file": ("input_file",),
    "text_column_name": ("text_column", "text_field"),
    "label_column_name": ("label_column",),
    "max_length": ("max_seq_length",),
    "max_train_steps": ("num_train_steps",),
    "mlm_probability": ("masked_lm_prob",),
    "preprocessing_num_workers": ("num_workers",),
}
_DIFFERENCES = {
    "train_batch_size": "It counts the sequences of a step over all devices together.",
    "eval_batch_size": "It counts the sequences of a step over all devices together.",
}


def suggestion(name: str, known: Container[str]) -> str | None:
    """Returns a sentence that names our flag for an unknown flag of other programs; None if there is none.

    Args:
      known: the flags of the command.
    """
    plain = name.replace("-", "_")
    for ours in _OURS.get(plain, ()):
        flag = ours.split("=")[0]
        if flag in known:
            return f"--{name} is a name of Hugging Face's; here it is --{ours}. {_DIFFERENCES.get(flag, '')}".strip()
    return None
