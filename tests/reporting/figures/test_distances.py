"""Histograms of distances."""

from __future__ import annotations

import numpy as np
import pytest

from vireid.reporting.figures.distances import draw, overlap, places


def test_overlap_by_hand():
    same, different = np.array([1, 2, 1, 0]), np.array([0, 0, 5, 5])
    assert overlap(same, different) == 0.25  # 1/4 against 1/2 in the third
    assert overlap(same, 3 * same) == 1
    assert overlap(same, same[[3, 3, 3, 1]] * 4) == 0


def test_a_panel_across_and_within_each_modality_with_shares_of_pairs(run):
    axes = draw([run]).axes
    wheres = ['across', 'within visible', 'within infrared']
    assert [a.get_ylabel().partition('\n')[0] for a in axes] == ['across modalities', *wheres[1:]]
    for panel, where in zip(axes, wheres, strict=True):
        for patch, kind in zip(panel.patches[::2], ('same', 'different'), strict=True):
            counts = run.evidence.distances[f'{kind} {where}']
            values, edges, _ = patch.get_data()
            np.testing.assert_allclose(values, 100 * counts / counts.sum())
            assert (edges[0], edges[-1]) == (0, 2)
        filled = panel.patches[::2]
        assert filled[0].get_hatch() != filled[1].get_hatch()
        expected = overlap(*(run.evidence.distances[f'{kind} {where}'] for kind in ('same', 'different')))
        assert panel.texts[0].get_text() == f'overlap {expected:.3f}'


def test_runs_are_columns_and_what_one_lacks_stays_empty(run, new_run):
    other = new_run('own')
    other.evidence.distances = {k: v for k, v in other.evidence.distances.items() if 'infrared' not in k}
    figure = draw([run, other])
    assert [axes.get_title() for axes in figure.axes[:2]] == ['tffn', 'own']
    assert [bool(axes.patches) for axes in figure.axes] == [True, True, True, True, True, False]


def test_one_identity_has_no_pairs_of_two(new_run):
    alone = new_run('alone')
    alone.evidence.distances = {'same across': np.array([3, 0]), 'different across': np.array([0, 0])}
    assert places(alone.evidence.distances) == ['across']
    assert draw([alone]).axes[0].texts[0].get_text() == 'no pairs of different identities'


def test_limits_hold_all_that_is_there(run):
    low, high = draw([run]).axes[0].get_xlim()
    full = np.flatnonzero(sum(run.evidence.distances.values()))
    assert low == pytest.approx(max(0, full[0] * 0.02 - 0.05))
    assert high == pytest.approx(full[-1] * 0.02 + 0.02 + 0.05)
