"""Logs figures to Weights & Biases on request."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any

from morphbert.errors import MorphbertError


def check_installed() -> None:
    """Refuses to log without the package.

    Raises:
      MorphbertError: the message names the extra.
    """
    if importlib.util.find_spec("wandb") is None:
        raise MorphbertError("--wandb_project needs wandb: pip install 'morphbert[wandb]'")


def follow_run(
    project: str, folder: str, settings: Mapping[str, Any]
) -> Callable[[str, int, Mapping[str, float]], None]:
    """Begins a run, or continues that of the same folder; returns a function that logs figures.

    WANDB_MODE=offline keeps everything in the folder.

    Raises:
      MorphbertError: the package is not installed, or the service refuses.
    """
    check_installed()
    import wandb

    path = os.path.abspath(folder)
    # A run's name is that of its folder, so that a resumed run continues the same curves.
    name = os.path.join(os.path.basename(os.path.dirname(path)), os.path.basename(path))
    try:
        run = wandb.init(
            project=project,
            name=name,
            id=name.replace("/", "-"),
            resume="allow",
            dir=path,
            config=dict(settings),
        )
    except (wandb.errors.Error, OSError, ValueError) as error:
        raise MorphbertError(f"--wandb_project={project}: {error}") from error

    def follow(kind: str, step: int, values: Mapping[str, float]) -> None:
        run.log({f"{kind}/{key}": value for key, value in values.items()}, step=step)

    return follow
