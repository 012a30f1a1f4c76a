"""The reference pages of the docs site name every component, argument, and public name; mkdocs is not needed."""

from __future__ import annotations

import importlib
import posixpath
import re
import tomllib
from pathlib import Path

import pytest

import vireid
from vireid.cli.commands import NAMES
from vireid.core.registry.signature import signature_of
from vireid.interfaces import INTERFACES, given
from vireid.plugin_manager.manager import create_manager

TOOLS = Path(__file__).parents[1] / 'tools'


@pytest.fixture(scope='module')
def reference():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module('site_reference')


@pytest.mark.parametrize('kind', INTERFACES)
def test_the_page_of_a_kind_has_each_component_with_its_arguments(reference, kind):
    components = create_manager().components
    sections = reference.kind_page(kind).split('\n## ')[1:]
    names = [one.name for one in components.listing() if (one.kind, one.plugin) == (kind, 'builtin')]
    assert [section.split('`')[1] for section in sections] == names
    for name, section in zip(names, sections, strict=True):
        for argument in set(signature_of(components.get(kind, name)).parameters) - set(given(kind)):
            assert f'\n| `{argument}` | ' in section, (name, argument)


def test_an_argument_has_its_range_default_and_description(reference):
    page = reference.kind_page('heads')
    (section,) = (part for part in page.split('\n## ') if part.startswith('`BottleneckHead`'))
    (row,) = (line for line in section.splitlines() if line.startswith('| `dropout` '))
    assert row.startswith('| `dropout` | a number of at least 0 and below 1 | `0.5` | ')
    assert len(row.split('|')[4]) > 10


def test_every_public_name_has_its_docstring_on_a_page_about_python(reference):
    page = ''.join(reference.pages()[f'reference/{name}.md'] for name in ('functions', 'objects'))
    for name in set(vireid.__all__) - {'__version__'}:
        assert page.count(f'::: {vireid._LAZY[name]}.{name}\n') == 1, name


def test_every_interface_is_documented(reference):
    page = reference.interfaces_page()
    for kind, interface in INTERFACES.items():
        assert f'## {kind.capitalize()}\n' in page
        for member in interface.required():
            assert f'`{member}' in page or f'`{member}(' in page, (kind, member)


def test_the_page_about_commands_names_each_command():
    page = (Path(__file__).parents[1] / 'docs' / 'commands.md').read_text(encoding='utf-8')
    assert [name for name in NAMES if f'| `vireid {name}' not in page and f', `vireid {name}`' not in page] == []


def test_the_start_page_names_each_extra():
    root = Path(__file__).parents[1]
    extras = tomllib.loads((root / 'pyproject.toml').read_text(encoding='utf-8'))['project']['optional-dependencies']
    table = (root / 'docs' / 'README.md').read_text(encoding='utf-8').split('| extra | for |')[1].split('\n\n')[0]
    assert [extra for extra in extras if f'`{extra}`' not in table] == []


def test_the_guide_to_reports_names_each_section():
    template = (Path(vireid.__file__).parent / 'reporting/templates/report.html').read_text(encoding='utf-8')
    sections = re.findall(r"': \('([A-Z][\w ]+)', '", template)
    assert len(sections) >= 10
    guide = (Path(__file__).parents[1] / 'docs' / 'reports.md').read_text(encoding='utf-8')
    named = guide.split('| section | what to look for |')[1].split('\n\n')[0]
    assert [section for section in ('Result', 'Metrics', 'Ranking lists', *sections) if section not in named] == []


def test_docstrings_do_not_become_markup(reference):
    assert reference._cell('a * b, W_m | <b>\n  `x_y`') == 'a \\* b, W\\_m \\| &lt;b> `x_y`'


def test_links_between_generated_pages_lead_to_pages_and_anchors(reference):
    """The wording of a type once changed to `one of the losses`, and pages linked to `the.md`."""
    pages = reference.pages()
    seen = 0
    for name, page in pages.items():
        for address, _, anchor in re.findall(r'\]\(([\w./-]+\.md)(#([\w-]+))?\)', page):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), address))
            assert path in pages or (TOOLS.parent / 'docs' / path).is_file(), (name, address)
            if path in pages and anchor:
                assert re.search(rf'#{anchor} \}}|^## {anchor}$', pages[path], re.MULTILINE | re.IGNORECASE), address
            seen += 1
    assert seen > 100
