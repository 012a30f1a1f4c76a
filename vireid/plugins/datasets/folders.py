"""One's own images, in folders named after identities."""

from __future__ import annotations

from pathlib import Path

from vireid.core.errors import VireidError
from vireid.core.types import MODALITIES, Sample
from vireid.plugins.datasets.own_images import number_identities, require_split
from vireid.plugins.datasets.raw_folder import images


class Folders:
    """Reads `visible/PERSON/*.jpg` and `infrared/PERSON/*.jpg`, below `train` and `test` if there are such folders.

    Without `train` and `test`, the last identities by name, `test_share` of them, are the test split. Visible images
    are camera 1, infrared ones camera 2.

    Args:
        root: the folder.
        test_share: share of the identities that are for testing, above 0 and up to 1 (nobody to train on); only without
            `train` and `test` folders.

    Raises:
        VireidError: if a folder is missing or no person is there.
    """

    def __init__(self, root: str | None = None, test_share: float = 0.5) -> None:
        wanted = 'visible/PERSON/*.jpg and infrared/PERSON/*.jpg, or both below train and test'
        if root is None:
            raise VireidError('Folders: no data folder was given', allowed=wanted, todo='give --data-root')
        if not 0 < test_share <= 1:
            raise VireidError(f'test_share is {test_share}', allowed='above 0, up to 1')
        self.root = Path(root).expanduser()
        parts = [name for name in ('train', 'test') if (self.root / name).is_dir()]
        folders = {name: self.root / name for name in parts} or {'': self.root}
        identities = {
            name: sorted({p.name for m in MODALITIES for p in _subfolders(folder / m)})
            for name, folder in folders.items()
        }
        if not any(identities.values()):
            raise VireidError(f'Folders: {self.root.absolute()} holds no person', allowed=wanted)
        numbers = number_identities(identity for found in identities.values() for identity in found)
        both = set(identities.get('train', ())) & set(identities.get('test', ()))
        if both:
            raise VireidError(f'Folders: {sorted(both)[0]!r} is in train and in test', todo='keep each person in one')
        if '' in identities:
            count = max(1, round(test_share * len(identities[''])))
            cut = len(identities['']) - count
            identities, folders = (
                {'train': identities[''][:cut], 'test': identities[''][cut:]},
                dict.fromkeys(('train', 'test'), self.root),
            )
        self._splits = {
            name: [
                Sample(path, numbers[identity], camera, modality)
                for camera, modality in enumerate(MODALITIES, 1)
                for identity in found
                if (folders[name] / modality / identity).is_dir()
                for path in images(folders[name] / modality / identity)
            ]
            for name, found in identities.items()
        }
        if not any(self._splits.values()):
            raise VireidError(f'Folders: the folders in {self.root.absolute()} hold no images', allowed=wanted)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of `train` or `test`, visible first, by person and path."""
        return require_split(self._splits, name, f'Folders: {self.root}')


def _subfolders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.')] if folder.is_dir() else []
