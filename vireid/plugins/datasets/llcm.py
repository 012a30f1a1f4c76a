"""The LLCM dataset."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import ClassVar

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import UnknownName, WrongContent
from vireid.plugins.datasets.index_file import read_index
from vireid.plugins.datasets.raw_folder import images, incomplete, read_id_list, require_root

TRAIN_LISTS = {VISIBLE: 'idx/train_vis.txt', INFRARED: 'idx/train_nir.txt'}
TEST_FOLDERS = {VISIBLE: 'test_vis', INFRARED: 'test_nir'}
CAMERAS = range(1, 10)
OBTAIN = (
    "request LLCM (Low-Light Cross-Modality) on its authors' page, and set --data-root to the folder with idx, "
    'test_vis, test_nir and the training images'
)


class LLCM:
    """Reads LLCM (Zhang and Wang, CVPR 2023, arXiv 2303.14481).

    Training images are the lines `relative/path label` of `idx/train_vis.txt` and `idx/train_nir.txt`. They have no
    camera number, so it is 0. Test images are `test_vis/camN/IIII/*.jpg` and `test_nir/camN/IIII/*.jpg` of the
    identities in `idx/test_id.txt`, with cameras 1 to 9 (no near-infrared image is from camera 3).

    Args:
        root: the dataset folder.

    Attributes:
        expected: number of identities, visible and infrared images of each split of a complete copy, from the paper.
        recognized_by: paths in its folder, any of which identifies this dataset.

    Raises:
        VireidError: if the folder or a list is missing, or, when a split is read, if a list is invalid.
    """

    expected: ClassVar = {'train': (713, 16_946, 13_975), 'test': (351, 8_680, 7_166)}
    recognized_by = ('idx/train_vis.txt', 'test_vis')
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
        """Returns the samples of `train` (in list order) or `test` (by identity, camera, path), visible first.

        Raises:
            VireidError: if there is no such split, or a list is invalid.
            IncompleteData: if test identities have no images.
        """
        if name not in ('train', 'test'):
            raise UnknownName(f'LLCM has no split {name!r}', allowed='train, test')
        return self._read(name)()

    def _train(self) -> tuple[Sample, ...]:
        lists = {modality: read_index(self.root / name) for modality, name in TRAIN_LISTS.items()}
        test = set(read_id_list(self.root / 'idx/test_id.txt'))
        for modality, entries in lists.items():
            for path, _ in entries:
                folder = Path(path).parent.name  # labels start at 0, so only folders name the identity
                if path.startswith('test_') or (folder.isdecimal() and int(folder) in test):
                    raise WrongContent(
                        f'{self.root / TRAIN_LISTS[modality]} names {path}, which is of a test identity',
                        todo='restore the lists from the dataset',
                    )
        return tuple(
            Sample(str(self.root / path), label, 0, modality)
            for modality, entries in lists.items()
            for path, label in entries
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
        present_identities = {sample.identity for sample in samples}
        missing = [identity for identity in identities if identity not in present_identities]
        if missing:
            raise incomplete(f'LLCM: {self.root}/test_vis and test_nir', missing, identities, 'test', tuple(samples))
        return tuple(samples)
