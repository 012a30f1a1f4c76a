"""Reports files and folders of a data folder that are not read, so that no images are ignored silently."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vireid.boundary.image_files import SUFFIXES
from vireid.boundary.image_sources import SYSTEM_FOLDERS
from vireid.console.wording import counted

MAX_NAMES = 5
SYSTEM_FILES = frozenset(('thumbs.db', 'ehthumbs.db', 'desktop.ini', 'icon\r'))


class Listing:
    """The content of a folder, sorted by name, without hidden entries and system files.

    A broken link with the name of an image counts as an image; reading it reports the missing file.

    Attributes:
        images: names of images.
        folders: names of folders.
        others: names of other files.
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
        for names in (self.images, self.folders, self.others):
            names.sort()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


class Skipped:
    """Collects files and folders that a dataset skips.

    Args:
        root: the data folder; messages name paths relative to it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._empty: list[str] = []
        self._groups: list[str] = []
        self._loose: list[str] = []
        self._nested: Counter[str] = Counter()
        self._others: list[str] = []

    def folder(self, folder: Path) -> None:
        """Records a folder that is neither an identity nor a camera and is not read."""
        below = 0 if folder.name.lower() in SYSTEM_FOLDERS else _images_below(folder)
        (self._groups if below else self._empty).append(self._name(folder))

    def beside(self, folder: Path, listing: Listing) -> None:
        """Records files next to identity or camera folders."""
        self._loose += [self._name(folder / name) for name in listing.images]
        self._others += [self._name(folder / name) for name in listing.others]

    def within(self, folder: Path, listing: Listing) -> None:
        """Records the content of an identity folder other than its images."""
        self._others += [self._name(folder / name) for name in listing.others]
        for name in listing.folders:
            below = 0 if name.lower() in SYSTEM_FOLDERS else _images_below(folder / name)
            if below:
                self._nested[self._name(folder / name)] = below

    def lines(self) -> list[str]:
        """Returns a sentence for each kind of skipped file or folder."""
        sentences = []
        if self._nested:
            where = _few([f'{name} ({count})' for name, count in self._nested.items()])
            sentences.append(
                f'{counted(sum(self._nested.values()), "image")} in subfolders of identity folders '
                f'{_are(sum(self._nested.values()))} not read: {where}; move them into the identity folder'
            )
        if self._groups:
            sentences.append(
                f'{counted(len(self._groups), "folder")} with images only in subfolders {_are(len(self._groups))} not '
                f'read: {_few(self._groups)}; an identity folder contains images, and a camera folder is called cam1, '
                'cam2, ...'
            )
        if self._loose:
            sentences.append(
                f'{counted(len(self._loose), "image")} outside identity folders {_are(len(self._loose))} not read: '
                f'{_few(self._loose)}'
            )
        if self._others:
            kinds = Counter(os.path.splitext(name)[1].lower() or 'no suffix' for name in self._others)
            counts = ', '.join(f'{kind} ({count:,})' for kind, count in kinds.most_common(MAX_NAMES))
            sentences.append(
                f'{counted(len(self._others), "file in an unsupported format", "files in unsupported formats")} '
                f'{_are(len(self._others))} not read: {counts}, such as {self._others[0]}'
            )
        if self._empty:
            sentences.append(
                f'{counted(len(self._empty), "folder")} without images {_are(len(self._empty))} ignored: '
                f'{_few(self._empty)}'
            )
        return sentences

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _images_below(folder: Path) -> int:
    """Counts the images in a folder and its subfolders, without following links, which may be cyclic."""
    return sum(
        name.lower().endswith(SUFFIXES) and not name.startswith('.')
        for _, _, names in os.walk(folder)
        for name in names
    )


def _are(count: int) -> str:
    return 'is' if count == 1 else 'are'


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ', '.join(listed[:MAX_NAMES]) + (f' and {len(listed) - MAX_NAMES:,} more' if len(listed) > MAX_NAMES else '')
