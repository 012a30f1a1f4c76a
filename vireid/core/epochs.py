"""The `epochs` of a transform, translator or loss: the part of a run in which it is used."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge

from vireid.core.types import Progress
from vireid.errors import Conflict, WrongValue

# the first epoch, counted from 0, and the epoch before which it ends; None: it never ends
Epochs = tuple[Annotated[int, Ge(0)], Annotated[int, Ge(1)] | None]


def is_active(epochs: Epochs | None, progress: Progress | None) -> bool:
    """Returns whether a component is used now: always if `epochs` is None, and otherwise only in training."""
    if epochs is None:
        return True
    first, end = epochs
    return progress is not None and first <= progress.epoch and (end is None or progress.epoch < end)


def require_reachable(epochs: Any, training: Any, where: str, steps_per_epoch: int | None = None) -> None:
    """Checks that a run reaches the `epochs` of a component.

    Args:
        epochs: the first epoch and the end, or None.
        training: the `training` section, if known.
        where: config path of the component.
        steps_per_epoch: None if the data have not been read; `training.steps` is then not compared.

    Raises:
        VireidError: if the epochs are empty, or start after the end of the run.
    """
    if epochs is None:
        return
    (first, end), last = epochs, None if training is None else training.epochs
    if last is None and steps_per_epoch and training is not None and training.steps:
        last = -(-training.steps // steps_per_epoch)
    if end is not None and end <= first:
        raise WrongValue(
            f'{where}.epochs is {tuple(epochs)}, which contains no epoch',
            allowed='(first, end), where end is above first, or None for the end of the run',
            path=f'{where}.epochs',
        )
    if last is not None and first >= last:
        raise Conflict(
            f'{where}.epochs starts in epoch {first}, but the run ends after epoch {last - 1} (counted from 0)',
            todo='start earlier, or remove the component (=None)',
            path=f'{where}.epochs',
        )
