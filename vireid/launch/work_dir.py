"""Checks the folder of a run: it must be new or belong to a run, and never be the data or contain foreign files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vireid.boundary.config_text import read_record
from vireid.boundary.image_files import SUFFIXES
from vireid.boundary.paths import inside, is_inside
from vireid.boundary.reading import read_json
from vireid.core.registry.components import Components
from vireid.core.scoring import results
from vireid.core.training.run import RECORD
from vireid.errors import AlreadyExists, UnsafeFile, VireidError
from vireid.interfaces import Dataset
from vireid.launch.recognition import is_dataset

# files that a run, an evaluation or a built-in logger writes
FILES = ('config.yaml', 'metrics.jsonl', results.FILE, results.QUERIES, 'report.npz', 'report.html', RECORD)
NAMES = (*FILES, 'checkpoints')
SECTIONS = {'dataset', 'protocol', 'model', 'training'}  # identify a config.yaml of vireid
TODO = 'choose another --work-dir, such as runs/my_run'


def require_own_folder(folder: Path, dataset: Any = None, components: Components | None = None) -> None:
    """Checks that a run may write to a folder.

    Args:
        folder: the folder, which need not exist.
        dataset: the dataset, whose `root` must not be written to.
        components: with them, other datasets are not written to either.

    Raises:
        VireidError: if the folder is the data folder, a folder of images in it or another dataset, contains files with
            reserved names that no run wrote, or one of these is a link to a place outside the folder.
    """
    root = Dataset.root(dataset)
    if root is not None and folder.resolve() == Path(root).resolve():
        raise AlreadyExists(f'{folder} is the data folder, which a run must not write to', todo=TODO)
    present = [name for name in NAMES if (folder / name).exists() or (folder / name).is_symlink()]
    # a link extracted from an archive belongs to the user, so it cannot be told apart from the user's own links
    if not is_inside(folder / 'checkpoints', folder):
        raise UnsafeFile(
            f'{folder / "checkpoints"} is a link to {(folder / "checkpoints").resolve()}, but a run does not write '
            'through links in its folder, since the sender of a received folder may have created them',
            todo=f'to keep checkpoints on another disk, move the whole run: replace the link with a folder, move '
            f'{folder} to that disk, and give the new path as --work-dir (which may be a link)',
        )
    for name in present:
        inside(folder, name)
    if present and not _is_run(folder):
        raise AlreadyExists(f'{folder} contains {", ".join(present)}, which no vireid run wrote', todo=TODO)
    if not present and components is not None and is_dataset(folder, components):
        raise AlreadyExists(f'{folder} is a dataset, which a run must not write to', todo=TODO)
    if not present and root is not None and is_inside(folder, root) and (image := _an_image(folder)) is not None:
        raise AlreadyExists(
            f'{folder} lies in the data folder and contains images, such as {image}, so a run must not write to it',
            todo=TODO,
        )


def _an_image(folder: Path) -> Path | None:
    names = ((here, name) for here, _, names in os.walk(folder) for name in sorted(names))
    return next((Path(here, name) for here, name in names if name.lower().endswith(SUFFIXES)), None)


def _is_run(folder: Path) -> bool:
    try:
        if (folder / 'config.yaml').exists():
            return set(read_record(folder / 'config.yaml')) >= SECTIONS
        return 'rows' in read_json(folder / results.FILE)  # written by `vireid score`
    except (VireidError, OSError, ValueError, TypeError):
        return False
