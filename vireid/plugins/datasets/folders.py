"""One's own images, in folders named after identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vireid.boundary.names import camera_number, plain_name
from vireid.core.errors import VireidError
from vireid.core.types import MODALITIES, Modality, Sample
from vireid.plugins.datasets.own_images import SPLITS, OwnImages, number_identities
from vireid.plugins.datasets.passed_over import SYSTEM_FOLDERS, Listing, PassedOver
from vireid.plugins.datasets.splitting import Dealing


class Folders(OwnImages):
    """Reads `visible/PERSON/*.jpg` and `infrared/PERSON/*.jpg`, below `train`, `val` and `test` if there are such.

    Without `train` and `test`, the last identities by name, `test_share` of them, are the test split. Visible images
    are camera 1, infrared ones camera 2. With more cameras a folder `cam1`, `cam2`, ... (`Camera_1` will do) stands
    above the people: `visible/cam3/PERSON/*.jpg`. A folder is a person's if there are images in it; what is passed over
    is in `passed_over`.

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
        passed = PassedOver(self.root)
        divided = any((self.root / name).is_dir() for name in ('train', 'test'))
        folders = {name: self.root / name for name in SPLITS if (self.root / name).is_dir()} if divided else {}
        try:
            people = {name: _people(folder, passed) for name, folder in (folders or {'': self.root}).items()}
            _pass_others(self.root, folders, passed)
        except OSError as error:
            raise VireidError(f'Folders: {error.filename} cannot be read: {error.strerror}') from error
        found = sorted({person.name for some in people.values() for person in some})
        if not found:
            told = [f'{self.root.absolute()} holds no person with images', *passed.lines()]
            raise VireidError(f'Folders: {"; ".join(told)}', allowed=wanted)
        numbers = number_identities(found)
        listed = {
            name: [
                Sample(path, numbers[person.name], person.camera, person.modality, person.name)
                for person in some
                for path in person.images
            ]
            for name, some in people.items()
        }
        if not divided:
            cut = len(found) - max(1, round(test_share * len(found)))
            test = {numbers[name] for name in found[cut:]}
            listed = {
                'train': [s for s in listed[''] if s.identity not in test],
                'test': [s for s in listed[''] if s.identity in test],
            }
        super().__init__(f'Folders: {self.root}', numbers, listed, dealing, passed=passed.lines())


@dataclass(frozen=True)
class _Person:
    """A folder of a person's images."""

    name: str
    modality: Modality
    camera: int
    images: list[str]


def _people(folder: Path, passed: PassedOver) -> list[_Person]:
    """Returns the folders with people's images, visible first, by camera and name."""
    found: list[_Person] = []
    inside = {m: _inside(folder / m, passed) for m in MODALITIES}
    cameras = {m: sorted((n, p) for p, _ in below if (n := _camera(p)) is not None) for m, below in inside.items()}
    numbers = {number for of in cameras.values() for number, _ in of}
    for first, modality in enumerate(MODALITIES, 1):
        usual = first if first not in numbers else max(numbers) + first  # the same number would say the same place
        alone = [(place, listing) for place, listing in inside[modality] if listing.images]
        _require_all_cameras(folder / modality, cameras[modality], alone)
        places = {place for _, place in cameras[modality]}
        for place, listing in inside[modality]:
            if not listing.images and place not in places:
                passed.folder(place)
        for camera, people in [
            (usual, alone),
            *((number, _inside(place, passed)) for number, place in cameras[modality]),
        ]:
            for place, listing in people:
                if not listing.images:
                    passed.folder(place)
                    continue
                passed.within(place, listing)
                paths = [str(place / name) for name in listing.images]
                found.append(_Person(plain_name(place.name), modality, camera, paths))
    return found


def _inside(folder: Path, passed: PassedOver) -> list[tuple[Path, Listing]]:
    """Returns the folders in a folder, by name, with what is in them; of an operating system's, nothing is."""
    if not folder.is_dir():
        return []
    listing = Listing(folder)
    passed.beside(folder, listing)
    for name in listing.folders:
        if name.lower() in SYSTEM_FOLDERS:
            passed.folder(folder / name)
    return [(folder / n, Listing(folder / n)) for n in listing.folders if n.lower() not in SYSTEM_FOLDERS]


def _camera(folder: Path) -> int | None:
    """Returns the number of a camera's folder: it is called so and holds folders, not images."""
    number = camera_number(folder.name)
    if number is None:
        return None
    listing = Listing(folder)
    return number if listing.folders and not listing.images else None


def _require_all_cameras(
    folder: Path, cameras: Sequence[tuple[int, Path]], people: Sequence[tuple[Path, Listing]]
) -> None:
    """Raises if people stand beside cameras, or two folders are the same camera's."""
    allowed = 'people, or cameras (cam1, cam2, ...) with people in them'
    if cameras and people:
        other = people[0][0].name
        raise VireidError(
            f'Folders: {folder} holds cameras ({cameras[0][1].name}) and others ({other})',
            allowed=allowed,
            todo=f'move {other} into the folder of its camera',
        )
    for (number, one), (again, another) in pairwise(cameras):
        if number == again:
            raise VireidError(
                f'Folders: {folder} has {one.name} and {another.name}, which both are camera {number}',
                allowed=allowed,
                todo='give them two numbers, or move the people of one into the other',
            )


def _pass_others(root: Path, splits: Mapping[str, Path], passed: PassedOver) -> None:
    """Counts what lies beside the folders that are read."""
    for folder, read in [(root, splits or MODALITIES), *((place, MODALITIES) for place in splits.values())]:
        if not folder.is_dir():
            continue
        for name in Listing(folder).folders:
            if name not in read:
                passed.folder(folder / name)
