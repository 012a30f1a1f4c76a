"""Training curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.text import Text

from vireid.errors import NotReady, UnsafeFile
from vireid.reporting.figures.weights import draw, evaluations, smooth, thin


def panels(figure):
    """The axes of a figure by what they show."""
    return {axes.get_ylabel(): axes for axes in figure.axes}


def line(axes, label):
    """The y values of a line of the legend."""
    return next(found for found in axes.lines if found.get_label() == label).get_ydata()


def test_the_running_mean_is_centered_and_leaves_holes():
    values = np.arange(200.0)
    values[50] = np.nan
    found = smooth(values)  # over 4, so 5 values
    literal = [np.nanmean(values[max(0, i - 2) : i + 3]) if np.isfinite(values[i]) else math.nan for i in range(200)]
    np.testing.assert_allclose(found, literal)
    np.testing.assert_array_equal(smooth(np.arange(99.0)), np.arange(99.0))  # too few to be smoothed


def test_long_lines_are_thinned_from_end_to_end():
    x, y = thin((np.arange(12_345.0), np.arange(12_345.0)))
    assert len(x) == len(y) == 500
    assert (x[0], x[-1]) == (0, 12_344)


def test_one_run_has_a_panel_for_each_quantity_and_a_line_for_each_task(run):
    found = panels(draw([run]))
    assert list(found) == ['Loss', 'Weight', 'lambda', 'sigma', 'Learning rate', 'Evaluation (%)']
    for title in ('Loss', 'Weight', 'sigma'):
        assert [text.get_text() for text in found[title].get_legend().texts] == ['s2', 's3', 's4', 'mlfm', 'glfm']
    assert all(axes.get_legend() is not None for axes in found.values())
    np.testing.assert_allclose(line(found['Weight'], 'glfm'), smooth(np.arange(1, 401) / 400))
    np.testing.assert_allclose(line(found['Learning rate'], 'learning rate'), [step['lr'] for step in run.steps])
    r1 = [row['rows'][0]['R1']['mean'] for row in run.metrics if 'rows' in row]
    np.testing.assert_allclose(line(found['Evaluation (%)'], 'rank-1'), 100 * np.array(r1))
    colors = {
        title: [entry.get_color() for entry in found[title].lines if entry.get_label() == 'glfm'] for title in found
    }
    assert colors['Loss'] == colors['Weight'] == colors['lambda']


def test_several_runs_have_a_line_each(run, new_run, new_metrics):
    other = new_run('agw')
    other.metrics = new_metrics(60, evaluations=3)
    figure = draw([run, other])
    found = panels(figure)
    assert list(found) == ['Loss', 'Learning rate', 'rank-1 (%)', 'mAP (%)']
    np.testing.assert_allclose(line(found['Loss'], 'agw'), [step['loss'] for step in other.steps])
    assert [text.get_text() for text in figure.legends[0].texts] == ['tffn', 'agw']


def alternating(run):
    """The metrics of two optimizers that take turns, at other rates."""
    run.metrics = [
        {
            'step': step,
            'loss': 2.0 + step % 2,
            'lr': rate,
            'turn': turn,
            'curves': {'lr': {turn: rate}, 'loss of': {turn: 4}},
        }
        for step in range(1, 7)
        for turn, rate in ([('network', 0.1)] if step % 2 else [('critics', 0.3)])
    ]
    return run


def test_optimizers_that_take_turns_have_lines_of_their_own(run, new_run):
    one = panels(draw([alternating(new_run())]))
    assert list(one) == ['Loss', 'Learning rate', 'Weighted loss']
    assert list(line(one['Learning rate'], 'critics')) == [0.3, 0.3, 0.3]
    several = panels(draw([run, alternating(new_run('gan'))]))
    of_each = [f'{what} of {turn}' for turn in ('network', 'critics') for what in ('Loss', 'Rate')]
    assert [title for title in several if ' of ' in title] == of_each
    assert list(line(several['Loss of network'], 'gan')) == [3, 3, 3]
    assert list(line(several['Rate of critics'], 'gan')) == [0.3, 0.3, 0.3]


def test_skipped_steps_are_holes(new_run, new_metrics):
    holed = new_run()
    holed.metrics = new_metrics(20, evaluations=0)
    holed.metrics[4]['tasks'] = {**holed.metrics[4]['tasks'], 's2': None}
    found = line(panels(draw([holed]))['Loss'], 's2')
    assert list(np.flatnonzero(np.isnan(found))) == [4]


def test_steps_without_tasks_show_their_loss(new_run):
    plain = new_run()
    plain.metrics = [{'step': step, 'loss': 2.0} for step in (1, 2, 3)]  # all equal
    found = panels(draw([plain]))
    assert list(found) == ['Loss']
    assert list(line(found['Loss'], 'loss')) == [2, 2, 2]


def test_a_single_step_is_a_point(new_run, new_metrics):
    single = new_run()
    single.metrics = new_metrics(1, evaluations=0)
    assert {entry.get_marker() for entry in panels(draw([single]))['Loss'].lines} == {'o'}


def test_one_evaluation_is_no_line_and_validation_and_test_are_two(new_run, new_metrics):
    once = new_run()
    once.metrics = new_metrics(20, evaluations=1)
    assert evaluations(once) == {}
    twice = new_run()
    twice.metrics = new_metrics(20, evaluations=2)
    last = {**twice.metrics[-1], 'rows': [{**twice.metrics[-1]['rows'][0], 'queries': [9, 9]}]}
    twice.metrics.append(last)  # the test, after the validation of the same step
    (found,) = evaluations(twice).values()
    assert list(found['mAP'][0]) == [10, 20]


def test_losses_that_were_never_a_number_are_no_metrics(new_run):
    broken = new_run('broken')
    broken.metrics = [{'step': 1, 'loss': None}]
    with pytest.raises(NotReady, match='broken: '):
        draw([broken])


def test_a_narrow_figure_has_one_column(run):
    figure = draw([run], width=3.3)
    assert len({round(axes.get_position().x0, 6) for axes in figure.axes}) == 1
    assert not [text for text in figure.findobj(Text) if 'Left out' in text.get_text()]


@pytest.mark.parametrize(
    ('part', 'fact'),
    [
        ({'curves': {f'c{i}': {'x': 1.0} for i in range(9)}}, '9 curves'),
        ({'tasks': {f't{i}': 1.0 for i in range(26)}}, '26 lines'),
    ],
)
def test_more_than_a_page_can_show_is_an_error(new_run, part, fact):
    run = new_run()
    run.metrics = [{'step': step, 'loss': 1.0, **part} for step in (1, 2)]
    with pytest.raises(UnsafeFile, match=rf'metrics\.jsonl .*\b{fact}\b'):
        draw([run])


def test_more_evaluations_than_a_page_can_show_are_an_error(new_run):
    run = new_run()
    row = {'name': 'all', 'R1': {'mean': 0.5}, 'mAP': {'mean': 0.5}}
    scored = [{'step': step, 'data': str(n), 'rows': [row]} for n in range(13) for step in (1, 2)]
    run.metrics = [{'step': 1, 'loss': 1.0}, *scored]
    with pytest.raises(UnsafeFile, match=r'metrics\.jsonl .*\b13 '):
        draw([run])
