"""Text of a stranger is text wherever it is shown."""

from __future__ import annotations

import csv
import io
import json
import os
import re

import pytest
from markdown_it import MarkdownIt

from vireid.boundary.showing import (
    as_json,
    csv_cell,
    latex,
    markdown,
    markdown_block,
    markdown_code,
    markdown_line,
    mermaid,
    one_line,
    printable,
    some,
)

PARSER = MarkdownIt('commonmark').enable(['table', 'strikethrough'])
HOSTILE = (
    '![x](http://evil/t.png)',
    '[click](http://evil)',
    '[a]: http://evil',
    '[a][b]',
    '[^1]: note',
    '[![x](//e)](//e)',
    '<img src=x onerror=alert(1)>',
    '<http://evil>',
    '&lt;b&gt; &#60;',
    '*a* _a_ __a__ ~~a~~ **a**',
    '`code` ``two``',
    r'\* \[a](b) \\',
    'a | b | c',
    '```\n# heading',
    '# heading',
    '- item',
    '1. item',
    '12) item',
    '+ item',
    '> quote',
    '===',
    '---',
    '***',
    '~~~',
    '    code',
    '$x$ $$y$$',
    'line\n\n# two',
    'x\r\ny\u2028z',
    '=HYPERLINK("http://evil")',
)
CLEAN = (
    'tffn_sysu', 'all single-shot', '[288, 144]', '-', '-1', '~/data', 'R1 (lit.)', '{type: GeM, p: 3.0}', 'a & b',
    '50.00 ± 0.1', '#1', "it's", 'runs/a.py', 'x@', '1.5',
)  # fmt: skip


def kinds(text: str) -> list[str]:
    """What Markdown makes of a document: the types of its parts, and of what is within a line."""
    found = []
    for token in PARSER.parse(text):
        found.append(token.type)
        found += [child.type for child in token.children or ()]
    return found


def shown(text: str) -> str:
    """The text of a document."""
    return ''.join(c.content for t in PARSER.parse(text) for c in t.children or () if c.type == 'text')


@pytest.mark.parametrize('text', HOSTILE)
def test_markdown_shows_it_as_it_is(text):
    line = f'a {markdown(text)} b'
    assert kinds(line) == ['paragraph_open', 'inline', 'text', 'paragraph_close']
    assert shown(line) == f'a {one_line(text)} b'
    assert kinds(markdown_line(text)) == ['paragraph_open', 'inline', 'text', 'paragraph_close']
    assert shown(markdown_line(text)) == one_line(text).strip()


@pytest.mark.parametrize('text', HOSTILE)
def test_a_line_after_another_is_of_the_same_paragraph(text):
    assert set(kinds(f'before\n{markdown_line(text)}')) <= {
        'paragraph_open', 'inline', 'text', 'softbreak', 'paragraph_close',
    }  # fmt: skip


@pytest.mark.parametrize('text', HOSTILE)
def test_a_cell_stays_one(text):
    table = f'| a | b |\n|---|---|\n| {markdown(text)} | {markdown(text)} |'
    found = kinds(table)
    assert found.count('td_open') == 2
    assert set(found) - {'inline', 'text'} == {
        f'{part}_{end}' for part in ('table', 'thead', 'tbody', 'tr', 'th', 'td') for end in ('open', 'close')
    }


@pytest.mark.parametrize('text', CLEAN)
def test_what_means_nothing_to_markdown_stays_letter_by_letter(text):
    assert markdown(text) == text


def test_bare_addresses_are_no_links():
    assert markdown('http://evil and WWW.evil.com') == r'http\://evil and WWW\.evil.com'


@pytest.mark.parametrize('text', ['a', 'sysu/agw', '`', '``', 'a`b', ' a ', '', '`<b>`', 'a\n```\nb', '\\'])
def test_code_within_a_line(text):
    (token,) = [t for t in PARSER.parse(f'by {markdown_code(text)}.') if t.type == 'inline']
    assert [child.type for child in token.children] == ['text', 'code_inline', 'text']
    assert token.children[1].content.strip() == one_line(text).strip()


def test_some_names_are_shown_and_the_others_counted():
    names = [str(number) for number in range(2_000)]
    assert some(names[:2], 2) == '0, 1'
    assert some(names, 2) == '0, 1 and 1,998 more'
    assert some(names, 2, ', ...') == '0, 1, ...'


def test_plain_code_has_one_backtick():
    assert markdown_code('sysu/agw') == '`sysu/agw`'


@pytest.mark.parametrize('text', ['a', '```', 'a\n```\n# b', '````python', '~~~', '\x1b[2J'])
def test_a_block_of_code_ends_where_it_ends(text):
    tokens = PARSER.parse(f'{markdown_block(text)}\n\nafter')
    assert [token.type for token in tokens] == ['fence', 'paragraph_open', 'inline', 'paragraph_close']
    assert tokens[0].content == f'{printable(text)}\n'


def test_control_characters_are_shown_as_escapes():
    assert printable('a\x1b[2J\x07\x9b\u202e\ud800\ufffe\n\tb') == 'a\\x1b[2J\\x07\\x9b\\u202e\\ud800\\ufffe\n\tb'
    assert one_line('a\r\n\x0b\u2028b\x00') == 'a b\\x00'
    for plain in ('Zoë 行人 ±', 'שלום'):
        assert printable(plain) == one_line(plain) == plain


@pytest.mark.parametrize('text', ['=1+1', '+1', '-1', '@x', '|x', '%x', ' =1', '\t=1', '\n=1', '＝1', 'a;=1', 'a\t@x'])
def test_no_cell_of_a_spreadsheet_is_a_formula(text):
    file = io.StringIO()
    csv.writer(file).writerow([csv_cell(text), 'x'])
    for divided in ({}, {'delimiter': ';'}, {'delimiter': '\t'}):
        for cell in next(csv.reader(io.StringIO(file.getvalue()), **divided)):
            assert not re.match(r'\s*[=+\-@|%＝]', cell), cell


@pytest.mark.parametrize('text', CLEAN)
def test_other_cells_stay(text):
    assert csv_cell(text) == (f"'{text}" if text[0] == '-' else text)


def test_latex_sets_it_as_it_is():
    assert latex('\\input{/etc/passwd}') == r'\textbackslash{}input\{/etc/passwd\}'
    assert latex('a\n\n%b & $x_1^2$ #~ ±') == r'a \%b \& \$x\_1\textasciicircum{}2\$ \#\textasciitilde{} $\pm$'
    assert latex('\x1b') == r'\textbackslash{}x1b'


@pytest.mark.parametrize(
    ('text', 'set_as'), [('[5cm] a', '{[}5cm] a'), ('* a', '{*} a'), (' [a', ' {[}a'), ('a [b]*', 'a [b]*')]
)
def test_a_row_of_latex_begins_with_no_option_of_the_one_before(text, set_as):
    assert latex(text) == set_as


@pytest.mark.parametrize(
    'text', ['"] --> b', '%%{init: {}}%%', 'a\nclick b "http://evil"', '`**b**`', '<b>', '#quot;', '$$x$$']
)
def test_a_label_of_mermaid_holds_no_syntax(text):
    found = mermaid(text)
    assert '\n' not in found
    assert not re.search(r'["`<>%$]', found)
    assert re.sub(r'#\w+;', '', found).count('#') == 0


def test_a_plain_label_of_mermaid_stays():
    assert mermaid('f: GlobalHead + x (joint map, 64 x 72)') == 'f: GlobalHead + x (joint map, 64 x 72)'


def test_json_of_file_names_that_are_not_utf_8_is_json():
    name = os.fsdecode('张三'.encode('gbk'))
    text = as_json({'images': [[f'data/{name}/1.jpg', 1]], name: 'José'})
    assert 'ud' not in text  # no lone surrogate, which other programs refuse
    assert json.loads(text) == {'images': [['data/\\xd5\\xc5\\xc8\\xfd/1.jpg', 1]], '\\xd5\\xc5\\xc8\\xfd': 'José'}
    assert json.loads(as_json(['\U0001f600'], indent=1)) == ['\U0001f600']
