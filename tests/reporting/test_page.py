"""The page says what there is, names what is missing, needs no network and executes nothing of anyone's."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from vireid.cli import main
from vireid.core.scoring import results as results_file
from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.reporting.collect import collect
from vireid.reporting.page import render
from vireid.reporting.record import read_run, read_runs

STEP = {'loss': 3.5, 'tasks': {'a': 1.5}, 'weights': {'a': 1.0}, 'curves': {'sigma': {'a': 0.7}}, 'lr': 0.01}


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text, of a page that closes what it opens."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ''
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ('meta', 'input', 'img', 'br'):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def write_run(folder: Path, results, steps: int = 3) -> Path:
    folder.mkdir(parents=True)
    (folder / 'config.yaml').write_text(f'name: a <b>run</b> {folder.name}\nseed: 0\n')
    lines = [json.dumps({'step': n + 1, **STEP, 'loss': 3.0 - n}) for n in range(steps)]
    (folder / 'metrics.jsonl').write_text('\n'.join(lines) + '\n')
    results_file.write(folder, results.to_dict())
    collect(results, name=folder.name).save(folder / 'report.npz')
    return folder


@pytest.fixture
def run(evaluation, tmp_path):
    return write_run(tmp_path / 'first', evaluation())


@pytest.fixture(scope='module')
def page(evaluated, tmp_path_factory):
    """The page of such a run."""
    return render([read_run(write_run(tmp_path_factory.mktemp('page') / 'first', evaluated))])


def test_everything_of_a_run_is_there_and_escaped(page):
    read = Reader(page)
    assert 'a <b>run</b> first' in read.text
    assert '<b>run' not in page
    for text in (
        'a protocol',
        'three people',
        'after step 3',
        '50.00±0.00',
        '0 to 100 with 95% confidence, over 2 identities',
        'Best query: identity 1 · AP 1.00',
        'Worst query: identity 2 · AP 0.50',
        '95% interval over 2 identities',
        'seed: 0',
    ):
        assert text in read.text, text
    sections = [attrs['id'] for tag, attrs in read.tags if tag == 'section']
    assert sections == [
        'result',
        'metrics',
        'rankings',
        'training',
        'embedding',
        'reliability',
        'who',
        'cam',
        'features',
        'graph',
        'made',
    ]
    links = [attrs['href'] for tag, attrs in read.tags if tag == 'a']
    assert links == [f'#{name}' for name in sections]


def test_it_asks_for_nothing_outside(page):
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)
    assert not re.findall(r'url\((?!#|data:|&quot;)[^)]*\)', page)
    without = re.sub(r'xmlns(:xlink)?="[^"]*"', '', page)
    assert 'http://' not in without
    assert 'https://' not in without


def test_each_query_is_an_article_that_says_how_it_may_be_found(page):
    read = Reader(page)
    articles = [attrs for tag, attrs in read.tags if tag == 'article']
    assert len(articles) == 2
    assert {'2', '6', 'infrared'} <= set(articles[0]['data-text'].split())
    assert all(set(a['data-kinds'].split()) <= {'best', 'worst', 'random'} for a in articles)
    lists = Reader(re.search(r'<section id="rankings">.*?</section>', page, re.DOTALL)[0])
    assert lists.text.count('✓') == 2 + 1  # and that of the legend
    assert lists.text.count('✗') == 2 + 1
    images = [attrs for tag, attrs in lists.tags if tag == 'img' and 'data-thumb' in attrs]
    assert len(images) == 2 * 3
    assert all(image['alt'] for image in images)
    thumbs = json.loads(re.search(r'id="thumbs">(.*?)</script>', page)[1])
    assert all(image['data-thumb'] in thumbs for image in images)


def test_half_a_run_shows_its_curves_and_says_so(run):
    (run / 'result.json').unlink()
    (run / 'report.npz').unlink()
    text = Reader(render([read_run(run)])).text
    assert 'not finished, so there is no result' in text
    assert 'There are no ranking lists' in text
    assert 'vireid test' in text
    assert 'Raw values are faint' in text


def test_numbers_that_could_not_be_checked_are_said_in_words_of_the_table_too(run, capsys):
    said = 'a <b>run</b> first has no queries.npz, so its metrics could not be verified.'
    assert said in Reader(render([read_run(run)])).text
    assert main(['table', str(run)]) == 0
    assert said in capsys.readouterr().out
    assert main(['plot', 'cmc', str(run), '-o', str(run / 'cmc.svg')]) == 0
    assert said in capsys.readouterr().err


def test_ties_and_equal_embeddings_are_said(tmp_path):
    """Two people whom nothing tells apart."""
    samples = [Sample(f'{m}{i}', i, c, m) for m, c in ((VISIBLE, 1), (INFRARED, 3)) for i in (1, 2)]
    embeddings = Embeddings(tuple(samples), np.ones((4, 2), dtype=np.float32))
    results = score_trials(embeddings, 'p', [Trial('all', 0, tuple(samples[2:]), tuple(samples[:2]))])
    text = Reader(render([read_run(write_run(tmp_path / 'run', results))])).text
    assert 'all 4 images have the same embedding, so these metrics mean nothing.' in text
    assert 'ties between equally similar images affect 100.0% of the queries, which are scored as the mean over' in text


def test_a_run_without_metrics_says_who_writes_them(run):
    (run / 'metrics.jsonl').unlink()
    assert 'the logger MetricsFile writes it' in Reader(render([read_run(run)])).text


def test_images_that_have_gone_are_named_and_the_rest_is_drawn(evaluation, tmp_path):
    results = evaluation()
    Path(results.trials[0].gallery[0].path).unlink()
    read = Reader(render([read_run(write_run(tmp_path / 'run', results))]))
    assert re.search(r'1 unreadable image .*g1\.png', read.text)
    assert read.text.count('missing') >= 2


def test_runs_stand_side_by_side_and_other_protocols_are_said(run, evaluation, tmp_path):
    results = evaluation()
    second = write_run(tmp_path / 'second', results)
    page = render(read_runs([run, second]))
    text = Reader(page).text
    assert 'different protocols' not in text
    assert text.count('a <b>run</b> second') > 3
    assert page.count('id="rank-search"') == page.count('id="hover-card"') == 1
    content = json.loads((second / 'result.json').read_text())
    (second / 'result.json').write_text(json.dumps({**content, 'protocol': 'another'}))
    assert 'use different protocols (a protocol; another)' in Reader(render(read_runs([run, second]))).text


def test_names_with_html_in_them(tmp_path):
    samples = [
        Sample(str(tmp_path / '<img src=x onerror=alert(1)>.png'), 1, 1, VISIBLE),
        Sample(str(tmp_path / '"><script>alert(2)</script>.png'), 1, 3, INFRARED),
        Sample(str(tmp_path / '<img src=x>.png'), 2, 1, VISIBLE),
    ]
    embeddings = Embeddings(tuple(samples), np.ones((3, 2), dtype=np.float32))
    trial = Trial('<u>all', 0, (samples[1],), (samples[0], samples[2]))
    results = score_trials(embeddings, '<i>p', [trial], data='<s>')
    page = render([read_run(write_run(tmp_path / 'run', results))])
    for tag in ('<img src=x', '<script>alert', '<i>p', '<u>', '<s>'):
        assert tag not in page
    Reader(page)


def test_the_command_writes_beside_a_run_or_where_it_is_told(run, tmp_path, capsys):
    assert main(['report', str(run)]) == 0
    assert (run / 'report.html').read_text().startswith('<!doctype html>')
    other = Path(shutil.copytree(run, tmp_path / 'copy'))
    assert main(['report', str(run), str(other), '-o', str(tmp_path / 'both.html')]) == 0
    assert str(tmp_path / 'both.html') in capsys.readouterr().out
    assert main(['report', str(run), str(other)]) == 2
    assert 'add -o FILE.html' in capsys.readouterr().err
    assert main(['report', str(run), '-o', str(tmp_path / 'x.pdf')]) == 2
    assert 'for a figure, use vireid plot' in capsys.readouterr().err
    assert main(['report', str(tmp_path / 'no')]) == 2
    assert 'contains no run' in capsys.readouterr().err
