"""Search: time, memory and recall of each type of index, beside a float32 product with NumPy and argpartition.

The gallery is random: `--people` directions with noise, so that neighbors exist, as float16 of norm 1. Queries are
other images of the same people. Times of NumPy and of Exact alternate, so that other load on the machine is the same
for both. `--large` searches a file that does not fit into 4 GB of memory, in a process that may not use more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

PART = 2**24  # numbers that are made at a time


def make(file: Path, count: int, length: int, people: int, queries: int, noise: float) -> np.ndarray:
    """Writes the gallery, if it is not there, and returns the queries."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((people, length), dtype=np.float32)

    def some(rng: np.random.Generator, n: int) -> np.ndarray:
        own = centers[rng.integers(people, size=n)] + noise * rng.standard_normal((n, length), dtype=np.float32)
        return own / np.linalg.norm(own, axis=1, keepdims=True)

    found = some(rng, queries)
    if not file.exists() or file.stat().st_size != 2 * count * length:
        step = PART // length
        with file.open('wb') as out:
            for start in range(0, count, step):
                out.write(some(rng, min(step, count - start)).astype(np.float16).tobytes())
    return found


def memory() -> dict[str, float]:
    """Returns the resident memory of this process in GB: of all, and without mapped files."""
    lines = dict(line.split(':') for line in Path('/proc/self/status').read_text().splitlines() if ':' in line)
    return {name: float(lines[key].split()[0]) / 1e6 for name, key in (('all', 'VmRSS'), ('own', 'RssAnon'))}


class Peak:
    """The largest memory of this process while a block runs, sampled every 10 ms."""

    def __enter__(self) -> Peak:
        self.most, self._end = memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.01):
            now = memory()
            self.most = {key: max(value, now[key]) for key, value in self.most.items()}


def recall(numbers: np.ndarray, right: np.ndarray) -> float:
    return float(
        np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(numbers.tolist(), right.tolist(), strict=True)])
    )


def searched(kind: dict[str, Any], folder: Path, vectors: np.ndarray, build: bool = True) -> tuple[Any, float]:
    """Returns a component that is ready to search, and the seconds that it took to build its index."""
    from vireid.plugin_manager.manager import create_manager

    own = folder / kind['type']
    own.mkdir(exist_ok=True)
    index = create_manager().components.build('indexes', kind, where='index', folder=own, length=vectors.shape[1])
    start = time.perf_counter()
    index.update(vectors, np.arange(len(vectors)), [], np.empty(0, dtype=np.int64))
    return index, time.perf_counter() - start


def one(args: argparse.Namespace) -> None:
    """Searches with one type of index and prints seconds, memory and numbers as JSON; run in a process of its own."""
    kind = json.loads(args.one)
    queries = make(args.file, args.images, args.length, args.people, args.queries, args.noise)
    vectors = np.memmap(args.file, dtype=np.float16, mode='r', shape=(args.images, args.length))
    if args.limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(args.limit * 1e9),) * 2)
    index, building = searched(kind, args.file.parent, vectors)
    before = memory()
    with Peak() as peak:
        seconds = []
        for _ in range(args.repeat):
            start = time.perf_counter()
            _, numbers = index.search(vectors, queries, args.top, None, None)
            seconds.append(time.perf_counter() - start)
    print(json.dumps({
        'building': building, 'seconds': min(seconds), 'before': before, 'peak': peak.most, 'numbers': numbers.tolist(),
        'filtered': [filtered(index, vectors, queries, args.top, share) for share in args.shares],
    }))  # fmt: skip


def filtered(index: Any, vectors: np.ndarray, queries: np.ndarray, top: int, share: float) -> str:
    """Searches a random share of the gallery, as a filter does, and says how the index compares with `Exact`."""
    rows = np.sort(np.random.default_rng(1).choice(len(vectors), int(share * len(vectors)), replace=False))
    exact, _ = searched({'type': 'Exact'}, Path(tempfile.mkdtemp()), vectors)
    found, seconds = [], []
    for each in (exact, index):
        for count in (len(queries), 1):
            start = time.perf_counter()
            found.append(each.search(vectors, queries[:count], top, rows, None)[1])
            seconds.append(time.perf_counter() - start)
    return (
        f'  {share:4.0%} of the images: {seconds[2]:.3f} s (Exact {seconds[0]:.3f}), one query {seconds[3]:.4f} s '
        f'(Exact {seconds[1]:.4f}), recall {recall(found[2], found[0]):.4f}'
    )


def beside_numpy(args: argparse.Namespace) -> np.ndarray:
    """Times Exact and NumPy in turn, and returns the right numbers."""
    queries = make(args.file, args.images, args.length, args.people, args.queries, args.noise)
    vectors = np.memmap(args.file, dtype=np.float16, mode='r', shape=(args.images, args.length))
    whole = np.empty(vectors.shape, dtype=np.float32)
    for row in range(0, args.images, 2**14):
        whole[row : row + 2**14] = vectors[row : row + 2**14]
    index, _ = searched({'type': 'Exact'}, args.file.parent, vectors)
    ratios = list[float]()
    right = np.empty((0, 0), dtype=np.int64)
    for _ in range(args.repeat):
        start = time.perf_counter()
        similar = queries @ whole.T
        right = np.argpartition(similar, -args.top, axis=1)[:, -args.top :]
        middle = time.perf_counter()
        _, numbers = index.search(vectors, queries, args.top, None, None)
        end = time.perf_counter()
        ratios.append((end - middle) / (middle - start))
        print(
            f'numpy {middle - start:6.2f} s   Exact {end - middle:6.2f} s   ratio {ratios[-1]:.2f}   '
            f'recall {recall(numbers, right):.4f}', flush=True,
        )  # fmt: skip
    print(f'median ratio {np.median(ratios):.2f} (at most 1)')
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=1_000_000)
    parser.add_argument('--length', type=int, default=1024)
    parser.add_argument('--people', type=int, default=20_000)
    parser.add_argument('--queries', type=int, default=100)
    parser.add_argument(
        '--noise', type=float, default=1.5, help='images of a person have the cosine similarity 1 / (1 + noise^2)'
    )
    parser.add_argument('--top', type=int, default=20)
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--folder', type=Path, help='where the gallery and the indexes are written and kept')
    parser.add_argument('--types', nargs='*', default=['FaissIVF', 'FaissHNSW'], help='types besides Exact')
    parser.add_argument('--shares', type=float, nargs='*', default=[], help='search only shares of the gallery too')
    parser.add_argument('--large', action='store_true', help='10 million x 512 with Exact, within 4 GB')
    parser.add_argument('--limit', type=float, default=0, help='GB of memory of the process, without mapped files')
    parser.add_argument('--one', help=argparse.SUPPRESS)
    parser.add_argument('--file', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args)
        return
    names = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')
    if any(os.environ.get(name) != str(args.threads) for name in names):  # read when NumPy is imported
        os.environ |= dict.fromkeys(names, str(args.threads))
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if args.large:
        args.images, args.length, args.limit, args.types, args.repeat = 10_000_000, 512, args.limit or 4, [], 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        args.file = folder / f'{args.images}x{args.length}_{args.noise}.f16'
        print(f'{args.images:,} x {args.length}, {args.queries} queries, top {args.top}, {args.threads} threads')
        if args.large:
            make(args.file, args.images, args.length, args.people, args.queries, args.noise)
        right = None if args.large else beside_numpy(args)
        kinds: list[dict[str, Any]] = [{'type': 'Exact'}]
        for name in args.types:
            values = {'FaissIVF': ('probes', (8, 32, 128)), 'FaissHNSW': ('search', (64, 128, 256))}.get(name)
            kinds += [{'type': name, values[0]: value} for value in values[1]] if values else [{'type': name}]
        print(f'{"index":<28}{"build s":>9}{"search s":>10}{"recall":>8}{"GB":>8}{"own GB":>8}{"own before":>12}')
        for kind in kinds:
            options = [f'--{name}={getattr(args, name)}' for name in (
                'images', 'length', 'people', 'queries', 'noise', 'top', 'repeat', 'limit', 'file',
            )]  # fmt: skip
            command = [sys.executable, __file__, '--one', json.dumps(kind), *options]
            command += ['--shares', *map(str, args.shares)]
            got = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found = f'{recall(np.array(got["numbers"]), right):.4f}' if right is not None else '-'
            print(
                f'{" ".join(map(str, kind.values())):<28}{got["building"]:>9.1f}{got["seconds"]:>10.3f}{found:>8}'
                f'{got["peak"]["all"]:>8.2f}{got["peak"]["own"]:>8.2f}{got["before"]["own"]:>12.2f}', flush=True,
            )  # fmt: skip
            print(*got['filtered'], sep='\n', end='\n' if got['filtered'] else '', flush=True)


if __name__ == '__main__':
    main()
