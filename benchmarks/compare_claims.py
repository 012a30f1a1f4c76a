"""How often `vireid compare` claims a difference: between equal systems, and between systems 5 points apart.

What seeds do is taken from the queries of recorded runs: of each system and test identity, how much the hits of a seed
deviate from their mean over the seeds, scaled by sqrt(n / (n - 1)); all systems together. A pair of systems draws its
seeds from these, and is tested on people drawn with replacement, the same for both. 5 points apart, a pilot of 3 seeds
recommends a number of seeds, and that many are drawn anew. Of tables of as many systems as were recorded, it tells how
often anything at all is claimed. Also times the bootstrap at SYSU-MM01's size.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np

from vireid.statistics.comparison import bootstrap, over_seeds, seeds_for
from vireid.statistics.scores import matched_within
from vireid.studies.systems import read_queries, read_systems

POINTS = 0.05


def deviations(folders: list[str]) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns by how many hits each recorded seed deviates, (seeds, identities); queries by identity; the systems."""
    found = []
    for system in read_systems(folders):
        queries = [read_queries(run) for run in system.runs.values()]
        people = [np.unique(own['identity'], return_inverse=True)[1] for own in queries]
        hits = np.stack([np.bincount(p, matched_within(own, 1)) for p, own in zip(people, queries, strict=True)])
        if len(hits) > 1:
            found.append((hits - hits.mean(0)) * (len(hits) / (len(hits) - 1)) ** 0.5)
    return np.concatenate(found), np.bincount(people[0]), len(found)


def claims_of(values: np.ndarray) -> np.ndarray:
    """Says of every pair of systems, from (systems, seeds), whether a difference is claimed; the first one's first."""
    couples = list(itertools.combinations(range(len(values)), 2))
    others = [np.delete(values, couple, axis=0) for couple in couples]
    confidence = 1 - 0.05 / len(couples)
    found = [
        over_seeds(values[a], values[b], confidence, rest).is_significant
        for (a, b), rest in zip(couples, others, strict=True)
    ]
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', help='folders of runs on one dataset; seeds of one config are one system')
    parser.add_argument('--pairs', type=int, default=5000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    pool, queries, systems = deviations(args.runs)
    rng = np.random.default_rng(args.seed)

    def draw(seeds: int, systems: int = 2) -> np.ndarray:
        """Returns how much rank-1 deviates, for systems and some seeds of each, on people drawn for all."""
        people = rng.multinomial(len(queries), np.full(len(queries), 1 / len(queries)))
        return pool[rng.integers(len(pool), size=(systems, seeds))] @ people / (queries @ people)

    spread = (pool.sum(1) / queries.sum()).std()
    print(f'{len(pool)} recorded seeds deviate by {100 * spread:.1f} points, on {len(queries)} identities')
    for count in (2, 3, 5):
        claims = [over_seeds(*draw(count)).is_significant for _ in range(args.pairs)]
        print(f'equal systems, {count} seeds: a difference is claimed in {100 * np.mean(claims):.1f} % (7 allowed)')
    shown, needed = [], []
    for _ in range(args.pairs):
        first, second = draw(3)
        needed.append(seeds_for(first + POINTS, second, POINTS))
        first, second = draw(needed[-1])
        shown.append(over_seeds(first + POINTS, second).is_significant)
    low, middle, high = np.quantile(needed, (0.1, 0.5, 0.9))
    print(f'5 points apart, at the recommended seeds: claimed in {100 * np.mean(shown):.1f} % (80 asked)')
    print(f'recommended: median {middle:.0f}, from {low:.0f} to {high:.0f} in eight of ten pilots')
    for count in (3, 5):
        tables = [draw(count, systems) for _ in range(args.pairs // 20)]
        alike = [claims_of(table).any() for table in tables]
        better = np.eye(systems)[:, :1] * 2 * POINTS
        against = [claims_of(table + better)[: systems - 1].mean() for table in tables]
        print(
            f'{systems} equal systems, {count} seeds: anything is claimed in {100 * np.mean(alike):.1f} % (7 allowed); '
            f'one that is 10 points better, against each other in {100 * np.mean(against):.0f} %'
        )
    people, trials = np.repeat(np.arange(3803) % 96, 10), np.tile(np.arange(10), 3803)
    values = rng.random((2, len(people)))
    start = time.perf_counter()
    bootstrap(values[0], values[1], people, trials)
    took = time.perf_counter() - start
    print(f'bootstrap of 3,803 queries, 96 people, 10 trials, 2,000 draws: {took:.2f} s (5 allowed)')


if __name__ == '__main__':
    main()
