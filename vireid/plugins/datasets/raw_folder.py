"""Helpers of published datasets: check the dataset folder, list images, read ID lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from vireid.boundary.reading import read_text, reads
from vireid.core.types import Sample
from vireid.errors import IncompleteData, MissingFile, MissingKey, WrongContent
from vireid.plugins.datasets.skipped import Listing


def require_root(root: str | Path | None, *, dataset: str, looked_for: Sequence[str], obtain: str, synth: str) -> Path:
    """Returns the dataset folder after checking its content.

    Args:
        root: the folder that the user set, or None.
        dataset: name of the dataset, for messages.
        looked_for: entries that must exist; `cam1 or cam2` means one of the alternatives.
        obtain: how to obtain the dataset.
        synth: layout name for `vireid data synth`, the alternative without the dataset.

    Raises:
        VireidError: if the folder or an entry is missing; says how to obtain the dataset and how to work without it.
    """
    todo = (
        f'{obtain}\n           without it: vireid data synth --layout {synth} data/synth-{synth}, '
        f'then --data-root data/synth-{synth} (or `vireid demo`)'
    )
    allowed = f'a folder with {_listed(looked_for)}, set by --data-root, VIREID_DATA or dataset.root'
    if root is None:
        raise MissingKey(f'{dataset}: no data folder was given', allowed=allowed, todo=todo)
    path = Path(root).expanduser()
    if not path.is_dir():
        what = 'is a file, not a folder' if path.exists() else 'does not exist'
        raise MissingFile(f'{dataset}: {path.absolute()} {what}', allowed=allowed, todo=f'check the path, or {todo}')
    missing = [entry for entry in looked_for if not any((path / name).exists() for name in entry.split(' or '))]
    if missing:
        present = sorted(p.name for p in path.iterdir())[:8]
        raise MissingFile(
            f'{dataset}: {path.absolute()} has no {_listed(missing)} (it has: {", ".join(present) or "nothing"})',
            allowed=allowed,
            todo=todo,
        )
    return path


def _listed(entries: Sequence[str]) -> str:
    """Returns entries as text, alternatives as `cam3/cam6`."""
    return ', '.join(entry.replace(' or ', '/') for entry in entries)


def incomplete(
    where: str, missing: Sequence[int], identities: Sequence[int], split: str, samples: tuple[Sample, ...]
) -> IncompleteData:
    """Returns the error for a split in which identities have no images.

    Args:
        where: dataset and folder.
        missing: identities without images.
        identities: all identities of the split.
        split: name of the split.
        samples: the samples that exist; the error carries them.
    """
    some = ', '.join(f'{identity:04d}' for identity in missing[:10]) + (', ...' if len(missing) > 10 else '')
    error = IncompleteData(
        f'{where}: {len(missing)} of {len(identities)} {split} identities have no image: {some}',
        todo='the copy is incomplete; unpack the dataset again, then count its images with `vireid data check`',
    )
    error.samples = samples
    return error


def images(folder: Path) -> list[str]:
    """Returns the paths of the images in a folder, sorted by name, without other files (Thumbs.db, ...)."""
    return [str(folder / name) for name in Listing(folder).images]


@reads('an id list', '*_id.txt', allowed='integers separated by commas', todo='restore it from the dataset')
def read_id_list(path: Path, may_be_empty: bool = False) -> list[int]:
    """Returns the sorted identities of a file with comma-separated integers, as in SYSU-MM01.

    Raises:
        VireidError: if the file cannot be read, is empty although it must not be, contains anything but integers, or
            names an identity twice.
    """
    words = [word for word in re.split(r'[\s,]+', read_text(path)) if word]
    bad = [word for word in words if not re.fullmatch(r'\d{1,9}', word)]
    if bad or not (words or may_be_empty):
        raise WrongContent(
            f'id list {path} ' + (f'contains {bad[0][:40]!r}' if bad else 'is empty'),
            allowed='one line of integers separated by commas, such as 1,2,4',
        )
    identities = sorted(map(int, words))
    twice = [a for a, b in pairwise(identities) if a == b]
    if twice:
        raise WrongContent(f'id list {path} names identity {twice[0]} twice', todo='restore it from the dataset')
    return identities
