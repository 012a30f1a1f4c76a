"""Evaluate a checkpoint with the protocol of a config."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_experiment_arguments, add_folder_argument, make_manager, overrides_of
from vireid.cli.output import print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid test`."""
    parser.add_argument('config', help='the config of the checkpoint, or one with the same model')
    parser.add_argument(
        'checkpoint',
        type=Path,
        nargs='?',
        help='a checkpoint, such as runs/tffn_sysu/checkpoints/last.pt; omit it for a model without trained parameters',
    )
    add_experiment_arguments(parser)
    add_folder_argument(parser, "test in the run's folder; after that test-2, and so on")
    parser.add_argument(
        '--save-features', type=Path, metavar='FILE', help='save the embeddings of all test images (.npz)'
    )


def run(args: argparse.Namespace) -> None:
    """Prints the result table."""
    from vireid.launch.resolve import resolve

    experiment = resolve(args.config, overrides_of(args), manager=make_manager(args))
    from vireid.exchange import features
    from vireid.exchange.evaluation import score_checkpoint
    from vireid.launch.run_folder import evaluation_folder

    work_dir = args.work_dir or evaluation_folder(experiment.name, args.checkpoint)
    if args.save_features:
        features.require_writable(args.save_features)  # fails before the images are embedded, not after
    results = score_checkpoint(experiment, args.checkpoint, work_dir, whole_split=bool(args.save_features))
    print_result(experiment, results)
    if args.save_features:
        features.save_results(args.save_features, experiment, args.checkpoint, results)
        print(f'features written to {args.save_features}; to score them again: vireid score {args.save_features}')
    print(f'written to {work_dir}')
