"""Studies read the queries of runs in which ties decide metrics, and of those in which they do not, alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vireid.boundary import config_text
from vireid.core.scoring import results
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.scoring.retrieval import score
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import Mismatch
from vireid.reporting.record import read_run
from vireid.statistics.scores import METRICS, metric_values
from vireid.studies.curve import paired_gain
from vireid.studies.splits import _add_intervals, _over_models, _queries
from vireid.studies.systems import read_queries

GALLERY = tuple(Sample(f'g{n}', n, 1, VISIBLE) for n in range(3))
QUERY = tuple(Sample(f'q{n}', n, 3, INFRARED) for n in range(3))


def evaluation(tied: bool) -> Results:
    """Three people; everybody is found, or all look alike."""
    trial = Trial('all', 0, QUERY, GALLERY)
    features = np.ones((3, 3)) if tied else np.eye(3)
    return Results('p', (trial,), (score(features, features, trial),), Embeddings((), np.zeros((0, 2))))


def write_run(folder: Path, tied: bool) -> Path:
    found = evaluation(tied)
    folder.mkdir()
    (folder / 'config.yaml').write_text(config_text.dump({'name': folder.name, 'seed': 0}))
    results.write(folder, {**found.to_dict(), 'steps': 1, 'identities': 3}, found.queries())
    return folder


@pytest.mark.parametrize(('tied', 'hit'), [(False, 1.0), (True, 1 / 3)])
def test_queries_of_a_run(tmp_path: Path, tied: bool, hit: float) -> None:
    found = read_queries(read_run(write_run(tmp_path / 'run', tied)))
    assert ('R1' in found) == tied
    values = metric_values(found)
    assert list(values) == list(METRICS)
    assert values['R1'] == pytest.approx([hit] * 3)
    assert values['mAP'] == pytest.approx([11 / 18 if tied else 1] * 3)


def test_the_gain_of_a_curve_counts_ties_as_shares(tmp_path: Path) -> None:
    before, after = (write_run(tmp_path / str(tied), tied) / results.QUERIES for tied in (True, False))
    assert paired_gain([before], [after])[0] == pytest.approx(2 / 3)


def test_the_mean_over_models_of_which_one_has_ties(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / str(tied), tied) for tied in (False, True)]
    rows = _over_models([evaluation(tied).rows() for tied in (False, True)])
    assert (rows[0]['tied'], rows[0]['ties']) == (0.5, 'mean')
    assert rows[0]['R1']['mean'] == pytest.approx(2 / 3)
    queries = _queries([folder / results.QUERIES for folder in folders])
    _add_intervals(rows, queries)
    assert rows[0]['R1']['low'] < 2 / 3 < rows[0]['R1']['high']
    assert 'tied' not in _over_models([evaluation(False).rows()] * 2)[0]
    (tmp_path / 'mean').mkdir()
    results.write(tmp_path / 'mean', {'models': [1, 2], 'rows': rows}, queries)
    assert read_run(tmp_path / 'mean').checked
    rows[0]['R1']['std'] = 0.0
    results.write(tmp_path / 'mean', {'models': [1, 2], 'rows': rows})
    with pytest.raises(Mismatch, match=r'R1 \(std\) .* 0\.00% .* 33\.33% '):
        read_run(tmp_path / 'mean')
