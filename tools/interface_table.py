#!/usr/bin/env python3
"""Updates the list of interfaces in docs/architecture.md from vireid/interfaces.py (`make docs`)."""

from pathlib import Path

from vireid.interfaces import INTERFACES, Interface

PAGE = Path(__file__).parents[1] / 'docs' / 'architecture.md'
BEGIN, END = '<!-- interfaces: written by make docs -->', '<!-- end of interfaces -->'
MODEL = INTERFACES['models'].given


def document() -> str:
    """Returns the page with the current interfaces."""
    before, _, rest = PAGE.read_text(encoding='utf-8').partition(BEGIN)
    return f'{before}{BEGIN}\n{lists()}\n{END}{rest.partition(END)[2]}'


def lists() -> str:
    """Returns a Markdown list with one item per kind."""
    return '\n'.join(map(item, INTERFACES))


def item(kind: str) -> str:
    """Returns the item of one kind. Four spaces nest a list, on GitHub and on the site."""
    interface = INTERFACES[kind]
    lines = [f'- **`{kind}`**: {" ".join((interface.__doc__ or "").split())}']
    if given := _given(interface):
        lines.append(f'    - given: {given}')
    required = [words if words.startswith('`') else f'`{name}`, {words}' for name, words in _required(interface)]
    if required:
        lines.append(f'    - required: {"; ".join(required)}')
    return '\n'.join(
        [*lines, *(f'    - optional: {_optional(name, may)}' for name, may in interface.optional().items())]
    )


def _required(interface: type[Interface]) -> list[tuple[str, str]]:
    return [
        (name, f'`{words.removeprefix("a method ")}`' if words.startswith('a method ') else words)
        for name, (words, _) in interface.required().items()
    ]


def _optional(name: str, may: object) -> str:
    words, default = may.description, may.default  # type: ignore[attr-defined]
    call, colon, rest = words.partition('): ')
    text = f'`{call})`: {rest}' if colon else f'`{name}`: {words}'
    return text if callable(default) or default in (None, (), {}, '') else f'{text}; by default `{default!r}`'


def _given(interface: type[Interface]) -> str:
    model = interface.given[: len(MODEL)] == MODEL
    names = ['the values for models'] if model and interface is not INTERFACES['models'] else []
    own = interface.given[len(MODEL) :] if names else interface.given
    names += [f'`{name}`' for name in own]
    return ', '.join([*names, *(f'`{name}`, which a config may set too' for name in interface.defaults)])


if __name__ == '__main__':
    PAGE.write_text(document(), encoding='utf-8')
