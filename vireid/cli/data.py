"""Generate synthetic people, check a dataset, split your own images, or draw a learning curve."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli import curve
from vireid.cli.arguments import add_plugin_arguments, make_manager
from vireid.cli.output import print_next
from vireid.console.progress_bar import progress_bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid data`."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    synth = actions.add_parser(
        'synth',
        help='generate visible and infrared images of synthetic people',
        description='Generate visible and infrared images of synthetic people. The same arguments give the same '
        'images.',
    )
    synth.add_argument('out', type=Path, help='output folder')
    synth.add_argument(
        '--layout', default='sysu', metavar='NAME', help='sysu, regdb, llcm, folders or manifest (default: sysu)'
    )
    synth.add_argument('--ids', type=int, default=120, metavar='N', help='number of people (default: 120)')
    synth.add_argument('--seed', type=int, default=0, metavar='N', help='random seed (default: 0)')
    synth.add_argument('--images', type=int, metavar='N', help='images per person and camera (default: by layout)')
    synth.add_argument('--workers', type=int, metavar='N', help='number of processes (default: one per core)')
    synth.set_defaults(act=_synth)
    check = actions.add_parser(
        'check',
        help='count and decode the images of a dataset',
        description='Compare the numbers of identities and images with those of a complete copy, and decode every '
        'image. For your own images, also look for people seen by a single modality or camera, images in the '
        'folder of the wrong modality, and people with two names. Exit status 1 if there are errors to fix.',
    )
    check.add_argument('root', help="the dataset's folder")
    check.add_argument('--dataset', metavar='NAME', help='dataset name (default: by the layout of the folder)')
    check.add_argument(
        '--only', nargs='+', metavar='NAME', help='only these parts (default: train test; all for your own images)'
    )
    check.add_argument('--split', type=int, metavar='N', help='split of a dataset with several (RegDB: 1 to 10)')
    check.add_argument(
        '--scale-raw',
        metavar='percentiles|LOW,HIGH',
        help='how raw values (more than 8 bits) become gray levels, as images.scale_raw in a config',
    )
    check.set_defaults(act=_check)
    add_plugin_arguments(check)
    split = actions.add_parser(
        'split',
        help='split your own images into training and test identities',
        description='Write a table of your images that assigns every person to training, validation or test. The '
        'split is stratified by the cameras that saw a person and balances the images of each camera.',
    )
    split.add_argument(
        'images',
        type=Path,
        help='folder with visible/NAME/*.jpg and infrared/NAME/*.jpg, or a table (see docs/own-cameras.md)',
    )
    split.add_argument(
        '-o', '--out', type=Path, metavar='FILE', help='table to write (default: manifest.csv in the folder)'
    )
    for flag, default, purpose in (('--test', 0.5, 'testing'), ('--val', 0.0, 'validation')):
        text = f'fraction of the identities for {purpose} (default: {default:g})'
        split.add_argument(flag, type=float, default=default, metavar='SHARE', help=text)
    split.add_argument('--seed', type=int, default=0, metavar='N', help='random seed (default: 0)')
    split.set_defaults(act=_split)
    add_plugin_arguments(split)
    curve.add_arguments(
        actions.add_parser(
            'curve',
            help='draw rank-1 against the number of labeled people',
            description='Train on increasing numbers of your people, test all models on the same people, and '
            'estimate whether labeling more would help. Repeat the same command to resume.',
        )
    )


def run(args: argparse.Namespace) -> int | None:
    """Runs the action."""
    return args.act(args)


def _check(args: argparse.Namespace) -> int:
    """Prints the report; returns 1 if there are errors to fix."""
    from vireid.boundary.image_files import parse_scale_raw
    from vireid.diagnostics.folder_report import check_folder

    components, scale_raw = make_manager(args, args.plugin).components, parse_scale_raw(args.scale_raw)
    with progress_bar('decoding images') as show:
        text, wrong = check_folder(args.root, components, args.dataset, args.split, args.only, scale_raw, show)
    print(text)
    return 1 if wrong else 0


def _split(args: argparse.Namespace) -> None:
    """Writes the table, and prints a summary and the next commands."""
    from vireid.diagnostics.split_table import split_images

    components = make_manager(args, args.plugin).components
    text, root = split_images(args.images.expanduser(), args.out, components, args.test, args.val, args.seed)
    print(text)
    print_next(root)


def _synth(args: argparse.Namespace) -> None:
    """Generates the people and prints a summary."""
    from vireid.synth import synthesize

    with progress_bar('generating images') as show:
        summary = synthesize(
            args.out,
            layout=args.layout,
            ids=args.ids,
            seed=args.seed,
            images=args.images,
            workers=args.workers,
            on_progress=show,
        )
    print(summary.text())
