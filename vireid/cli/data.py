"""Make generated data in the true layouts (`vireid data synth`), or check a copy of a dataset (`vireid data check`)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vireid.cli.experiment import add_plugin_argument, make_manager


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid data`."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    synth = actions.add_parser(
        'synth',
        help='draw people, as visible and as infrared cameras see them',
        description='Draws people, as visible and as infrared cameras see them; a pure function of its arguments.',
    )
    synth.add_argument('out', type=Path, help='folder to make')
    synth.add_argument('--layout', default='sysu', help='sysu, regdb, llcm, folders or manifest (default: sysu)')
    synth.add_argument('--ids', type=int, default=120, help='how many people (default: 120)')
    synth.add_argument('--seed', type=int, default=0, help='who they are (default: 0)')
    synth.add_argument('--images', type=int, help='images of a person on one camera')
    synth.add_argument('--workers', type=int, help='processes (default: one for each core)')
    synth.set_defaults(act=_synth)
    check = actions.add_parser(
        'check',
        help="count a dataset's images and read each one",
        description='Counts identities and images against what a complete copy has, and reads every image. Exit '
        'status 1 if something has to be fixed.',
    )
    check.add_argument('root', help="the dataset's folder")
    check.add_argument('--dataset', default='SYSU-MM01', help='which reader (default: SYSU-MM01)')
    check.add_argument('--splits', nargs='+', default=['train', 'test'], help='default: train test')
    check.add_argument('--trial', type=int, help='split of a dataset that has several (RegDB: 1 to 10)')
    check.set_defaults(act=_check)
    add_plugin_argument(check)


def run(args: argparse.Namespace) -> int:
    """Does what the action says."""
    return args.act(args)


def _check(args: argparse.Namespace) -> int:
    """Prints what was found; 1 if something has to be fixed."""
    from rich.progress import Progress

    from vireid.core.config.origin import data_name, is_generated
    from vireid.diagnostics.dataset_report import check_dataset

    trial = {} if args.trial is None else {'trial': args.trial}
    dataset = make_manager(args, args.plugin).components.build(
        'datasets', {'type': args.dataset, 'root': args.root, **trial}, where='dataset'
    )
    generated = is_generated(args.root)  # of which nobody expects the true numbers
    with Progress(transient=True, refresh_per_second=4, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task('reading every image')
        report = check_dataset(
            dataset,
            args.splits,
            None if generated else getattr(dataset, 'expected', None),
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if generated:
        print(f'{args.root}: {data_name({"type": args.dataset, "root": args.root})}')
    print(report.text())
    return 1 if report.errors else 0


def _synth(args: argparse.Namespace) -> int:
    """Draws the people and prints what was made."""
    from rich.progress import Progress

    from vireid.synth import synthesize

    terminal = sys.stdout.isatty()  # elsewhere a bar would leave an empty line
    with Progress(transient=True, refresh_per_second=4, disable=not terminal) as progress:
        task = progress.add_task('drawing')
        summary = synthesize(
            args.out,
            layout=args.layout,
            ids=args.ids,
            seed=args.seed,
            images=args.images,
            workers=args.workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    how = 'found' if summary.reused else 'drew'
    print(
        f'{how} {summary.ids} people in {summary.visible:,} visible and {summary.infrared:,} infrared images: '
        f'{summary.folder}'
    )
    return 0
