"""Find the images of an index that are most similar to an image of someone."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_index_arguments
from vireid.console.warn import warn_once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid search`."""
    from vireid.core.types import MODALITIES

    parser.add_argument('index', type=Path, help='folder of an index, written by `vireid index`')
    parser.add_argument(
        'images', type=Path, nargs='+', metavar='IMAGE', help='images of a person, cut out of the scene'
    )
    parser.add_argument('--top', type=int, default=20, metavar='N', help='number of images per query (default: 20)')
    parser.add_argument('--among', choices=MODALITIES, help='only images of this modality (default: all images)')
    parser.add_argument('--camera', action='append', default=[], metavar='NAME', help='only this camera; repeatable')
    parser.add_argument(
        '--after', metavar='TIME', help='not before this time, such as 2026-11-29 or "2026-11-29 22:00"'
    )
    parser.add_argument('--before', metavar='TIME', help='not after this time; a date includes that day')
    parser.add_argument(
        '--modality', choices=MODALITIES, help='modality of the queries (default: visible if the image has colors)'
    )
    parser.add_argument('--html', type=Path, metavar='FILE', help='also write a page with the images')
    parser.add_argument('--json', action='store_true', help='print JSON: a list of queries with their hits')
    add_index_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Prints the hits of each query."""
    from vireid.boundary.showing import as_json
    from vireid.search.index import Index
    from vireid.search.page import write_page
    from vireid.search.queries import read_filter, search_images

    index = Index.open(args.index, args.plugin, args.checkpoint, args.trust_config)
    where = read_filter(index, args.camera, args.after, args.before, args.among)
    answers = search_images(index, args.images, args.modality, args.top, where, args.false_alarms, warn_once)
    if args.html:
        write_page(args.html, index, answers)
    if args.json:
        print(as_json([answer.to_dict() for answer in answers], indent=1))
        return
    for answer in answers:
        print(f'{answer.text(args.false_alarms)}\n')
    for note in dict.fromkeys(answer.confidence.unknown for answer in answers if answer.hits):
        if note:
            print(f'note: {note}')
    if args.html:
        print(f'written to {args.html}')
