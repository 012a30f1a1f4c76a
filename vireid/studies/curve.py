"""A learning curve: rank-1 against the number of labeled people, and whether labeling more would help."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from vireid.boundary.showing import printable
from vireid.boundary.writing import write_whole
from vireid.console.wording import aligned, counted
from vireid.core.config.overrides import Overrides
from vireid.core.registry.manager import Manager
from vireid.errors import Mismatch, MissingFile, WrongValue
from vireid.launch.resolve import Source, resolve
from vireid.reporting import result_file
from vireid.runtime.processes import world
from vireid.statistics.interval import PRIOR
from vireid.statistics.scores import matched_within
from vireid.studies.jobs import Job, check_first, make_job, require_own_images
from vireid.studies.launching import finish_all

COLUMNS = ('R1', 'mAP')


@dataclass(frozen=True)
class Point(Job):
    """A run on one random draw of a number of labeled people."""

    identities: int = 0
    draw: int = 0


def make_points(
    source: Source,
    overrides: Overrides,
    manager: Manager,
    numbers: Sequence[int],
    draws: int,
    base: Path | None = None,
) -> list[Point]:
    """Returns the runs of a curve.

    Args:
        source: a config on your own images.
        overrides: overrides of the config.
        manager: the plugins.
        numbers: numbers of labeled people.
        draws: random draws of each number.
        base: the parent folder of the runs; by default `runs/NAME_curve`.

    Raises:
        VireidError: for fewer than two numbers or no draw, an invalid config, or a dataset with fixed splits.
    """
    different = sorted(set(numbers))
    if len(different) < 2:
        raise WrongValue(f'--identities is {" ".join(map(str, numbers))}', allowed='at least two, such as 4 8 12')
    if draws < 1:
        raise WrongValue(f'--draws is {draws}', allowed='at least 1')
    require_own_images(source, overrides, manager, 'a learning curve')
    points = []
    for count, draw in [(count, draw) for count in different for draw in range(draws)]:
        own = replace(overrides, options=[*overrides.options, f'dataset.identities={count}', f'dataset.draw={draw}'])
        experiment = resolve(source, own, manager=manager)
        folder = (base or Path('runs') / f'{experiment.name}_curve') / f'people_{count}_draw_{draw}'
        job = make_job(experiment, own, folder, f'{count} people, draw {draw}')
        points.append(Point(**vars(job), identities=count, draw=draw))
    return points


def run_curve(
    points: Sequence[Point],
    base: Path,
    launcher: Any = None,
    log: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> None:
    """Trains missing runs, and prints and writes the curve and its verdict.

    Args:
        points: the runs, with at least two numbers of people and the same test split.
        base: the parent folder of the runs.
        launcher: trains the runs; None trains them one after the other in this process.
        log: called with each line of output.
        warn: called with a line for each damaged checkpoint.

    Raises:
        VireidError: before training, if a run cannot be built or its data are missing.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    check_first(points, data=True)
    points = _different(points)
    results = finish_all(points, launcher, base, data_may_move=True, log=log, warn=warn)
    done = list(zip(points, results, strict=True))
    lines = [*_table(done), '', _verdict(done)]
    first = done[0][1]
    log(f'\n{first["data"]}, {first["protocol"]}, {first["rows"][0]["name"]}, percent:')
    log('\n'.join(lines))
    if world()[0] == 0:
        write_whole(base / 'curve.txt', printable('\n'.join(lines)) + '\n')
    log(f'\nwritten to {base / "curve.txt"}, beside the runs')


def _different(points: Sequence[Point]) -> list[Point]:
    """Builds the data of each run; drops draws with identical images, as when all people are drawn."""
    kept: dict[tuple[int, frozenset[str]], Point] = {}
    for point in points:
        samples = point.experiment.build_dataset().split('train')
        kept.setdefault((point.identities, frozenset(sample.path for sample in samples)), point)
    return list(kept.values())


def _table(done: Sequence[tuple[Point, dict[str, Any]]]) -> list[str]:
    lines: list[tuple[str, ...]] = [('labeled people', 'draws', *COLUMNS)]
    for count in sorted({point.identities for point, _ in done}):
        own = [result['rows'][0] for point, result in done if point.identities == count]
        metrics = []
        for column in COLUMNS:
            values = [100 * row[column]['mean'] for row in own]
            spread = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
            metrics.append(f'{statistics.fmean(values):.1f}{spread}')
        lines.append((str(count), str(len(own)), *metrics))
    return aligned(lines, left=0)


def _verdict(done: Sequence[tuple[Point, dict[str, Any]]]) -> str:
    """Compares the two largest numbers of people, paired by test identity."""
    fewer, more = sorted({point.identities for point, _ in done})[-2:]
    gain, low, high, tested = paired_gain(*(
        [result['queries'] for point, result in done if point.identities == count] for count in (fewer, more)
    ))  # fmt: skip
    change = (
        f'From {fewer} to {more} labeled people, rank-1 changes by {100 * gain:+.1f} points '
        f'(95% interval over {counted(tested, "test identity", "test identities")}: {100 * low:+.1f} to '
        f'{100 * high:+.1f}).'
    )
    if low > 0:
        return f'{change} Labeling more people will probably help.'
    if high < 0.02:
        return f'{change} Labeling more people will probably not help.'
    return f'{change} This is inconclusive: test on more people to find out whether labeling more helps.'


def paired_gain(before: Sequence[Path], after: Sequence[Path]) -> tuple[float, float, float, int]:
    """Compares the rank-1 of runs that were tested on the same queries.

    The gain is the difference of the means over queries. The queries of one person are dependent, so the variance is
    that of a ratio estimator over people, as in `identity_interval`, with the same prior of half a person on each side.

    Args:
        before: `queries.npz` files of some runs.
        after: `queries.npz` files of other runs.

    Returns:
        The gain, its 95% interval (Student's t) within -1 and 1, and the number of people.

    Raises:
        VireidError: if a file is missing, or the runs were tested on different people.
    """
    sides = [_hits(files) for files in (before, after)]
    (person, first), (others, second) = sides
    if not np.array_equal(person, others):
        raise Mismatch('the runs were tested on different people', todo='use the same test split')
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
    """Returns the test identities, and their numbers of rank-1 hits and of queries in the first rows of runs."""
    lacking = next((file for file in files if not file.is_file()), None)
    if lacking is not None:
        raise MissingFile(f'{lacking} is missing', todo='use another --work-dir, or delete that run to repeat it')
    loaded = [result_file.read_queries(file) for file in files]
    plain = [queries['row'] == 0 for queries in loaded]
    person = np.concatenate([queries['identity'][own] for queries, own in zip(loaded, plain, strict=True)])
    hit = np.concatenate([matched_within(queries, 1)[own] for queries, own in zip(loaded, plain, strict=True)])
    unique, place = np.unique(person, return_inverse=True)
    return unique, np.stack([np.bincount(place, hit), np.bincount(place)], axis=1)
