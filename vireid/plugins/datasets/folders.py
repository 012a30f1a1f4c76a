"""One's own images, in folders named after identities."""

from __future__ import annotations

import re
from pathlib import Path

from vireid.core.errors import VireidError
from vireid.core.types import MODALITIES, Sample
from vireid.plugins.datasets.own_images import SPLITS, OwnImages, number_identities
from vireid.plugins.datasets.raw_folder import images
from vireid.plugins.datasets.splitting import Dealing

CAMERA = re.compile(r'cam(\d{1,9})')


class Folders(OwnImages):
    """Reads `visible/PERSON/*.jpg` and `infrared/PERSON/*.jpg`, below `train`, `val` and `test` if there are such.

    Without `train` and `test`, the last identities by name, `test_share` of them, are the test split. Visible images
    are camera 1, infrared ones camera 2. With more cameras a folder `cam1`, `cam2`, ... stands above the people:
    `visible/cam3/PERSON/*.jpg`.

    Args:
        root: the folder.
        test_share: share of the identities that are for testing, above 0 and up to 1 (nobody to train on); only without
            `train` and `test` folders, and without `folds`.
        folds: for cross-validation: the test split is one of so many equally large groups of the identities that both
            modalities saw, whatever folder they are in. All others are trained on.
        trial: which group is tested, 1 to `folds`; `vireid train --trials 1-5` takes each in turn.
        seed: of the groups, and of `val_share`.
        val_share: share of the training identities that becomes the split `val` if there is none, at least two;
            0 for none.
        identities: keeps only so many training identities, for learning curves; None keeps all.
        draw: seed of those. Of one draw, the fewer are among the more.

    Raises:
        VireidError: if a folder is missing, no person is there, or too few.
    """

    def __init__(
        self,
        root: str | None = None,
        test_share: float = 0.5,
        folds: int | None = None,
        trial: int = 1,
        seed: int = 0,
        val_share: float = 0.0,
        identities: int | None = None,
        draw: int = 0,
    ) -> None:
        wanted = 'visible/PERSON/*.jpg and infrared/PERSON/*.jpg, or both below train and test'
        if root is None:
            raise VireidError('Folders: no data folder was given', allowed=wanted, todo='give --data-root')
        if not 0 < test_share <= 1:
            raise VireidError(f'test_share is {test_share}', allowed='above 0, up to 1')
        dealing = Dealing(folds, trial, seed, val_share, identities, draw)
        if folds is not None and test_share != 0.5:
            raise VireidError(
                f'test_share is {test_share} beside folds={folds}, which says who is tested', todo='give one'
            )
        self.root = Path(root).expanduser()
        divided = any((self.root / name).is_dir() for name in ('train', 'test'))
        folders = {name: self.root / name for name in SPLITS if (self.root / name).is_dir()} if divided else {}
        people = {name: _people(folder) for name, folder in (folders or {'': self.root}).items()}
        found = sorted({folder.name for listed in people.values() for _, _, folder in listed})
        if not found:
            raise VireidError(f'Folders: {self.root.absolute()} holds no person', allowed=wanted)
        numbers = number_identities(found)
        listed = {
            name: [
                Sample(path, numbers[folder.name], camera, modality)
                for modality, camera, folder in some
                for path in images(folder)
            ]
            for name, some in people.items()
        }
        if not any(listed.values()):
            raise VireidError(f'Folders: the folders in {self.root.absolute()} hold no images', allowed=wanted)
        if not divided:
            cut = len(found) - max(1, round(test_share * len(found)))
            test = {numbers[name] for name in found[cut:]}
            listed = {
                'train': [s for s in listed[''] if s.identity not in test],
                'test': [s for s in listed[''] if s.identity in test],
            }
        super().__init__(f'Folders: {self.root}', numbers, listed, dealing)


def _people(folder: Path) -> list[tuple[str, int, Path]]:
    """Returns modality, camera and folder of each person, visible first, by camera and name."""
    found = []
    inside = {m: _subfolders(folder / m) for m in MODALITIES}
    with_people = {m: [p for p in below if CAMERA.fullmatch(p.name) and _subfolders(p)] for m, below in inside.items()}
    numbers = {int(p.name[3:]) for cameras in with_people.values() for p in cameras}
    for first, modality in enumerate(MODALITIES, 1):
        below, cameras = inside[modality], with_people[modality]
        usual = first if first not in numbers else max(numbers) + first  # the same number would say the same place
        if cameras and len(cameras) < len(below):
            other = next(p.name for p in below if p not in cameras)
            raise VireidError(
                f'Folders: {folder / modality} holds cameras ({cameras[0].name}) and others ({other})',
                allowed='people, or cameras (cam1, cam2, ...) with people in them',
                todo=f'move {other} into the folder of its camera',
            )
        by_camera = sorted((int(p.name[3:]), p) for p in cameras)
        found += [(modality, usual, person) for person in below if not cameras]
        found += [(modality, camera, person) for camera, place in by_camera for person in _subfolders(place)]
    return found


def _subfolders(folder: Path) -> list[Path]:
    """Returns the folders in a folder, by name."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.'))
