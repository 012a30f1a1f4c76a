"""The images of a gallery: those of a folder, a table or a list, with what is known about each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vireid.boundary.image_files import SUFFIXES
from vireid.boundary.image_sources import listed_images, skipped_text, walk_images
from vireid.boundary.names import camera_name, camera_number
from vireid.boundary.reading import reads
from vireid.console.warn import warn_once
from vireid.console.wording import counted
from vireid.core.types import MODALITIES, Modality
from vireid.errors import MissingFile, TooFew, UnsupportedFile, WrongContent
from vireid.search.times import parse_time

ALLOWED = 'images, a folder with images at any depth, or a table (CSV) with the column path, and optionally modality, '
ALLOWED += 'camera and time'


@dataclass(frozen=True)
class GalleryImage:
    """An image of a gallery, before it is read.

    Attributes:
        path: its path.
        modality: its modality; empty if it has to be guessed from the pixels.
        camera: name or number of its camera; empty if unknown.
        time: when it was taken, as an ISO 8601 text; empty if a table does not say so.
    """

    path: str
    modality: Modality = ''
    camera: str = ''
    time: str = ''


def find_gallery(
    source: Path | Sequence[Path], modality: Modality | None = None, camera: str | None = None
) -> tuple[Path, list[GalleryImage]]:
    """Returns the folder of a gallery, and its images in the order of their paths.

    The modality is the given one, that of the table, or that of a folder called `visible` or `infrared`. The camera is
    the given one, that of the table, or the number of a folder such as `cam4`. These folders may be below the gallery,
    the gallery itself, as in `visible/cam4`, or the folder of an image file.

    Args:
        source: a folder, a table, or image files.
        modality: modality of all images.
        camera: camera of all images.

    Raises:
        VireidError: if it does not exist, has no images, or the table is malformed.
    """
    if isinstance(source, Path) or len(source) == 1:
        only = source if isinstance(source, Path) else source[0]
        only = only.expanduser()
        if not only.exists():
            raise MissingFile(f'{only} does not exist', allowed=ALLOWED)
        if only.is_dir():
            root, images = only, _below(only)
        elif only.suffix.lower() in ('.pt', '.pth'):
            raise UnsupportedFile(
                f'{only} is a checkpoint', allowed=ALLOWED, todo='give the checkpoint first, then the images'
            )
        elif only.suffix.lower() in SUFFIXES:
            root, images = only.parent, [_alone(only)]
        else:
            root, images = only.parent, _listed(only)
    else:
        files = [path.expanduser() for path in source]
        for path in files:
            if not path.is_file():
                raise MissingFile(f'{path} is not an image file', allowed=ALLOWED, todo='give a single folder or table')
        root = Path(os.path.commonpath([path.absolute().parent for path in files]))
        images = [_alone(path) for path in dict.fromkeys(files)]
    if not images:
        raise TooFew(f'{source} has no images', allowed=ALLOWED)
    named = None if camera is None else camera_name(camera)
    filled = [
        GalleryImage(f.path, modality or f.modality, f.camera if named is None else named, f.time) for f in images
    ]
    return root.absolute(), filled


def _below(root: Path) -> list[GalleryImage]:
    """Returns the images at any depth below a folder."""
    images: list[GalleryImage] = []
    others: list[str] = []
    own = _own_names(root)
    for place, folders, names in walk_images(root, others):
        cameras: dict[int, str] = {}
        for name in folders:
            number = camera_number(name)
            if number is not None and cameras.setdefault(number, name) != name:
                raise WrongContent(
                    f'{place} has two folders for camera {number}: {cameras[number]} and {name}',
                    todo='move the images into one folder, or rename the folder of the other camera',
                )
        modality, camera = _said_by((*own, *Path(place).relative_to(root).parts))
        images += [GalleryImage(os.path.join(place, name), modality, camera) for name in names]
    if others:
        warn_once(skipped_text(others))
    return images


def _alone(file: Path) -> GalleryImage:
    return GalleryImage(str(file), *_said_by(_own_names(file.parent)))


def _own_names(folder: Path) -> tuple[str, ...]:
    """Returns the names of a folder and those above it, the outermost first, up to one without modality and camera."""
    names: list[str] = []
    for name in reversed(folder.absolute().parts):  # absolute: an index is updated from any working folder
        if name.lower() not in MODALITIES and camera_number(name) is None:
            break
        names.insert(0, name)
    return tuple(names)


def _said_by(names: Sequence[str]) -> tuple[Modality, str]:
    """Returns the modality and the camera that names of folders say, the outermost first; '' for unknown."""
    modality = next((name.lower() for name in reversed(names) if name.lower() in MODALITIES), '')
    number = next((n for name in reversed(names) if (n := camera_number(name)) is not None), None)
    return modality, '' if number is None else str(number)


@reads('a table of images', '*.csv', allowed=ALLOWED)
def _listed(path: Path) -> list[GalleryImage]:
    """Returns the images of a table."""
    images = []
    for image, cells, where in listed_images(path, ['path'], (*MODALITIES, ''), ALLOWED):
        time = parse_time(text, f'{where}: time').isoformat(' ') if (text := cells.get('time', '')) else ''
        images.append(GalleryImage(image, cells['modality'], camera_name(cells.get('camera', '')), time))
    return images


def left_out(unreadable: Sequence[str], of: str) -> str:
    """Returns how many images cannot be read and were left out, with the first five.

    Args:
        unreadable: a line for each of them.
        of: what they are missing from, such as `the index`.
    """
    lines = [f'{counted(len(unreadable), "image")} cannot be read; left out of {of}:', *unreadable[:5]]
    if len(unreadable) > 5:
        lines.append(f'and {len(unreadable) - 5:,} more')
    return '\n    '.join(lines)
