"""Generate synthetic people, check a dataset, split your own images, or draw a learning curve."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from vireid.cli import curve
from vireid.cli.arguments import add_plugin_arguments, make_manager
from vireid.cli.output import progress_bar
from vireid.core.errors import VireidError
from vireid.interfaces import Dataset

if TYPE_CHECKING:
    from vireid.boundary.image_files import ScaleRaw
    from vireid.core.registry.components import Components

SHOWN = 5  # names in a message
TABLE = 'manifest.csv'
FOLDERS = ('visible', 'infrared', 'train', 'test')  # any of these marks the layout of `Folders`
CONFIG = 'vireid::own_few.py'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid data`."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    synth = actions.add_parser(
        'synth',
        help='generate visible and infrared images of synthetic people',
        description='Generates visible and infrared images of synthetic people. The same arguments give the same '
        'images.',
    )
    synth.add_argument('out', type=Path, help='output folder')
    synth.add_argument(
        '--layout', default='sysu', help='folder layout: sysu, regdb, llcm, folders or manifest (default: sysu)'
    )
    synth.add_argument('--ids', type=int, default=120, help='number of people (default: 120)')
    synth.add_argument('--seed', type=int, default=0, help='random seed (default: 0)')
    synth.add_argument('--images', type=int, help='images per person and camera (default: that of the layout)')
    synth.add_argument('--workers', type=int, help='number of processes (default: one per core)')
    synth.set_defaults(act=_synth)
    check = actions.add_parser(
        'check',
        help='count and decode the images of a dataset',
        description='Compares the numbers of identities and images with those of a complete copy, and decodes every '
        'image. For your own images, it also looks for people seen by a single modality or camera, images in the '
        'folder of the wrong modality, and people with two names. Exit status 1 if there are errors to fix.',
    )
    check.add_argument('root', help="the dataset's folder")
    check.add_argument('--dataset', help='dataset name (default: by the layout of the folder)')
    check.add_argument('--splits', nargs='+', help='splits to check (default: train test; all for your own images)')
    check.add_argument('--trial', type=int, help='split of a dataset with several splits (RegDB: 1 to 10)')
    check.add_argument(
        '--scale-raw',
        type=_scaling,
        metavar='percentiles|LOW,HIGH',
        help='how raw values (more than 8 bits) become gray levels, as images.scale_raw in a config',
    )
    check.set_defaults(act=_check)
    add_plugin_arguments(check)
    split = actions.add_parser(
        'split',
        help='split your own images into training and test identities',
        description='Writes a table of your images that assigns every person to training, validation or test. The '
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
    split.add_argument('--test', type=float, default=0.5, help='fraction of the identities for testing (default: 0.5)')
    split.add_argument('--val', type=float, default=0.0, help='fraction of the identities for validation (default: 0)')
    split.add_argument('--seed', type=int, default=0, help='random seed (default: 0)')
    split.set_defaults(act=_split)
    add_plugin_arguments(split)
    curve.add_arguments(
        actions.add_parser(
            'curve',
            help='draw rank-1 against the number of labeled people',
            description='Trains on increasing numbers of your people, tests all models on the same people, and '
            'estimates whether labeling more would help. Repeat the same command to resume.',
        )
    )


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    return args.act(args)


def _check(args: argparse.Namespace) -> int:
    """Prints the report; returns 1 if there are errors to fix."""
    from vireid.diagnostics.dataset_report import check_dataset
    from vireid.launch.data_name import data_name, is_generated

    trial = {} if args.trial is None else {'trial': args.trial}
    components = make_manager(args, args.plugin).components
    name = args.dataset or _layout(Path(args.root).expanduser(), components)
    dataset = components.build('datasets', {'type': name, 'root': args.root, **trial}, where='dataset')
    generated = is_generated(args.root)  # has no published numbers to compare with
    with progress_bar('decoding images') as show:
        report = check_dataset(
            dataset,
            args.splits,
            expected=None if generated else Dataset.expected(dataset),
            on_progress=show,
            scale_raw=args.scale_raw,
        )
    if generated:
        print(f'{args.root}: {data_name({"type": name, "root": args.root})}')
    print(report.text())
    return 1 if report.errors else 0


def _scaling(text: str) -> ScaleRaw:
    """Parses `percentiles` or two bounds."""
    if text == 'percentiles':
        return 'percentiles'
    try:
        low, high = map(float, text.strip('[]()').split(','))
    except ValueError:
        raise VireidError(f'--scale-raw is {text!r}', allowed='percentiles, or two numbers such as 7400,8200') from None
    return low, high


def _layout(root: Path, components: Components) -> str:
    """Returns the dataset type of a folder or table by its layout.

    Raises:
        VireidError: if it does not exist, or has no known layout.
    """
    if not root.exists():
        raise VireidError(f'{root} does not exist', allowed='the folder of a dataset, or a table of images')
    from vireid.launch.recognition import has_table, recognizable

    if root.suffix in ('.csv', '.parquet') or has_table(root):
        return 'Manifest'
    published = recognizable(components)
    for name, paths in published.items():
        if any((root / path).exists() for path in paths):
            return name
    if _holds_people(root):
        return 'Folders'
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    holds = f', it contains {", ".join(names[:SHOWN])}{", ..." if len(names) > SHOWN else ""}' if names else ''
    raise VireidError(
        f'{root} has the layout of no dataset{holds}',
        allowed='visible/NAME/*.jpg and infrared/NAME/*.jpg, manifest.csv, or the folders of '
        f'{", ".join(published)} as their authors publish them',
        todo='rename or move folders, in lowercase; or name the dataset with --dataset, to read what is missing: '
        '`vireid components datasets` lists them',
    )


def _holds_people(folder: Path) -> bool:
    return folder.is_dir() and any((folder / name).is_dir() for name in FOLDERS)


def _split(args: argparse.Namespace) -> int:
    """Writes the table, and prints a summary and the next commands."""
    from vireid.diagnostics.split_table import describe, require_free, write_table
    from vireid.launch.recognition import has_table

    images: Path = args.images.expanduser()
    if not images.exists():
        raise VireidError(f'{images} does not exist', allowed='a folder or a table of images')
    out: Path = args.out or (images if images.is_dir() else images.parent) / TABLE
    require_free(out)
    folders = _holds_people(images)
    reader = 'Folders' if folders else 'Manifest'
    if images.is_dir() and not folders and not has_table(images):
        raise VireidError(
            f'{images} contains neither folders of people nor a table',
            allowed='visible/NAME/*.jpg and infrared/NAME/*.jpg, or manifest.csv with the columns path, identity, '
            'camera, modality',
        )
    dataset = make_manager(args, args.plugin).components.build(
        'datasets', {'type': reader, 'root': str(images)}, where='dataset'
    )
    splits = dataset.divide(args.test, args.val, args.seed)
    write_table(dataset, splits, out)
    what = 'folders' if folders else 'table'
    print(f'split {len(splits)} people of the {what} {images} into {out}\n')
    print(describe(dataset, splits))
    for line in Dataset.passed_over(dataset) if folders else ():
        print(f'Skipped: {line}')
    if folders and (images / TABLE).exists() and out != images / TABLE:
        print(f'Not used: {images / TABLE}. To split that table, give its path.')
    dropped = Dataset.other_columns(dataset)
    if dropped:
        print(f'Columns not copied to the new table: {", ".join(dropped)}.')
    root = quote(str(images if out == images / TABLE else out))
    print(f'\nnext: vireid data check {root}\n      vireid train {CONFIG} --data-root {root}')
    return 0


def _synth(args: argparse.Namespace) -> int:
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
    how = 'found' if summary.reused else 'generated'
    print(
        f'{how} {summary.ids} people in {summary.visible:,} visible and {summary.infrared:,} infrared images: '
        f'{summary.folder}'
    )
    return 0
