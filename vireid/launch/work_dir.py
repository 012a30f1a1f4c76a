"""The folder that a run is written into: a new one, or that of a run; never the data, or files of somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vireid.boundary.paths import inside, is_inside
from vireid.boundary.reading import read_json
from vireid.core.config.files import read_record
from vireid.core.errors import VireidError
from vireid.core.scoring import results
from vireid.core.training.run import RECORD
from vireid.interfaces import Dataset

# what a run or an evaluation writes; the loggers that are built in among them
FILES = ('config.yaml', 'metrics.jsonl', results.FILE, results.QUERIES, 'report.npz', 'report.html', RECORD)
NAMES = (*FILES, 'checkpoints')
SECTIONS = {'dataset', 'protocol', 'model', 'training'}  # by which a config.yaml is one of ours
TODO = 'choose another --work-dir, such as runs/my_run'


def require_own_folder(folder: Path, dataset: Any = None) -> None:
    """Checks that a run may be written into a folder.

    Args:
        folder: it need not exist.
        dataset: the reader of the run's images; its `root` is not written into.

    Raises:
        VireidError: if the folder is that of the data, holds files of our names that no run wrote, or one of these is a
            link that leads out of it.
    """
    root = Dataset.root(dataset)
    if root is not None and folder.resolve() == Path(root).resolve():
        raise VireidError(f'{folder} is the folder of the data, and a run would write into it', todo=TODO)
    there = [name for name in NAMES if (folder / name).exists() or (folder / name).is_symlink()]
    # a link that an archive or a copy made belongs to the user, as the user's own does: nothing tells them apart
    if not is_inside(folder / 'checkpoints', folder):
        raise VireidError(
            f'{folder / "checkpoints"} is a link to {(folder / "checkpoints").resolve()}, and a run writes through no '
            'link in its folder: whoever sent the folder may have put it there',
            todo=f'to keep checkpoints on another disk, have the whole run there: put a folder in the place of the '
            f'link, move {folder} to that disk, and give the new path as --work-dir (a link to all of it will do)',
        )
    for name in there:
        inside(folder, name)
    if there and not _is_run(folder):
        raise VireidError(f'{folder} holds {", ".join(there)}, which no run of vireid wrote', todo=TODO)


def _is_run(folder: Path) -> bool:
    try:
        if (folder / 'config.yaml').exists():
            return set(read_record(folder / 'config.yaml')) >= SECTIONS
        return 'rows' in read_json(folder / results.FILE)  # of `vireid score`
    except (VireidError, OSError, ValueError, TypeError):
        return False
