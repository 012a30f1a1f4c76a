"""Writes a complete synthetic dataset atomically."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vireid.errors import AlreadyExists, UnknownName, WriteFailed, WrongValue, did_you_mean
from vireid.launch.data_name import STAMP
from vireid.synth.layouts import LAYOUTS, Job, Layout
from vireid.synth.workers import draw_all

# Increase whenever the same arguments give different files.
VERSION = 2


@dataclass(frozen=True)
class Summary:
    """The dataset that `synthesize` wrote, or found.

    Attributes:
        layout: its folder layout.
        ids: number of identities.
        visible, infrared: numbers of images.
        folder: its location.
        seed: its seed.
        images: images per identity and camera, or sensor (regdb).
        reused: True if an identical dataset existed and nothing was drawn.
    """

    layout: str
    ids: int
    visible: int
    infrared: int
    folder: Path
    seed: int
    images: int
    reused: bool = False

    def text(self) -> str:
        """Returns a line about it."""
        how = 'found' if self.reused else 'generated'
        images = f'{self.visible:,} visible and {self.infrared:,} infrared images'
        return f'{how} {self.ids} people in {images}: {self.folder}'


def synthesize(
    out: Path,
    *,
    layout: str = 'sysu',
    ids: int = 120,
    seed: int = 0,
    images: int | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Draws a synthetic dataset into `out`.

    The files depend only on `layout`, `ids`, `seed` and `images`, not on `workers`; the images of an identity do not
    depend on `ids`. They are drawn in a temporary folder beside `out` that is renamed at the end, so an interrupted
    call leaves nothing at `out`.

    Args:
        out: the folder to create; if it exists, it must be empty or contain the identical dataset, which is kept.
        layout: a key of `LAYOUTS`.
        ids: number of identities, at least 5, or 4 (regdb, llcm).
        seed: >= 0; another seed gives other people in other places.
        images: images per identity and camera, or sensor (regdb), 1 to 9999; None means the layout's default.
        workers: number of processes, >= 1; None uses all processors, or fewer for small datasets.
        on_progress: called with the number of finished identities and `ids`, in this process.

    Returns:
        What was written.

    Raises:
        VireidError: if an argument is out of range, `out` contains something else, or it cannot be written.
    """
    plan = _layout(layout)
    job = Job(ids, seed, plan.images if images is None else images)
    _check(plan, job, workers)
    # A few identities are done sooner than more interpreters can start.
    shares = min(workers or min(os.cpu_count() or 1, 1 + ids // 8), ids)
    out = Path(out)
    stamp = {'layout': layout, 'ids': ids, 'seed': seed, 'images': job.images, 'version': VERSION}
    existing = _existing(out, stamp)
    if existing is not None:
        return existing
    partial = out.absolute().parent / f'.{out.absolute().name}.partial-{os.getpid()}'
    try:
        partial.mkdir(parents=True)
        visible = infrared = 0
        if on_progress:
            on_progress(0, ids)
        for done, (more_visible, more_infrared) in enumerate(draw_all(partial, layout, job, shares), start=1):
            visible, infrared = visible + more_visible, infrared + more_infrared
            if on_progress:
                on_progress(done, ids)
        plan.write_lists(partial, job)
        text = json.dumps({**stamp, 'visible': visible, 'infrared': infrared}, indent=2) + '\n'
        (partial / STAMP).write_bytes(text.encode('ascii'))
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise _refusal(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Summary(layout, ids, visible, infrared, out, seed, job.images)


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise UnknownName(
            f'unknown layout {name!r}{did_you_mean(name, LAYOUTS)}',
            allowed=', '.join(LAYOUTS),
            todo='choose one of these with --layout',
        )
    return LAYOUTS[name]


def _check(plan: Layout, job: Job, workers: int | None) -> None:
    if not plan.least_ids <= job.ids <= 9999:
        raise WrongValue(
            f'{job.ids} identities are too {"few" if job.ids < plan.least_ids else "many"} for the layout {plan.name}',
            allowed=f'{plan.least_ids} to 9999: training and test each need some',
            todo=f'raise --ids to at least {plan.least_ids}' if job.ids < plan.least_ids else 'lower --ids',
        )
    if job.seed < 0:
        raise WrongValue(
            f'seed {job.seed} is negative', allowed='0 and above', todo='give --seed a non-negative number'
        )
    if not 1 <= job.images <= 9999:
        raise WrongValue(f'{job.images} images per identity and camera', allowed='1 to 9999')
    if workers is not None and workers < 1:
        raise WrongValue(f'{workers} worker processes', allowed='1 and above')


def _existing(out: Path, stamp: dict[str, object]) -> Summary | None:
    try:
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return None
        if not out.is_dir():
            raise AlreadyExists(f'{out} is a file', allowed='a new or an empty folder', todo='give another path')
        held = json.loads((out / STAMP).read_text(encoding='ascii'))
        counts = int(held['visible']), int(held['infrared'])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise AlreadyExists(
            f'{out} is not empty and contains no synthetic dataset',
            allowed='a new or an empty folder',
            todo='give another folder, or empty this one yourself',
        ) from None
    except OSError as error:
        raise _refusal(out, error) from error
    differing = [name for name in stamp if held.get(name) != stamp[name]]
    if differing:
        listed = ', '.join(f'{name} {held.get(name)} instead of {stamp[name]}' for name in differing)
        raise AlreadyExists(
            f'{out} contains another synthetic dataset: {listed}',
            allowed='a new or an empty folder, or one with the identical dataset',
            todo='give another folder, or remove this one yourself',
        )
    layout, ids, seed, images = str(stamp['layout']), int(held['ids']), int(held['seed']), int(held['images'])
    return Summary(layout, ids, *counts, out, seed, images, reused=True)


def _refusal(out: Path, error: OSError) -> WriteFailed:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WriteFailed(
            f'the disk of {out} is full ({reason}); nothing was left there',
            allowed='about 6 kB per image',
            todo='free some space, lower --ids or --images, or give a folder on another disk',
        )
    return WriteFailed(
        f'{out} cannot be written: {reason}',
        allowed='a folder in a location where you can write',
        todo='give another folder',
    )
