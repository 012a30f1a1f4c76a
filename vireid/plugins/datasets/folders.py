"""Folders: your own images, in one folder per identity."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from annotated_types import Gt, Le

from vireid.boundary.names import camera_number, plain_name
from vireid.console.wording import counted
from vireid.core.types import MODALITIES, Modality, Sample
from vireid.errors import Conflict, DamagedFile, MissingFile, MissingKey, WrongContent
from vireid.plugins.datasets.own_images import SPLITS, UNNAMED, OwnImages, number_identities
from vireid.plugins.datasets.skipped import SYSTEM_FOLDERS, Listing, Skipped
from vireid.plugins.datasets.splitting import Folds, Seed, Share, SplitAssignment


class Folders(OwnImages):
    """Reads `visible/IDENTITY/*.jpg` and `infrared/IDENTITY/*.jpg`, optionally below `train`, `val` and `test` folders.

    Without `train` and `test` folders, a share of `test_share` of the identities, the last by name, is the test split.
    Visible images have camera 1, infrared images camera 2. For more cameras, add a folder level `cam1`, `cam2`, ... (or
    `Camera_1`): `visible/cam3/IDENTITY/*.jpg`. Every folder with images is an identity. `passed_over` lists skipped
    files and folders.

    Args:
        root: the data folder.
        test_share: fraction of the identities to test on, above 0 and up to 1 (no training identities). It applies only
            without `train` and `test` folders and without `folds`.
        folds: number of folds for K-fold cross-validation over the identities with images of both modalities, in any
            folder. The test split is one fold, and all other identities are trained on.
        fold: the fold to test on, 1 to `folds`; `vireid train --folds 5` trains a model for each.
        seed: random seed of the folds and of `val_share`.
        val_share: fraction of the training identities, at least two, to use as the split `val` if there is none; 0
            disables it.
        identities: number of training identities to keep, for learning curves; None keeps all.
        draw: random seed of that subset. With the same draw, a smaller subset is part of a larger one.

    Raises:
        VireidError: if a folder is missing, there are no identities or too few, or arguments do not fit together.
    """

    def __init__(
        self,
        root: str | None = None,
        test_share: Annotated[float, Gt(0), Le(1)] = 0.5,
        folds: Folds = None,
        fold: int = 1,
        seed: Seed = 0,
        val_share: Share = 0.0,
        identities: int | None = None,
        draw: Seed = 0,
    ) -> None:
        expected = 'visible/IDENTITY/*.jpg and infrared/IDENTITY/*.jpg, or both below train and test'
        if root is None:
            raise MissingKey('Folders: no data folder was given', allowed=expected, todo='set --data-root')
        assignment = SplitAssignment(folds, fold, seed, val_share, identities, draw)
        if folds is not None and test_share != 0.5:
            raise Conflict(
                f'test_share is {test_share}, but folds={folds} already defines the test split', todo='set only one'
            )
        self.root = Path(root).expanduser()
        skipped = Skipped(self.root)
        divided = any((self.root / name).is_dir() for name in ('train', 'test'))
        folders = {name: self.root / name for name in SPLITS if (self.root / name).is_dir()} if divided else {}
        try:
            by_split = {name: _identities(folder, skipped) for name, folder in (folders or {'': self.root}).items()}
            _skip_others(self.root, folders, skipped)
        except OSError as error:
            raise DamagedFile(f'Folders: {error.filename} cannot be read: {error.strerror}') from error
        names = sorted({folder.name for some in by_split.values() for folder in some})
        if not names:
            reasons = [f'{self.root.absolute()} has no identity folder with images', *skipped.lines()]
            cropped = (self.root / 'crops.csv').is_file()  # of `vireid crops`, which knows no names
            todo = f'name the people first: vireid label {shlex.quote(str(self.root))}' if cropped else None
            raise MissingFile(f'Folders: {"; ".join(reasons)}', allowed=expected, todo=todo)
        _require_names([folder for some in by_split.values() for folder in some])
        numbers = number_identities(names)
        listed = {
            split: [
                Sample(path, numbers[folder.name], folder.camera, folder.modality, folder.name)
                for folder in some
                for path in folder.images
            ]
            for split, some in by_split.items()
        }
        if not divided:
            cut = len(names) - max(1, round(test_share * len(names)))
            test = {numbers[name] for name in names[cut:]}
            listed = {
                'train': [s for s in listed[''] if s.identity not in test],
                'test': [s for s in listed[''] if s.identity in test],
            }
        super().__init__(f'Folders: {self.root}', numbers, listed, assignment, skipped=skipped.lines())


@dataclass(frozen=True)
class _IdentityFolder:
    """A folder with the images of an identity."""

    name: str
    modality: Modality
    camera: int
    images: list[str]


def _require_names(folders: Sequence[_IdentityFolder]) -> None:
    """Raises a VireidError if the names of identity folders are not those of people."""
    unnamed = sorted({folder.name for folder in folders if folder.name.casefold() in UNNAMED})
    if unnamed:
        images = sum(len(folder.images) for folder in folders if folder.name in unnamed)
        raise WrongContent(
            f'Folders: {counted(images, "image")} in folders named {", ".join(unnamed)} would count as one person for '
            'each name',
            allowed='a folder for each person',
            todo='move these folders elsewhere, or name the people in them first (vireid label)',
        )
    seen = {m: {folder.name for folder in folders if folder.modality == m} for m in MODALITIES}
    names = set.union(*seen.values())
    if not set.intersection(*seen.values()) and all(camera_number(name) is not None for name in names):
        raise WrongContent(
            f'Folders: all folders with images are called like cameras: {", ".join(sorted(names))}',
            allowed='a folder for each person below them, such as cam1/anna',
            todo='name the people first: vireid label FOLDER',
        )


def _identities(folder: Path, skipped: Skipped) -> list[_IdentityFolder]:
    """Returns the identity folders, visible first, then by camera and name."""
    identities: list[_IdentityFolder] = []
    inside = {m: _inside(folder / m, skipped) for m in MODALITIES}
    cameras = {m: sorted((n, p) for p, _ in below if (n := _camera(p)) is not None) for m, below in inside.items()}
    numbers = {number for of in cameras.values() for number, _ in of}
    for first, modality in enumerate(MODALITIES, 1):
        usual = first if first not in numbers else max(numbers) + first  # must differ from the numbers of the folders
        alone = [(place, listing) for place, listing in inside[modality] if listing.images]
        _require_all_cameras(folder / modality, cameras[modality], alone)
        places = {place for _, place in cameras[modality]}
        for place, listing in inside[modality]:
            if not listing.images and place not in places:
                skipped.folder(place)
        for camera, folders in [
            (usual, alone),
            *((number, _inside(place, skipped)) for number, place in cameras[modality]),
        ]:
            for place, listing in folders:
                if not listing.images:
                    skipped.folder(place)
                    continue
                skipped.within(place, listing)
                paths = [str(place / name) for name in listing.images]
                identities.append(_IdentityFolder(plain_name(place.name), modality, camera, paths))
    return identities


def _inside(folder: Path, skipped: Skipped) -> list[tuple[Path, Listing]]:
    """Returns the folders in a folder with their content, sorted by name, without system folders."""
    if not folder.is_dir():
        return []
    listing = Listing(folder)
    skipped.beside(folder, listing)
    for name in listing.folders:
        if name.lower() in SYSTEM_FOLDERS:
            skipped.folder(folder / name)
    return [(folder / n, Listing(folder / n)) for n in listing.folders if n.lower() not in SYSTEM_FOLDERS]


def _camera(folder: Path) -> int | None:
    """Returns the number of a camera folder, or None: its name has a camera number, and it contains no images."""
    number = camera_number(folder.name)
    if number is None:
        return None
    listing = Listing(folder)
    return number if listing.folders and not listing.images else None


def _require_all_cameras(
    folder: Path, cameras: Sequence[tuple[int, Path]], identities: Sequence[tuple[Path, Listing]]
) -> None:
    """Checks that a folder does not mix cameras and identities, or have two folders for one camera.

    Args:
        folder: the folder of a modality.
        cameras: number and path of the camera folders in it.
        identities: path and content of the identity folders in it.

    Raises:
        WrongContent: if it does.
    """
    allowed = 'identity folders, or camera folders (cam1, cam2, ...) that contain them'
    if cameras and identities:
        other = identities[0][0].name
        raise WrongContent(
            f'Folders: {folder} contains camera folders ({cameras[0][1].name}) and others ({other})',
            allowed=allowed,
            todo=f'move {other} into the folder of its camera',
        )
    for (number, one), (following, another) in pairwise(cameras):
        if number == following:
            raise WrongContent(
                f'Folders: {folder} has {one.name} and {another.name}, which are both camera {number}',
                allowed=allowed,
                todo='rename one of them, or merge their folders',
            )


def _skip_others(root: Path, splits: Mapping[str, Path], skipped: Skipped) -> None:
    """Records the folders next to those that are read."""
    for folder, read in [(root, splits or MODALITIES), *((place, MODALITIES) for place in splits.values())]:
        if not folder.is_dir():
            continue
        for name in Listing(folder).folders:
            if name not in read:
                skipped.folder(folder / name)
