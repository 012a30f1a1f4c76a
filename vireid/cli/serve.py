"""Start a web page to search an index: drop an image, crop it, filter, compare."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_index_arguments, add_listening_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid serve`."""
    parser.add_argument('index', type=Path, help='folder of an index, written by `vireid index`')
    add_listening_arguments(parser)
    add_index_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Serves the page until Ctrl-C."""
    from vireid.serve.listening import Address, explained_imports, serve

    with explained_imports():
        from vireid.search.index import Index
        from vireid.serve.app import create_app, label_file
    address = Address(args.host, args.port, args.token, args.open)
    index = Index.open(args.index, args.plugin, args.checkpoint, args.trust_config)
    index.load()
    serve(
        address, f'{len(index):,} images', str(label_file(index)),
        lambda hosts, token: create_app(index, hosts, token, args.false_alarms),
    )  # fmt: skip
