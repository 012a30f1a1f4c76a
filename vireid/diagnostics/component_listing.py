"""What `vireid components` prints: a list of the components, or the description of one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from vireid.core.registry.components import Components
from vireid.diagnostics.component_description import Description, describe
from vireid.errors import UnknownName, VireidError, did_you_mean
from vireid.interfaces import KINDS, given


def list_components(components: Components, kind: str | None = None) -> Iterator[str]:
    """Yields the lines of a list of all components, or those of one kind.

    Raises:
        UnknownName: if there is no such kind.
    """
    listed = [one for one in components.listing() if one.kind in _kinds(kind)]
    for own in dict.fromkeys(one.kind for one in listed):
        yield own
        supplied = given(own)
        for component in (one for one in listed if one.kind == own):
            try:
                about = describe(components.get(own, component.name))
            except VireidError as error:
                about = Description(str(component.target), f'{error.given}')
            plugin = '' if component.plugin == 'builtin' else f'  [{component.plugin}]'
            summary = about.summary or f'see {about.place.replace(":", ".")}'
            yield f'  {component.name}({about.signature(without=supplied)}){plugin}'
            yield '      ' + textwrap.shorten(summary, 104, placeholder=' ...')
        yield ''


def describe_component(components: Components, kind: str, name: str) -> Iterator[str]:
    """Yields the lines of the description of a component.

    Raises:
        UnknownName: if there is no such kind or component.
        Unavailable: if the component cannot be imported.
    """
    plugins = {one.name: one.plugin for one in components.listing() if one.kind in _kinds(kind)}
    about = describe(components.get(kind, name))
    yield f'{kind} {name!r}, plugin {plugins[name]!r} ({about.place})\n\n{about.text or "no description"}'
    supplied = given(kind)
    for title, filled in (('set by the config', False), ('filled in by the framework', True)):
        arguments = [a for a in about.arguments if (a.name in supplied) is filled]
        if arguments:
            yield f'\n{title}:'
        for argument in arguments:
            default = '' if argument.default is None else f' = {argument.default}'
            yield f'  {argument.name}' + (f': {argument.type}' if argument.type else '') + default
            if argument.text:
                yield textwrap.fill(argument.text, 100, initial_indent='      ', subsequent_indent='      ')


def _kinds(kind: str | None) -> tuple[str, ...]:
    if kind is None:
        return tuple(KINDS)
    if kind not in KINDS:
        raise UnknownName(f'no kind {kind!r}{did_you_mean(kind, KINDS)}', allowed=', '.join(KINDS))
    return (kind,)
