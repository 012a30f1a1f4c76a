"""What lies in a data folder and is not read: counted and named, so that nobody trains on less than they think."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vireid.boundary.image_files import SUFFIXES
from vireid.core.wording import counted

SHOWN = 5
# of operating systems and network drives; never people, even if there are thumbnails in them
SYSTEM_FOLDERS = frozenset(
    ('__macosx', '@eadir', '#recycle', '#snapshot', '@tmp', '$recycle.bin', 'system volume information', 'lost+found')
)
SYSTEM_FILES = frozenset(('thumbs.db', 'ehthumbs.db', 'desktop.ini', 'icon\r'))


class Listing:
    """What is in a folder, sorted by name; hidden entries and system files are left out.

    A link that leads nowhere is an image if its name is one's: whoever reads it says that it is gone.

    Attributes:
        images: names of images.
        folders: names of folders.
        others: names of files that are no images.
    """

    def __init__(self, folder: str | Path) -> None:
        self.images: list[str] = []
        self.folders: list[str] = []
        self.others: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith('.') or entry.name.lower() in SYSTEM_FILES:
                    continue
                if _is_folder(entry):
                    self.folders.append(entry.name)
                else:
                    (self.images if entry.name.lower().endswith(SUFFIXES) else self.others).append(entry.name)
        for found in (self.images, self.folders, self.others):
            found.sort()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


class PassedOver:
    """Collects what a reader passes over.

    Args:
        root: the data folder; messages name paths from there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._empty: list[str] = []
        self._groups: list[str] = []
        self._loose: list[str] = []
        self._nested: Counter[str] = Counter()
        self._others: list[str] = []

    def folder(self, folder: Path) -> None:
        """Counts a folder that is no person's: what it holds is not read."""
        below = 0 if folder.name.lower() in SYSTEM_FOLDERS else _images_below(folder)
        (self._groups if below else self._empty).append(self._name(folder))

    def beside(self, folder: Path, listing: Listing) -> None:
        """Counts files beside folders of people, or of cameras."""
        self._loose += [self._name(folder / name) for name in listing.images]
        self._others += [self._name(folder / name) for name in listing.others]

    def within(self, folder: Path, listing: Listing) -> None:
        """Counts what a person's folder has besides images."""
        self._others += [self._name(folder / name) for name in listing.others]
        for name in listing.folders:
            below = 0 if name.lower() in SYSTEM_FOLDERS else _images_below(folder / name)
            if below:
                self._nested[self._name(folder / name)] = below

    def lines(self) -> list[str]:
        """Returns a sentence for each kind of thing that was passed over."""
        found = []
        if self._nested:
            where = _few([f'{name} ({count})' for name, count in self._nested.items()])
            found.append(
                f"{counted(sum(self._nested.values()), 'image')} in folders within a person's folder "
                f"{_are(sum(self._nested.values()))} not read: {where}; move them up into the person's folder"
            )
        if self._groups:
            found.append(
                f'{counted(len(self._groups), "folder")} without images of {_its(len(self._groups))} own '
                f'{_are(len(self._groups))} not read, nor what lies below: {_few(self._groups)}; '
                "a person's folder holds images, and a camera's is called cam1, cam2, ..."
            )
        if self._loose:
            found.append(
                f"{counted(len(self._loose), 'image')} outside any person's folder {_are(len(self._loose))} not read: "
                f'{_few(self._loose)}'
            )
        if self._others:
            kinds = Counter(os.path.splitext(name)[1].lower() or 'no suffix' for name in self._others)
            counts = ', '.join(f'{kind} ({count:,})' for kind, count in kinds.most_common(SHOWN))
            found.append(
                f'{counted(len(self._others), "file")} of a kind that is not read: {counts}, such as {self._others[0]}'
            )
        if self._empty:
            found.append(
                f'{counted(len(self._empty), "folder")} without images {_are(len(self._empty))} not taken for people: '
                f'{_few(self._empty)}'
            )
        return found

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _images_below(folder: Path) -> int:
    """Counts the images in a folder and below; links to folders are not followed, as they may lead back."""
    return sum(
        name.lower().endswith(SUFFIXES) and not name.startswith('.')
        for _, _, names in os.walk(folder)
        for name in names
    )


def _are(count: int) -> str:
    return 'is' if count == 1 else 'are'


def _its(count: int) -> str:
    return 'its' if count == 1 else 'their'


def _few(names: Iterable[str]) -> str:
    found = list(names)
    return ', '.join(found[:SHOWN]) + (f' and {len(found) - SHOWN:,} more' if len(found) > SHOWN else '')
