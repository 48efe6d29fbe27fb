"""Holds warnings back while input is checked, so that an error stands alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Logs the package's warnings when the block ends, and drops them when it raises an error.

    A vocabulary is read before the model that it belongs to. A warning about the vocabulary, printed before the error
    that there is no such model, hides that error. Also a decorator: `@held_back()`.

    Yields:
      A function that logs the warnings held back, and lets all later ones through.
    """
    logger = logging.getLogger("morphbert")
    held: list[logging.LogRecord] = []

    def hold(record: logging.LogRecord) -> bool:
        held.append(record)
        return False

    def release() -> None:
        logger.removeFilter(hold)
        for record in held:
            logger.handle(record)
        held.clear()

    logger.addFilter(hold)
    try:
        yield release
        release()
    finally:
        logger.removeFilter(hold)
