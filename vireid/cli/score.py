"""Score saved features (.npz or MATLAB files), without a network or images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vireid.boundary.warn import warn_once
from vireid.cli.arguments import RERANK, add_plugin_arguments, make_manager
from vireid.cli.output import progress_bar
from vireid.core.errors import VireidError, did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid score`."""
    parser.add_argument(
        'features',
        type=Path,
        help='a file written by `vireid test --save-features FILE`, or a folder of NAME_cam1.mat ... NAME_cam6.mat, as '
        "SYSU-MM01's official MATLAB code reads them, scored by sysu/official",
    )
    parser.add_argument('--name', help='NAME, if the folder has files with different names')
    parser.add_argument('--protocol', metavar='NAME', help='another evaluation protocol, such as sysu/official')
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help="the dataset's folder, for protocols that read its files; with .mat features, the folder that holds "
        'rand_perm_cam.mat and test_id.mat (default: the features folder)',
    )
    parser.add_argument('--rerank', action='store_true', help='also report k-reciprocal re-ranking')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='K=V',
        help="overrides, such as protocol.shots=['single'] evaluation.rerank.k1=30; evaluation.ties=gallery-order "
        'breaks ties by gallery order, as common evaluation code does',
    )
    parser.add_argument('--result', type=Path, metavar='DIR', help='write result.json into this folder')
    parser.add_argument(
        '--matlab', type=Path, metavar='DIR', help="write DIR/vireid_camN.mat for SYSU-MM01's official MATLAB code"
    )
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the result table."""
    from vireid.boundary.showing import one_line
    from vireid.core.config.overrides import override
    from vireid.core.scoring import results
    from vireid.core.scoring.embedding import score_trials
    from vireid.exchange import features, matlab_features
    from vireid.launch.work_dir import require_own_folder

    saved: features.SavedFeatures
    if args.features.is_dir():
        if args.matlab:
            raise VireidError(f'{args.features} already holds MATLAB files', todo='remove --matlab')
        saved = matlab_features.load(args.features, args.name, args.data_root)
    else:
        if args.name:
            raise VireidError(f'--name {args.name}: {args.features} is not a folder', todo='remove --name')
        saved = features.load(args.features)
        if args.data_root:
            saved.root = args.data_root
    own = saved.about['protocol']
    config: dict[str, Any] = {
        'protocol': {'type': args.protocol} if args.protocol not in (None, own.get('type')) else own,
        'evaluation': {'rerank': dict(RERANK) if args.rerank else None, 'ties': 'mean'},
    }
    for option in args.cfg_options:
        section = option.partition('=')[0].split('.')[0].strip()
        if section not in config:
            raise VireidError(
                f'option {option!r}: unknown section {section!r}{did_you_mean(section, config)}',
                allowed=', '.join(f'{key}...' for key in config),
            )
        if option.startswith('evaluation.rerank.') and not args.rerank:
            raise VireidError(f'option {option!r} has no effect without re-ranking', todo='add --rerank')
        override(config, option)
    evaluation = config['evaluation']
    if not isinstance(evaluation, dict):
        raise VireidError(f'evaluation is {evaluation!r}', allowed='a dict, such as dict(rerank=...)')
    unknown = set(evaluation) - {'rerank', 'ties'}
    if unknown:
        raise VireidError(
            f'evaluation.{min(unknown)} has no effect: the embeddings are already computed',
            allowed='evaluation.rerank, evaluation.ties',
        )
    components = make_manager(args, args.plugin).components
    protocol = components.build('protocols', config['protocol'], where='protocol')
    rerank = evaluation.get('rerank')
    reranker = components.build('rerankers', rerank, where='evaluation.rerank') if rerank else None
    if args.matlab:
        # these files hold only images of SYSU-MM01's cameras; its protocol raises for others
        components.build('protocols', {'type': 'sysu/agw', 'trials': 1}, where='--matlab').trials(saved)
        matlab_features.export(saved, args.matlab)
        name = matlab_features.NAME
        print(f'written to {args.matlab}; set feature_info.dir to this folder and feature_info.name to {name!r}')
    similarity: Any = None
    if isinstance(saved, matlab_features.MatlabFeatures):
        saved.require_permutation(config['protocol'])
        similarity = saved.similarity
        for note in saved.notes:
            print(note)
        if config['protocol'].get('permutation'):
            print(f'permutation: {config["protocol"]["permutation"]}')
    with progress_bar('scoring trials') as show:
        scored = score_trials(
            saved.embeddings,
            protocol.name,
            protocol.trials(saved),
            similarity=similarity,
            reranker=reranker,
            ties=evaluation.get('ties', 'mean'),
            weights=saved.about.get('weights', ''),
            data=saved.about.get('data', ''),
            on_progress=show,
        )
    if saved.about.get('similarity'):
        warn_once(f'the run used the similarity {saved.about["similarity"]["type"]}; features are ranked by cosine')
    about = ', '.join(filter(None, [saved.about.get('experiment'), saved.split_name, scored.caption()]))
    print(f'{one_line(about or str(args.features))}, in percent:\n{scored.table()}')
    if args.result:
        require_own_folder(args.result)
        results.write(args.result, {**scored.to_dict(), 'features': str(args.features.absolute())}, scored.queries())
        print(f'written to {args.result / results.FILE}')
    return 0
