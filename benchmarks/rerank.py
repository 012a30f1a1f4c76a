"""k-reciprocal re-ranking: time, and the largest memory of a process of its own."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

CASES = ((3803, 301, 1.0), (3803, 3010, 1.0), (16_000, 16_000, 4.0))
DIM = 1024


def one(queries: int, gallery: int) -> None:
    """Re-ranks embeddings of a half-good model and prints seconds and memory in GB."""
    import numpy as np

    from vireid.core.scoring import retrieval
    from vireid.plugins.rerankers.k_reciprocal import KReciprocal

    rng = np.random.default_rng(0)
    identities = rng.standard_normal((max(96, (queries + gallery) // 40), DIM)).astype(np.float32)

    def make(count: int) -> np.ndarray:
        raw = identities[rng.integers(len(identities), size=count)]
        raw += 2 * rng.standard_normal(raw.shape, dtype=np.float32)
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    q, g = make(queries), make(gallery)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    start = time.perf_counter()
    similarity = KReciprocal().similarity(q, g)
    step = max(1, retrieval.PAIRS_PER_CHUNK // gallery)
    for row in range(0, queries, step):
        similarity(slice(row, min(queries, row + step)))
    print(time.perf_counter() - start, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--one', type=int, nargs=2, metavar=('Q', 'G'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(*args.one)
        return
    print(f'{"query + gallery":<18}{"seconds":>9}{"GB, all of the process":>24}{"before it began":>17}   goal')
    for queries, gallery, goal in CASES:
        command = [sys.executable, __file__, '--one', str(queries), str(gallery)]
        seconds, before, peak = map(float, subprocess.run(command, check=True, capture_output=True).stdout.split())
        sizes = f'{queries:,} + {gallery:,}'
        print(f'{sizes:<18}{seconds:>9.1f}{peak:>24.2f}{before:>17.2f}   <= {goal:g} GB', flush=True)


if __name__ == '__main__':
    main()
