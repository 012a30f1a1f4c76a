"""What ties cost: scoring embeddings that do not tie, that tie in groups, and that all tie."""

from __future__ import annotations

import statistics
import time

import numpy as np
from score_sysu import embeddings, regdb_trial, sysu_trial

from vireid.core.scoring.retrieval import score_similarity
from vireid.core.types import Trial
from vireid.statistics.scores import Scores
from vireid.statistics.ties import identities_law, images_law

REPEATS = 9


def seconds(similarity: np.ndarray, trial: Trial) -> tuple[float, Scores]:
    """Returns the median of some runs, each with no law kept of those before, and the last one's scores."""
    found = []
    for _ in range(REPEATS):
        identities_law.cache_clear()
        images_law.cache_clear()
        start = time.perf_counter()
        scores = score_similarity(lambda rows: similarity[rows], trial)
        found.append(time.perf_counter() - start)
    return statistics.median(found), scores


def main() -> None:
    print(f'{"case":<17}{"similarities":<14}{"seconds":>8}{"tied":>8}{"R1":>8}{"mAP":>8}{"mINP":>8}')
    trials = {'SYSU single-shot': sysu_trial(1), 'SYSU multi-shot': sysu_trial(10), 'RegDB': regdb_trial()}
    for name, trial in trials.items():
        query, gallery = embeddings(trial)
        cosine = query @ gallery.T
        cases = {'cosine': cosine, 'in 41 steps': np.round(cosine * 20) / 20, 'constant': np.zeros_like(cosine)}
        for kind, similarity in cases.items():
            spent, scores = seconds(similarity, trial)
            metrics = ''.join(f'{100 * m:>8.2f}' for m in (scores.rank(1), scores.mean_ap, scores.mean_inp))
            print(f'{name:<17}{kind:<14}{spent:>8.3f}{100 * scores.tied.mean():>7.1f}%{metrics}')


if __name__ == '__main__':
    main()
