"""Links between the Markdown files of the repository, and how the docs site shows them; mkdocs is not needed."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ('docs', 'examples', 'benchmarks', '.github', 'zoo')
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob('*.md'), *(page for folder in FOLDERS for page in (ROOT / folder).rglob('*.md'))]
)


@pytest.fixture
def site_links(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    return importlib.import_module('site_links')


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding='utf-8')


@pytest.mark.parametrize('page', PAGES)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page, site_links):
    for address, anchor in site_links.links(text_of(page)):
        path = site_links.target(page, address)
        assert (ROOT / path).exists(), f'{address}: there is no {path}'
        if anchor:
            assert anchor in site_links.anchors(text_of(path)), f'{address}#{anchor}: no such heading in {path}'


@pytest.mark.parametrize('page', [page for page in PAGES if page != 'CHANGELOG.md'])
def test_every_file_that_a_page_names_exists(page):
    """`tools/site_*.py` and `vireid/plugins/KIND/` are patterns."""
    text = re.sub(r'^```.*?^```$', '', text_of(page), flags=re.MULTILINE | re.DOTALL)
    folders = 'benchmarks|configs|docs|tests|tools|vireid'
    for path in re.findall(rf'(?<![\w/.:-])(?:{folders})/[\w./-]+', text):
        assert (ROOT / path.rstrip('.')).exists() or path.endswith(('_', 'KIND/')), path


@pytest.mark.parametrize('page', [page for page in PAGES if page.startswith('docs/')])
def test_no_two_headings_of_a_page_share_an_anchor(page, site_links):
    # GitHub and the site number them in different ways
    anchors = site_links.anchors(text_of(page))
    assert sorted(anchors) == sorted(set(anchors))


@pytest.mark.parametrize('page', [page for page in PAGES if page.startswith('docs/')])
def test_lists_are_written_as_both_github_and_the_site_read_them(page):
    """Python-Markdown starts a list only after an empty line, and nests it only if it is indented by four spaces."""
    text = re.sub(r'^ *```.*?^ *```$', '', text_of(page), flags=re.MULTILINE | re.DOTALL)
    lines = text.splitlines()
    for before, line in zip(['', *lines], lines, strict=False):
        item = re.match(r'( *)([-*]|\d+\.) ', line)
        if item:
            assert len(item[1]) % 4 == 0, line
            assert not before.strip() or re.match(r' *([-*]|\d+\.) |  ', before) or before.startswith('<!--'), line


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / 'mkdocs.yml').read_text().split('\nnav:\n')[1]
    named = {address.strip() for address in re.findall(r': (\S+)$', navigation, re.MULTILINE)}
    pages = [path.relative_to(ROOT / 'docs').as_posix() for path in (ROOT / 'docs').rglob('*.md')]
    missing = [page for page in pages if page not in named and f'{page.rpartition("/")[0]}/' not in named]
    assert missing == [], 'add them to `nav` in mkdocs.yml'
    top = [f'project/{path.name}' for path in ROOT.glob('*.md') if path.name != 'README.md']
    assert [page for page in top if page not in named] == [], 'add them to `nav` in mkdocs.yml'


def test_anchors_are_those_of_github(site_links):
    headings = '# One `config.yaml`\n\n```\n# no heading\n```\n\n## 7. What a [score](x.md) means?\n\n## A - B\n'
    assert site_links.anchors(headings) == ['one-configyaml', '7-what-a-score-means', 'a---b']


def test_links_in_code_are_none(site_links):
    assert list(site_links.links('`[a](b.md)` [c](d.md#e) [f](https://g.h)\n\n```\n[i](j.md)\n```\n')) == [
        ('d.md', 'e')
    ]


def test_links_are_rewritten_for_the_site(site_links):
    text = '[a](own-data.md) [b](../SECURITY.md#the-rule) [c](../configs/tffn_sysu.py) [d](#here) `[e](../LICENSE)`'
    assert site_links.for_site(text, 'docs/search.md') == (
        '[a](own-data.md) [b](project/SECURITY.md#the-rule) [c](source/configs/tffn_sysu.py.md) [d](#here) '
        '`[e](../LICENSE)`'
    )
    assert site_links.for_site('[a](../../configs/dmcf_sysu.py)', 'docs/systems/README.md') == (
        '[a](../source/configs/dmcf_sysu.py.md)'
    )
    assert site_links.for_site('[a](docs/plugins.md)', 'CONTRIBUTING.md') == '[a](../plugins.md)'


def test_files_outside_of_docs_become_pages_with_their_text(site_links):
    linked = site_links.linked_pages(['docs/plugins.md'])
    assert {'SECURITY.md', 'examples/vireid-gated-fusion'} <= set(linked)
    page = site_links.source('examples/vireid-gated-fusion')
    assert '## `pyproject.toml`\n\n~~~~~toml\n[build-system]' in page
    assert 'egg-info' not in page


def test_every_tracked_page_is_checked():
    listed = subprocess.run(['git', 'ls-files', '*.md'], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip('not a git repository')
    assert [page for page in listed.stdout.split() if not page.startswith(('tests/', 'vireid/'))] == [
        page for page in PAGES if page in listed.stdout.split()
    ]
