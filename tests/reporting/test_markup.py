"""HTML is made of literals alone, and whatever is put into one is escaped."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import re
from pathlib import Path

import pytest
from markupsafe import Markup
from PIL import Image

import vireid.reporting
import vireid.studies
from vireid.reporting.markup import NOTHING, asset, document, html, join, script_data
from vireid.reporting.page import scroll, table
from vireid.reporting.thumbnails import MOST_PIXELS, decode

TAG = re.compile(r'<[A-Za-z/!]|="')
FOLDERS = [Path(module.__file__).parent for module in (vireid.reporting, vireid.studies)]
FILES = sorted(path for folder in FOLDERS for path in folder.rglob('*.py'))
TRUSTED = {  # what is markup though no literal: the package's own files, JSON that is escaped, matplotlib's own SVG
    ('markup.py', 'html'),
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
            if name in ('html', 'Markup') and not literal(node.args[0]) and (file, within) not in TRUSTED:
                found.append(f'{node.lineno}: {name}() of something that is no literal')
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ''
            if method in ('format', 'format_map', 'join') and literal(node.func.value) and TAG.search(texts(node.func)):
                found.append(f'{node.lineno}: markup in {method}()')
            if method in ('escape', 'unescape') or name == 'escape':
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
        "f'<b>{x}'", "'<b>' + x", "x + '</b>'", "'<b>%s' % x", "'<b>{}'.format(x)", "'<br>'.join(x)", 'html(x)',
        "html(f'{x}')", 'Markup(x)', "html('a' + x)", "f'{x} class=\"a\"'", "f'a title=\"{x}\"'",
    ],
)  # fmt: skip
def test_what_that_test_finds(source):
    assert faults(source)


@pytest.mark.parametrize(
    'source', ["f'{label:<40}'", "f'{a} < {b}'", "html('<b>{x}</b>', x=y)", "Markup('a' if b else 'c')"]
)
def test_what_it_leaves(source):
    assert faults(source) == []


def test_values_are_escaped_and_markup_stays():
    inner = html('<b title="{x}">{x}</b>', x='"><i>\'&')
    assert inner == '<b title="&#34;&gt;&lt;i&gt;&#39;&amp;">&#34;&gt;&lt;i&gt;&#39;&amp;</b>'
    assert html('<p>{inner}{n:.1f}{m}</p>', inner=inner, n=1.5, m=3) == f'<p>{inner}1.53</p>'
    assert join([inner, inner]) == inner * 2
    assert html('{x}', x=['<i>', None]) == '[&#39;&lt;i&gt;&#39;, None]'


def test_a_field_of_a_number_takes_no_text():
    with pytest.raises(ValueError, match='format code'):
        html('{x:.1f}', x='<i>')


def test_what_html_and_utf_8_cannot_hold_is_shown_as_an_escape():
    shown = html('{x}', x='a\x1b\x00\ud800\u202eb\n\tc')
    assert shown == 'a\\x1b\\x00\\ud800\\u202eb\n\tc'
    assert shown.encode()


def test_tables_and_regions_escape_labels_and_cells():
    assert '<i>' not in table(['<i>'], [['<i>', '"<i>']], '"><i>')
    assert scroll('"><i>', NOTHING).count('<') == 2


def test_data_ends_no_script():
    text = {'</script><script>': '<!-- & -->'}
    shown = script_data(text)
    assert not set('<>&') & set(shown)
    assert json.loads(shown) == text


def test_a_page_says_that_its_own_script_alone_may_run():
    page = document('t', NOTHING, Markup('<p>'), NOTHING, asset('page.js'))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1].replace('&#39;', "'")
    rules = dict(rule.split(' ', 1) for rule in policy.split('; '))
    script = re.search(r'<script>(.*)</script>', page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules == {
        'default-src': "'none'",
        'img-src': 'data:',
        'style-src': "'unsafe-inline'",
        'base-uri': "'none'",
        'form-action': "'none'",
        'script-src': f"'sha256-{digest}'",
    }
    assert page.index('Content-Security-Policy') < page.index('<style>')
    assert 'script-src' not in document('t', NOTHING, NOTHING)


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
        packed((2048, MOST_PIXELS // 2048 + 1)),
    ):
        assert decode(data) is None


def test_a_thumbnail_that_announces_too_much_is_not_decoded(monkeypatch):
    large = bytearray(packed())
    at = large.index(b'\xff\xc0') + 5
    large[at : at + 4] = b'\xff\xdc\xff\xdc'  # height and width
    monkeypatch.setattr(Image.Image, 'convert', lambda *args: pytest.fail('it was decoded'))
    assert decode(bytes(large)) is None


def test_eps_is_no_thumbnail():
    """Ghostscript would be started to draw it."""
    assert decode(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n') is None
