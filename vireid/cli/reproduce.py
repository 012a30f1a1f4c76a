"""Train the rows of a paper's tables, and print our figures beside the paper's, with a verdict for each.

Every run is a normal run; repeat the same command to resume. All are scored by both protocol families. Before it
starts, the command estimates the hours. See docs/reproduce.md for the verdicts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli import arguments
from vireid.console.questions import ask, is_interactive
from vireid.console.warn import warn_once
from vireid.errors import Conflict


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
        '--on', metavar='NAME', help='settings to apply to the rows, such as synth: a small budget on synthetic people'
    )
    parser.add_argument(
        '--allow-differences',
        action='store_true',
        help="also run with data or settings other than the paper's; the figures are then not comparable",
    )
    parser.add_argument('--yes', action='store_true', help='start without asking, even without a GPU')
    parser.add_argument('--dry-run', action='store_true', help='print the runs and the estimate, and exit')
    arguments.add_folder_argument(parser, 'runs/reproduce')
    arguments.add_launcher_arguments(parser)
    arguments.add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints the tables; returns the exit status, 130 after Ctrl-C."""
    from vireid.launch.rank_output import quiet_others
    from vireid.studies import reproduction
    from vireid.studies.reproduction import plan_paper
    from vireid.studies.reproduction_estimate import confirm, require_comparable
    from vireid.studies.resumable import run_resumable

    for flag, given in (('--seed', args.seed), ('--split', args.data_split), ('--protocol', args.protocol)):
        if given is not None:
            raise Conflict(
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
    elsewhere = args.yes or (args.launcher and args.launcher[0] != 'local')
    if not confirm(plan, ask if is_interactive() else None, args.dry_run, elsewhere):
        return 0
    return run_resumable(lambda: reproduction.reproduce(plan, base, launcher, warn=warn_once))
