"""List the components that configs can name, or describe one of them."""

from __future__ import annotations

import argparse
import textwrap

from vireid.cli.arguments import add_plugin_arguments, make_manager
from vireid.core.errors import VireidError, did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid components`."""
    parser.add_argument('kind', nargs='?', help='list one kind only, such as necks')
    parser.add_argument('name', nargs='?', help='describe one component, such as MLFM')
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the list, or the description of one component."""
    from vireid.diagnostics.component_description import Description, describe
    from vireid.interfaces import KINDS, given

    if args.kind is not None and args.kind not in KINDS:
        raise VireidError(f'no kind {args.kind!r}{did_you_mean(args.kind, KINDS)}', allowed=', '.join(KINDS))
    components = make_manager(args, args.plugin).components
    listed = [c for c in components.listing() if args.kind in (None, c.kind)]
    if args.name is not None:
        one = next((c for c in listed if c.name == args.name), None)
        if one is None:
            components.get(args.kind, args.name)  # raises, naming the closest match and all others
            return 2
        about = describe(components.get(args.kind, args.name))
        print(f'{args.kind} {one.name!r}, plugin {one.plugin!r} ({about.place})\n\n{about.text or "no description"}')
        supplied = given(one.kind)
        for title, wanted in (('set by the config', False), ('filled in by the framework', True)):
            arguments = [a for a in about.arguments if (a.name in supplied) is wanted]
            if arguments:
                print(f'\n{title}:')
            for argument in arguments:
                default = '' if argument.default is None else f' = {argument.default}'
                print(f'  {argument.name}' + (f': {argument.type}' if argument.type else '') + default)
                if argument.text:
                    print(textwrap.fill(argument.text, 100, initial_indent='      ', subsequent_indent='      '))
        return 0
    for kind in dict.fromkeys(c.kind for c in listed):
        print(kind)
        supplied = given(kind)
        for component in (c for c in listed if c.kind == kind):
            try:
                about = describe(components.get(kind, component.name))
            except VireidError as error:
                about = Description(str(component.target), f'{error.given}')
            plugin = '' if component.plugin == 'builtin' else f'  [{component.plugin}]'
            summary = about.summary or f'see {about.place.replace(":", ".")}'
            print(f'  {component.name}({about.signature(without=supplied)}){plugin}')
            print('      ' + textwrap.shorten(summary, 104, placeholder=' ...'))
        print()
    return 0
