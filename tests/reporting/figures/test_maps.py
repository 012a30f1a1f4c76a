"""Grad-CAM and feature maps of pairs of images."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from vireid.errors import WrongValue
from vireid.reporting.figures import cam, draw, features


def test_heat_is_laid_over_the_image_half_and_half():
    image = np.full((4, 2, 3), 100, dtype=np.uint8)
    found = cam.overlay(image, np.ones((2, 1)))
    hot = np.array(matplotlib.colormaps['magma'](1.0)[:3])
    np.testing.assert_array_equal(found[0, 0], np.rint(0.5 * 255 * hot + 50))
    assert found.shape == image.shape


def test_heat_is_enlarged_without_steps():
    heat = np.array([[0.0], [1.0]])
    found = cam.overlay(np.zeros((40, 4, 3), dtype=np.uint8), heat)[:, 0].sum(axis=1).astype(int)
    assert np.all(np.diff(found) >= 0)
    assert len(np.unique(found)) > 10


def test_features_are_not_laid_over_and_keep_their_positions():
    found = features.colorize(np.full((4, 2, 3), 100, dtype=np.uint8), np.array([[0.0], [1.0]]))
    low, high = (np.rint(255 * np.array(matplotlib.colormaps['magma'](v)[:3])) for v in (0.0, 1.0))
    np.testing.assert_array_equal(found[0, 0], low)
    np.testing.assert_array_equal(found[3, 1], high)


@pytest.mark.parametrize('name', ['cam', 'features'])
def test_rows_are_pairs_and_columns_stages_of_both_images(name, run):
    figure = draw(name, [run], pairs=3)
    assert len(figure.axes[0].images) == 3 * 2 * (1 + 3)
    found = [text.get_text() for text in figure.findobj(Text)]
    assert found[:4] == ['images', 'stage2', 'stage3', 'stage4']
    assert sum('similarity 0.' in text for text in found) == 3


def test_right_and_wrong_pairs_are_shown_in_turn(new_run):
    mixed = new_run()
    for number, pair in enumerate(mixed.evidence.about['pairs']):
        pair['right'] = number < 3
    found = [text.get_text() for text in draw('cam', [mixed], pairs=2).findobj(Text)]
    assert [text.rpartition(': ')[2] for text in found if ' of ' in text and ': ' in text][:2] == [
        'same identity, similarity 0.80',
        'different identities, similarity 0.50',
    ]


def test_an_image_that_is_gone_still_has_its_maps(new_run):
    holed = new_run()
    holed.evidence.thumbs = [b'' for _ in holed.evidence.thumbs]
    figure = draw('cam', [holed], pairs=1)
    assert len(figure.axes[0].images) == 2 * 3
    assert sum(text.get_text() == 'missing' for text in figure.findobj(Text)) == 2


def test_of_no_pairs_there_is_nothing_to_draw(run):
    for name in ('cam', 'features'):
        with pytest.raises(WrongValue, match=r'pairs .*\b0\b'):
            draw(name, [run], pairs=0)


def test_gray_tiles_are_explained_if_there_are_any(new_run):
    run = new_run()
    maps = run.evidence.maps
    texts = [text.get_text() for text in draw('translations', [run]).findobj(Text)]
    assert not any(text.startswith('Gray:') for text in texts)
    key = next(key for key in maps if key.startswith('translations '))
    maps[key][2, 1] = 0.5
    texts = [text.get_text() for text in draw('translations', [run]).findobj(Text)]
    assert any(text.startswith('Gray:') for text in texts)
