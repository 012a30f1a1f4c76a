"""Measures how true calibrated probabilities and false-alarm rates are, on people that nothing was fitted to.

python benchmarks/calibration.py CHECKPOINT DATA [--validation 20] [--people 20 60 100] [--draws 12]

The people of the validation and the test split are divided at random: some calibrate, some are the gallery, and 50 are
absent from it. Prints, for each number of people in the gallery, over draws: the expected calibration error and the
bias of the 20 best hits of each image, and the false alarms at 5, 10 and 20 percent.
"""

from __future__ import annotations

import argparse

import numpy as np

import vireid
from vireid.core.types import MODALITIES
from vireid.plugin_manager.manager import create_manager
from vireid.statistics.calibration import expected_error, fit, top_hits

RATES = (0.05, 0.1, 0.2)
ABSENT = 50


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint')
    parser.add_argument('data')
    parser.add_argument('--dataset', default='SYSU-MM01')
    parser.add_argument('--validation', type=int, default=20)
    parser.add_argument('--people', type=int, nargs='+', default=[20, 60, 100])
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
    measured: dict[tuple[int, str], list[float]] = {}
    for draw in range(args.draws):
        people = np.random.default_rng(draw).permutation(np.unique(identity))
        own, rest = people[: args.validation], people[args.validation :]
        chosen = np.isin(visible, own), np.isin(infrared, own)
        calibration = fit(similarity[chosen[0]][:, chosen[1]], visible[chosen[0]], infrared[chosen[1]])
        if calibration is None:
            raise SystemExit('too few validation people')
        for count in args.people:
            gallery, absent = rest[:count], rest[count : count + ABSENT]
            for side, scores, queries, others in (
                (calibration.visible, similarity, visible, infrared),
                (calibration.infrared, similarity.T, infrared, visible),
            ):
                columns = np.isin(others, gallery)
                images = int(columns.sum())
                present = scores[np.isin(queries, gallery)][:, columns]
                top = top_hits(present)
                probability = side.probability(np.take_along_axis(present, top, axis=1), images).ravel()
                right = (others[columns][top] == queries[np.isin(queries, gallery)][:, None]).ravel()
                best = scores[np.isin(queries, absent)][:, columns].max(axis=1)
                values = {
                    'error': expected_error(probability, right),
                    'bias': float(probability.mean() - right.mean()),
                    'missed at 5%': float((present.max(axis=1) < side.threshold(0.05, images)).mean()),
                    **{f'alarms at {rate:.0%}': float((best > side.threshold(rate, images)).mean()) for rate in RATES},
                }
                for name, value in values.items():
                    measured.setdefault((count, name), []).append(100 * value)
    for (count, name), numbers in measured.items():
        print(f'{count:4} people  {name:14} {np.mean(numbers):6.1f} ± {np.std(numbers, ddof=1):.1f}')


if __name__ == '__main__':
    main()
