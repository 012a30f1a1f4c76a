"""`vireid data check`: what is there against what should be, and every image read once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vireid.core.errors import IncompleteData
from vireid.core.types import MODALITIES, Sample

SHOWN = 5  # examples of each kind of trouble


@dataclass
class Report:
    """What a check found.

    Attributes:
        counts: (split, what, found, expected or None).
        errors: what has to be fixed.
        warnings: what is worth knowing.
    """

    counts: list[tuple[str, str, int, int | None]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Returns a table of the counts, then the errors and warnings."""
        lines = [('split', '', 'found', 'expected')]
        lines += [
            (split, what, f'{found:,}', '-' if wanted is None else f'{wanted:,}' + ('' if found == wanted else '  <-'))
            for split, what, found, wanted in self.counts
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        parts = ['  '.join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        for title, found in (('error', self.errors), ('warning', self.warnings)):
            parts += [f'{title}: {entry}' for entry in found]
        return '\n'.join(parts + ([] if self.errors or self.warnings else ['nothing is wrong']))


def check_dataset(
    dataset: Any,
    splits: Sequence[str] = ('train', 'test'),
    expected: dict[str, tuple[int | None, ...]] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Counts, reads every image, and looks for identities of one modality and for images that are there twice.

    Args:
        dataset: a reader.
        splits: which of its splits.
        expected: by split, identities, visible and infrared images; None where it is not known.
        on_progress: called with (done, total) images.
    """
    report = Report()
    everything: list[Sample] = []
    of_split: dict[str, str] = {}
    for split in splits:
        try:
            samples = dataset.split(split)
        except IncompleteData as error:
            samples = error.samples
            report.errors.append(f'{split}: {error.given}')
        everything += samples
        of_split |= dict.fromkeys((s.path for s in samples), split)
        counts = [len({s.identity for s in samples})]
        counts += [sum(s.modality == m for s in samples) for m in MODALITIES]
        wanted = (expected or {}).get(split, (None,) * 3)
        for what, found, number in zip(('identities', *MODALITIES), counts, wanted, strict=True):
            report.counts.append((split, what, found, number))
            if number is not None and found != number:
                report.errors.append(f'{split}: {found:,} {what} instead of {number:,}')
        for modality in MODALITIES:
            lacking = {s.identity for s in samples} - {s.identity for s in samples if s.modality == modality}
            if lacking:
                report.warnings.append(f'{split}: {len(lacking)} identities have no {modality} image: {_few(lacking)}')
    unreadable, contents = _read_all(everything, on_progress)
    if unreadable:
        report.errors.append(f'{len(unreadable)} images cannot be read:\n    ' + '\n    '.join(unreadable[:SHOWN]))
    for twins in [paths for paths in contents.values() if len({s.path for s in paths}) > 1]:
        paths = ', '.join(sorted({s.path for s in twins})[:SHOWN])
        # the identities of two splits may both count from 0 and be other identities all the same
        if len({of_split[s.path] for s in twins}) > 1:
            report.errors.append(f'one image in several splits: {paths}')
        elif len({s.identity for s in twins}) > 1:
            report.errors.append(f'one image of several identities: {paths}')
        else:
            report.warnings.append(f'one image several times: {paths}')
    return report


def _read_all(
    samples: Sequence[Sample], on_progress: Callable[[int, int], None] | None
) -> tuple[list[str], dict[bytes, list[Sample]]]:
    """Decodes every file once; returns those that fail, and the samples by content."""
    contents: dict[bytes, list[Sample]] = defaultdict(list)
    unreadable = []
    unique = list({s.path: s for s in samples}.values())
    with ThreadPoolExecutor() as pool:  # decoding lets go of the interpreter
        for done, (sample, (digest, error)) in enumerate(zip(unique, pool.map(_read, unique), strict=True), 1):
            if error:
                unreadable.append(error)
            else:
                contents[digest].append(sample)
            if on_progress:
                on_progress(done, len(unique))
    return unreadable, contents


def _read(sample: Sample) -> tuple[bytes, str]:
    from vireid.core.data.images import read_image
    from vireid.core.errors import VireidError

    try:
        read_image(sample.path)
        return hashlib.sha256(Path(sample.path).read_bytes()).digest(), ''
    except VireidError as error:
        return b'', error.given
    except OSError as error:
        return b'', f'image {sample.path}: {error}'


def _few(identities: Iterable[int]) -> str:
    ordered = sorted(identities)
    return ', '.join(map(str, ordered[:SHOWN])) + (', ...' if len(ordered) > SHOWN else '')
