"""Parts of a batch that consist of whole identities."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch

from vireid.core.types import Batch, joint_order
from vireid.errors import Mismatch


def split_identities(batch: Batch, parts: int) -> list[Batch]:
    """Splits a batch into micro-batches with whole identities and nearly equal size, preserving the image order.

    Args:
        batch: the batch.
        parts: number of micro-batches.

    Raises:
        Mismatch: if there are fewer identities than micro-batches.
    """
    identities = _identities(batch)
    if len(identities) < parts:
        raise Mismatch(
            f'accumulate is {parts}, but a batch has {len(identities)} identities',
            todo=f'set step.accumulate to {len(identities)} or less',
        )
    cuts = [number * len(identities) // parts for number in range(parts + 1)]
    return [_part(batch, identities[first:last]) for first, last in itertools.pairwise(cuts)]


def first_identities(batch: Batch, count: int) -> Batch:
    """Returns the images of the first `count` identities of a batch.

    Raises:
        Mismatch: if it has fewer.
    """
    identities = _identities(batch)
    if len(identities) < count:
        raise Mismatch(
            f'an optimizer uses {count} identities per batch, but a batch has {len(identities)}',
            todo=f'set its identities to {len(identities)} or less, or sampler.identities to {count}',
            path='step.optimizers',
        )
    return _part(batch, identities[:count])


def _identities(batch: Batch) -> list[int]:
    return list(dict.fromkeys(torch.cat([batch.identities[m] for m in joint_order(batch.identities)]).tolist()))


def _part(batch: Batch, identities: Sequence[int]) -> Batch:
    # rows instead of masks: indexing with a mask on a GPU waits for it, each time
    rows = {m: [row for row, i in enumerate(ids.tolist()) if i in identities] for m, ids in batch.identities.items()}
    at = {m: torch.tensor(rows[m], dtype=torch.int64, device=ids.device) for m, ids in batch.identities.items()}
    return replace(
        batch,
        images={m: images[at[m]] for m, images in batch.images.items()},
        identities={m: ids[at[m]] for m, ids in batch.identities.items()},
        cameras={m: cameras[at[m]] for m, cameras in batch.cameras.items()},
        paths={m: [paths[row] for row in rows[m]] for m, paths in batch.paths.items()},
    )
