"""Where a run is written, and the checkpoint that it goes on from."""

from __future__ import annotations

import argparse
import glob
from pathlib import Path

from vireid.core.errors import VireidError
from vireid.core.warn import warn_once


def choose_place(args: argparse.Namespace, name: str) -> tuple[Path, Path | None]:
    """Chooses the run's folder and the checkpoint to go on from; never writes over another run."""
    default = Path('runs') / name
    earlier = sorted(default.parent.glob(f'{glob.escape(name)}*')) if default.parent.is_dir() else []
    earlier = [p for p in earlier if p.name == name or p.name.removeprefix(f'{name}-').isdigit()]
    if args.resume is not None:
        if args.work_dir and not args.resume and _never_saved(args.work_dir):
            print(f'{args.work_dir} was left before its first checkpoint: the run begins anew')
            return args.work_dir, None
        found = Path(args.resume) if args.resume else newest_checkpoint([args.work_dir] if args.work_dir else earlier)
        return args.work_dir or found.absolute().parent.parent, found
    if args.work_dir is None:
        from vireid.api import free_folder

        return free_folder(default.parent, name), None
    if _begun(args.work_dir):
        raise VireidError(
            f'{args.work_dir} holds a run already',
            todo='add --resume to go on with it, or choose another --work-dir',
        )
    return args.work_dir, None


def _never_saved(folder: Path) -> bool:
    """Says whether a run was ended while it wrote its first checkpoint, which comes before its first step."""
    return (folder / 'config.yaml').is_file() and not _begun(folder)


def _begun(folder: Path) -> bool:
    """Says whether a folder holds what a run has saved, or logged."""
    return any(folder.glob('checkpoints/*.pt')) or (folder / 'metrics.jsonl').exists()


def newest_checkpoint(folders: list[Path]) -> Path:
    """Returns the newest sound checkpoint of run folders; says which were passed over.

    Raises:
        VireidError: if none of them has one.
    """
    from vireid.core.training import checkpoint
    from vireid.launch.weights import newest

    places = [place for folder in folders if checkpoint.kept(place := folder / 'checkpoints' / 'last.pt')]
    places.sort(key=lambda place: checkpoint.kept(place)[0].stat().st_mtime, reverse=True)
    damaged: VireidError | None = None
    for place in places:
        try:
            found = newest(place, warn_once)
        except VireidError as error:
            damaged = error
            continue
        if found is not None:
            return found
    raise damaged or VireidError(
        f'nothing to resume: no checkpoints/last.pt in {", ".join(map(str, folders)) or "any run folder"}',
        todo='give --work-dir of the run, or --resume FILE',
    )
