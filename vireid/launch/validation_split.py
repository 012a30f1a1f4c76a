"""The validation identities of a dataset, scored as if they were its test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vireid.core.errors import VireidError
from vireid.core.types import Sample
from vireid.interfaces import Dataset


class ValidationSplit:
    """A dataset whose test split is the validation split of another: any protocol can be scored on it."""

    def __init__(self, dataset: Dataset, trained_on: Sequence[Sample]) -> None:
        self._dataset, self._train = dataset, tuple(trained_on)
        try:
            self._samples = tuple(dataset.split('val'))
        except VireidError as error:
            raise VireidError(
                f'evaluation.select is validation: {error.given}',
                todo=f"{error.todo or 'name a split val in the data'}; or choose evaluation.select='last'",
                path='evaluation.select',
            ) from error
        both = {s.identity for s in self._samples} & {s.identity for s in trained_on}
        if both:
            raise VireidError(
                f'evaluation.select is validation, and {len(both)} validation identities are trained on, such as '
                f'{min(both)}',
                todo="train on the others: dataset.train_lists=['train']",
                path='evaluation.select',
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the training samples for `train`, and the validation samples for anything else."""
        return self._train if name == 'train' else self._samples
