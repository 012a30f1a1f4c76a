"""Chooses the folder of a run or an evaluation, and the checkpoint that a run resumes from."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Callable
from pathlib import Path

from vireid.boundary import checkpoint
from vireid.console.warn import warn_once
from vireid.core.config.experiment import Experiment
from vireid.errors import AlreadyExists, MissingFile, MissingKey, VireidError
from vireid.launch import refit
from vireid.launch.reach import reaching
from vireid.launch.weights import newest


def choose_folder(
    name: str, config: str, work_dir: Path | None, resume: str | None, log: Callable[[str], None] = print
) -> tuple[Path, Path | None]:
    """Chooses the folder of a run and the checkpoint to resume from; another run is never overwritten.

    Args:
        name: the name of the experiment, for the default folder in `runs`.
        config: the config file; the `config.yaml` of a run resumes that run.
        work_dir: the folder, if one was given.
        resume: the checkpoint to resume from; empty for the newest one, None for a new run.
        log: called with a line if there is no checkpoint yet.

    Raises:
        VireidError: if the folder holds another run, is not known, or there is no checkpoint to resume from.
    """
    default = Path('runs') / name
    earlier = sorted(default.parent.glob(f'{glob.escape(name)}*')) if default.parent.is_dir() else []
    earlier = [p for p in earlier if p.name == name or p.name.removeprefix(f'{name}-').isdigit()]
    if resume is not None:
        if work_dir is None and not resume and Path(config).name == 'config.yaml' and _has_run(Path(config).parent):
            work_dir = Path(config).parent
        if not resume and (selecting := [p for p in ([work_dir] if work_dir else earlier) if _selects(p)]):
            return max(selecting, key=lambda folder: folder.stat().st_mtime), None
        if work_dir and not resume and _never_saved(work_dir):
            log(f'{work_dir} has no checkpoint yet: starting from step 0')
            return work_dir, None
        source = Path(resume) if resume else newest_checkpoint([work_dir] if work_dir else earlier)
        folder = work_dir or _folder_of(source)
        if folder is None:
            raise MissingKey(
                f'{source} is not in the folder `checkpoints` of a run',
                todo='add the folder of the run: --work-dir DIR',
            )
        return folder, source
    if work_dir is None:
        return free_folder(default.parent, name), None
    if _has_run(work_dir):
        raise AlreadyExists(
            f'{work_dir} already holds a run',
            todo='add --resume to continue it, or choose another --work-dir',
        )
    return work_dir, None


def resume_command(experiment: Experiment, folder: Path) -> str:
    """Returns the command that resumes a run, for a shell."""
    words = ['vireid', 'train', str(folder / 'config.yaml'), '--work-dir', str(folder), '--resume']
    words += [word for file in experiment.plugins for word in ('--plugin', file)]
    words += ['--trust-config'] if reaching(experiment.to_config(), experiment.manager) else []
    return shlex.join(words)


def evaluation_folder(name: str, checkpoint: str | Path | None) -> Path:
    """Returns a new folder for an evaluation: in the folder of the run, beside a checkpoint elsewhere, or in `runs`."""
    if checkpoint is None:
        return free_folder(Path('runs'), f'{name}_test')
    return free_folder(_folder_of(Path(checkpoint)) or Path(checkpoint).absolute().parent, 'test')


def _folder_of(source: Path) -> Path | None:
    """Returns the folder of the run that a checkpoint is in; None if it is elsewhere, such as a copy."""
    folder = source.absolute().parent
    return folder.parent if folder.name == 'checkpoints' else None


def free_folder(base: Path, name: str) -> Path:
    """Returns the folder of a new run in `base`: `name`, or `name-N` with N one above the largest in use."""
    used = [path.name for path in base.glob(f'{glob.escape(name)}*')]
    numbers = [int(each.removeprefix(f'{name}-')) for each in used if each.removeprefix(f'{name}-').isdigit()]
    if not numbers and name not in used:
        return base / name
    return base / f'{name}-{max([1, *numbers]) + 1}'


def _never_saved(folder: Path) -> bool:
    """Reports whether a run ended before it saved its first checkpoint, which precedes its first step."""
    return (folder / 'config.yaml').is_file() and not _has_run(folder)


def _selects(folder: Path) -> bool:
    """Reports whether only the first training of `refit` has begun."""
    return _has_run(folder / refit.FOLDER) and not _has_run(folder)


def _has_run(folder: Path) -> bool:
    """Reports whether a folder holds checkpoints or logs of a run."""
    return any(folder.glob('checkpoints/*.pt')) or (folder / 'metrics.jsonl').exists()


def newest_checkpoint(folders: list[Path]) -> Path:
    """Returns the newest valid checkpoint of run folders, and warns about damaged ones.

    Raises:
        VireidError: if there is none.
    """
    places = [place for folder in folders if checkpoint.kept(place := folder / 'checkpoints' / 'last.pt')]
    places.sort(key=lambda place: checkpoint.kept(place)[0].stat().st_mtime, reverse=True)
    damaged: VireidError | None = None
    for place in places:
        try:
            source = newest(place, warn_once)
        except VireidError as error:
            damaged = error
            continue
        if source is not None:
            return source
    raise damaged or MissingFile(
        f'nothing to resume: no checkpoints/last.pt in {", ".join(map(str, folders)) or "any run folder"}',
        todo='add --work-dir DIR with the folder of the run, or --resume FILE',
    )
