"""SYSU-MM01 from its raw folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Literal

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.plugins.datasets.raw_folder import images, incomplete, read_id_list, require_root

CAMERAS = {1: VISIBLE, 2: VISIBLE, 3: INFRARED, 4: VISIBLE, 5: VISIBLE, 6: INFRARED}
OBTAIN = (
    'ask for SYSU-MM01 by its licence form (github.com/wuancong/SYSU-MM01), unpack it, and give the folder '
    'that holds cam1 ... cam6 and exp'
)


class SYSUMM01:
    """Reads `camN/IIII/NNNN.jpg` and `exp/{train,val,test}_id.txt` (Wu et al., 2017).

    Cameras 1, 2, 4, 5 are visible, 3 and 6 infrared. Not every person is on every camera, and one's own images in
    this layout may have fewer cameras, as long as both modalities are there.

    Args:
        root: the dataset's folder.
        train_lists: id lists that make up the training split; the field trains on `train` and `val` together.

    Attributes:
        expected: by split, identities, visible and infrared images of a complete copy.

    Raises:
        VireidError: if the folder, all cameras of a modality or an id list is missing, or training and test identities
            overlap.
    """

    cameras: ClassVar = {m: tuple(camera for camera, seen in CAMERAS.items() if seen == m) for m in (VISIBLE, INFRARED)}

    def __init__(
        self, root: str | None = None, train_lists: Sequence[Literal['train', 'val']] = ('train', 'val')
    ) -> None:
        counts = {'train': (296, 20_284, 9_929), 'val': (99, 1_974, 1_980)}
        chosen = [counts[name] for name in dict.fromkeys(train_lists)]
        self.expected = {
            'train': tuple(map(sum, zip(*chosen, strict=True))),
            'val': counts['val'],
            'test': (96, 6_775, 3_803),
        }
        if not train_lists:
            raise VireidError('train_lists is empty', allowed="'train', 'val', or both")
        cameras = [
            ' or '.join(f'cam{c}' for c, modality in CAMERAS.items() if modality == wanted)
            for wanted in (VISIBLE, INFRARED)
        ]
        lists = [f'exp/{name}_id.txt' for name in (*train_lists, 'test')]
        self.root = require_root(root, dataset='SYSU-MM01', looked_for=[*cameras, *lists], obtain=OBTAIN, synth='sysu')
        self.identities = {
            'train': self._training_identities(train_lists),
            'test': read_id_list(self.root / 'exp/test_id.txt'),
        }
        both = set(self.identities['train']) & set(self.identities['test'])
        if both:
            raise VireidError(
                f'{self.root}/exp: identities {sorted(both)[:5]} are in the training and the test list',
                todo='restore the id lists from the dataset',
            )
        self._read = cache(self._read_split)

    def _training_identities(self, lists: Sequence[str]) -> list[int]:
        # a set of one's own may have nobody to validate on; where somebody asks for validation, that is an error
        alone = set(lists) == {'val'}
        read = {name: read_id_list(self.root / f'exp/{name}_id.txt', name == 'val' and not alone) for name in lists}
        return sorted({identity for found in read.values() for identity in found})

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of `train`, `val` or `test`, by modality, identity, camera and path.

        By default the 99 identities of `val` are trained on too.
        """
        if name not in self.expected:
            raise VireidError(f'SYSU-MM01 has no split {name!r}', allowed=', '.join(self.expected))
        if name not in self.identities:  # read when asked for: few need it
            self.identities[name] = read_id_list(self.root / f'exp/{name}_id.txt')
        return self._read(name)

    def _read_split(self, name: str) -> tuple[Sample, ...]:
        samples, lacking = [], []
        cameras = {camera: self.root / f'cam{camera}' for camera in CAMERAS}
        # one listing for each camera, not a probe for each person on each camera
        present = {
            camera: {entry.name for entry in os.scandir(folder) if entry.is_dir()} if folder.is_dir() else set()
            for camera, folder in cameras.items()
        }
        for identity in self.identities[name]:
            found = [
                Sample(path, identity, camera, CAMERAS[camera])
                for camera, folder in cameras.items()
                if f'{identity:04d}' in present[camera]
                for path in images(folder / f'{identity:04d}')
            ]
            if not found:
                lacking.append(identity)
            samples += found
        # stable: identity, camera and path stay in order within a modality
        ordered = tuple(sorted(samples, key=lambda s: s.modality != VISIBLE))
        if lacking:
            raise incomplete(f'SYSU-MM01: {self.root}/cam*', lacking, self.identities[name], name, ordered)
        return ordered
