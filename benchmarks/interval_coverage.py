"""How often an interval over n test identities holds the truth, on recorded results of synthetic people.

Several embedders are scored by the `cross` protocol on a population of people. From it, test sets of n identities are
drawn, with replacement; the share of intervals that hold the population's mean should be near 95 %. The gallery is the
population's, or that of the 20 people around a query, and stays as it is; or it is that of the drawn people only, and
ranked anew for each draw, where the truth is the mean of all draws of that size.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from vireid.core.scoring.embedding import all_samples, embed_samples
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.retrieval import labels, rank_gallery
from vireid.core.types import VISIBLE, Sample
from vireid.plugins.datasets.manifest import Manifest
from vireid.plugins.protocols.cross import Cross
from vireid.statistics.interval import identity_interval
from vireid.synth.generate import synthesize

SIZES = (6, 9, 12, 20, 40, 80)
LEVELS = (0.2, 0.5, 0.8, 0.95)
METRICS = ('R1', 'AP')
STRANGERS = 60  # people that some embedders are fitted to and that are in no population
ROOM = 20  # people of a small gallery
RESAMPLES = 400


@dataclass(frozen=True)
class People:
    """A dataset of test images only."""

    samples: tuple[Sample, ...]

    def split(self, name: str) -> tuple[Sample, ...]:
        return self.samples


class Pixels:
    """The gray image, 8 times smaller."""

    def embed(self, images: Tensor, modality: str) -> Tensor:
        small = avg_pool2d(images.mean(dim=1), 8)
        return (small - small.mean(dim=(1, 2), keepdim=True)).flatten(1)


class Gradients:
    """Histograms of 8 gradient directions in 16 x 6 cells."""

    def embed(self, images: Tensor, modality: str) -> Tensor:
        gray = images.mean(dim=1)
        dx, dy = gray[:, 1:-1, 2:] - gray[:, 1:-1, :-2], gray[:, 2:, 1:-1] - gray[:, :-2, 1:-1]
        place = torch.atan2(dy, dx) % torch.pi / torch.pi * 8
        apart = ((place[:, None] - torch.arange(8)[:, None, None] + 4) % 8 - 4).abs()
        votes = adaptive_avg_pool2d((1 - apart).clamp(min=0) * torch.hypot(dx, dy)[:, None], (16, 6)).sqrt()
        return (votes - votes.mean(dim=1, keepdim=True)).flatten(1)


def resized(image: Tensor) -> Tensor:
    return interpolate(image[None].float() / 255, (128, 48), mode='bilinear', antialias=True)[0]


def fitted(embeddings: Embeddings, people: Sequence[int], dim: int, ridge: float) -> Embeddings:
    """Projects on the linear discriminants of some people, after each modality's mean is taken off."""
    features, known = embeddings.features.astype(np.float64), labels(embeddings.samples)[0]
    visible, chosen = np.array([s.modality == VISIBLE for s in embeddings.samples]), np.isin(known, people)
    for side in (visible, ~visible):
        features[side] -= features[side & chosen].mean(axis=0)
    center = {
        i: np.mean([features[(known == i) & s].mean(axis=0) for s in (visible, ~visible)], axis=0) for i in people
    }
    between = np.stack([center[i] for i in known[chosen]])
    rest = features[chosen] - between
    within = rest.T @ rest
    within += ridge * np.trace(within) / len(within) * np.eye(len(within))
    features = features @ eigh(between.T @ between, within)[1][:, -dim:]
    return replace(embeddings, features=features / np.linalg.norm(features, axis=1, keepdims=True))


@dataclass(frozen=True)
class Ranked:
    """Every query of a population against its whole gallery.

    Attributes:
        name: embedder and direction.
        person: (Q,) index 0..P-1 of each query's identity, ascending.
        gallery: (Q, G) the same of its ranked gallery.
    """

    name: str
    person: np.ndarray
    gallery: np.ndarray

    def score(self, kept: np.ndarray, rows: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
        """Returns rank-1 hit and AP of some queries in what is `kept` of their (q, G) ranked galleries."""
        row, column = np.nonzero(kept & (self.gallery[rows] == self.person[rows, None]))
        place = kept.cumsum(axis=1, dtype=np.int32)[row, column]
        count = np.bincount(row)
        start = count.cumsum() - count
        nth = np.arange(len(row)) - start[row] + 1
        return {'R1': (place[start] == 1).astype(float), 'AP': np.add.reduceat(nth / place, start) / count}


def record(folder: str, ids: int, seed: int) -> list[Ranked]:
    """Draws people unless they are there, embeds them in several ways and ranks them by the protocol."""
    synthesize(Path(folder), layout='manifest', ids=ids, seed=seed, images=2)
    manifest = Manifest(folder)
    samples = [s for name in ('train', 'val', 'test') for s in manifest.split(name)]
    people = sorted({s.identity for s in samples})
    tested = set(people[STRANGERS:])
    trials = Cross().trials(People(tuple(s for s in samples if s.identity in tested)))
    pixels, gradients = (
        embed_samples(embedder, all_samples(trials, samples), resized) for embedder in (Pixels(), Gradients())
    )
    # the last has seen the tested people: nothing as simple is as good on strangers
    embedders = {
        'pixels': pixels,
        'gradients': gradients,
        'fitted to strangers': fitted(gradients, people[:STRANGERS], STRANGERS - 1, 1.0),
        'fitted to all': fitted(gradients, people, 120, 0.3),
    }
    found = []
    for name, embeddings in embedders.items():
        for trial in trials:
            query_ids, gallery_ids = labels(trial.query)[0], labels(trial.gallery)[0]
            similarity = embeddings.of(trial.query) @ embeddings.of(trial.gallery).T
            by_person = np.argsort(query_ids, kind='stable')
            known, person = np.unique(query_ids[by_person], return_inverse=True)
            order = rank_gallery(similarity, trial)[0][by_person]
            found.append(
                Ranked(f'{name}, from {trial.name.split()[0]}', person, np.searchsorted(known, gallery_ids)[order])
            )
    return found


Draw = tuple[np.ndarray, np.ndarray]  # (q,) values of the drawn queries, (q,) which drawn identity each is of


class Drawn:
    """Draws of identities of a population, as the queries of each; one drawn twice is two identities."""

    def __init__(self, person: np.ndarray, size: int, draws: int) -> None:
        rng = np.random.default_rng(size)
        count = np.bincount(person)
        start = count.cumsum() - count
        self.people = rng.integers(len(count), size=(draws, size))
        self.rows = [np.concatenate([np.arange(start[i], start[i] + count[i]) for i in p]) for p in self.people]
        self.cluster = [np.repeat(np.arange(size), count[p]) for p in self.people]

    def fixed(self, values: np.ndarray) -> list[Draw]:
        """Returns the draws of results that do not depend on who else is drawn."""
        return [(values[rows], cluster) for rows, cluster in zip(self.rows, self.cluster, strict=True)]

    def ranked(self, ranked: Ranked) -> dict[str, list[Draw]]:
        """Returns the draws of results in a gallery of the drawn people."""
        found: dict[str, list[Draw]] = {metric: [] for metric in METRICS}
        for people, rows, cluster in zip(self.people, self.rows, self.cluster, strict=True):
            there = np.zeros(ranked.person.max() + 1, dtype=bool)
            there[people] = True
            for metric, values in ranked.score(there[ranked.gallery[rows]], rows).items():
                found[metric].append((values, cluster))
        return found


def over_identities(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """The percentile bootstrap over identities."""
    n = cluster[-1] + 1
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    means = (weights @ np.bincount(cluster, values)) / (weights @ np.bincount(cluster))
    low, high = np.quantile(means, (0.025, 0.975))
    return low, high


def over_queries(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """The percentile bootstrap over queries."""
    picked = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[picked].mean(axis=1), (0.025, 0.975))
    return low, high


Method = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def coverage(method: Method, draws: Sequence[Draw], truth: float) -> tuple[float, float]:
    """Returns the share of intervals that hold the truth, in percent, and their mean width."""
    low, high = np.array([method(*draw) for draw in draws]).T
    return 100 * float(((low <= truth + 1e-12) & (high >= truth - 1e-12)).mean()), float((high - low).mean())


@dataclass(frozen=True)
class Case:
    """Draws of one size, of one metric, from one population."""

    name: str
    size: int
    metric: str
    truth: float
    draws: Sequence[Draw]


def fixed_galleries(population: Sequence[Ranked], draws: int) -> Iterator[Case]:
    for ranked in population:
        room = np.random.default_rng(0).permutation(ranked.person.max() + 1) // ROOM
        scores = {
            'all': ranked.score(np.ones(ranked.gallery.shape, dtype=bool)),
            str(ROOM): ranked.score(room[ranked.gallery] == room[ranked.person, None]),
        }
        for size in SIZES:
            drawn = Drawn(ranked.person, size, draws)
            for gallery, metrics in scores.items():
                for metric, values in metrics.items():
                    name = f'{ranked.name}, {gallery}'
                    yield Case(name, size, metric, float(values.mean()), drawn.fixed(values))


def drawn_galleries(population: Sequence[Ranked], draws: int) -> Iterator[Case]:
    for ranked in population:
        for size in SIZES:
            for metric, drawn in Drawn(ranked.person, size, draws).ranked(ranked).items():
                # of all draws together: what a test of this size measures
                truth = sum(v.sum() for v, _ in drawn) / sum(len(v) for v, _ in drawn)
                yield Case(ranked.name, size, metric, float(truth), drawn)


def report(title: str, cases: Iterable[Case], plain_draws: int) -> None:
    """Prints, for each size and metric, the population nearest to each level, and the range over all populations."""
    found = [
        (replace(case, draws=case.draws[:plain_draws]), *coverage(identity_interval, case.draws, case.truth))
        for case in cases
    ]
    print(f'\n{title}: coverage in percent and mean width')
    print(f'{"n":>3} {"metric":<7}{"mean":<6}{"population":<40}{"interval":>13}{"by identities":>17}{"by queries":>17}')
    for size in SIZES:
        for metric in METRICS:
            own = [row for row in found if (row[0].size, row[0].metric) == (size, metric)]
            nearest = {min(range(len(own)), key=lambda i: abs(own[i][0].truth - level)) for level in LEVELS}
            for case, share, width in sorted((own[i] for i in nearest), key=lambda row: row[0].truth):
                plain = [coverage(method, case.draws, case.truth) for method in (over_identities, over_queries)]
                cells = ''.join(f'{s:10.1f}{w:7.3f}' for s, w in plain)
                print(
                    f'{size:>3} {metric:<7}{case.truth:<6.2f}{case.name:<40}{share:6.1f}{width:7.3f}{cells}', flush=True
                )
            ends = [f'{share:.1f} (mean {case.truth:.2f})' for case, share, _ in sorted(own, key=lambda row: row[1])]
            inside = sum(92 <= share <= 97 for _, share, _ in own)
            print(f'{size:>3} {metric:<7}{len(own)} populations: {ends[0]} to {ends[-1]}, {inside} of them in 92 to 97')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', help='where the people are, or are to be drawn; else they are drawn and thrown away')
    parser.add_argument('--ids', type=int, default=360)
    parser.add_argument('--seed', type=int, default=0, help='who they are')
    parser.add_argument('--draws', type=int, default=2000, help='a quarter of them where each is ranked, or resampled')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        population = record(args.data or f'{folder}/people', args.ids, args.seed)
    quarter = args.draws // 4
    report(f'gallery of all people, or of {ROOM}, as it is', fixed_galleries(population, args.draws), quarter)
    report('gallery of the drawn people', drawn_galleries(population, quarter), quarter)


if __name__ == '__main__':
    main()
