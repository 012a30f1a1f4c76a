"""A learning curve: rank-1 against the people that were labelled, and whether labelling more would help."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from vireid.boundary.showing import printable
from vireid.boundary.writing import write_whole
from vireid.core.distributed.processes import world
from vireid.core.errors import VireidError
from vireid.core.scoring.retrieval import matched_within
from vireid.core.wording import aligned, counted
from vireid.reporting import result_file
from vireid.statistics.interval import PRIOR
from vireid.studies.jobs import Job, check_first, finish

COLUMNS = ('R1', 'mAP')


@dataclass(frozen=True)
class Point(Job):
    """One run: of so many labelled people, those of one draw."""

    identities: int = 0
    draw: int = 0


def run_curve(
    points: Sequence[Point],
    base: Path,
    tell: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> None:
    """Trains what is missing, tells the curve and what it says, and writes both to `base`.

    Args:
        points: the runs, of two or more numbers of people; all are tested on the same people.
        base: the folder of all of them.
        tell: is called with each line.
        warn: is called with a line for each damaged checkpoint.

    Raises:
        VireidError: if a run cannot be built or its data be had, before anything is trained.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    check_first(points, data=True)
    points = _different(points)
    found = [(point, finish(point, data_may_move=True, tell=tell, warn=warn)) for point in points]
    lines = [*_table(found), '', _verdict(found)]
    first = found[0][1]
    tell(f'\n{first["data"]}, {first["protocol"]}, {first["rows"][0]["name"]}, percent:')
    tell('\n'.join(lines))
    if world()[0] == 0:
        write_whole(base / 'curve.txt', printable('\n'.join(lines)) + '\n')
    tell(f'\nwritten to {base / "curve.txt"}; each run lies beside it')


def _different(points: Sequence[Point]) -> list[Point]:
    """Builds each run's data; leaves out draws of the same people, as those of all are."""
    kept: dict[tuple[int, frozenset[str]], Point] = {}
    for point in points:
        samples = point.experiment.build_dataset().split('train')
        kept.setdefault((point.identities, frozenset(sample.path for sample in samples)), point)
    return list(kept.values())


def _table(found: Sequence[tuple[Point, dict[str, Any]]]) -> list[str]:
    lines: list[tuple[str, ...]] = [('labelled people', 'draws', *COLUMNS)]
    for count in sorted({point.identities for point, _ in found}):
        own = [result['rows'][0] for point, result in found if point.identities == count]
        metrics = []
        for column in COLUMNS:
            values = [100 * row[column]['mean'] for row in own]
            spread = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
            metrics.append(f'{statistics.fmean(values):.1f}{spread}')
        lines.append((str(count), str(len(own)), *metrics))
    return aligned(lines, left=0)


def _verdict(found: Sequence[tuple[Point, dict[str, Any]]]) -> str:
    """Compares the two largest numbers of people, person by person of the test."""
    fewer, more = sorted({point.identities for point, _ in found})[-2:]
    gain, low, high, tested = paired_gain(*(
        [result['queries'] for point, result in found if point.identities == count] for count in (fewer, more)
    ))  # fmt: skip
    change = (
        f'From {fewer} to {more} labelled people, rank-1 changes by {100 * gain:+.1f} points '
        f'(95% interval over {counted(tested, "test identity", "test identities")}: {100 * low:+.1f} to '
        f'{100 * high:+.1f}).'
    )
    if low > 0:
        return f'{change} Labelling more people would probably help.'
    if high < 0.02:
        return f'{change} Labelling more people would hardly help; other changes may.'
    return f'{change} That does not tell whether labelling more people would help: test on more of them.'


def paired_gain(before: Sequence[Path], after: Sequence[Path]) -> tuple[float, float, float, int]:
    """Compares the rank-1 of runs that were tested on the same queries.

    The gain is the difference of the means over queries. Differences of one person belong together, so its variance is
    that of a ratio over people, as in `identity_interval`, with half a person who knows nothing of both sides.

    Args:
        before: files `queries.npz` of some runs.
        after: those of others.

    Returns:
        The gain, its 95% interval (Student's t) within -1 and 1, and how many people there are.

    Raises:
        VireidError: if a file is missing, or they were tested on other people.
    """
    sides = [_hits(files) for files in (before, after)]
    (person, first), (others, second) = sides
    if not np.array_equal(person, others):
        raise VireidError('the runs were tested on different people', todo='give them one test split')
    count = len(person)
    hits, queries = np.stack([first[:, 0], second[:, 0]]), np.stack([first[:, 1], second[:, 1]])
    means = hits.sum(axis=1) / queries.sum(axis=1)
    gain = float(means[1] - means[0])
    if count < 2:
        return gain, -1.0, 1.0, count
    apart = (hits - means[:, None] * queries) / queries.sum(axis=1, keepdims=True)  # (2, people)
    unknown = (means * count + PRIOR) / (count + 2 * PRIOR)
    prior = PRIOR * float((unknown * (1 - unknown)).sum()) / count
    freedom = count - 1 + PRIOR
    variance = (float(((apart[1] - apart[0]) ** 2).sum()) * count + prior) / freedom
    half = float(student.ppf(0.975, freedom)) * variance**0.5
    return gain, max(-1.0, gain - half), min(1.0, gain + half), count


def _hits(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the people of a test, and for each the hits at rank 1 and the queries, over some runs' first rows."""
    lacking = next((file for file in files if not file.is_file()), None)
    if lacking is not None:
        raise VireidError(f'{lacking} is gone', todo='run again in another --work-dir, or take that run away')
    loaded = [result_file.read_queries(file) for file in files]
    plain = [found['row'] == 0 for found in loaded]
    person = np.concatenate([found['identity'][own] for found, own in zip(loaded, plain, strict=True)])
    hit = np.concatenate([matched_within(found, 1)[own] for found, own in zip(loaded, plain, strict=True)])
    unique, place = np.unique(person, return_inverse=True)
    return unique, np.stack([np.bincount(place, hit), np.bincount(place)], axis=1)
