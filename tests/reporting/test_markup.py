"""HTML is made of templates alone, and whatever is put into one is escaped."""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup, escape
from PIL import Image

import vireid.reporting
import vireid.search
import vireid.studies
from vireid.reporting.markup import asset, environment, policy, render, script_data
from vireid.reporting.thumbnails import MAX_PIXELS, decode

TAG = re.compile(r'<[A-Za-z/!]|="')
FOLDERS = [Path(module.__file__).parent for module in (vireid.reporting, vireid.studies, vireid.search)]
TEMPLATES = Path(vireid.reporting.__file__).parent / 'templates'
BAD = '"><i>'
FILES = sorted(path for folder in FOLDERS for path in folder.rglob('*.py'))
TRUSTED = {  # what is markup though no literal: the package's own files, JSON that is escaped, matplotlib's own SVG
    ('markup.py', 'script_data'),
    ('markup.py', 'asset'),
    ('__init__.py', 'inline_svg'),
}


def literal(node: ast.AST) -> bool:
    """Says whether an expression is text of the package: a constant, or one of two."""
    if isinstance(node, ast.IfExp):
        return literal(node.body) and literal(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def texts(node: ast.AST) -> str:
    return ''.join(n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def faults(source: str, file: str = 'page.py') -> list[str]:
    """Returns where markup is made of anything but literals."""
    found = []

    def look(node: ast.AST, within: str) -> None:
        if isinstance(node, ast.FunctionDef):
            within = node.name
        if isinstance(node, ast.JoinedStr):
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            if any(TAG.search(str(part)) for part in parts) and len(parts) < len(node.values):
                found.append(f'{node.lineno}: an f-string holds markup')
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.Add)):
            sides = [node.left, node.right]
            if any(literal(side) and TAG.search(texts(side)) for side in sides) and not all(map(literal, sides)):
                found.append(f'{node.lineno}: markup is put together by an operator')
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ''
            if name == 'Markup' and node.args and not literal(node.args[0]) and (file, within) not in TRUSTED:
                found.append(f'{node.lineno}: {name}() of something that is no literal')
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ''
            if method in ('format', 'format_map', 'join') and literal(node.func.value) and TAG.search(texts(node.func)):
                found.append(f'{node.lineno}: markup in {method}()')
            if (method in ('escape', 'unescape') and node.func.value.id != 're') or name == 'escape':
                found.append(f'{node.lineno}: escaped by hand')
        for child in ast.iter_child_nodes(node):
            look(child, within)

    look(ast.parse(source), '')
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda path: f'{path.parent.name}/{path.name}')
def test_markup_is_made_of_literals_alone(path):
    assert faults(path.read_text(encoding='utf-8'), path.name) == []


@pytest.mark.parametrize(
    'source',
    [
        "f'<b>{x}'", "'<b>' + x", "x + '</b>'", "'<b>%s' % x", "'<b>{}'.format(x)", "'<br>'.join(x)", 'Markup(x)',
        "Markup(f'{x}')", "Markup('a' + x)", "f'{x} class=\"a\"'", "f'a title=\"{x}\"'",
    ],
)  # fmt: skip
def test_what_that_test_finds(source):
    assert faults(source)


@pytest.mark.parametrize(
    'source', ["f'{label:<40}'", "f'{a} < {b}'", "Markup('<b>{x}</b>').format(x=y)", "Markup('a' if b else 'c')"]
)
def test_what_it_leaves(source):
    assert faults(source) == []


@pytest.mark.parametrize('name', environment().list_templates())
def test_templates_leave_the_escaping_on_and_insert_values_where_it_suffices(name):
    """In text and in quoted attributes; in a style only numbers, in scripts and style sheets only the package's own."""
    source = (TEMPLATES / name).read_text(encoding='utf-8')
    assert not re.search(r'\|\s*safe|autoescape|Markup|xmlattr|striptags', source)
    shown = re.sub(r'{#.*?#}|{%.*?%}', '', source, flags=re.DOTALL)
    shown = re.sub(r'{{.*?}}', '\x00', shown, flags=re.DOTALL)
    tags = re.findall(r'<[^>]*>', shown)
    assert not [tag for tag in tags if '\x00' in re.sub(r'"[^"]*"', '', tag)]
    for style in re.findall(r'style="(.*?)"', re.sub(r'{#.*?#}', '', source, flags=re.DOTALL)):
        assert all(value.strip().startswith("'%.1f'|format(") for value in re.findall(r'{{(.*?)}}', style))
    for element in re.findall(r'<(?:script|style)[^>]*>(.*?)</', source, re.DOTALL):
        assert element in ('{{ style }}', '{{ script }}', '{{ thumbs }}')
    assert not re.findall(r'\bon\w+=|javascript:|src="(?!\x00|data:image/)|https?:', shown)


def inserted(template: str, **values: object) -> str:
    return environment().from_string(template).render(values)


def test_values_are_escaped_and_markup_stays():
    text = '"><i>\'&'
    assert inserted('<b title="{{ x }}">{{ x }}</b>', x=text) == '<b title="{0}">{0}</b>'.format(escape(text))
    assert inserted('{{ x }}{{ y }}', x=Markup('<b>'), y=1.5) == '<b>1.5'
    assert inserted('{{ x }}', x=['<i>', None]) == '[&#39;&lt;i&gt;&#39;, None]'


def test_a_name_without_a_value_is_an_error():
    for template in ('{{ x }}', '{{ y.x }}', '{% if x %}{% endif %}'):
        with pytest.raises(UndefinedError):
            inserted(template, y={})


def test_what_html_and_utf_8_cannot_hold_is_shown_as_an_escape():
    text, wanted = 'a\x1b\x00\ud800\u202eb\n\tc', 'a\\x1b\\x00\\ud800\\u202eb\n\tc'
    for template in ('{{ x }}', '{{ x ~ "" }}', '{% macro m(y) %}{{ y }}{% endmacro %}{{ m(x) }}', '{{ [x]|join }}'):
        shown = inserted(template, x=text)
        assert shown == wanted
        assert shown.encode()


def test_the_parts_escape_what_they_are_given():
    image = {'kind': '', 'thumb': BAD, 'alt': BAD, 'path': BAD, 'lines': [BAD]}
    tile = {'name': BAD, 'value': BAD, 'mean': 1.0, 'range': [0.0, 2.0], 'details': [BAD]}
    figure = {'missing': '', 'kind': BAD, 'label': BAD, 'svg': Markup('<svg>'), 'caption': BAD}
    for call, known in (
        ('note(x)', '<p'), ('tile(tile)', '<div'), ('table(x, [x], [[x, [x, x]]])', '<table'),
        ('strip(x, [image])', '<ul'), ('strip(x, [gone])', 'missing'),
        ('figure(figure)', '<svg>'), ('figure({"missing": x})', '<p'),
    ):  # fmt: skip
        shown = inserted(
            '{% import "parts.html" as parts %}{{ parts.' + call + ' }}',
            x=BAD, image=image, gone={**image, 'thumb': ''}, tile=tile, figure=figure,
        )  # fmt: skip
        assert '<i>' not in shown
        assert known in shown
        assert '&#34;&gt;&lt;i&gt;' in shown


def test_data_ends_no_script():
    text = {'</script><script>': '<!-- & -->'}
    shown = script_data(text)
    assert not set('<>&') & set(shown)
    assert json.loads(shown) == text


def test_a_page_says_that_its_own_script_alone_may_run():
    rules = dict(rule.split(' ', 1) for rule in policy('alert(1)').split('; '))
    digest = base64.b64encode(hashlib.sha256(b'alert(1)').digest()).decode()
    assert rules == {
        'default-src': "'none'",
        'img-src': 'data:',
        'style-src': "'unsafe-inline'",
        'base-uri': "'none'",
        'form-action': "'none'",
        'script-src': f"'sha256-{digest}'",
    }
    assert 'script-src' not in policy('')
    page = render('base.html', 'page.js', title='t')
    said = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])
    assert said == policy(re.search(r'<script>(.*)</script>', page, re.DOTALL)[1])
    assert page.index('Content-Security-Policy') < page.index('<style>')
    assert '<script' not in render('base.html', title='t')


def test_the_page_needs_nothing_that_the_policy_forbids():
    """No handler in an attribute, no code from text, no request: the policy would stop them."""
    script = asset('page.js')
    assert not re.search(r'\beval\(|new Function|setTimeout\([\'"]|innerHTML|document\.write|fetch\(|import\(', script)
    assert 'url(' not in asset('page.css')
    assert '@import' not in asset('page.css')
    assert '</' not in script


def packed(size: tuple[int, int] = (64, 128), kind: str = 'JPEG') -> bytes:
    file = io.BytesIO()
    Image.new('RGB', size, (10, 200, 30)).save(file, kind)
    return file.getvalue()


def test_a_thumbnail_is_a_small_jpeg():
    assert decode(packed()).shape == (128, 64, 3)
    for data in (
        b'',
        b'x',
        packed()[:300],
        packed(kind='PNG'),
        packed(kind='GIF'),
        packed((2048, MAX_PIXELS // 2048 + 1)),
    ):
        assert decode(data) is None


def test_a_thumbnail_that_announces_too_much_is_not_decoded(monkeypatch):
    large = bytearray(packed())
    at = large.index(b'\xff\xc0') + 5
    large[at : at + 4] = b'\xff\xdc\xff\xdc'  # height and width
    monkeypatch.setattr(Image.Image, 'convert', lambda *args: pytest.fail('it was decoded'))
    assert decode(bytes(large)) is None


def test_a_thumbnail_of_many_scans_is_not_decoded():
    data = io.BytesIO()
    Image.new('RGB', (64, 128)).save(data, 'JPEG', progressive=True)
    few = data.getvalue()
    last = few[few.rindex(b'\xff\xda') : -2]
    assert decode(few) is not None
    assert decode(few[:-2] + last * 200 + few[-2:]) is None


def test_eps_is_no_thumbnail():
    """Ghostscript would be started to draw it."""
    assert decode(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n') is None
