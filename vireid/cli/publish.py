"""Publish finished runs of one config: weights, model card, config, metrics with intervals, and checksums.

The weights are those of the lowest seed. Names of people, files and machines are left out, and so are the vectors that
a classifier has for each training identity (needs `pip install "vireid[export]"`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_plugin_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid publish`."""
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folders of finished runs that differ only in the seed')
    parser.add_argument('-o', '--out', type=Path, required=True, metavar='DIR', help='folder to write, a new one')
    parser.add_argument(
        '--weights-license',
        required=True,
        metavar='ID',
        help='license of the weights, as an SPDX identifier such as CC-BY-NC-4.0, or LicenseRef-NAME',
    )
    parser.add_argument(
        '--permission',
        default='',
        metavar='TEXT',
        help='who agreed that weights trained on these people are published, and when: the people themselves, or the '
        'license of the dataset; the card states it (required unless the people are synthetic)',
    )
    add_plugin_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Writes the release and prints its files."""
    from vireid.exchange.publish import publish
    from vireid.studies.systems import read_system

    runs = read_system(args.runs).runs
    files = publish(runs, args.out, args.weights_license, args.permission, args.plugin)
    print('\n'.join(map(str, files)))
