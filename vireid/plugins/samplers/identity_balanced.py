"""Identity-balanced sampling (a PK sampler)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from vireid.console.wording import counted
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Sample
from vireid.errors import Conflict, TooFew

Count = Annotated[int, Ge(1), Le(1000)]  # beyond any practical batch size
Images = Annotated[int, Ge(0), Le(1000)]


class IdentityBalanced:
    """A PK sampler: draws N identities per batch, with `visible` + `infrared` images each (TFFN section 2.1).

    Identities are drawn without replacement within a batch, and so are the images of an identity if it has enough of
    them. Both modalities list the identities in the same order, so if `visible` equals `infrared`, the i-th visible and
    the i-th infrared image share an identity. An epoch has floor(max(n_visible, n_infrared) / images per modality) + 1
    batches, as usual in the field. The batches are a pure function of (seed, epoch). With several processes, all of
    them make the same draw and each takes its own identities.

    Args:
        samples: the training samples.
        seed: random seed.
        rank: rank of this process.
        world_size: number of processes.
        identities: number of identities N per batch and process.
        visible: number of visible images per identity; 0 trains on infrared images alone.
        infrared: number of infrared images per identity; 0 trains on visible images alone.
        fewer: if the dataset has fewer identities than N, True uses all of them and False raises.

    Raises:
        VireidError: if an identity lacks a modality, there are fewer identities than a batch needs, or `visible` and
            `infrared` are 0.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        identities: Count = 4,
        visible: Images = 4,
        infrared: Images = 4,
        fewer: bool = False,
    ) -> None:
        if visible == infrared == 0:
            raise Conflict('visible and infrared are 0, so a batch is empty', todo='set one of them to 1 or more')
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.identities = identities
        self.quota = {m: count for m, count in ((VISIBLE, visible), (INFRARED, infrared)) if count}
        self.indices: dict[str, dict[int, list[int]]] = {VISIBLE: {}, INFRARED: {}}
        for index, sample in enumerate(samples):
            self.indices[sample.modality].setdefault(sample.identity, []).append(index)
        seen, lit = (set(self.indices[m if m in self.quota else next(iter(self.quota))]) for m in MODALITIES)
        for lacking, modality in ((lit - seen, VISIBLE), (seen - lit, INFRARED)):
            if lacking:
                names = {s.identity: s.name for s in samples}
                some = ', '.join(names[i] for i in sorted(lacking)[:5]) + (', ...' if len(lacking) > 5 else '')
                raise TooFew(
                    f'{counted(len(lacking), "training identity has", "training identities have")} no {modality} '
                    f'image: {some}',
                    todo='remove these identities from the training list, as `vireid data split` does, or add images',
                )
        self.numbers = sorted(seen)
        most_identities = len(self.numbers) // world_size
        if fewer and most_identities:
            self.identities = identities = min(identities, most_identities)
        if len(self.numbers) < identities * world_size:
            raise TooFew(
                f'a batch needs {identities * world_size} identities, but the training set has {len(self.numbers)}',
                todo=f'set sampler.identities to {most_identities} or less, or sampler.fewer=True'
                if most_identities
                else f'use at most {counted(max(1, len(self.numbers)), "process", "processes")}, and check the '
                'training list',
            )
        most = max(
            sum(map(len, self.indices[modality].values())) // (identities * world_size * quota)
            for modality, quota in self.quota.items()
        )
        self._length = most + 1

    def __len__(self) -> int:
        return self._length

    def batches(self, epoch: int) -> list[list[int]]:
        """Returns the batches of an epoch as lists of sample indices, visible images first."""
        rng = np.random.default_rng([self.seed, epoch])
        mine = slice(self.rank * self.identities, (self.rank + 1) * self.identities)
        result = []
        for _ in range(self._length):
            drawn = rng.choice(len(self.numbers), self.identities * self.world_size, replace=False)
            # images are drawn for all processes, so that their generators stay in sync
            rows = {m: [self._images(rng, m, self.numbers[i]) for i in drawn] for m in self.quota}
            result.append([index for m in self.quota for row in rows[m][mine] for index in row])
        return result

    def _images(self, rng: np.random.Generator, modality: str, identity: int) -> list[int]:
        pool, quota = self.indices[modality][identity], self.quota[modality]
        return [pool[i] for i in rng.choice(len(pool), quota, replace=len(pool) < quota)]
