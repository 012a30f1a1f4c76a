"""The training identities of a run, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.core.errors import VireidError
from vireid.core.types import Sample
from vireid.interfaces import Dataset

SHOWN = 5


def name_identities(dataset: Dataset, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Returns the names of the samples' identities in label order; their numbers if they have no names."""
    names: Mapping[int, str] = Dataset.names(dataset)
    return tuple(str(names.get(number, number)) for number in sorted({s.identity for s in samples}))


def require_same_identities(content: Mapping[str, Any], identities: Sequence[str], source: str) -> None:
    """Checks that a checkpoint was trained on the same identities with the same labels.

    Args:
        content: the checkpoint; it is not compared if it does not list its identities.
        identities: the identities of the run to resume, in the order of their labels.
        source: name of the checkpoint, for messages.

    Raises:
        VireidError: if identities or labels differ.
    """
    ours, theirs = list(identities), content.get('identities', list(identities))
    if ours == theirs:
        return
    gone, new = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    differences = [f'only the checkpoint has {_some(gone)}'] if gone else []
    differences += [f'only this run has {_some(new)}'] if new else []
    raise VireidError(
        f'{source} and this run have different training identities: '
        f'{"; ".join(differences) or "their labels are in a different order"}',
        allowed='the training identities that the run started with',
        todo=f'resume with the data it was trained on, or start a new run from its weights: --init {source}',
    )


def _some(names: Sequence[str]) -> str:
    more = f' and {len(names) - SHOWN:,} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more
