"""The words that a task's configuration chooses from, where the command line can read them without TensorFlow."""

POOLINGS = ("cls", "mean", "max")
RELATION_POOLINGS = ("entities", *POOLINGS)
LOSSES = ("cross_entropy", "focal", "ldam")
METRICS = ("korquad", "squad", "klue")
STRADDLING = ("split", "first")
