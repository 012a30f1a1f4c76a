"""The folder of a run, and the checkpoint that it resumes from."""

from __future__ import annotations

import argparse
import glob
from pathlib import Path

from vireid.boundary.warn import warn_once
from vireid.core.errors import VireidError


def choose_place(args: argparse.Namespace, name: str) -> tuple[Path, Path | None]:
    """Chooses the folder of a run and the checkpoint to resume from; another run is never overwritten.

    Raises:
        VireidError: if the folder holds another run, or there is no checkpoint to resume from.
    """
    default = Path('runs') / name
    earlier = sorted(default.parent.glob(f'{glob.escape(name)}*')) if default.parent.is_dir() else []
    earlier = [p for p in earlier if p.name == name or p.name.removeprefix(f'{name}-').isdigit()]
    if args.resume is not None:
        if args.work_dir and not args.resume and _never_saved(args.work_dir):
            print(f'{args.work_dir} has no checkpoint yet: starting from step 0')
            return args.work_dir, None
        if args.resume:
            source = Path(args.resume)
        else:
            source = newest_checkpoint([args.work_dir] if args.work_dir else earlier)
        return args.work_dir or source.absolute().parent.parent, source
    if args.work_dir is None:
        from vireid.api import free_folder

        return free_folder(default.parent, name), None
    if _has_run(args.work_dir):
        raise VireidError(
            f'{args.work_dir} already holds a run',
            todo='add --resume to continue it, or choose another --work-dir',
        )
    return args.work_dir, None


def _never_saved(folder: Path) -> bool:
    """Reports whether a run ended before it saved its first checkpoint, which precedes its first step."""
    return (folder / 'config.yaml').is_file() and not _has_run(folder)


def _has_run(folder: Path) -> bool:
    """Reports whether a folder holds checkpoints or logs of a run."""
    return any(folder.glob('checkpoints/*.pt')) or (folder / 'metrics.jsonl').exists()


def newest_checkpoint(folders: list[Path]) -> Path:
    """Returns the newest valid checkpoint of run folders, and warns about damaged ones.

    Raises:
        VireidError: if there is none.
    """
    from vireid.boundary import checkpoint
    from vireid.launch.weights import newest

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
    raise damaged or VireidError(
        f'nothing to resume: no checkpoints/last.pt in {", ".join(map(str, folders)) or "any run folder"}',
        todo='add --work-dir DIR with the folder of the run, or --resume FILE',
    )
