"""Builds an index, or brings it up to date: only new and changed images are embedded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.image_files import read_pixels
from vireid.boundary.paths import inside
from vireid.boundary.reading import content_digest
from vireid.boundary.showing import one_line
from vireid.core.registry.signature import names_argument
from vireid.core.types import Modality
from vireid.errors import AlreadyExists, DamagedFile, Mismatch, NoMatch, VireidError
from vireid.runtime.lock import exclusive
from vireid.search.about import ABOUT, FORMAT, read_about, write_about
from vireid.search.embedder import Embedder
from vireid.search.entries import Entries, Entry
from vireid.search.gallery import GalleryImage, left_out
from vireid.search.index import IMAGES, VECTORS, ZERO_SHOT, append_vectors, build_searcher
from vireid.search.modality import guess_modality
from vireid.search.times import find_time

OnProgress = Callable[[str, int, int], None]  # (what, done, total)
AT_ONCE = 512  # images between two writes: what a crash may lose
RAW = 'check the images; raw ones need --cfg-options images.scale_raw=..., as in training'
SMALL = (96, 192)  # pixels that suffice to guess the modality
OWN = {ABOUT, IMAGES, *(f'{IMAGES}-{end}' for end in ('journal', 'wal', 'shm')), VECTORS, ZERO_SHOT}


@dataclass
class Update:
    """What a build did.

    Attributes:
        images: number of images in the index.
        embedded: number of images that were embedded.
        removed: number of images that no longer exist.
        unreadable: a line for each image that cannot be read and is not in the index.
        modalities: number of images by modality.
        guessed: number of images whose modality was guessed.
        cameras: number of images by camera; '' if unknown.
        times: number of images by the source of their time; '' if unknown.
    """

    images: int = 0
    embedded: int = 0
    removed: int = 0
    unreadable: list[str] = field(default_factory=list)
    modalities: dict[str, int] = field(default_factory=dict)
    guessed: int = 0
    cameras: dict[str, int] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """Returns a summary, one line per fact."""

        def listed(counts: dict[str, int], unknown: str) -> str:
            return ', '.join(f'{one_line(name) or unknown} {count:,}' for name, count in list(counts.items())[:20])

        lines = [
            f'images    {self.images:,}: {self.embedded:,} embedded now, {self.removed:,} removed',
            f'modality  {listed(self.modalities, "")}'
            + (f'; {self.guessed:,} guessed from the colors of the image (--modality sets it)' if self.guessed else ''),
            f'cameras   {listed(self.cameras, "unknown")}',
            f'times     {listed({f"from {name}" if name else "": n for name, n in self.times.items()}, "unknown")}',
        ]
        if self.unreadable:
            lines.append(f'warning: {left_out(self.unreadable, "the index")}')
        return '\n'.join(lines)


def build(
    folder: Path,
    root: Path,
    images: Sequence[GalleryImage],
    embedder: Embedder,
    *,
    checkpoint: str,
    index: dict[str, Any] | None = None,
    options: Sequence[str] = (),
    time_pattern: str | None = None,
    plugins: Sequence[Path] = (),
    trust: bool = False,
    on_progress: OnProgress = lambda what, done, total: None,
) -> Update:
    """Builds an index in a folder, or updates the one that is there.

    Files with the recorded size and modification time are unchanged; of the others, those with the recorded content
    keep their embedding. Embeddings are written every 512 images, so that an interrupted build continues there.

    Args:
        folder: the folder of the index.
        root: the folder of the gallery.
        images: its images.
        embedder: the model.
        checkpoint: its path, as recorded in the index.
        index: config of the component that searches, by default that of the index or `Exact`.
        options: overrides of the config of the checkpoint, recorded in the index.
        time_pattern: see `find_time`.
        plugins: Python files with components.
        trust: contact the server that the config of the component names.
        on_progress: called with (what, done, total).

    Returns:
        What was done.

    Raises:
        VireidError: if the index belongs to another checkpoint or gallery, another process updates it, or no image can
            be read.
    """
    before = _before(folder, root, embedder, index)
    config = index or (before or {}).get('index') or {'type': 'Exact'}
    build_searcher(folder, {'index': config, 'length': 1}, plugins, trust)  # its errors, before anything is embedded
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        entries = Entries(folder / IMAGES, write=True)
        plan = _plan(entries, root, images, time_pattern, on_progress)
        entries.remove([entry.row for entry in plan.gone])
        length = _embed(entries, folder / VECTORS, plan, embedder, on_progress) or (before or {}).get('length')
        if length is None and len(entries):  # an earlier build was interrupted after its last image
            one = entries.all()[0]
            length = embedder.embed_files([os.path.join(root, one.path)], [one.modality]).shape[1]
        if length is None or not len(entries):
            example = f', for example: {plan.unreadable[0]}' if plan.unreadable else ''
            raise DamagedFile(f'none of the images can be read{example}', todo=RAW)
        about = {
            'format': FORMAT,
            'root': str(root),
            'checkpoint': checkpoint,
            'digest': embedder.digest(),
            'label': embedder.experiment.name,
            'length': length,
            'index': config,
            'options': list(options),
        }
        searcher = build_searcher(folder, about, plugins, trust)
        anew = before is not None and before['index'] != about['index']
        _take_up(folder, entries, searcher, about, anew, on_progress)
        write_about(folder, about)
        guessed = len(entries.all('guessed = 1'))
        counts = {name: entries.counts(name) for name in ('modality', 'camera', 'time_from')}
        return Update(
            len(entries), plan.embedded, len(plan.gone), plan.unreadable,
            counts['modality'], guessed, counts['camera'], counts['time_from'],
        )  # fmt: skip


def require_index_folder(folder: Path) -> None:
    """Checks that a folder is new, empty, or that of an index, finished or not.

    Raises:
        VireidError: if it holds something else, or a link to a file elsewhere.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise AlreadyExists(f'{folder} is not a folder', allowed='a new folder, or the folder of an index')
    for name in OWN:
        inside(folder, name)  # raises for a link to a file elsewhere, which SQLite would write
    if not (folder / ABOUT).exists():
        others = sorted(p.name for p in folder.iterdir() if p.name not in OWN and not p.name.startswith('.'))
        if others and not (folder / IMAGES).exists():  # otherwise those of a component: the build was interrupted
            raise AlreadyExists(f'{folder} holds other files, such as {others[0]}', allowed='a new or an empty folder')


@dataclass
class _Plan:
    """The images to embed, in this order, those that no longer exist, and those that cannot be read."""

    new: list[Entry]
    gone: list[Entry]
    unreadable: list[str]
    root: Path
    embedded: int = 0


def _before(folder: Path, root: Path, embedder: Embedder, index: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns the description of an existing index; None if there is none.

    Raises:
        VireidError: if it cannot be updated with these arguments; and see `require_index_folder`.
    """
    require_index_folder(folder)
    if not (folder / ABOUT).exists():
        return None
    about = read_about(folder)
    if about['digest'] != embedder.digest():
        raise Mismatch(
            f'{folder} was built with another checkpoint, {about["checkpoint"]}, or with other images.* settings; '
            'their embeddings cannot be compared',
            todo='use that checkpoint, or another folder for a new index',
        )
    if about['root'] != str(root) and not _was_moved(folder, Path(about['root']), root):
        raise Mismatch(
            f'{folder} is the index of {about["root"]}, not of {root}', todo='use another folder for a new index'
        )
    return about


def _was_moved(folder: Path, before: Path, now: Path) -> bool:
    """Returns whether a gallery is now elsewhere, and has one of the images of the index.

    It was moved if its folder no longer exists, or copied if the index is in it.
    """
    if before.exists() and not folder.absolute().is_relative_to(now.absolute()):
        return False
    entries = Entries(folder / IMAGES).all()
    places = ((now / entry.path, entry) for entry in entries)
    return any(p.is_file() and p.stat().st_size == e.size and content_digest(p) == e.digest for p, e in places)


def _plan(
    entries: Entries, root: Path, images: Sequence[GalleryImage], time_pattern: str | None, on_progress: OnProgress
) -> _Plan:
    """Compares the gallery with the index."""
    known = {entry.path: entry for entry in entries.all()}
    numbers = {entry.row for entry in known.values()}
    free = iter(range(len(known) + len(images) + 1))
    plan = _Plan([], [], [], root)
    kept: set[str] = set()
    changed: list[Entry] = []  # the same content, but other facts
    for done, image in enumerate(images):
        if done % 256 == 0:
            on_progress('looking for new images', done, len(images))
        path = os.path.relpath(os.path.abspath(image.path), root).replace(os.sep, '/')
        if path in kept:
            continue
        try:
            status = os.stat(image.path)
            old = known.get(path)
            if old and _same_facts(old, image) and (old.size, old.changed) == (status.st_size, status.st_mtime_ns):
                kept.add(path)
                continue
            digest = content_digest(image.path)
            modality = image.modality or _guess(image.path, old, digest)
            time, time_from = (image.time, 'table') if image.time else _find_time(image.path, time_pattern)
        except NoMatch:  # of the name with --time-pattern, which needs correction
            raise
        except VireidError as error:
            plan.unreadable.append(error.given)
            continue
        except OSError as error:
            plan.unreadable.append(f'{image.path}: {error.strerror}')
            continue
        kept.add(path)
        same = old is not None and old.digest == digest and old.size == status.st_size and old.modality == modality
        row = old.row if old is not None else next(number for number in free if number not in numbers)
        entry = Entry(
            row, path, modality, not image.modality, image.camera, time, time_from,
            status.st_size, status.st_mtime_ns, digest,
        )  # fmt: skip
        (changed if same else plan.new).append(entry)
    plan.gone = [entry for path, entry in known.items() if path not in kept]
    entries.put(changed)
    return plan


def _same_facts(old: Entry, image: GalleryImage) -> bool:
    """Returns whether the modality, camera and time from a table or a flag still match the index."""
    modality = old.guessed if not image.modality else (not old.guessed and old.modality == image.modality)
    time = old.time == image.time if image.time else old.time_from != 'table'
    return modality and old.camera == image.camera and time


def _guess(path: str, old: Entry | None, digest: bytes) -> Modality:
    if old is not None and old.guessed and old.digest == digest:
        return old.modality
    return guess_modality(read_pixels(path, scale_raw='percentiles', thumbnail=SMALL))


def _find_time(path: str, pattern: str | None) -> tuple[str, str]:
    time, source = find_time(path, pattern)
    return time.isoformat(' '), source


def _embed(entries: Entries, file: Path, plan: _Plan, embedder: Embedder, on_progress: OnProgress) -> int | None:
    """Embeds the new images in parts and writes each part; returns the length of an embedding if there are any."""
    total, length = len(plan.new), None
    for start in range(0, total, AT_ONCE):
        part = plan.new[start : start + AT_ONCE]
        paths = [os.path.join(plan.root, entry.path) for entry in part]

        def show(done: int, _: int, start: int = start) -> None:
            on_progress('embedding', start + done, total)

        readable, vectors, errors = embedder.embed_readable(paths, [entry.modality for entry in part], show)
        plan.unreadable += errors
        batch = [part[place] for place in readable]
        if batch:
            length = vectors.shape[1]
            append_vectors(file, [entry.row for entry in batch], vectors)
            entries.put(batch)
            plan.embedded += len(batch)
    return length


def _take_up(
    folder: Path, entries: Entries, searcher: Any, about: dict[str, Any], anew: bool,
    on_progress: OnProgress = lambda what, done, total: None,
) -> None:  # fmt: skip
    """Passes all changes to the component that searches; with `anew`, passes every image."""
    changed, removed = entries.pending()
    live = np.array([entry.row for entry in entries.all()], dtype=np.int64)
    rows = int(live.max()) + 1
    vectors = np.memmap(folder / VECTORS, dtype=np.float16, mode='r', shape=(rows, about['length']))
    shows = names_argument(searcher.update, 'on_progress')
    more = {'on_progress': partial(on_progress, 'indexing')} if shows else {}
    searcher.update(vectors, live, entries.all() if anew else changed, removed, **more)
    entries.settle()
