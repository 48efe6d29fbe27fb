"""The words that a run's configuration chooses from, where the command line can read them without TensorFlow."""

STRATEGIES = ("auto", "cpu", "one_device", "mirrored", "multi_worker", "tpu")
DTYPES = ("float32", "bfloat16", "float16")
ON_DIVERGENCE = ("stop", "rollback")
OPTIMIZERS = ("adam", "adamw", "lamb", "muon", "stable_adamw")
SCHEDULES = ("linear", "polynomial", "cosine", "constant", "warmup_stable_decay")
