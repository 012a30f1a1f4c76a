"""Uses the validation split of a dataset as its test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vireid.core.types import Sample
from vireid.errors import Conflict, VireidError
from vireid.interfaces import Dataset


class ValidationSplit:
    """Wraps a dataset so that its test split is the validation split, which any protocol can then score.

    Args:
        dataset: the dataset.
        trained_on: the training samples.

    Raises:
        VireidError: if there is no validation split, or some of its identities are trained on.
    """

    def __init__(self, dataset: Dataset, trained_on: Sequence[Sample]) -> None:
        self._dataset, self._train = dataset, tuple(trained_on)
        try:
            self._samples = tuple(dataset.split('val'))
        except VireidError as error:
            raise error.reworded(
                f'evaluation.select is validation: {error.given}',
                todo=f'{error.todo or "add a split named val to the data"}; or select nothing: '
                "evaluation.select='last', evaluation.before_training=False, refit=None",
                path='evaluation.select',
            ) from error
        both = {s.identity for s in self._samples} & {s.identity for s in trained_on}
        if both:
            raise Conflict(
                f'evaluation.select is validation, but {len(both)} validation identities are also trained on, such as '
                f'{min(both)}',
                todo="train only on the other identities: dataset.train_lists=['train']",
                path='evaluation.select',
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the training samples for `train`, and the validation samples for anything else."""
        return self._train if name == 'train' else self._samples
