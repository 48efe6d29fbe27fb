"""The errors that are the user's to mend, as opposed to faults of the program."""


class MorphbertError(Exception):
    """Something in the input, the flags or the machine has to change before the work can go on.

    The message is written for the person at the terminal: it gives what was received and what to do.
    Commands print it without a traceback and exit with status 1; everything else that is raised is a
    fault of the program and keeps its traceback.
    """


class UsageError(MorphbertError):
    """A flag is missing, unknown or out of its range. Commands exit with status 2."""
