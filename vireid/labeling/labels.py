"""A folder of crops that is labeled: its tracks, the answers, and the next question."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from vireid.boundary.paths import inside
from vireid.console.wording import counted
from vireid.core.types import MODALITIES
from vireid.errors import AlreadyExists, InUse, NotReady, VireidError, WrongValue
from vireid.labeling.grouping import propose_groups
from vireid.labeling.journal import FILE, Journal, answer
from vireid.labeling.manifest import FILE as MANIFEST
from vireid.labeling.manifest import Summary, write_manifest
from vireid.labeling.people import People
from vireid.labeling.questions import Question, Questions
from vireid.labeling.tracks import make_tracks, overlapping
from vireid.runtime.lock import exclusive
from vireid.search.about import ABOUT, read_about
from vireid.search.building import Update, build
from vireid.search.embedder import Embedder
from vireid.search.gallery import GalleryImage
from vireid.search.index import ZERO_SHOT, Index

FOLDER, INDEX = 'label', 'index'  # what is stored for a folder of crops: the answers, and the embeddings


def embed(
    folder: Path, images: Sequence[GalleryImage], embedder: Embedder, checkpoint: str, plugins: Sequence[Path],
    on_progress: Callable[[str, int, int], None],
) -> Update:  # fmt: skip
    """Embeds the new crops of a folder, as `vireid index` does.

    Args:
        folder: the folder of the crops.
        images: the crops.
        embedder: the model.
        checkpoint: its path.
        plugins: Python files with components.
        on_progress: called with (what, done, total).

    Raises:
        VireidError: if the embeddings are of another checkpoint, or no image can be read.
    """
    return build(
        folder / FOLDER / INDEX, folder.absolute(), images, embedder, checkpoint=checkpoint, plugins=plugins,
        on_progress=on_progress,
    )  # fmt: skip


def drop_outdated(index: Path, images: Sequence[GalleryImage], checkpoint: str) -> None:
    """Removes the embeddings of a folder of crops if they are of another checkpoint; the answers hold for any.

    Args:
        index: the folder of the embeddings, if there are any.
        images: the crops.
        checkpoint: the checkpoint as an index records it. The one without training is centered in each modality, so it
            is another one if there is a new modality.

    Raises:
        VireidError: if the embeddings are damaged.
    """
    if not (index / ABOUT).exists():
        return
    before = Index.open(index)
    new = {image.modality for image in images} - {'', *before.modalities()}
    if before.about['checkpoint'] != checkpoint or (checkpoint == ZERO_SHOT and new):
        shutil.rmtree(index)


def is_of_another(index: Path, embedder: Embedder) -> bool:
    """Returns whether embeddings, if there are any, were made with other weights or `images.*` settings.

    Raises:
        VireidError: if the embeddings are damaged.
    """
    return (index / ABOUT).exists() and read_about(index)['digest'] != embedder.digest()


@contextmanager
def only_one(folder: Path) -> Iterator[Path]:
    """Reserves a folder of crops for this process inside the block; yields the folder for what is stored for it.

    Raises:
        VireidError: if another process labels it, it has a table that `vireid label` did not write, or what is kept
            about it is a link to another folder.
    """
    own = inside(folder, FOLDER)
    if (folder / MANIFEST).exists() and not (own / FILE).exists():
        raise AlreadyExists(
            f'{folder / MANIFEST} was not written by vireid label, which would overwrite it',
            todo='move or rename that table',
        )
    own.mkdir(exist_ok=True)
    inside(own, INDEX)
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(own))
        except InUse as error:
            raise InUse(
                f'{folder} is already being labeled', todo='use the page that is open, or stop it first (Ctrl-C)'
            ) from error
        yield own


class Labels:
    """The labels of a folder; safe to use from several threads.

    Args:
        folder: the folder of the crops.
        index: their embeddings.
        names: the name of the track of each image; see `find_crops`.

    Attributes:
        tracks: the tracks.
        people: who is who.
        journal: the answers.
        manifest: the table that is written after each answer.
        summary: what that table contains.

    Raises:
        VireidError: if a track has images of two cameras, or the answers are damaged.
    """

    def __init__(self, folder: Path, index: Index, names: dict[str, str]) -> None:
        self.folder, self.index, self.manifest = folder, index, folder / MANIFEST
        self.tracks, features = make_tracks(index, names)
        self._impossible = overlapping(self.tracks)
        self._groups = propose_groups(self.tracks, features, self._impossible)
        self._questions = Questions(features)
        self._lock = threading.RLock()
        self._asked: tuple[int, Question | None] | None = None
        self.journal = Journal(folder / FOLDER)
        self.people = self._replayed()
        self.summary = Summary()
        if self.journal.answers:
            self.summary = write_manifest(self.people, folder)  # a crash may have come between the answer and the table

    @property
    def version(self) -> int:
        """The number of answers so far, which identifies the current question."""
        return len(self.journal.answers)

    def question(self) -> Question | None:
        """Returns the next question, None if there is none."""
        with self._lock:
            if self._asked is None or self._asked[0] != self.version:
                self._asked = self.version, self._questions.next(self.people)
            return self._asked[1]

    def answer(
        self,
        kind: Literal['people', 'name', 'skip'],
        rows: Sequence[int],
        same: Sequence[Sequence[int]] = (),
        different: Sequence[Sequence[int]] = (),
        name: str = '',
        despite: bool = False,
    ) -> None:
        """Applies and saves an answer, and writes the table.

        Args:
            kind: what it says; see `Answer`.
            rows: the tracks that were asked about, by number.
            same: groups of tracks of the same person.
            different: groups of tracks of other people.
            name: the name of the person.
            despite: apply it even if it contradicts what is known.

        Raises:
            Contradiction: if it contradicts what is known; nothing is saved.
            VireidError: if a name is invalid, or it cannot be saved.
        """
        if not rows:
            raise WrongValue('the answer names no track')
        with self._lock:
            named = [[self._names(part) for part in parts] for parts in (same, different)]
            given = answer(kind, self._names(rows), named[0], named[1], name, despite)
            try:
                self.people.apply(given)
                self.journal.append(given)
            except VireidError:
                self.people = self._replayed()  # as the journal has it
                raise
            self.summary = write_manifest(self.people, self.folder)

    def undo(self) -> None:
        """Undoes the last answer.

        Raises:
            VireidError: if there is none, or this cannot be saved.
        """
        with self._lock:
            if not self.journal.held():
                raise NotReady('there is no answer to undo')
            self.journal.append(answer('undo'))
            self.people = self._replayed()
            self.summary = write_manifest(self.people, self.folder)

    def notes(self) -> list[str]:
        """Returns what the person who labels has to know, one line per fact."""
        modalities = {track.modality for track in self.tracks}
        lines = [
            f'there are no {modality} crops, and a person needs both modalities' for modality in MODALITIES
            if modality not in modalities
        ]  # fmt: skip
        if self.people.refused:
            count = counted(len(self.people.refused), 'earlier answer')
            lines.append(f'{count} not used, since they contradict others: {"; ".join(self.people.refused[:3])}')
        return lines

    def _names(self, rows: Sequence[int]) -> list[str]:
        if not all(0 <= row < len(self.tracks) for row in rows):
            raise WrongValue(f'there is no track {max(rows)}', allowed=f'0 to {len(self.tracks) - 1}')
        return [self.tracks[row].name for row in rows]

    def _replayed(self) -> People:
        people = People(self.tracks, self._groups, self._impossible)
        people.replay(self.journal.held())
        return people
