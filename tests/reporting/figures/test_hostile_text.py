"""Whatever text a run from a stranger holds, pages and figures show it as text.

Every text of a run, keys of sections too, is replaced by one that means something to a browser, to mathematics, to a
terminal, to a spreadsheet. The page has then no tag and no attribute that it has not otherwise.
"""

from __future__ import annotations

import xml.etree.ElementTree
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vireid.boundary.showing import printable
from vireid.errors import DamagedFile
from vireid.reporting.figures import FIGURES, draw, save
from vireid.reporting.figures.style import MAX_LENGTH, drawable
from vireid.reporting.page import render
from vireid.reporting.record import RunRecord
from vireid.statistics.comparison import Difference
from vireid.studies import comparison_page
from vireid.studies.comparison import Comparison, SystemPair
from vireid.studies.systems import System

TEXTS = (
    '"><img src=x onerror=alert(1)>',
    "'/><svg onload=alert(1)><a href='http://evil'>",
    '</script><script>alert(1)</script><!--',
    '</title></style></textarea></pre>]]><iframe src="//evil">',
    r'$\frac$ #161718 url(#a) id="b" font: 8px x',
    '[/red]{x} {0} %s %(a)s {task.fields[y]}',
    '=1+1 ![x](http://evil)',
    '\x1b]0;x\x07\x00\x9b2J\ud800\ufffe\u202e',
    'line\nbreak\r\n\u2028' + 'long ' * 30,
)
# keys by which readers of the records find what is theirs; others name tasks, rows, stages, settings
FIXED = {
    'name', 'variant', 'trials', 'queries', 'valid', 'mean', 'std', 'low', 'high', 'R1', 'R5', 'R10', 'R20', 'mAP',
    'mINP', 'identity', 'camera', 'modality', 'images', 'right', 'similarity', 'nodes', 'edges', 'id', 'kind', 'title',
    'about', 'protocol', 'data', 'weights', 'rows', 'trial', 'notes', 'identities', 'cameras', 'graph', 'pairs',
    'kinds', 'loss', 'tasks', 'curves', 'lr', 'step', 'epoch', 'steps', 'select',
}  # fmt: skip
PAIRS = list(zip(TEXTS, [*TEXTS[1:], TEXTS[0]], strict=True))[::2]


class Found(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.values: list[tuple[str, str]] = []
        self.scripts, self.text = 0, ''
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.values += [(name, value or '') for name, value in attrs]
        self.scripts += tag == 'script'

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        pytest.fail(f'a comment: {data[:100]}')


class Hostile:
    """Replaces texts, equal ones by equal ones, so that what refers to each other still does."""

    def __init__(self, text: str) -> None:
        self.text, self.numbers = text, {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return f'{self.text}{self.numbers.setdefault(value, len(self.numbers))}' if value else value
        if isinstance(value, dict):
            return {key if key in FIXED else self(key): self(item) for key, item in value.items()}
        return [self(item) for item in value] if isinstance(value, (list, tuple)) else value

    def keys(self, arrays: dict[str, Any], prefixes: tuple[str, ...] = ()) -> dict[str, Any]:
        """Renames rows, stages and places; the kind of a figure stands before them."""
        found = {}
        for key, array in arrays.items():
            kind, _, rest = key.partition(' ')
            found[f'{kind} {self(rest)}'.rstrip() if kind in prefixes else self(key)] = array
        return found

    def run(self, run: RunRecord) -> RunRecord:
        assert run.evidence is not None
        evidence = replace(
            run.evidence,
            about=self(run.evidence.about),
            cmc=self.keys(run.evidence.cmc),
            distances=self.keys(run.evidence.distances, ('same', 'different')),
            maps=self.keys(run.evidence.maps, ('cam', 'features', 'translations', 'swaps')),
        )
        result = None if run.result is None else self(run.result)
        return RunRecord(
            Path('runs'), self(run.label), self(run.config), self(run.metrics), result, self(run.provenance), evidence
        )


@pytest.fixture(scope='module')
def clean(run) -> tuple[RunRecord, RunRecord]:
    """Two runs that have everything, of what repeats itself two."""
    runs = []
    for name in ('a', 'b'):
        run = replace(deepcopy(run), label=name)
        run.metrics = run.metrics[:21] + [line for line in run.metrics if 'rows' in line]
        run.config = {'name': name, 'model': {'necks': {'x': {'type': 'GeM'}}}, 'plugins': ['a.py']}
        run.provenance = {'machine': {'gpu': 'none'}, 'versions': {'torch': '2'}}
        about = run.evidence.about
        about['notes'], about['pairs'] = ['a note'], about['pairs'][:2]
        about['similarity'] = 'cosine'
        score = {'queries': 2, 'R1': 0.5, 'mAP': 0.25}
        about['identities'] = [{'identity': n, **score} for n in range(12)]
        about['cameras'] = [{'camera': 1, 'modality': 'infrared', **score}]
        run.result = {key: about[key] for key in ('data', 'protocol', 'weights', 'rows')}
        maps = {key: array[:2, :3] if key == 'swaps' else array[:2] for key, array in run.evidence.maps.items()}
        run.evidence = replace(run.evidence, maps=maps)
        run.evidence.thumbs[0], run.evidence.thumbs[1] = b'', b'<svg onload=alert(1)>'
        runs.append(run)
    return runs[0], runs[1]


def require_harmless(page: str, clean: str) -> Found:
    page.encode()
    assert printable(page) == page
    found, known = Found(page), Found(clean)
    assert found.tags <= known.tags
    assert found.attributes <= known.attributes
    assert found.scripts == known.scripts
    assert not [name for _, name in found.attributes if name.startswith('on')]
    for name, value in found.values:
        if name in ('src', 'href', 'xlink:href', 'action', 'data', 'srcset', 'poster'):
            assert value.startswith(('#', 'data:image/')), value
        if name in ('style', 'clip-path', 'fill'):
            assert 'url(' not in value.replace('url(#', ''), value
    return found


@pytest.mark.parametrize('texts', PAIRS[::2])
def test_the_report(texts, clean, pages):
    runs = [Hostile(text).run(run) for text, run in zip(texts, clean, strict=True)]
    require_harmless(render(runs), pages['report'])


@pytest.fixture(scope='module')
def pages(clean) -> dict[str, str]:
    return {'report': render(clean), 'comparison': comparison_page.render(compared(clean))}


def test_a_name_is_shown_as_it_is(clean):
    bare = [replace(clean[0], label=text, evidence=None, metrics=[]) for text in (TEXTS[0], TEXTS[7])]
    shown = Found(render(bare)).text
    assert f'{TEXTS[0]}: not finished' not in shown
    assert shown.count(TEXTS[0]) >= 3  # of the title, the heading and its column
    assert '\\x1b]0;x\\x07\\x00\\x9b2J\\ud800\\ufffe\\u202e' in shown


def compared(runs: tuple[RunRecord, RunRecord], hostile: Any = lambda value: value) -> Comparison:
    """A comparison of two systems, every text of which goes through `hostile`."""
    names = [hostile(run.label) for run in runs]
    told = [replace(run, evidence=None) for run in runs]
    systems = [System(name, {0: run, 1: run}) for name, run in zip(names, told, strict=True)]
    gain = Difference(0.1, 0.05, 0.15, 0.01, 2)
    pairs = [SystemPair(*names, column, gain, gain, 3, {1: 0.5, 2: -0.5}) for column in ('R1', 'mAP')]
    return Comparison(systems, pairs, 0.95, [hostile('a note')])


@pytest.mark.parametrize('text', TEXTS[::2])
def test_the_page_of_a_comparison(text, clean, pages):
    hostile = Hostile(text)
    runs = (hostile.run(clean[0]), hostile.run(clean[1]))
    comparison = compared(runs, lambda value: value if value.startswith(text) else hostile(value))
    require_harmless(comparison_page.render(comparison), pages['comparison'])


@pytest.mark.parametrize('name', FIGURES)
def test_a_figure_is_drawn_whatever_its_labels_are_and_its_file_is_xml(name, clean, tmp_path):
    options = {'pairs': 1} if name in ('cam', 'features', 'translations') else {}
    texts = PAIRS[list(FIGURES).index(name) % len(PAIRS)]  # each is drawn by some of them; a report draws all with more
    runs = [Hostile(text).run(run) for text, run in zip(texts, clean, strict=True)]
    if name == 'rankings':
        for run, own in zip(runs, clean, strict=True):
            run.evidence.about['kinds'] = own.evidence.about['kinds']
        options = {'queries': 1, 'top': 2}
    save(draw(name, runs, **options), tmp_path / 'a.svg')
    xml.etree.ElementTree.parse(tmp_path / 'a.svg')


def test_text_without_end_leaves_room_for_the_drawing():
    shown = drawable({'a' * 10_000: [('b' * 10_000, 3, 1.5, None)]})
    assert shown == {'a' * MAX_LENGTH: [('b' * MAX_LENGTH, 3, 1.5, None)]}
    assert len(drawable('\x00' * 10_000)) == MAX_LENGTH


@pytest.mark.parametrize(
    'graph',
    [
        {'nodes': [3], 'edges': []},
        {'nodes': [{'id': 1, 'kind': 'x', 'title': 'y', 'about': ''}], 'edges': []},
        {'nodes': [{'id': 'a', 'kind': 'x', 'title': 'y', 'about': ''}] * 2, 'edges': []},
        {'nodes': [{'id': 'a', 'kind': 'x', 'title': 'y', 'about': ''}], 'edges': [['a', ['b']]]},
        {'nodes': [{'id': 'a', 'kind': 'x', 'title': 'y', 'about': ''}], 'edges': ['ab', 3]},
    ],
)
def test_a_graph_that_is_none(graph, new_run):
    run = new_run('a')
    run.evidence.about['graph'] = graph
    with pytest.raises(DamagedFile, match=r'^a: '):
        draw('graph', [run])
