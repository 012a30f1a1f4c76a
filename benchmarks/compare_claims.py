"""How often `vireid compare` claims a difference: between equal systems, and between systems 5 points apart.

What seeds do is taken from recorded runs: of each system the deviations of its seeds' rank-1 from their mean, scaled by
sqrt(n / (n - 1)), all systems together. Pairs of systems draw their seeds from these. 5 points apart, a pilot of 3
seeds recommends a number of seeds, and that many are drawn anew. Also times the bootstrap at SYSU-MM01's size.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from vireid.statistics.comparison import bootstrap, over_seeds, seeds_for
from vireid.studies.systems import read_systems

POINTS = 0.05


def deviations(folders: list[str]) -> np.ndarray:
    """Returns how far recorded seeds are from the mean of their system, in rank-1."""
    found = []
    for system in read_systems(folders, queries=False):
        values = np.array(system.values('R1', sorted(system.runs)))
        if len(values) > 1:
            found.append((values - values.mean()) * (len(values) / (len(values) - 1)) ** 0.5)
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', help='folders of finished runs; seeds of one config are one system')
    parser.add_argument('--pairs', type=int, default=2000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    pool = deviations(args.runs)
    rng = np.random.default_rng(args.seed)
    print(f'{len(pool)} recorded seeds deviate by {100 * pool.std():.1f} points')
    for count in (2, 3, 5):
        claims = [over_seeds(*rng.choice(pool, (2, count))).is_real for _ in range(args.pairs)]
        print(f'equal systems, {count} seeds: a difference is claimed in {100 * np.mean(claims):.1f} % (7 allowed)')
    shown, needed = [], []
    for _ in range(args.pairs):
        first, second = rng.choice(pool, (2, 3))
        needed.append(seeds_for(first + POINTS, second, POINTS))
        first, second = rng.choice(pool, (2, needed[-1]))
        shown.append(over_seeds(first + POINTS, second).is_real)
    low, middle, high = np.quantile(needed, (0.1, 0.5, 0.9))
    print(f'5 points apart, at the recommended seeds: claimed in {100 * np.mean(shown):.1f} % (80 asked)')
    print(f'recommended: median {middle:.0f}, from {low:.0f} to {high:.0f} in eight of ten pilots')
    people, trials = np.repeat(np.arange(3803) % 96, 10), np.tile(np.arange(10), 3803)
    values = rng.random((2, len(people)))
    start = time.perf_counter()
    bootstrap(values[0], values[1], people, trials)
    took = time.perf_counter() - start
    print(f'bootstrap of 3,803 queries, 96 people, 10 trials, 2,000 draws: {took:.2f} s (5 allowed)')


if __name__ == '__main__':
    main()
