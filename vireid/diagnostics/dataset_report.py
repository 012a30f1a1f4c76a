"""`vireid data check`: compares a dataset with its expected counts, and reads every image once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from vireid.boundary.image_files import RawImage, ScaleRaw, has_more_frames, read_pixels
from vireid.boundary.showing import error_text, some
from vireid.console.wording import aligned, counted
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Sample
from vireid.diagnostics.colors import channel_spread, color_warnings, colorfulness
from vireid.diagnostics.near_copies import SIDE, near_copies
from vireid.errors import IncompleteData, VireidError, indented
from vireid.interfaces import Dataset

MAX_LISTED = 5  # examples of each problem
MIN_IDENTITIES = 4
FEW_LEVELS = 32  # gray levels; the darkest photograph has more, raw values truncated to 8 bits have a handful


@dataclass
class Report:
    """The result of a dataset check.

    Attributes:
        counts: (split, what, actual, expected or None).
        errors: problems to fix.
        warnings: things worth knowing.
    """

    counts: list[tuple[str, str, int, int | None]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Returns a table of the counts, then the errors and warnings."""
        lines = [('split', '', 'found', 'expected')]
        lines += [
            (split, what, f'{count:,}', '-' if number is None else f'{number:,}' + ('' if count == number else '  <-'))
            for split, what, count, number in self.counts
        ]
        parts = aligned(lines, left=len(lines[0]))
        for title, entries in (('error', self.errors), ('warning', self.warnings)):
            parts += [f'{title}: {indented(entry)}' for entry in entries]
        return '\n'.join(parts + ([] if self.errors or self.warnings else ['no problems found']))


@dataclass(frozen=True)
class _Image:
    """What one image shows; `small`, `spread` and `color` are set only for your own images."""

    digest: bytes = b''
    error: str = ''
    raw: tuple[str, float, float] | None = None  # unscaled values: their kind, minimum and maximum
    levels: int = 256  # distinct values of the green channel
    more_frames: bool = False
    small: np.ndarray | None = None  # (SIDE, SIDE) uint8, gray
    spread: float = 0.0
    color: float = 0.0


def check_dataset(
    dataset: Any,
    splits: Sequence[str] | None = None,
    expected: dict[str, tuple[int | None, ...]] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    scale_raw: ScaleRaw = None,
) -> Report:
    """Counts and reads all images; reports identities with a single modality, and duplicate images.

    For your own images it also reports too few identities or cameras, images that look like the other modality, and
    nearly identical images of two identities. These checks are skipped for published datasets: their users cannot
    change them, and thermal images in false color would be reported as visible ones. A dataset of your own images sets
    `own_images = True`, and has `names`, `parts`, `split_error`, `lookalike_error` and `passed_over` as described in
    `plugins/datasets/own_images.py`.

    Args:
        dataset: the dataset to check.
        splits: the splits to check; None means `train` and `test`, or all splits of your own images.
        expected: the numbers of identities, visible and infrared images, by split; None for an unknown number.
        on_progress: called with (done, total) images.
        scale_raw: how raw values become gray levels, as `images.scale_raw` in a config.
    """
    report = Report()
    own = Dataset.own_images(dataset)
    names: dict[int, str] = Dataset.names(dataset)
    of_split: dict[str, str] = {}
    everything: list[Sample] = []
    for split, samples in _parts(dataset, splits, report).items():
        everything += samples
        of_split |= dict.fromkeys((s.path for s in samples), split)
        _count(report, split or 'all', samples, (expected or {}).get(split, (None,) * 3), names)
    if own:
        report.errors[:0] = [dataset.lookalike_error.given] if dataset.lookalike_error else []
        report.warnings += [*dataset.passed_over, *_identity_warnings(everything, names)]
    images = _read_all(everything, partial(_read, own, scale_raw), on_progress)
    unreadable = [image.error for _, image in images if image.error and not image.raw]
    _raw(report, [image.raw for _, image in images if image.raw])
    readable = [(sample, image) for sample, image in images if not image.error]
    if unreadable:
        what = counted(len(unreadable), 'image')
        report.errors.append(f'{what} cannot be read:\n    ' + '\n    '.join(unreadable[:MAX_LISTED]))
    _twins(report, readable, of_split, own)
    few = [f'{sample.path} ({image.levels})' for sample, image in readable if image.levels < FEW_LEVELS]
    if few:
        report.warnings.append(
            f'{counted(len(few), "image has", "images have")} fewer than {FEW_LEVELS} gray levels, like '
            f'raw values truncated to 8 bits: {", ".join(few[:MAX_LISTED])}{", ..." if len(few) > MAX_LISTED else ""}'
        )
    many = [sample.path for sample, image in readable if image.more_frames]
    if many:
        report.warnings.append(
            f'{counted(len(many), "image has", "images have")} several frames or pages, and only the first is read: '
            f'{", ".join(many[:MAX_LISTED])}{", ..." if len(many) > MAX_LISTED else ""}'
        )
    if own:
        samples = [sample for sample, _ in readable]
        own_images = [image for _, image in readable]
        spreads, colors = [image.spread for image in own_images], [image.color for image in own_images]
        report.warnings += color_warnings(samples, spreads, colors, names)
        for modality in MODALITIES:
            _one_person_twice(report, [(s, i) for s, i in readable if s.modality == modality], of_split, names)
    return report


def _parts(dataset: Any, splits: Sequence[str] | None, report: Report) -> dict[str, Sequence[Sample]]:
    """Returns the samples by split, and reports problems with the splits."""
    if splits is None and Dataset.own_images(dataset):
        parts = dict(dataset.parts)
        if dataset.split_error and set(parts) != {''}:
            report.errors.append(dataset.split_error.given)
        elif dataset.split_error:
            report.warnings.append('the images have no splits yet: run `vireid data split`')
        return parts
    parts = {}
    for split in ('train', 'test') if splits is None else splits:
        try:
            parts[split] = dataset.split(split)
        except IncompleteData as error:
            parts[split] = error.samples
            report.errors.append(f'{split}: {error.given}')
    return parts


def _count(
    report: Report, split: str, samples: Sequence[Sample], expected: Sequence[int | None], names: Mapping[int, str]
) -> None:
    counts = [len({s.identity for s in samples})]
    counts += [sum(s.modality == m for s in samples) for m in MODALITIES]
    for what, count, number in zip(('identities', *MODALITIES), counts, expected, strict=True):
        report.counts.append((split, what, count, number))
        if number is not None and count != number:
            report.errors.append(f'{split}: {count:,} {what} instead of {number:,}')
        elif count == 0 and what != 'identities' and split in ('train', 'val', 'test'):
            report.errors.append(f'{split}: no {what} image')
    if split in ('val', 'test') and counts[0] == 1:
        report.errors.append(f'{split}: 1 identity, so every ranking is correct; scoring needs 2 or more')
    both = {s.identity for s in samples if s.modality == VISIBLE} & {
        s.identity for s in samples if s.modality == INFRARED
    }
    if split in ('val', 'test') and counts[0] > 1 and all(counts) and not both:
        report.errors.append(f'{split}: no query has a match, because no identity has both visible and infrared images')
    for modality in MODALITIES:
        lacking = {s.identity for s in samples} - {s.identity for s in samples if s.modality == modality}
        if lacking:
            report.warnings.append(
                f'{split}: {counted(len(lacking), "identity has", "identities have")} no {modality} image: '
                f'{_few(lacking, names)}'
            )


def _identity_warnings(samples: Sequence[Sample], names: Mapping[int, str]) -> list[str]:
    """Returns the warnings about the numbers of identities and cameras."""
    warnings = []
    cameras: dict[int, set[int]] = defaultdict(set)
    modalities: dict[int, set[str]] = defaultdict(set)
    for sample in samples:
        cameras[sample.identity].add(sample.camera)
        modalities[sample.identity].add(sample.modality)
    if len(cameras) < MIN_IDENTITIES:
        warnings.append(
            f'{counted(len(cameras), "identity", "identities")} in total: training and testing need at least two each, '
            f'{MIN_IDENTITIES} in all'
        )
    everywhere = set().union(*cameras.values())
    if len(everywhere) == 1:
        warnings.append(f'all images are from camera {min(everywhere)}, so retrieval across cameras cannot be tested')
    else:
        # identities with a single modality are already reported
        alone = {i for i, seen in cameras.items() if len(seen) == 1 and len(modalities[i]) == len(MODALITIES)}
        if alone:
            warnings.append(
                f'{len(alone)} of {len(cameras)} identities were seen by only one of the {len(everywhere)} cameras: '
                f'{_few(alone, names)}'
            )
    return warnings


def _raw(report: Report, values: Sequence[tuple[str, float, float]]) -> None:
    """Reports images of raw values, with the config values that would scale them."""
    if values:
        least, most = min(low for _, low, _ in values), max(high for _, _, high in values)
        report.errors.append(
            f'{counted(len(values), "image has", "images have")} raw values ({values[0][0]}), {least:g} to {most:g} '
            'overall, but no scaling is set. Set one in the config: images.scale_raw=percentiles (per image), or '
            f'images.scale_raw=[{least:g},{most:g}] (the same for all); here: --scale-raw percentiles'
        )


def _twins(report: Report, images: Sequence[tuple[Sample, _Image]], of_split: Mapping[str, str], named: bool) -> None:
    """Reports duplicate files."""
    contents: dict[bytes, list[Sample]] = defaultdict(list)
    for sample, image in images:
        contents[image.digest].append(sample)
    for twins in [group for group in contents.values() if len(group) > 1]:
        paths = ', '.join(sorted({s.path for s in twins})[:MAX_LISTED])
        # without names, two splits may both number their identities from 0, so that only the splits tell them apart
        splits, identities = ({of_split[s.path] for s in twins}, {s.identity for s in twins})
        if len(identities) > 1 and (named or len(splits) == 1):
            report.errors.append(f'the same image under several identities: {paths}')
        elif len(splits) > 1:
            report.errors.append(f'the same image in several splits: {paths}')
        elif len({s.modality for s in twins}) > 1:
            report.errors.append(f'the same image as visible and as infrared, so it would retrieve itself: {paths}')
        else:
            report.warnings.append(f'duplicate image: {paths}')


def _one_person_twice(
    report: Report, images: Sequence[tuple[Sample, _Image]], of_split: Mapping[str, str], names: Mapping[int, str]
) -> None:
    """Reports identities that share nearly the same image within a modality."""
    if not images:
        return
    copies = near_copies(
        np.stack([image.small for _, image in images if image.small is not None]),
        np.array([sample.identity for sample, _ in images]),
        [image.digest for _, image in images],
    )
    if not copies:
        return
    pairs = [(images[pair.first][0], images[pair.second][0]) for pair in copies]
    across = sum(of_split[one.path] != of_split[other.path] for one, other in pairs)
    lines = [
        f'{names.get(one.identity, one.identity)} and {names.get(other.identity, other.identity)}: '
        f'{one.path}, {other.path}'
        for one, other in pairs[:MAX_LISTED]
    ]
    report.warnings.append(
        f'{counted(len(pairs), "pair")} of identities {"has" if len(pairs) == 1 else "have"} nearly the same '
        f'{images[0][0].modality} image'
        + (f', {across} of them in different splits' if across else '')
        + '; if a pair is one person, use one name for all its images:\n    '
        + '\n    '.join([*lines, *(['...'] if len(pairs) > MAX_LISTED else [])])
    )


def _read_all(
    samples: Sequence[Sample], read: Callable[[Sample], _Image], on_progress: Callable[[int, int], None] | None
) -> list[tuple[Sample, _Image]]:
    """Decodes every file once."""
    unique = list({s.path: s for s in samples}.values())
    images = []
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        for done, (sample, image) in enumerate(zip(unique, pool.map(read, unique), strict=True), 1):
            images.append((sample, image))
            if on_progress:
                on_progress(done, len(unique))
    return images


def _read(own: bool, scale_raw: ScaleRaw, sample: Sample) -> _Image:
    try:
        pixels = read_pixels(sample.path, scale_raw=scale_raw)
        # a digest of the pixels, since a copy in another file format or with other metadata is a copy
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        levels = int(np.count_nonzero(np.bincount(pixels[:, :, 1].ravel(), minlength=256)))
    except RawImage as error:
        return _Image(error=error.given, raw=error.values if scale_raw is None else None)
    except VireidError as error:
        return _Image(error=error.given)
    except OSError as error:
        return _Image(error=f'image {sample.path}: {error_text(error)}')
    more = has_more_frames(sample.path)
    if not own:
        return _Image(digest, levels=levels, more_frames=more)
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
    return _Image(
        digest,
        levels=levels,
        more_frames=more,
        small=np.asarray(small.convert('L')),
        spread=channel_spread(pixels),
        color=colorfulness(np.asarray(small)),
    )


def _few(identities: Iterable[int], names: Mapping[int, str]) -> str:
    return some([names.get(i, str(i)) for i in sorted(identities)], MAX_LISTED, ', ...')
