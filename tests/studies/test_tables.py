"""The table of a paper, in each format."""

from __future__ import annotations

import csv
import io
import re

import pytest

from vireid.cli import main
from vireid.errors import UnknownName, WrongValue
from vireid.studies.systems import read_systems
from vireid.studies.tables import Cell, PaperTable, make_table


@pytest.fixture
def runs(make_run):
    """a: rank-1 75 and 25 %; b_1: 100 % twice."""
    hits = {
        ('a', 0): [[1, 1], [1, 2]],
        ('a', 1): [[1, 2], [2, 2]],
        ('b_1', 0): [[1, 1], [1, 1]],
        ('b_1', 1): [[1, 1], [1, 1]],
    }
    return [make_run(*key, found) for key, found in hits.items()]


def test_means_and_sample_deviations_over_seeds_and_the_best(runs):
    table = make_table(read_systems(runs), metrics=['R1', 'mAP'])
    (first, second) = [found for _, found in table.rows]
    assert (first[0].mean, first[0].spread) == pytest.approx((50.0, 50 / 2**0.5))
    assert [cell.best for cell in first] == [False, False]
    assert [cell.best for cell in second] == [True, True]
    assert table.columns == ['R1', 'mAP']
    assert 'over 2 seeds' in table.caption


def test_metrics_that_are_the_same_everywhere_have_no_best(runs):
    table = make_table(read_systems(runs), metrics=['R20'])
    assert not any(cell.best for _, found in table.rows for cell in found)


def test_markdown(runs):
    text = make_table(read_systems(runs), metrics=['R1']).format('md')
    assert text.splitlines()[-3:] == ['|---|---:|', '| a | 50.00 ± 35.36 |', '| b_1 | **100.00 ± 0.00** |']


def test_latex_has_rules_and_escapes_what_it_would_take_for_something_else(runs):
    text = make_table(read_systems(runs), metrics=['R1']).format('latex')
    lines = text.splitlines()
    assert r'b\_1 & \textbf{100.00 $\pm$ 0.00} \\' in lines
    assert [text.count(rule) for rule in (r'\toprule', r'\midrule', r'\bottomrule')] == [1, 1, 1]
    assert text.count(r'\begin{tabular}{lr}') == text.count(r'\end{tabular}') == 1
    body = lines[lines.index(r'\toprule') + 1 : lines.index(r'\bottomrule')]
    assert {line.count('&') for line in body if line.endswith(r'\\')} == {1}
    assert text.count('{') == text.count('}')


def test_csv_has_spreads_in_columns_of_their_own(runs):
    found = list(csv.DictReader(io.StringIO(make_table(read_systems(runs), metrics=['R1']).format('csv'))))
    assert found[0] == {'system': 'a', 'R1': '50.0000', 'R1 sd': '35.3553'}


def test_csv_says_too_that_a_result_could_not_be_verified(runs):
    (runs[0] / 'queries.npz').unlink()
    found = list(csv.DictReader(io.StringIO(make_table(read_systems(runs, queries=False), ['R1']).format('csv'))))
    assert all('could not be verified' in row['notes'] for row in found)


def test_the_literature_stands_beside_with_its_source(runs):
    rows = {'a': {'label': 'A (2020)', 'R1': 47.5, 'mAP': None}}
    table = make_table(read_systems(runs), ['R1'], rows, 'SYSU-MM01')
    assert table.columns == ['R1', 'R1 (publ.)', 'mAP (publ.)']
    assert table.rows[0][0] == 'A (2020)'
    assert [cell.text() for cell in table.rows[0][1]] == ['50.00 ± 35.36', '47.50', '-']
    assert 'Published results: SYSU-MM01.' in table.format('text')
    assert 'No published results' not in table.format('text')


def test_literature_without_any_of_the_rows_is_told(runs):
    table = make_table(read_systems(runs), ['R1'], {'b': {'label': 'B', 'R1': 1.0, 'mAP': 1.0}, 'c': {}}, 'Table 3')
    assert 'No published results: the rows of Table 3 are b, c.' in table.format('text')


def test_what_makes_rows_not_comparable_is_said(make_run):
    found = make_table(read_systems([make_run('a', 0, [[1]]), make_run('b', 0, [[1]], protocol='q')]))
    assert 'These rows are not comparable: protocol p, ' in found.format('text')
    assert 'not comparable' not in make_table(read_systems([make_run('c', 0, [[1]])])).format('text')


def test_the_command(runs, tmp_path, capsys):
    folders = list(map(str, runs))
    assert main(['table', *folders, '--metrics', 'R1']) == 0
    out = capsys.readouterr().out
    assert '100.00 ± 0.00*' in out
    assert out.endswith('\n* best\n')
    assert main(['table', *folders, '-o', str(tmp_path / 't.tex')]) == 0
    assert r'\toprule' in (tmp_path / 't.tex').read_text()
    assert main(['table', *folders, '--metrics', 'R7']) == 2
    assert "unknown metric 'R7'" in capsys.readouterr().err
    assert main(['table', *folders, '--literature', str(tmp_path)]) == 2
    assert 'has no table.yaml' in capsys.readouterr().err
    assert main(['table', *folders, '-o', str(tmp_path / 't.xyz')]) == 2
    assert 'no format has the suffix .xyz\n  allowed: .txt, .md, .tex, .csv' in capsys.readouterr().err


def test_an_unknown_format(runs):
    with pytest.raises(WrongValue, match="'doc'"):
        make_table(read_systems(runs)).format('doc')


@pytest.mark.parametrize('metrics', [3, [], ['R2']])
def test_metrics_that_are_none(runs, metrics):
    with pytest.raises((WrongValue, UnknownName), match='R1, R5'):
        make_table(read_systems(runs), metrics)


@pytest.fixture
def hostile():
    """A table each text of which means something to one of its formats."""
    texts = [
        '![x](http://evil)',
        '=HYPERLINK("http://evil")',
        'a|b\n# c',
        r'\input{x} 5% $y_1$',
        '[5cm]',
        '\x1b[2J\ud800',
    ]
    cells = [Cell(50.0, 1.0, True), Cell(None)]
    notes = ['`note` <img src=x>', '- note', '1. note']
    return PaperTable('# caption [a](b)', ['=1', 'R1 | x'], [(text, cells) for text in texts], '![s](t)', notes)


def test_hostile_text_is_text_in_markdown(hostile):
    from markdown_it import MarkdownIt

    tokens = MarkdownIt('commonmark').enable('table').parse(hostile.format('md'))
    within = {child.type for token in tokens for child in token.children or ()}
    assert within == {'text', 'hardbreak', 'strong_open', 'strong_close'}
    assert [token.type for token in tokens if token.level == 0] == [
        'paragraph_open', 'paragraph_close', 'table_open', 'table_close',
    ]  # fmt: skip
    assert sum(token.type == 'td_open' for token in tokens) == 3 * len(hostile.rows)


def test_hostile_text_is_text_in_latex(hostile):
    text = hostile.format('latex')
    assert set(re.findall(r'\\([a-z]+)', text)) == {
        'begin', 'end', 'centering', 'caption', 'toprule', 'midrule', 'bottomrule', 'textbf', 'pm', 'textbackslash',
    }  # fmt: skip
    assert not re.search(r'(\\\\|rule)\n\s*[\[*]', text)
    assert text.count('\\\\\n') == 1 + len(hostile.rows)


def test_hostile_text_is_text_in_a_spreadsheet(hostile):
    rows = list(csv.reader(io.StringIO(hostile.format('csv'))))
    assert len(rows) == 1 + len(hostile.rows)
    assert not [cell for row in rows for cell in row if cell[:1] in ('=', '+', '-', '@')]


def test_hostile_text_is_text_in_a_file(hostile):
    for kind in ('text', 'md', 'latex', 'csv'):
        shown = hostile.format(kind)
        assert shown.encode()
        assert '\x1b' not in shown
    assert len(hostile.format('text').splitlines()) == 1 + 1 + 3 + 1 + 2 + len(hostile.rows) + 1


def test_columns_of_one_row_share_its_name():
    columns = ['all single-shot R1', 'all single-shot mAP', 'indoor R1']
    table = PaperTable('c', columns, [('tffn', [Cell(50.0), Cell(40.25), Cell(7.0)])])
    assert table.format('text').splitlines()[2:] == [
        '      all single-shot         indoor',
        '                   R1    mAP      R1',
        'tffn            50.00  40.25    7.00',
    ]
