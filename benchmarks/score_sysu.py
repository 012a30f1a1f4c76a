"""Time from embeddings to scores: vireid against the per-query loop most public evaluation code runs."""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.retrieval import labels, score
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.plugins.protocols.sysu import drop_same_place
from vireid.plugins.protocols.sysu_agw import SYSUAgw

DIM = 1024
GOALS = {'SYSU single-shot': (0.1, 1 / 20), 'SYSU multi-shot': (1.0, 1 / 20), 'RegDB': (0.25, 1 / 30)}


def sysu_trial(shots: int) -> Trial:
    """A trial of SYSU-MM01's size: 3,803 queries; 301 (person, camera) cells with `shots` gallery images each."""
    rng = np.random.default_rng(0)
    cells = [(identity, camera) for identity in range(96) for camera in (1, 2, 4, 5)]
    present = sorted(rng.choice(len(cells), 301, replace=False))
    gallery = [Sample(f'v{cell}-{s}', *cells[cell], VISIBLE) for cell in present for s in range(shots)]
    query = [Sample(f'i{n}', n % 96, 3 if n % 2 else 6, INFRARED) for n in range(3803)]
    return Trial('all', 0, tuple(query), tuple(gallery), 'identity', drop_same_place)


def regdb_trial() -> Trial:
    """A trial of RegDB's size: 206 identities, 10 images of each modality."""
    query, gallery = (
        tuple(Sample(f'{modality}{n}', n // 10, 1, modality) for n in range(2060)) for modality in (VISIBLE, INFRARED)
    )
    return Trial('visible to thermal', 0, query, gallery, 'image')


class SysuSize:
    """A dataset of SYSU-MM01's test size: 3,803 infrared images, 6,775 visible ones in 301 cells of 96 identities."""

    def split(self, name: str) -> tuple[Sample, ...]:
        rng = np.random.default_rng(0)
        cells = [(identity, camera) for identity in range(96) for camera in (1, 2, 4, 5)]
        present = [cells[n] for n in sorted(rng.choice(len(cells), 301, replace=False))]
        visible = [Sample(f'v{n:05d}', *present[n % 301], VISIBLE) for n in range(6775)]
        return (*visible, *(Sample(f'i{n:05d}', n % 96, 3 if n % 2 else 6, INFRARED) for n in range(3803)))


def whole_protocol() -> None:
    """Times all modes, shots and trials from one set of embeddings; the loop on one trial of each of the four rows."""
    dataset = SysuSize()
    start = time.perf_counter()
    trials = SYSUAgw(shots=('single', 'multi')).trials(dataset)
    drawn = time.perf_counter() - start
    samples = dataset.split('test')
    everything = Trial('all', 0, samples, samples)
    found = Embeddings(samples, embeddings(everything)[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    start = time.perf_counter()
    rows = score_trials(found, 'sysu/agw', trials).rows()
    ours = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f'  largest memory: {after:.2f} GB, {after - before:.2f} more than before scoring')
    loop = 0.0
    for row, trial in zip(rows, trials[::10], strict=True):
        loop += 10 * seconds(field_loop, found.of(trial.query), found.of(trial.gallery), trial)
        print(f'  {row["name"]:<20} rank-1 {100 * row["R1"]["mean"]:.2f}, gallery {len(trial.gallery):,}')
    print(
        f'{len(trials)} trials: drawn in {drawn:.2f} s, scored in {ours:.2f} s (goal: 15); the loop, from one trial of '
        f'each row: {loop:.0f} s, {loop / ours:.0f} times as long'
    )


def embeddings(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """Normalized float32 embeddings of a half-good model: a direction for each person, and noise."""
    rng = np.random.default_rng(1)
    identities = rng.standard_normal((256, DIM))
    found = []
    for samples in (trial.query, trial.gallery):
        raw = identities[labels(samples)[0]] + 3 * rng.standard_normal((len(samples), DIM))
        found.append((raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32))
    return found[0], found[1]


def field_loop(query: np.ndarray, gallery: np.ndarray, trial: Trial) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP as the field computes them: everything sorted at once, then query after query."""
    query_ids, query_cameras = labels(trial.query)
    gallery_ids, gallery_cameras = labels(trial.gallery)
    indices = np.argsort(-(query @ gallery.T), axis=1)
    ranked_ids = gallery_ids[indices]
    matches = (ranked_ids == query_ids[:, None]).astype(np.int32)
    all_cmc, all_ap, all_inp = [], [], []
    for q in range(len(query)):
        keep = np.ones(len(gallery), dtype=bool)
        if trial.drop is not None:
            keep = ~((query_cameras[q] == 3) & (gallery_cameras[indices[q]] == 2))
        found = matches[q][keep]
        if not found.any():
            continue
        if trial.cmc == 'identity':
            kept_ids = ranked_ids[q][keep]
            first = np.unique(kept_ids, return_index=True)[1]
            identities = np.array([kept_ids[i] for i in sorted(first)])
            cmc = (identities == query_ids[q]).astype(np.int32).cumsum()
        else:
            cmc = found.cumsum()
            cmc[cmc > 1] = 1
        all_cmc.append(cmc[:20])
        hits = found.cumsum()
        last = np.max(np.where(found == 1)[0])
        all_inp.append(hits[last] / (last + 1.0))
        precision = np.asarray([x / (i + 1.0) for i, x in enumerate(hits)]) * found
        all_ap.append(precision.sum() / found.sum())
    return float(np.mean([cmc[0] for cmc in all_cmc])), float(np.mean(all_ap)), float(np.mean(all_inp))


def seconds(function: Callable, *args: object) -> float:
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=20, help='how long each case is repeated (at least 3 times)')
    parser.add_argument('--whole', action='store_true', help='also 2 modes x 2 shots x 10 trials of SYSU-MM01')
    args = parser.parse_args()
    if args.whole:  # first, so that its memory is its own
        whole_protocol()
    cases = {'SYSU single-shot': sysu_trial(1), 'SYSU multi-shot': sysu_trial(10), 'RegDB': regdb_trial()}
    print(f'{"case":<17}{"query x gallery":>16}{"vireid s":>10}{"loop s":>8}{"ratio":>7}{"pairs":>6}   goals')
    for name, trial in cases.items():
        given = (*embeddings(trial), trial)
        ours, theirs = score(*given), field_loop(*given)
        # unstable sorting may swap equal similarities in the loop
        if max(abs(a - b) for a, b in zip((ours.rank(1), ours.mean_ap, ours.mean_inp), theirs, strict=True)) > 1e-4:
            raise SystemExit(f'{name}: {ours} and {theirs} differ')
        pairs: list[tuple[float, float]] = []
        start = time.perf_counter()
        while len(pairs) < 3 or time.perf_counter() - start < args.seconds:
            pairs.append((seconds(score, *given), seconds(field_loop, *given)))
        fast, slow = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        sizes = f'{len(trial.query)} x {len(trial.gallery)}'
        most, share = GOALS[name]
        print(f'{name:<17}{sizes:>16}{fast:>10.3f}{slow:>8.2f}{ratio:>7.3f}{len(pairs):>6}   {most:g} s, {share:.3f}')


if __name__ == '__main__':
    main()
