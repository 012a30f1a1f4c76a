"""The RegDB dataset."""

from __future__ import annotations

from functools import cache
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import UnknownName, WrongContent
from vireid.plugins.datasets.index_file import read_index
from vireid.plugins.datasets.raw_folder import require_root

CAMERAS = {VISIBLE: 1, INFRARED: 2}
FILE_NAMES = {VISIBLE: 'visible', INFRARED: 'thermal'}
OBTAIN = (
    "request RegDB (Dongguk Body-based Person Recognition Database DBPerson-Recog-DB1) on its authors' page, and set "
    '--data-root to the folder with Visible, Thermal and idx'
)


class RegDB:
    """Reads RegDB from `idx/{train,test}_{visible,thermal}_{1..10}.txt`.

    RegDB is by Nguyen et al., Sensors 2017, doi 10.3390/s17030605. It has ten splits of the identities
    into training and test. Test a model on the split that it was trained on; otherwise the test set contains training
    identities.

    Args:
        root: the dataset folder.
        split: the number of the split, 1 to 10; most published code calls it the trial.

    Attributes:
        expected: number of identities, visible and infrared images of each split of a complete copy.
        recognized_by: paths in its folder, any of which identifies this dataset.

    Raises:
        VireidError: if the folder or an index file is missing, or, when a split is read, if an index file is invalid.
    """

    expected = dict.fromkeys(('train', 'test'), (206, 2060, 2060))
    recognized_by = ('idx/train_visible_1.txt', 'Thermal')
    cameras: ClassVar = {m: (camera,) for m, camera in CAMERAS.items()}

    def __init__(self, root: str | None = None, split: Annotated[int, Ge(1), Le(10)] = 1) -> None:
        lists = [f'idx/{part}_{name}_{split}.txt' for part in ('train', 'test') for name in FILE_NAMES.values()]
        self.root = require_root(
            root, dataset='RegDB', looked_for=['Visible', 'Thermal', *lists], obtain=OBTAIN, synth='regdb'
        )
        self._number = split
        self.split_name = f'split {split}'
        self._read = cache(self._read_split)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of `train` or `test` in index file order, visible first.

        Raises:
            VireidError: if there is no such split, or an index file is invalid.
        """
        if name not in ('train', 'test'):
            raise UnknownName(f'RegDB has no split {name!r}', allowed='train, test')
        return self._read(name)

    def _read_split(self, name: str) -> tuple[Sample, ...]:
        lists = {
            part: {m: read_index(self.root / f'idx/{part}_{file}_{self._number}.txt') for m, file in FILE_NAMES.items()}
            for part in ('train', 'test')
        }
        folders: dict[str, set[str]] = {'train': set(), 'test': set()}
        for part, modality, path in (
            (p, m, path) for p, by in lists.items() for m, entries in by.items() for path, _ in entries
        ):
            sensor, _, rest = path.partition('/')
            if sensor.lower() != FILE_NAMES[modality]:
                raise WrongContent(
                    f'{self.root}/idx/{part}_{FILE_NAMES[modality]}_{self._number}.txt names {path}',
                    allowed=f'images in {FILE_NAMES[modality].title()}',
                    todo='restore the index files from the dataset',
                )
            folders[part].add(rest.partition('/')[0])
        # labels start at 0 in both lists, so only folders show whether an identity is in both
        both = sorted(folders['train'] & folders['test'])
        if both:
            raise WrongContent(
                f'{self.root}/idx: the identities {", ".join(both[:5])} are in both the training and the test list of '
                f'{self.split_name}',
                todo='restore the index files from the dataset',
            )
        return tuple(
            Sample(str(self.root / path), label, CAMERAS[modality], modality)
            for modality, entries in lists[name].items()
            for path, label in entries
        )
