"""Folders of finished runs, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vireid.boundary import config_text
from vireid.core.scoring import results
from vireid.statistics.interval import add_intervals
from vireid.statistics.scores import METRICS, metric_values


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run: `make_run('a', seed, hits)`, where `hits` has for each identity the first ranks of its queries.

    AP is 1 / rank. Anything else of the result, or of the config's model, can be given.
    """

    def write(name: str, seed: int, hits: Sequence[Sequence[int]], model: Any = None, **more: Any) -> Path:
        folder = tmp_path / 'runs' / f'{name}_{seed}'
        folder.mkdir(parents=True)
        config = {
            'name': name,
            'seed': seed,
            'dataset': {'type': 'X', 'root': str(folder)},
            'model': model or {'is': name},
        }
        (folder / 'config.yaml').write_text(config_text.dump(config))
        ranks = np.concatenate([np.asarray(own) for own in hits])
        identity = np.repeat(np.arange(len(hits)), [len(own) for own in hits])
        queries = {
            'row': np.zeros(len(ranks), dtype=int),
            'trial': np.zeros(len(ranks), dtype=int),
            'identity': identity,
            'ahead': ranks - 1,
            'ap': 1 / ranks,
            'inp': 1 / ranks,
        }
        np.savez(folder / results.QUERIES, **queries)
        means = {
            key: float((ranks <= int(key[1:])).mean()) if key[0] == 'R' else float((1 / ranks).mean())
            for key in METRICS
        }
        row = {
            'name': 'all',
            'variant': '',
            'trials': 1,
            'queries': [len(ranks)] * 2,
            'valid': [len(ranks)] * 2,
            **{key: {'mean': value, 'std': 0.0} for key, value in means.items()},
        }
        add_intervals(row, metric_values(queries), identity, queries['trial'])
        content = {'data': 'people', 'protocol': 'p', 'weights': 'last', 'rows': [row], 'steps': 10, 'identities': 5}
        content['select'] = 'the last'
        results.write(folder, {**content, **more})
        return folder

    return write
