"""Ranking lists."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Rectangle
from matplotlib.text import Text

from vireid.errors import NoMatch, WrongValue
from vireid.reporting.figures.rankings import chosen_lists, draw
from vireid.reporting.figures.style import GREEN, ORANGE


def texts(figure):
    """All text of a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def frames(figure):
    """The frames of a figure, in the order of drawing."""
    return [patch for patch in figure.axes[0].patches if type(patch) is Rectangle and not patch.get_fill()]


def test_the_worst_come_first_and_so_do_the_best(run):
    ap = run.evidence.lists['ap']
    worst, best = (chosen_lists(run.evidence, kind, None) for kind in ('worst', 'best'))
    assert list(ap[worst]) == sorted(ap[worst])
    assert list(ap[best]) == sorted(ap[best], reverse=True)
    assert all('best' in run.evidence.about['kinds'][row] for row in best)


def test_right_and_wrong_differ_in_color_line_and_sign(run):
    figure = draw([run], queries=2, top=4)
    rows = chosen_lists(run.evidence, 'worst', None)[:2]
    right = run.evidence.lists['right'][rows][:, :4]
    found = frames(figure)
    assert len(found) == 2 * 5
    for number, frame in enumerate(found):
        row, column = divmod(number, 5)
        if column:
            good = right[row, column - 1]
            assert to_hex(frame.get_edgecolor()).upper() == (GREEN if good else ORANGE)
            assert frame.get_linestyle() == ('-' if good else '--')
    # a tick is one stroke, a cross two
    assert len(figure.axes[0].lines) == right.sum() + 2 * (~right).sum()
    assert sum(isinstance(patch, Circle) for patch in figure.axes[0].patches) == right.size


def test_each_image_has_its_similarity_and_the_query_its_precision(run):
    row = chosen_lists(run.evidence, 'worst', None)[0]
    found = texts(draw([run], queries=1, top=3))
    assert [f'{value:.2f}' for value in run.evidence.lists['similarity'][row][:3]] == found[
        -5:-2
    ]  # the legend has two lines
    assert found[:4] == ['query', '1', '2', '3']
    assert {'ID 0', 'AP 0.05'} <= set(found)


def test_a_person_can_be_asked_for(run):
    assert 'ID 7' in texts(draw([run], identity=7))
    with pytest.raises(NoMatch, match=r'tffn: .*identity 99\n.* 0, 1, 2'):
        draw([run], identity=99)


def test_a_run_without_that_person_is_left_out(run, new_run):
    found = texts(draw([run, new_run('few', people=6)], identity=7))
    assert any('no ranking list of identity 7): few' in text for text in found)


def test_an_image_that_is_gone_is_a_tile_that_says_so(new_run):
    holed = new_run()
    row = chosen_lists(holed.evidence, 'worst', None)[0]
    for place, broken in enumerate((b'', b'no JPEG')):
        holed.evidence.thumbs[int(holed.evidence.lists['gallery'][row][place])] = broken
    figure = draw([holed], queries=1, top=4)
    assert texts(figure).count('missing') == 2
    assert len(figure.axes[0].images) == 3


def test_a_short_gallery_and_a_single_query(new_run):
    few = new_run('few', people=1)
    figure = draw([few])
    assert int((few.evidence.lists['gallery'][0] >= 0).sum()) == 2
    assert len(figure.axes[0].images) == 3


def test_images_keep_their_shape_and_stay_within_the_figure(run):
    figure = draw([run], width=3.3)
    width, height = figure.get_size_inches()
    for image in figure.axes[0].images:
        left, right, bottom, top = image.get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(2)
        assert 0 < left < right < width
        assert 0 < top < bottom < height


def test_runs_lie_one_below_the_other_by_name(run, new_run):
    figure = draw([run, new_run('agw')], queries=1)
    places = {text.get_text(): text.get_position()[1] for text in figure.findobj(Text)}
    assert places['tffn'] < places['agw']


@pytest.mark.parametrize('options', [{'kind': 'ugly'}, {'queries': 0}, {'top': 0}])
def test_what_is_no_choice(run, options):
    ((name, value),) = options.items()
    with pytest.raises(WrongValue, match=rf'\b{name} .*{value!r}'):
        draw([run], **options)


def test_a_kind_that_no_list_is_of(new_run):
    none = new_run('none')
    none.evidence.about['kinds'] = [['best'] for _ in none.evidence.about['kinds']]
    with pytest.raises(NoMatch, match=r"none: .*kind 'random'"):
        draw([none], kind='random')
    assert np.all(none.evidence.lists['ap'] >= 0)


def test_people_are_called_as_the_user_calls_them(new_run):
    called = new_run('called')
    numbers = sorted({called.evidence.about['images'][int(q)][1] for q in called.evidence.lists['query']})
    called.evidence.about['names'] = {str(numbers[0]): 'José', str(numbers[1]): '0007'}
    texts = [t.get_text() for t in draw([called], identity='josé').findobj(Text)]
    assert 'ID José' in texts
    assert not any(text.startswith('ID ') and text != 'ID José' for text in texts)
    for other in ('0007', '7', numbers[1]):  # as it is spelled, without its zeros, and by its number
        assert 'ID 0007' in [t.get_text() for t in draw([called], identity=other).findobj(Text)]
    with pytest.raises(NoMatch, match=r'\bcarl\n.*José, 0007'):
        draw([called], identity='carl')
