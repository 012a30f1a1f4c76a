"""Score saved features (.npz or MATLAB files), without a network or images."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import RERANK, add_options_argument, add_plugin_arguments, make_manager
from vireid.console.progress_bar import progress_bar
from vireid.console.warn import warn_once
from vireid.errors import Conflict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid score`."""
    parser.add_argument(
        'features',
        type=Path,
        help='a file written by `vireid test --save-features FILE`, or a folder with NAME_cam1.mat ... NAME_cam6.mat '
        "in the format of SYSU-MM01's official MATLAB code, which is scored by sysu/official",
    )
    parser.add_argument('--name', help='the NAME of the .mat files, if the folder has files with several names')
    parser.add_argument('--protocol', metavar='NAME', help='another evaluation protocol, such as sysu/official')
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help="the dataset's folder, for protocols that read its files; with .mat features, the folder that holds "
        'rand_perm_cam.mat and test_id.mat (default: the features folder)',
    )
    parser.add_argument('--rerank', action='store_true', help='also report k-reciprocal re-ranking')
    add_options_argument(
        parser,
        "overrides, such as protocol.shots=['single'] evaluation.rerank.k1=30; evaluation.ties=gallery-order breaks "
        'ties by gallery order, as common evaluation code does',
    )
    parser.add_argument('--result', type=Path, metavar='DIR', help='write result.json into this folder')
    parser.add_argument(
        '--matlab', type=Path, metavar='DIR', help="write DIR/vireid_camN.mat for SYSU-MM01's official MATLAB code"
    )
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Prints the result table."""
    from vireid.exchange.feature_scores import FeatureScorer, load, score_config, write_result

    if args.matlab and args.features.is_dir():
        raise Conflict(f'{args.features} already holds MATLAB files', todo='remove --matlab')
    saved = load(args.features, args.name, args.data_root)
    config = score_config(saved, args.protocol, RERANK if args.rerank else None, args.cfg_options)
    scorer = FeatureScorer(saved, config, make_manager(args, args.plugin).components)
    if args.matlab:
        print(scorer.export_matlab(args.matlab))
    for note in scorer.notes():
        print(note)
    with progress_bar('scoring trials') as show:
        scored = scorer.score(show)
    if similarity := saved.about.get('similarity'):
        warn_once(f'the run used the similarity {similarity["type"]}; features are ranked by cosine')
    print(scorer.text(scored, args.features))
    if args.result:
        print(f'written to {write_result(args.result, scored, args.features)}')
