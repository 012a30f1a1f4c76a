"""Measures how true calibrated probabilities and false-alarm rates are, on people that nothing was fitted to.

python benchmarks/calibration.py CHECKPOINT DATA [--validation 20 60] [--people 20 60] [--draws 12]

The people of the validation and the test split are divided at random: some calibrate, 50 are absent from every gallery,
and the others form as many galleries as they can. Prints, for each number of calibrating people and of people in a
gallery, over draws: the expected calibration error and the bias of the 20 best hits of each image, over all galleries
together and one by one, and the false alarms at 5, 10 and 20 percent. The error of a single gallery includes that of
its few people; `--validation 0` shows how much: it calibrates on the same people that it tests.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np

import vireid
from vireid.core.types import MODALITIES
from vireid.plugin_manager.manager import create_manager
from vireid.statistics.calibration import Side, expected_error, fit, top_hits

RATES = (0.05, 0.1, 0.2)
ABSENT = 50


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint')
    parser.add_argument('data')
    parser.add_argument('--dataset', default='SYSU-MM01')
    parser.add_argument('--validation', type=int, nargs='+', default=[20, 60])
    parser.add_argument('--people', type=int, nargs='+', default=[20, 60])
    parser.add_argument('--draws', type=int, default=12)
    args = parser.parse_args()
    config = {'type': args.dataset, 'root': args.data}
    dataset = create_manager().components.build('datasets', config, where='dataset')
    samples = [*dataset.split('val'), *dataset.split('test')]
    embedder = vireid.load(args.checkpoint)
    features = embedder.embed_files([s.path for s in samples], [s.modality for s in samples])
    identity, modality = (np.array([getattr(s, name) for s in samples]) for name in ('identity', 'modality'))
    similarity = features[modality == MODALITIES[0]] @ features[modality == MODALITIES[1]].T
    visible, infrared = (identity[modality == m] for m in MODALITIES)
    measured: dict[tuple[int, int, str], list[float]] = {}
    for fitted, draw in itertools.product(args.validation, range(args.draws)):
        people = np.random.default_rng(draw).permutation(np.unique(identity))
        own, absent, rest = people[:fitted], people[fitted : fitted + ABSENT], people[fitted + ABSENT :]
        chosen = [np.isin(each, own if fitted else rest) for each in (visible, infrared)]
        calibration = fit(similarity[chosen[0]][:, chosen[1]], visible[chosen[0]], infrared[chosen[1]])
        if calibration is None:
            raise SystemExit('too few validation people')
        for count in args.people:
            galleries = [rest[start : start + count] for start in range(0, len(rest) - count + 1, count)]
            for side, scores, queries, others in (
                (calibration.visible, similarity, visible, infrared),
                (calibration.infrared, similarity.T, infrared, visible),
            ):
                found = [_measure(side, scores, queries, others, gallery, absent) for gallery in galleries]
                probability, right = (np.concatenate([each[name] for each in found]) for name in ('says', 'right'))
                values = {
                    'error': expected_error(probability, right),
                    'bias': float(probability.mean() - right.mean()),
                    'error, one gallery': np.mean([expected_error(each['says'], each['right']) for each in found]),
                    **{
                        name: np.mean([each[name] for each in found])
                        for name in found[0]
                        if name not in ('says', 'right')
                    },
                }
                for name, value in values.items():
                    measured.setdefault((fitted, count, name), []).append(100 * float(value))
    for (fitted, count, name), numbers in measured.items():
        print(
            f'{fitted:4} calibrate  {count:4} people  {name:18} {np.mean(numbers):6.1f} ± {np.std(numbers, ddof=1):.1f}'
        )


def _measure(
    side: Side, scores: np.ndarray, queries: np.ndarray, others: np.ndarray, gallery: np.ndarray, absent: np.ndarray
) -> dict[str, Any]:
    """Returns the probabilities of the hits in a gallery, whether they are right, and shares of misses and alarms."""
    columns = np.isin(others, gallery)
    images = int(columns.sum())
    present = scores[np.isin(queries, gallery)][:, columns]
    top = top_hits(present)
    best = scores[np.isin(queries, absent)][:, columns].max(axis=1)
    return {
        'says': side.probability(np.take_along_axis(present, top, axis=1), images).ravel(),
        'right': (others[columns][top] == queries[np.isin(queries, gallery)][:, None]).ravel(),
        'missed at 5%': (present.max(axis=1) < side.threshold(0.05, images)).mean(),
        **{f'alarms at {rate:.0%}': (best > side.threshold(rate, images)).mean() for rate in RATES},
    }


if __name__ == '__main__':
    main()
