"""Embeddings in the plane."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text

from vireid.errors import WrongValue
from vireid.reporting.figures.embedding import draw
from vireid.reporting.figures.style import PALETTE


def test_points_are_where_t_sne_puts_them_by_modality(run):
    axes = draw([run]).axes[0]
    modality = np.array([image[3] for image in run.evidence.about['images']])
    for drawn, name in zip(axes.collections, ('visible', 'infrared'), strict=True):
        np.testing.assert_allclose(drawn.get_offsets(), run.evidence.points['tsne'][modality == name])
    shapes = [len(drawn.get_paths()[0].vertices) for drawn in axes.collections]
    assert shapes[0] != shapes[1]


def test_a_person_has_one_color_and_the_palette_is_gone_through_again(run):
    figure = draw([run])
    colors = figure.axes[0].collections[0].get_facecolors()[:, :3]  # two visible images a person
    np.testing.assert_array_equal(colors[0::2], colors[1::2])
    assert len(np.unique(colors, axis=0)) == len(PALETTE) == 8
    np.testing.assert_array_equal(colors[0], colors[16])
    assert any('12 identities share 8 colors' in text.get_text() for text in figure.findobj(Text))


def test_principal_components_say_how_much_they_explain(run):
    figure = draw([run], method='pca')
    assert figure.axes[0].get_xlabel() == 'Component 1\n21.4% of variance'
    offsets = np.concatenate([drawn.get_offsets() for drawn in figure.axes[0].collections])
    np.testing.assert_allclose(np.sort(offsets, axis=0), np.sort(run.evidence.points['pca'], axis=0))


def test_without_t_sne_it_draws_principal_components_and_says_so(run, new_run):
    other = new_run('bare')
    other.evidence.points['tsne'] = np.zeros((0, 2))
    figure = draw([run, other])
    assert [axes.get_title() for axes in figure.axes] == ['tffn', 'bare']
    assert figure.axes[1].get_xlabel().startswith('Component 1')
    assert any('bare: principal components, because scikit-learn' in text.get_text() for text in figure.findobj(Text))


def test_one_person_of_one_image(new_run):
    alone = new_run('alone')
    alone.evidence.points = {
        'image': np.array([0]), 'pca': np.zeros((1, 2)), 'explained': np.zeros(2), 'tsne': np.zeros((0, 2))
    }  # fmt: skip
    assert len(draw([alone]).axes[0].collections) == 1


def test_another_method(run):
    with pytest.raises(WrongValue, match=r"(?s)method .*'umap'.*'tsne'.*'pca'"):
        draw([run], method='umap')
