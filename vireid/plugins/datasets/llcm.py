"""LLCM from its raw folder."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import ClassVar

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.plugins.datasets.index_file import read_index
from vireid.plugins.datasets.raw_folder import images, incomplete, read_id_list, require_root

TRAIN_LISTS = {VISIBLE: 'idx/train_vis.txt', INFRARED: 'idx/train_nir.txt'}
TEST_FOLDERS = {VISIBLE: 'test_vis', INFRARED: 'test_nir'}
CAMERAS = range(1, 10)
OBTAIN = (
    "ask for LLCM (Low-Light Cross-Modality) from its authors' page, and give the folder that holds idx, test_vis, "
    'test_nir and the training images'
)


class LLCM:
    """Reads LLCM (Zhang and Wang, 2023).

    Training images are the lines `relative/path label` of `idx/train_vis.txt` and `idx/train_nir.txt`; they say no
    camera, so it is 0. Test images are `test_vis/camN/IIII/*.jpg` and `test_nir/camN/IIII/*.jpg` of the identities in
    `idx/test_id.txt`, cameras 1 to 9 (none of the near-infrared ones is camera 3).

    Args:
        root: the dataset's folder.

    Attributes:
        expected: by split, identities, visible and infrared images of a complete copy (their paper).

    Raises:
        VireidError: if the folder or a list is missing, or a line of a list is wrong.
    """

    expected: ClassVar = {'train': (713, 16_946, 13_975), 'test': (351, 8_680, 7_166)}

    cameras: ClassVar = dict.fromkeys((VISIBLE, INFRARED), tuple(CAMERAS))

    def __init__(self, root: str | None = None) -> None:
        self.root = require_root(
            root,
            dataset='LLCM',
            looked_for=[*TRAIN_LISTS.values(), 'idx/test_id.txt', *TEST_FOLDERS.values()],
            obtain=OBTAIN,
            synth='llcm',
        )
        self._read = cache({'train': self._train, 'test': self._test}.__getitem__)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of `train` (in the lists' order) or `test` (by identity, camera, path), visible first."""
        if name not in ('train', 'test'):
            raise VireidError(f'LLCM has no split {name!r}', allowed='train, test')
        return self._read(name)()

    def _train(self) -> tuple[Sample, ...]:
        lists = {modality: read_index(self.root / name) for modality, name in TRAIN_LISTS.items()}
        test = set(read_id_list(self.root / 'idx/test_id.txt'))
        for modality, found in lists.items():
            for path, _ in found:
                folder = Path(path).parent.name  # the labels count from 0: only folders name identities
                if path.startswith('test_') or (folder.isdecimal() and int(folder) in test):
                    raise VireidError(
                        f'{self.root / TRAIN_LISTS[modality]} names {path}, of a person for testing',
                        todo='restore the lists from the dataset',
                    )
        return tuple(
            Sample(str(self.root / path), label, 0, modality)
            for modality, found in lists.items()
            for path, label in found
        )

    def _test(self) -> tuple[Sample, ...]:
        identities = read_id_list(self.root / 'idx/test_id.txt')
        samples = []
        for modality, name in TEST_FOLDERS.items():
            folders = {camera: self.root / name / f'cam{camera}' for camera in CAMERAS}
            present = {c: set(os.listdir(f)) if f.is_dir() else set() for c, f in folders.items()}
            samples += [
                Sample(path, identity, camera, modality)
                for identity in identities
                for camera, folder in folders.items()
                if f'{identity:04d}' in present[camera]
                for path in images(folder / f'{identity:04d}')
            ]
        found = {sample.identity for sample in samples}
        lacking = [identity for identity in identities if identity not in found]
        if lacking:
            raise incomplete(f'LLCM: {self.root}/test_vis and test_nir', lacking, identities, 'test', tuple(samples))
        return tuple(samples)
