"""A folder of crops that is being labeled: what is prepared before the page opens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vireid.console.progress_bar import named_progress_bar
from vireid.core.types import Modality
from vireid.errors import MissingFile
from vireid.labeling.labels import INDEX, Labels, drop_outdated, embed, is_of_another, only_one
from vireid.labeling.tracks import find_crops
from vireid.search import zero_shot
from vireid.search.index import ZERO_SHOT, Index
from vireid.search.open_embedder import open_embedder


@contextmanager
def open_labels(
    folder: Path,
    modality: Modality | None,
    checkpoint: str,
    options: Sequence[str],
    plugins: Sequence[Path],
    log: Callable[[str], None] = print,
) -> Iterator[Labels]:
    """Embeds the crops of a folder that are new, and reserves the folder for this process inside the block.

    Args:
        folder: the folder.
        modality: modality of all crops; None for that of their folders or their colors.
        checkpoint: a checkpoint, or `zero-shot`.
        options: overrides of its config.
        plugins: Python files with components.
        log: called with what was embedded, and with notes for the person who labels.

    Yields:
        The labels.

    Raises:
        VireidError: if there are no crops, another process labels them, or the answers are damaged.
    """
    if not folder.is_dir():
        raise MissingFile(f'{folder} is not a folder', allowed='a folder of crops')
    images, names, notes = find_crops(folder, modality)
    with only_one(folder) as own:
        recorded = ZERO_SHOT if checkpoint == zero_shot.ZERO_SHOT else str(Path(checkpoint).absolute())
        drop_outdated(own / INDEX, images, recorded)
        embedder = open_embedder(checkpoint, own / INDEX / ZERO_SHOT, images, options, plugins)
        if is_of_another(own / INDEX, embedder):  # such as after a hint to set images.scale_raw
            shutil.rmtree(own / INDEX)
            embedder = open_embedder(checkpoint, own / INDEX / ZERO_SHOT, images, options, plugins)
        with named_progress_bar('reading') as show:
            update = embed(folder, images, embedder, recorded, plugins, show)
        log(f'{folder}\n{update.text()}')
        labels = Labels(folder, Index.open(own / INDEX, plugins), names)
        for line in (*notes, *labels.notes()):
            log(f'note: {line}')
        yield labels
