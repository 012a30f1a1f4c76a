"""The SYSU-MM01 dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Literal

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import UnknownName, WrongContent, WrongValue
from vireid.plugins.datasets.raw_folder import images, incomplete, read_id_list, require_root

CAMERAS = {1: VISIBLE, 2: VISIBLE, 3: INFRARED, 4: VISIBLE, 5: VISIBLE, 6: INFRARED}
OBTAIN = (
    'request SYSU-MM01 with its license form (github.com/wuancong/SYSU-MM01), unpack it, and set --data-root to the '
    'folder with cam1 ... cam6 and exp'
)


def complete(train_lists: Sequence[str] = ('train', 'val')) -> dict[str, tuple[int, ...]]:
    """Returns the number of identities, visible and infrared images of each split of a complete copy."""
    counts = {'train': (296, 20_284, 9_929), 'val': (99, 1_974, 1_980)}
    chosen = [counts[name] for name in dict.fromkeys(train_lists)]
    return {'train': tuple(map(sum, zip(*chosen, strict=True))), 'val': counts['val'], 'test': (96, 6_775, 3_803)}


class SYSUMM01:
    """Reads SYSU-MM01 (Wu et al., ICCV 2017) from `camN/IIII/NNNN.jpg` and `exp/{train,val,test}_id.txt`.

    See doi 10.1109/ICCV.2017.575.

    Cameras 1, 2, 4 and 5 are visible, 3 and 6 infrared. Not every identity is seen by every camera. Your own images in
    this layout may have fewer cameras, as long as both modalities exist.

    Args:
        root: the dataset folder.
        train_lists: ID lists of the training split; it is common to train on `train` and `val` together.

    Attributes:
        expected: number of identities, visible and infrared images of each split of a complete copy.
        recognized_by: paths in its folder, any of which identifies this dataset.

    Raises:
        VireidError: if the folder, all cameras of a modality or an ID list are missing, or training and test identities
            overlap.
    """

    expected: dict[str, tuple[int, ...]] = complete()
    recognized_by = ('exp', 'cam1')
    cameras: ClassVar = {m: tuple(camera for camera, seen in CAMERAS.items() if seen == m) for m in (VISIBLE, INFRARED)}

    def __init__(
        self, root: str | None = None, train_lists: Sequence[Literal['train', 'val']] = ('train', 'val')
    ) -> None:
        self.expected = complete(train_lists)
        if not train_lists:
            raise WrongValue('train_lists is empty', allowed="'train', 'val', or both")
        cameras = [
            ' or '.join(f'cam{c}' for c, modality in CAMERAS.items() if modality == side)
            for side in (VISIBLE, INFRARED)
        ]
        lists = [f'exp/{name}_id.txt' for name in (*train_lists, 'test')]
        self.root = require_root(root, dataset='SYSU-MM01', looked_for=[*cameras, *lists], obtain=OBTAIN, synth='sysu')
        self.identities = {
            'train': self._training_identities(train_lists),
            'test': read_id_list(self.root / 'exp/test_id.txt'),
        }
        both = set(self.identities['train']) & set(self.identities['test'])
        if both:
            raise WrongContent(
                f'{self.root}/exp: identities {sorted(both)[:5]} are in both the training and the test list',
                todo='restore the ID lists from the dataset',
            )
        self._read = cache(self._read_split)

    def _training_identities(self, lists: Sequence[str]) -> list[int]:
        # your own dataset may have an empty val list, which is an error only if it is the only list
        alone = set(lists) == {'val'}
        read = {name: read_id_list(self.root / f'exp/{name}_id.txt', name == 'val' and not alone) for name in lists}
        return sorted({identity for identities in read.values() for identity in identities})

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of `train`, `val` or `test`, sorted by modality, identity, camera and path.

        By default, `train` includes the 99 identities of `val`.

        Raises:
            VireidError: if there is no such split, or its ID list is invalid.
            IncompleteData: if identities of the split have no images.
        """
        if name not in self.expected:
            raise UnknownName(f'SYSU-MM01 has no split {name!r}', allowed=', '.join(self.expected))
        if name not in self.identities:  # read lazily, as it is rarely needed
            self.identities[name] = read_id_list(self.root / f'exp/{name}_id.txt')
        return self._read(name)

    def _read_split(self, name: str) -> tuple[Sample, ...]:
        samples, missing = [], []
        cameras = {camera: self.root / f'cam{camera}' for camera in CAMERAS}
        # one listing per camera is faster than one check per identity and camera
        present = {
            camera: {entry.name for entry in os.scandir(folder) if entry.is_dir()} if folder.is_dir() else set()
            for camera, folder in cameras.items()
        }
        for identity in self.identities[name]:
            of_identity = [
                Sample(path, identity, camera, CAMERAS[camera])
                for camera, folder in cameras.items()
                if f'{identity:04d}' in present[camera]
                for path in images(folder / f'{identity:04d}')
            ]
            if not of_identity:
                missing.append(identity)
            samples += of_identity
        # the sort is stable, so the order by identity, camera and path is kept within a modality
        ordered = tuple(sorted(samples, key=lambda s: s.modality != VISIBLE))
        if missing:
            raise incomplete(f'SYSU-MM01: {self.root}/cam*', missing, self.identities[name], name, ordered)
        return ordered
