"""The file `index.json` of an index: the gallery, the checkpoint, and how images are searched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary.paths import inside
from vireid.boundary.reading import parse_json, read_text, reads
from vireid.boundary.writing import write_whole
from vireid.errors import MissingFile, NotReady, UnsupportedFile

ABOUT = 'index.json'
FORMAT = 1
# options of a checkpoint's config
OPTIONS = (
    'images.scale_raw=',
    'images.max_pixels=',
    'images.workers=',
    'evaluation.batch_size=',
)
REBUILD = 'delete the folder and build the index anew'


class _About(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, extra='forbid')  # type: ignore[misc]
    format: int
    root: str
    checkpoint: str
    digest: str
    label: str
    length: int
    index: dict[str, Any]
    options: list[str]


def read_about(folder: Path) -> dict[str, Any]:
    """Reads `index.json` of an index: the gallery, the checkpoint, and how images are searched.

    Raises:
        VireidError: if it is missing or damaged.
    """
    path = inside(folder, ABOUT)
    if not folder.is_dir():
        what = 'is a file, not the folder of an index' if folder.exists() else 'does not exist'
        raise MissingFile(f'{folder} {what}', todo='give a folder that `vireid index` wrote, before any images')
    if not path.exists():
        raise NotReady(
            f'{folder} has no {ABOUT}, so it is not a finished index',
            todo='build it: vireid index GALLERY -o INDEX --checkpoint FILE',
        )
    return _read_about(path)


@reads('the description of an index', ABOUT, allowed='a folder written by `vireid index`', todo=REBUILD)
def _read_about(path: Path) -> dict[str, Any]:
    about: dict[str, Any] = TypeAdapter[Any](_About).validate_python(parse_json(read_text(path)))
    if about['format'] > FORMAT:
        raise UnsupportedFile(f'{path} was written by a newer vireid (format {about["format"]})', todo='upgrade vireid')
    for option in about['options']:
        if not option.startswith(OPTIONS):
            raise ValueError(f'the option {option[:100]!r} is not one of {", ".join(OPTIONS)}')
    if '\0' in about['root']:
        raise ValueError('its root has a null character')
    if not 0 < about['length'] < 2**20:
        raise ValueError(f'length is {about["length"]}')
    return about


def write_about(folder: Path, about: dict[str, Any]) -> None:
    """Writes `index.json`."""
    write_whole(folder / ABOUT, json.dumps(about, indent=1))
