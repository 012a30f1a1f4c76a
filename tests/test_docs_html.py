"""What the docs site changes in its pages after they are made; mkdocs is not needed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest


@pytest.fixture
def site_html(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / 'tools'))
    return importlib.import_module('site_html')


def test_names_of_components_become_links(site_html):
    html = '<p>See <code>GLFM</code>, <code>x</code>.</p>'
    linked = '<p>See <a href="necks.html#glfm"><code>GLFM</code></a>, <code>x</code>.</p>'
    assert site_html.link_components(html, {'GLFM': 'necks.html#glfm'}) == linked


@pytest.mark.parametrize('tag', ['a href="x"', 'h2', 'pre'])
def test_but_not_within_links_headings_and_blocks(site_html, tag):
    html = f'<{tag}>a <code>GLFM</code></{tag.split()[0]}><p>b</p>'
    assert site_html.link_components(html, {'GLFM': 'y'}) == html


def test_an_empty_header_is_a_plain_cell(site_html):
    html = '<tr><th>key</th><th></th><th align="left"></th></tr>'
    assert site_html.mend_tables(html) == '<tr><th>key</th><td></td><td align="left"></td></tr>'


def test_regions_have_names(site_html):
    html = (
        '<div class="md-search" data-md-component="search" role="dialog">'
        '<nav class="md-nav" aria-labelledby="__nav_4_3_label" aria-expanded="false">\n <label class="md-nav__title" '
        'for="__nav_4_3">\n<span class="md-icon"></span>\n Components\n </label>'
    )
    named = site_html.name_regions(html)
    assert 'role="dialog" aria-label="Search">' in named
    assert '<nav class="md-nav" aria-label="Components" aria-expanded="false">' in named


def test_the_search_index_has_paragraphs_without_markup_of_code(site_html, tmp_path):
    path = tmp_path / 'search_index.json'
    text = 'key <code>a</code> b <p>c <code>d</code></p> e ±<ul><li>f</li></ul>'
    path.write_text(json.dumps({'docs': [{'location': 'x', 'text': text}]}), encoding='utf-8')
    site_html.shorten_index(path)
    (entry,) = json.loads(path.read_text(encoding='utf-8'))['docs']
    assert entry == {'location': 'x', 'text': '<p>key a b </p><p>c d</p><p>e ±</p><ul><li>f</li></ul>'}
