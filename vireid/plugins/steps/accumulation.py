"""Splits a batch into micro-batches for gradient accumulation."""

from __future__ import annotations

import torch

from vireid.core.errors import VireidError
from vireid.core.types import Batch, joint_order


def split_identities(batch: Batch, parts: int) -> list[Batch]:
    """Splits a batch into micro-batches with whole identities and nearly equal size, preserving the image order.

    Args:
        batch: the batch.
        parts: number of micro-batches.

    Raises:
        VireidError: if there are fewer identities than micro-batches.
    """
    order = joint_order(batch.identities)
    identities = list(dict.fromkeys(torch.cat([batch.identities[m] for m in order]).tolist()))
    if len(identities) < parts:
        raise VireidError(
            f'accumulate is {parts}, but a batch has {len(identities)} identities',
            todo=f'set step.accumulate to {len(identities)} or less',
        )
    micro_batches = []
    for number in range(parts):
        own = identities[number * len(identities) // parts : (number + 1) * len(identities) // parts]
        kept = {m: torch.isin(ids, torch.tensor(own, device=ids.device)) for m, ids in batch.identities.items()}
        micro_batches.append(
            Batch(
                images={m: images[kept[m]] for m, images in batch.images.items()},
                identities={m: ids[kept[m]] for m, ids in batch.identities.items()},
                cameras={m: cameras[kept[m]] for m, cameras in batch.cameras.items()},
                paths={m: [p for p, k in zip(ps, kept[m].tolist(), strict=True) if k] for m, ps in batch.paths.items()},
            )
        )
    return micro_batches
