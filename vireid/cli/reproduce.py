"""Train what the tables of a paper need, and print ours beside the paper's with a verdict per figure.

Every run is a normal run; repeat the same command to resume. All are scored by both protocol families. Before it
starts, the command estimates the hours. See docs/reproduce.md for the verdicts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.boundary.progress_bar import progress_bar
from vireid.cli import arguments
from vireid.cli.output import is_interactive, quiet_others, run_resumable
from vireid.core.errors import VireidError
from vireid.core.warn import warn_once
from vireid.core.wording import counted

if TYPE_CHECKING:
    from vireid.studies.reproduction import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid reproduce`."""
    parser.add_argument('paper', help='tffn, dmcf, or a folder with a table.yaml')
    parser.add_argument(
        '--tables', nargs='+', metavar='NAME', help='only these tables, such as tffn_table3 (default: all of the paper)'
    )
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these rows, such as tffn,ddag (default: all)')
    parser.add_argument(
        '--seeds',
        nargs='+',
        metavar='0-4',
        help='random seeds, a range or a list (default: 0-2; for RegDB 0, with each of its ten splits)',
    )
    parser.add_argument(
        '--on', metavar='NAME', help='settings of the tables to apply to their rows, such as synth: a small budget'
    )
    parser.add_argument(
        '--allow-differences',
        action='store_true',
        help='also run with other data or settings than the paper; then the figures are not comparable',
    )
    parser.add_argument('--yes', action='store_true', help='start without asking, even without a GPU')
    parser.add_argument('--dry-run', action='store_true', help='print the runs and the estimate, and stop')
    arguments.add_folder_argument(parser, 'runs/reproduce')
    arguments.add_study_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints the tables; returns the exit status, 130 after Ctrl-C."""
    from vireid.studies import reproduction
    from vireid.studies.paper_plan import plan_paper
    from vireid.studies.reproduction_estimate import require_comparable

    for flag, given in (('--seed', args.seed), ('--trial', args.trial), ('--protocol', args.protocol)):
        if given is not None:
            raise VireidError(
                f'{flag} does not apply to reproduce, which uses several seeds, all splits, and both protocols',
                todo=f'remove {flag}; for other seeds, use --seeds',
            )
    manager, base = arguments.make_manager(args), args.work_dir or Path('runs/reproduce')
    overrides, seeds = arguments.overrides_of(args), ' '.join(args.seeds) if args.seeds else None
    plan = plan_paper(args.paper, overrides, manager, base, seeds, args.on, args.tables or (), args.rows or ())
    if not args.allow_differences:
        require_comparable(plan)
    launcher = arguments.make_launcher(args, manager, base)
    if not args.dry_run:  # the estimate needs no pretrained weights
        reproduction.check(plan)
    quiet_others()
    if not _begin(plan, args):
        return 0
    return run_resumable(lambda: reproduction.reproduce(plan, base, launcher, warn=warn_once))


def _begin(plan: Plan, args: argparse.Namespace) -> bool:
    """Prints what is to be trained and how long it takes; returns whether to start. Without a GPU, it asks.

    Raises:
        VireidError: if there is no GPU, and no terminal to confirm on.
    """
    from vireid.studies.reproduction import missing
    from vireid.studies.reproduction_estimate import estimate

    jobs, total = missing(plan), len(plan.unique())
    print(f'{plan.data}: {counted(total, "run")}, {total - len(jobs)} finished')
    if not jobs:
        return not args.dry_run
    with progress_bar('estimating') as show:
        estimated = estimate(jobs, show)
    print(estimated.text())
    if args.dry_run:
        return False
    if estimated.has_gpu or args.yes or (args.launcher and args.launcher[0] != 'local'):
        return True
    if not is_interactive():
        raise estimated.without_gpu()
    return input('There is no GPU here. Train on the processor anyway? [y/N] ').strip().lower() in ('y', 'yes')
