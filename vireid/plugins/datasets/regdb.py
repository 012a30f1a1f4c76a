"""RegDB from its raw folder."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.plugins.datasets.index_file import read_index
from vireid.plugins.datasets.raw_folder import require_root

CAMERAS = {VISIBLE: 1, INFRARED: 2}
FILE_NAMES = {VISIBLE: 'visible', INFRARED: 'thermal'}
OBTAIN = (
    "ask for RegDB (Dongguk Body-based Person Recognition Database DBPerson-Recog-DB1) from its authors' page, and "
    'give the folder that holds Visible, Thermal and idx'
)


class RegDB:
    """Reads `idx/{train,test}_{visible,thermal}_{1..10}.txt`, lines of `relative/path label` (Nguyen et al., 2017).

    The ten trials are ten different splits of the identities, so a model trained on one must be tested on the same:
    otherwise identities it was trained on are in its test.

    Args:
        root: the dataset's folder.
        trial: which split, 1 to 10.

    Attributes:
        expected: by split, identities, visible and infrared images of a complete copy.

    Raises:
        VireidError: if the folder or an index file is missing, or a line of it is wrong.
    """

    expected = dict.fromkeys(('train', 'test'), (206, 2060, 2060))

    cameras: ClassVar = {m: (camera,) for m, camera in CAMERAS.items()}

    def __init__(self, root: str | None = None, trial: int = 1) -> None:
        if not 1 <= trial <= 10:
            raise VireidError(f'trial is {trial}', allowed='1 to 10')
        lists = [f'idx/{part}_{name}_{trial}.txt' for part in ('train', 'test') for name in FILE_NAMES.values()]
        self.root = require_root(
            root, dataset='RegDB', looked_for=['Visible', 'Thermal', *lists], obtain=OBTAIN, synth='regdb'
        )
        self.trial = trial
        self.split_name = f'trial {trial}'
        self._read = cache(self._read_split)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of `train` or `test` of this trial, in the index files' order, visible first."""
        if name not in ('train', 'test'):
            raise VireidError(f'RegDB has no split {name!r}', allowed='train, test')
        return self._read(name)

    def _read_split(self, name: str) -> tuple[Sample, ...]:
        lists = {
            part: {m: read_index(self.root / f'idx/{part}_{file}_{self.trial}.txt') for m, file in FILE_NAMES.items()}
            for part in ('train', 'test')
        }
        folders: dict[str, set[str]] = {'train': set(), 'test': set()}
        for part, modality, path in (
            (p, m, path) for p, by in lists.items() for m, found in by.items() for path, _ in found
        ):
            sensor, _, rest = path.partition('/')
            if sensor.lower() != FILE_NAMES[modality]:
                raise VireidError(
                    f'{self.root}/idx/{part}_{FILE_NAMES[modality]}_{self.trial}.txt names {path}',
                    allowed=f'images below {FILE_NAMES[modality].title()}',
                    todo='restore the index files from the dataset',
                )
            folders[part].add(rest.partition('/')[0])
        # the labels of both halves count from 0, so only folders tell whether a person is in both
        both = sorted(folders['train'] & folders['test'])
        if both:
            raise VireidError(
                f'{self.root}/idx: the identities {", ".join(both[:5])} are in the training and the test list of trial '
                f'{self.trial}',
                todo='restore the index files from the dataset',
            )
        return tuple(
            Sample(str(self.root / path), label, CAMERAS[modality], modality)
            for modality, found in lists[name].items()
            for path, label in found
        )
