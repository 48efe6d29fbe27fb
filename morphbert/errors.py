"""Errors that the user can correct, as opposed to faults of the program."""


class MorphbertError(Exception):
    """The input, the flags or the machine must change before the work can continue.

    The message is for the user of a command: it names the received value and the remedy. Commands print it without a
      traceback and exit with status 1. Any other exception is a fault of the program and keeps its traceback.
    """


class UsageError(MorphbertError):
    """A flag is missing, unknown or out of its range. Commands exit with status 2."""
