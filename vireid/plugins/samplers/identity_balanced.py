"""Identity-balanced batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.core.wording import counted

Count = Annotated[int, Ge(1), Le(1000)]  # above it, no network of the field takes a batch


class IdentityBalanced:
    """Draws N identities a batch, and of each `visible` + `infrared` images (TFFN section 2.1).

    Identities are drawn without replacement within a batch; images of a person without replacement while there are
    enough of them, otherwise with. Both modalities list the identities in the same order, so that the i-th visible and
    the i-th infrared image correspond. An epoch has floor(max(n_visible, n_infrared) / images per modality) + 1
    batches, as the field counts it. Batches are a pure function of (seed, epoch); with several processes each takes
    its own identities of a common draw.

    Args:
        samples: the training samples.
        seed: of the draws.
        rank: which process this is.
        world_size: number of processes.
        identities: identities N in a batch.
        visible: visible images M of each.
        infrared: infrared images M of each.
        fewer: if there are fewer identities than N, a batch has all of them; otherwise that is an error.

    Raises:
        VireidError: if a person lacks a modality, or there are fewer identities than a batch needs.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        identities: Count = 4,
        visible: Count = 4,
        infrared: Count = 4,
        fewer: bool = False,
    ) -> None:
        for name, value in (('identities', identities), ('visible', visible), ('infrared', infrared)):
            if not 1 <= value <= 1000:
                raise VireidError(f'{name} is {value}', allowed='an integer of 1 to 1000')
        if seed < 0:
            raise VireidError(f'seed is {seed}', allowed='an integer of at least 0')
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.identities = identities
        self.quota = {VISIBLE: visible, INFRARED: infrared}
        self.indices: dict[str, dict[int, list[int]]] = {VISIBLE: {}, INFRARED: {}}
        for index, sample in enumerate(samples):
            self.indices[sample.modality].setdefault(sample.identity, []).append(index)
        seen, lit = set(self.indices[VISIBLE]), set(self.indices[INFRARED])
        for lacking, modality in ((lit - seen, VISIBLE), (seen - lit, INFRARED)):
            if lacking:
                names = {s.identity: s.name for s in samples}
                some = ', '.join(names[i] for i in sorted(lacking)[:5]) + (', ...' if len(lacking) > 5 else '')
                raise VireidError(
                    f'{counted(len(lacking), "training identity has", "training identities have")} no {modality} '
                    f'image: {some}',
                    todo='take them out of the training list, as `vireid data split` does with your own, or add some',
                )
        self.numbers = sorted(seen)
        most_identities = len(self.numbers) // world_size
        if fewer and most_identities:
            self.identities = identities = min(identities, most_identities)
        if len(self.numbers) < identities * world_size:
            raise VireidError(
                f'a batch needs {identities * world_size} identities and the training set has {len(self.numbers)}',
                todo=f'set sampler.identities to {most_identities} or less, or sampler.fewer=True'
                if most_identities
                else f'use {max(1, len(self.numbers))} process(es) at most, and check the training list',
            )
        most = max(
            sum(map(len, self.indices[modality].values())) // (identities * world_size * quota)
            for modality, quota in self.quota.items()
        )
        self._length = most + 1

    def __len__(self) -> int:
        return self._length

    def batches(self, epoch: int) -> list[list[int]]:
        """Returns the epoch's batches: sample indices, all visible ones first, identities in the same order."""
        rng = np.random.default_rng([self.seed, epoch])
        mine = slice(self.rank * self.identities, (self.rank + 1) * self.identities)
        result = []
        for _ in range(self._length):
            drawn = rng.choice(len(self.numbers), self.identities * self.world_size, replace=False)
            # images are drawn for every process, so that all of them move the generator alike
            rows = {m: [self._images(rng, m, self.numbers[p]) for p in drawn] for m in self.quota}
            result.append([index for m in self.quota for row in rows[m][mine] for index in row])
        return result

    def _images(self, rng: np.random.Generator, modality: str, person: int) -> list[int]:
        pool, quota = self.indices[modality][person], self.quota[modality]
        return [pool[i] for i in rng.choice(len(pool), quota, replace=len(pool) < quota)]
