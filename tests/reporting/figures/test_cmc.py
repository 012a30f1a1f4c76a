"""CMC curves have the numbers of the table."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text

from vireid.errors import WrongValue
from vireid.reporting.figures.cmc import draw


def test_rank_k_is_r_k_of_the_table_in_percent(run):
    (line,) = draw([run]).axes[0].lines
    assert list(line.get_xdata()) == list(range(1, 21))
    np.testing.assert_allclose(line.get_ydata(), 100 * run.evidence.cmc['all single-shot'][:20])
    assert line.get_ydata()[0] == pytest.approx(100 * run.evidence.about['rows'][0]['R1']['mean'])
    assert line.get_label() == 'tffn (mAP 76.0%)'  # 0.8 * 0.95


def test_each_row_of_each_run_if_asked(run, new_run):
    lines = draw([run, new_run('agw', quality=0.5)], rows='all').axes[0].lines
    assert [line.get_label() for line in lines] == [
        'tffn, all single-shot (mAP 76.0%)', 'tffn, indoor single-shot (mAP 79.8%)',
        'agw, all single-shot (mAP 47.5%)', 'agw, indoor single-shot (mAP 57.0%)',
    ]  # fmt: skip
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == 4


def test_first_rows_of_different_names_are_named(run, new_run):
    other = new_run('agw')
    other.evidence.cmc = {'visible to infrared': other.evidence.cmc['all single-shot']}
    labels = [line.get_label() for line in draw([run, other]).axes[0].lines]
    assert labels == ['tffn, all single-shot (mAP 76.0%)', 'agw, visible to infrared']


def test_ranks_end_where_asked_or_where_the_curve_does(run, new_run):
    short = new_run('few')
    short.evidence.cmc = {'all single-shot': np.array([0.5, 1.0])}
    first, second = draw([run, short], ranks=5).axes[0].lines
    assert len(first.get_xdata()) == 5
    assert list(second.get_ydata()) == [50, 100]
    assert draw([run, short], ranks=100_000).axes[0].get_xlim() == (0.5, 50.5)  # the gallery has 50 ranks
    (alone,) = draw([run], ranks=1).axes[0].lines
    assert list(alone.get_xdata()) == [1]


def test_runs_of_two_protocols_are_said_not_to_be_comparable(run, new_run):
    other = new_run('agw')
    other.evidence.about['protocol'] = 'regdb'
    notes = ' '.join(text.get_text() for text in draw([run, other]).findobj(Text)).replace('\n', ' ')
    assert 'Not comparable, because the protocols differ (tffn: sysu/agw; agw: regdb).' in notes
    same = ' '.join(text.get_text() for text in draw([run, new_run('agw')]).findobj(Text))
    assert 'Not comparable' not in same


@pytest.mark.parametrize('options', [{'rows': 'none'}, {'ranks': 0}])
def test_what_is_no_choice(run, options):
    ((name, value),) = options.items()
    with pytest.raises(WrongValue, match=rf'\b{name} .*{value!r}'):
        draw([run], **options)
