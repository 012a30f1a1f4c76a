"""What holds for all figures: names and options, files, pages, and runs that lack what is drawn."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys

import matplotlib
import pytest

from vireid.errors import MissingKey, MissingPackage, NotReady, UnknownKey, UnknownName, WrongValue
from vireid.reporting.figures import FIGURES, OPTIONS, draw, inline_svg, save

NAMES = tuple(FIGURES)


@pytest.mark.parametrize('name', NAMES)
def test_options_are_those_of_the_function_and_told_in_its_docstring(name):
    module, _, function = FIGURES[name].partition(':')
    drawn = getattr(importlib.import_module(module), function)
    parameters = list(inspect.signature(drawn).parameters)
    assert parameters == ['runs', *OPTIONS[name], 'width']
    assert all(f'{parameter}: ' in drawn.__doc__ for parameter in parameters)


def test_an_unknown_figure_is_told_with_the_nearest(run):
    with pytest.raises(UnknownName, match=r"'ranking'.*'rankings'") as error:
        draw('ranking', [run])
    assert error.value.allowed == ', '.join(NAMES)


def test_an_option_of_other_figures_is_told_with_them(run):
    with pytest.raises(UnknownKey, match=r"(?s)cmc .*'pairs'.*cam, features, translations"):
        draw('cmc', [run], pairs=2)
    with pytest.raises(UnknownKey, match=r"cmc .*'rank'.*'ranks'"):
        draw('cmc', [run], rank=2)


def test_without_matplotlib_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(MissingPackage, match=r'"vireid\[report\]"'):
        draw('cmc', [run])


def test_a_backend_that_this_matplotlib_does_not_know_is_reported():
    """Old shell profiles set `Qt4Agg`, which matplotlib removed."""
    code = 'from vireid.reporting.figures import draw; draw("cmc", [])'
    environment = {**os.environ, 'MPLBACKEND': 'Qt4Agg'}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
    assert "WrongValue: matplotlib cannot be imported: Key backend: 'Qt4Agg'" in done.stderr
    assert 'unset MPLBACKEND' in done.stderr


@pytest.mark.parametrize('name', NAMES)
def test_a_run_without_what_is_drawn_is_an_error_alone_and_a_note_beside_others(name, run, new_run):
    empty = new_run('bare')
    empty.evidence, empty.metrics = None, []
    missing = 'metrics' if name == 'weights' else 'evidence'
    with pytest.raises(NotReady, match=rf'^bare: \w+ {missing}\b') as error:
        draw(name, [empty])
    assert name == 'weights' or 'CONFIG CHECKPOINT' in error.value.todo
    assert re.search(r'Left out \(no .*\): bare\.', words(draw(name, [run, empty])))


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'weights'])
def test_evidence_without_the_part_is_told_by_its_name(name, new_run):
    bare = new_run('bare')
    evidence = bare.evidence
    evidence.cmc = evidence.distances = evidence.lists = evidence.points = evidence.maps = evidence.reliability = {}
    evidence.about['graph'] = {'nodes': [], 'edges': []}
    with pytest.raises(NotReady, match=r'^bare: \w+ (?!evidence)'):
        draw(name, [bare])


@pytest.mark.parametrize('name', ['translations', 'swaps', 'reliability'])
def test_scoring_again_is_not_advised_where_it_would_not_help(name, new_run):
    bare = new_run('bare')
    bare.evidence.maps = bare.evidence.reliability = {}
    with pytest.raises(NotReady, match=r'^bare: ') as refused:
        draw(name, [bare])
    assert 'vireid test' not in refused.value.todo


def test_no_runs_at_all():
    with pytest.raises(MissingKey):
        draw('cmc', [])


@pytest.fixture(scope='module', params=NAMES)
def drawn(request, run):
    """Each figure, drawn once, and the settings before and after."""
    before = dict(matplotlib.rcParams)
    return draw(request.param, [run], width=5.0), before, dict(matplotlib.rcParams)


def test_it_has_the_width_asked_for_and_changes_no_setting(drawn):
    figure, before, after = drawn
    assert figure.get_figwidth() == pytest.approx(5.0)
    assert before == after


@pytest.mark.parametrize(
    ('options', 'fact'),
    [
        ({'ranks': 'x'}, r"cmc\.ranks .*'x'"),
        ({'width': 'page'}, r"cmc\.width .*'page'"),
        ({'rows': 1}, r'cmc\.rows .*\b1\b'),
    ],
)
def test_an_option_of_another_type(run, options, fact):
    with pytest.raises(WrongValue, match=fact):
        draw('cmc', [run], **options)


def test_a_width_that_is_none(run):
    with pytest.raises(WrongValue, match=r'width .*\b0 '):
        draw('cmc', [run], width=0)


def test_pyplot_is_not_needed(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.pyplot', None)
    save(draw('cmc', [run]), tmp_path / 'a.pdf')


@pytest.mark.parametrize(('suffix', 'start'), [('.png', b'\x89PNG'), ('.pdf', b'%PDF'), ('.svg', b'<?xml')])
@pytest.mark.parametrize(('name', 'options'), [('cmc', {}), ('rankings', {'queries': 1, 'top': 2, 'width': 2})])
def test_a_file_has_its_format_and_the_same_bytes_each_time(name, options, suffix, start, run, tmp_path):
    figure = draw(name, [run], **options)
    save(figure, tmp_path / f'a{suffix}')
    save(figure, tmp_path / f'b{suffix}')
    save(draw(name, [run], **options), tmp_path / f'c{suffix}')
    first, *others = [(tmp_path / f'{letter}{suffix}').read_bytes() for letter in 'abc']
    assert first.startswith(start)
    assert others == [first, first]
    if suffix == '.pdf':  # TrueType within the file, as publishers ask
        assert b'/FontFile2' in first
        assert b'/Type3' not in first
        assert b'CreationDate' not in first
    if suffix == '.svg':
        assert b'<text' not in first


def test_a_png_has_300_dots_an_inch(run, tmp_path):
    from PIL import Image

    save(draw('cmc', [run]), tmp_path / 'a.PNG')
    with Image.open(tmp_path / 'a.PNG') as image:
        assert image.width == 990


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(run, tmp_path, monkeypatch):
    (tmp_path / 'a.svg').write_text('old')
    figure = draw('cmc', [run])
    monkeypatch.setattr(figure, 'savefig', lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(figure, tmp_path / 'a.svg')
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [('a.svg', 'old')]


def test_another_format_is_an_error(run, tmp_path):
    with pytest.raises(WrongValue, match=r'(?s)a\.jpg .*\.png, \.svg .*\.pdf'):
        save(draw('cmc', [run]), tmp_path / 'a.jpg')


def test_within_a_page_it_takes_the_colors_and_font_of_the_page(drawn):
    text = inline_svg(drawn[0], 'curves & "bars"')
    assert text.startswith('<svg ')
    assert text.endswith('</svg>')
    assert 'role="img" aria-label="curves &amp; &#34;bars&#34;"' in text
    assert 'width="100%"' in text
    assert 'currentColor' in text
    assert not re.search(r'#000000|#000\b|#161718|black', text)
    for found in re.findall(r'<text [^>]*style="([^"]*)"', text):
        assert 'system-ui' in found
        assert 'fill: currentColor' in found
    assert 'DejaVu' not in text
    assert re.findall(r'https?:[^"]*', text) == ['http://www.w3.org/2000/svg', 'http://www.w3.org/1999/xlink']
    assert '<style' not in text  # it would hold for the page
    assert '<metadata' not in text
    assert '<!--' not in text


def test_ids_of_two_figures_of_a_page_differ_and_are_those_referred_to(run, new_run):
    texts = [inline_svg(draw('cmc', [run]), 'a'), inline_svg(draw('cmc', [new_run('b', quality=0.5)]), 'b')]
    ids = [set(re.findall(r'\bid="([^"]*)"', text)) for text in texts]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip(texts, ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]*)', text)) <= own
    assert inline_svg(draw('cmc', [run]), 'a') == texts[0]


def test_a_dollar_sign_in_a_name_is_one(new_run):
    assert 'a $x^2$' in inline_svg(draw('cmc', [new_run('a $x^2$'), new_run('b')]), 'curves')


def words(figure) -> str:
    """All text of a figure, with spaces for line ends."""
    from matplotlib.text import Text

    return ' '.join(text.get_text() for text in figure.findobj(Text)).replace('\n', ' ')


def test_letters_that_no_font_has_are_named_once(new_run, tmp_path, capsys, recwarn):
    named = new_run('named')
    number = named.evidence.about['images'][int(named.evidence.lists['query'][0])][1]
    named.evidence.about['names'] = {str(number): '\U00013000\U00013000a'}  # a hieroglyph
    save(draw('rankings', [named], identity=number), tmp_path / 'a.png')
    assert 'a.png has boxes for \U00013000, which no installed font' in capsys.readouterr().err
    assert not recwarn.list
    save(draw('rankings', [new_run('latin')]), tmp_path / 'b.png')
    assert capsys.readouterr().err == ''
