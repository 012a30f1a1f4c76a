"""Writes the reference pages of the site, as Markdown, from the registry, the interfaces, and the public names.

mkdocstrings replaces the lines that begin with `:::` by docstrings.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from interface_table import item
from settings_page import allowed

from vireid import _LAZY
from vireid.core.registry.components import Components, Registration
from vireid.core.registry.signature import signature_of
from vireid.diagnostics.component_description import describe
from vireid.interfaces import INTERFACES, given
from vireid.plugin_manager.manager import create_manager

FOLDER = 'reference'
FUNCTIONS = {
    'Train, evaluate, compare': ('load_experiment', 'train', 'evaluate', 'compare', 'table', 'plot'),
    'Use a trained model': ('load',),
}
OBJECTS = {
    'What functions take and return': ('Experiment', 'Run', 'Results', 'Sample', 'VireidError'),
    'What `vireid.load` returns': ('Embedder',),
    'For plugins': ('FeatureSpec', 'HeadOutput', 'Component', 'hookimpl'),
}
MORE = {'Embedder': 'vireid.search.embedder'}  # what the public functions return


@cache
def pages() -> dict[str, str]:
    """Returns the text of each page by its path below docs/."""
    kinds = {f'{FOLDER}/components/{kind}.md': kind_page(kind) for kind in INTERFACES}
    return {
        f'{FOLDER}/components/README.md': components_page(),
        **kinds,
        f'{FOLDER}/functions.md': python_page('Functions', FUNCTIONS),
        f'{FOLDER}/objects.md': python_page('Objects', OBJECTS),
        f'{FOLDER}/interfaces.md': interfaces_page(),
    }


def folder(path: str) -> list[str]:
    """Returns the names of the pages in a folder below docs/, its start page first."""
    written = {page.name for page in (Path(__file__).parents[1] / 'docs' / path).glob('*.md')}
    generated = {uri.removeprefix(path) for uri in pages() if uri.startswith(path)}
    return sorted(written | generated, key=lambda name: (name != 'README.md', name))


def component_places() -> dict[str, str]:
    """Returns the page and anchor of each component by its name."""
    return {one.name: f'{FOLDER}/components/{one.kind}.md#{_anchor(one.name)}' for one in _built_in()}


def components_page() -> str:
    """Returns the page that lists all kinds."""
    lines = [
        '# Components',
        'Every name that a config may use, by kind. `vireid components` prints the same list, with the components of '
        'your plugins.',
        '| kind | what it does | components |\n|---|---|---|',
    ]
    for kind, interface in INTERFACES.items():
        what = (interface.__doc__ or '').split('\n\n')[0].replace('\n', ' ')
        own = (one.name for one in _built_in() if one.kind == kind)
        names = ', '.join(f'[`{name}`]({kind}.md#{_anchor(name)})' for name in own)
        lines[-1] += f'\n| [{kind}]({kind}.md) | {_cell(what)} | {names} |'
    return '\n\n'.join(lines) + '\n'


def kind_page(kind: str) -> str:
    """Returns the page of one kind: what it must and may have, then each component."""
    own = [one for one in _built_in() if one.kind == kind]
    what = ' '.join((INTERFACES[kind].__doc__ or '').split())
    head = [f'# {kind.capitalize()}', f'{what} To write one, see [their interface](../interfaces.md#{kind}).']
    return '\n\n'.join([*head, *map(component_section, own)]) + '\n'


def kind_interface(kind: str) -> str:
    """Returns what a component of a kind does, receives, must have, and may have."""
    text, *members = item(kind).splitlines()
    return '\n'.join([text.split(': ', 1)[1], '', *(line.removeprefix('    ') for line in members)])


def component_section(one: Registration) -> str:
    """Returns the section about one component: its docstring, and a table of its arguments."""
    target = _components().get(one.kind, one.name)
    about, supplied = describe(target), given(one.kind)
    texts = {argument.name: argument.text for argument in about.arguments}
    rows, filled = [], []
    for name, parameter in signature_of(target).parameters.items():
        if name in supplied:
            filled.append(f'`{name}`')
            continue
        hint = 'anything' if parameter.hint is Any else allowed(parameter.hint)
        hint = re.sub(r"dict\(type='...', ...\), one of the (\w+)", r'a config of [\1](\1.md)', hint)
        hint = re.sub(r'a (list|dict) of a config of', r'a \1 of configs of', hint)
        default = _default(target, name)
        rows.append(f'| `{name}` | {hint} | {default} | {_cell(texts.get(name, ""))} |')
    # of torch and torchvision, the rest is about types of input that do not occur here
    text = about.text if about.place.startswith('vireid.') else about.summary
    parts = [f'## `{one.name}` {{ #{_anchor(one.name)} }}', _escaped(text)]
    if rows:
        parts.append('\n'.join(['| argument | allowed | default | description |', '|---|---|---|---|', *rows]))
    filled_in = f' vireid fills in {", ".join(filled)}.' if filled else ''
    arguments = '' if rows else 'It has no arguments to set. '
    parts.append(f'{arguments}Defined as `{about.place.replace(":", ".")}`.{filled_in}')
    return '\n\n'.join(parts)


def python_page(title: str, groups: Mapping[str, Sequence[str]]) -> str:
    """Returns a page of public names by group, with directives for mkdocstrings."""
    parts = [f'# {title}', '`import vireid` provides these names, and imports each when it is first used.']
    for group, names in groups.items():
        parts += [f'## {group}', *(_directive(f'{(_LAZY | MORE)[name]}.{name}') for name in names)]
    return '\n\n'.join(parts) + '\n'


def interfaces_page() -> str:
    """Returns the page of the interfaces and hooks, with directives for mkdocstrings."""
    parts = [
        '# Interfaces',
        'What each kind of component receives, must have, and may have, and the hooks of a plugin. Inheriting from '
        'these classes is optional. [Plugins of every kind](../plugin-kinds.md) has examples.',
        'vireid passes the *given* values to a constructor that names them; a config cannot set them.',
    ]
    for kind, interface in INTERFACES.items():
        parts += [f'## {kind.capitalize()}', kind_interface(kind)]
        methods = [name for name in interface.required() if inspect.isfunction(vars(interface)[name])]
        parts += [_directive(f'vireid.interfaces.{interface.__name__}.{name}') for name in methods]
    parts += [
        '## Hooks',
        'A plugin implements any of these functions, with any of their arguments, and marks them with '
        '`vireid.hookimpl`.',
        '::: vireid.plugin_manager.hooks.Hooks\n    options:\n      show_root_heading: false\n'
        '      show_root_toc_entry: false\n      heading_level: 3',
        '## Values that components exchange',
    ]
    shared = ('Batch', 'Context', 'Progress', 'Trial')
    parts += [_directive(f'vireid.core.types.{name}') for name in shared]
    parts += ['## Tests of a plugin', _directive('vireid.testing.check_plugin')]
    return '\n\n'.join(parts) + '\n'


def _directive(name: str) -> str:
    return f'::: {name}\n    options:\n      heading_level: 3'


@cache
def _components() -> Components:
    return create_manager().components


def _built_in() -> list[Registration]:
    return [one for one in _components().listing() if one.plugin == 'builtin']


def _anchor(name: str) -> str:
    return re.sub(r'[^\w-]', '-', name.lower())


def _default(target: Callable[..., Any], name: str) -> str:
    """Returns the default of an argument in Markdown, from the class that receives it."""
    for call in (target, *(cls.__init__ for cls in getattr(target, '__mro__', ())[1:-1])):
        parameter = inspect.signature(call).parameters.get(name)
        if parameter is not None:
            if parameter.default is parameter.empty:
                return 'required'
            value = parameter.default
            return f'`{getattr(value, "__qualname__", None) or repr(value)}`'.replace('|', '\\|')
    return ''


def _cell(text: str) -> str:
    return _escaped(' '.join(text.split())).replace('|', '\\|')


def _escaped(text: str) -> str:
    """Returns text of a docstring as Markdown: code stays code, and nothing else is markup."""
    # docstrings of torch have roles and links of Sphinx
    text = re.sub(r':\w+:`~?([^`<]*)(?:<[^`]*>)?`', r'`\1`', text.replace('``', '`'))
    text = re.sub(r'`([^`<]+)(?:<[^`]*>)?`__?', r'\1', text)
    parts = re.split(r'(`+.*?`+)', text, flags=re.DOTALL)
    return ''.join(
        part if index % 2 else re.sub(r'([*_])', r'\\\1', part).replace('<', '&lt;') for index, part in enumerate(parts)
    )
