"""Who a run trains on, by the names that the dataset has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.core.errors import VireidError
from vireid.core.types import Sample
from vireid.interfaces import Dataset

SHOWN = 5


def name_identities(dataset: Dataset, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Returns the names of the samples' identities in the order of their labels, or their numbers without names."""
    names: Mapping[int, str] = Dataset.names(dataset)
    return tuple(str(names.get(number, number)) for number in sorted({s.identity for s in samples}))


def require_same_identities(content: Mapping[str, Any], identities: Sequence[str], source: str) -> None:
    """Raises if a checkpoint was trained on other identities than these, or knows them by other labels.

    Args:
        content: of the checkpoint. One that does not say whom it was trained on is not compared.
        identities: those of the run that is to go on from it, in the order of their labels.
        source: its name in messages.
    """
    ours, theirs = list(identities), content.get('identities', list(identities))
    if ours == theirs:
        return
    gone, new = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    told = [f'only the checkpoint has {_some(gone)}'] if gone else []
    told += [f'only this run has {_some(new)}'] if new else []
    raise VireidError(
        f'{source} and this run have different training identities: {"; ".join(told) or "they have other labels"}',
        allowed='the training identities that the run began with',
        todo=f'resume with the data that it was trained on, or begin a run from its weights: --init {source}',
    )


def _some(names: Sequence[str]) -> str:
    more = f' and {len(names) - SHOWN:,} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more
