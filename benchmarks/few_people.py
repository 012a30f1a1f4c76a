"""Which ideas help with few labeled people: untrained features, the recipe of own_few, both papers and two hybrids.

All begin with the same weights and have the same images, budget, rates and held-out people; each is run with several
seeds. Prints mean and sample deviation of rank-1 and mAP over seeds, and the 95% interval over the identities of
all seeds together. `--people 4 6 8`: the recipe with that many labeled people, beside untrained features.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np

import vireid
from vireid.core.config import files
from vireid.core.scoring.results import QUERIES
from vireid.reporting.result_file import read
from vireid.statistics.interval import identity_interval
from vireid.statistics.scores import matched_within

CONFIGS = Path(__file__).parents[1] / 'configs'
LOSSES = {'id': {'type': 'CrossEntropy'}, 'tri': {'type': 'BatchHardTriplet', 'margin': 0.3}}


def backbone(weights: str, shared_from: int = 0, out_stages: tuple[int, ...] = (2, 3, 4)) -> dict[str, Any]:
    return {
        '_delete_': True, 'type': 'TwoStreamNetwork', 'network': 'mobilenet_v2', 'shared_from': shared_from,
        'out_stages': out_stages, 'weights': weights,
    }  # fmt: skip


def rows(weights: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The config of each row, and what is laid over it."""
    few = files.load(CONFIGS / 'own_few.py')
    held_out = {'dataset': {'val_share': few['dataset']['val_share']}}
    same = {
        **{key: {'_delete_': True, **few[key]} for key in ('images', 'sampler', 'step', 'training', 'evaluation')},
        **held_out,
        'refit': few['refit'],
    }
    glfm = {
        'necks': {'glfm': {'type': 'GLFM', 'inputs': 'stripes', 'num_heads': 4}},
        'heads': {'glfm': {'type': 'GlobalHead', 'losses': LOSSES}},
    }
    return {
        'untrained': ('zero_shot.py', {'model': {'backbone': {'weights': weights}}}),
        'own_few': ('own_few.py', {'model': {'backbone': {'weights': weights}}, **held_out}),
        'own_few + GLFM': ('own_few.py', {'model': {'backbone': {'weights': weights}, **glfm}, **held_out}),
        'TFFN': ('tffn_own.py', {'model': {'backbone': backbone(weights, shared_from=2)}, **same}),
        'DMCF': ('dmcf_sysu.py', {'model': {'backbone': backbone(weights, shared_from=5)}, **same}),
        'hybrid_tffn_parts': (
            'hybrid_tffn_parts.py',
            {'model': {'backbone': backbone(weights, shared_from=2)}, **same},
        ),
    }


def run(config: str, over: dict[str, Any], folder: Path, root: str, protocol: dict[str, Any], seed: int) -> Any:
    """Returns the result of a run, trained unless it is there."""
    done = read(folder)
    if done is None:
        own = {**over.get('dataset', {}), 'type': 'Manifest', 'root': root}
        found = {
            **over, 'dataset': {'_delete_': True, **own}, 'protocol': {'_delete_': True, **protocol}, 'seed': seed,
            'loggers': [],
        }  # fmt: skip
        if config == 'zero_shot.py':
            vireid.evaluate(CONFIGS / config, work_dir=folder, **found)
        else:
            vireid.train(CONFIGS / config, folder, **found)
        done = read(folder)
    return done


def line(name: str, folders: list[Path], found: list[Any]) -> str:
    row = [result['rows'][0] for result in found]
    metrics = []
    for key in ('R1', 'mAP'):
        values = [100 * r[key]['mean'] for r in row]
        spread = f' ± {statistics.stdev(values):4.1f}' if len(values) > 1 else ''
        metrics.append(f'{statistics.fmean(values):5.1f}{spread} (lowest {min(values):4.1f})')
    queries = [np.load(folder / QUERIES) for folder in folders]
    plain = [q['row'] == 0 for q in queries]
    hits = np.concatenate([matched_within(q, 1)[own] for q, own in zip(queries, plain, strict=True)])
    people = np.concatenate([q['identity'][own] for q, own in zip(queries, plain, strict=True)])
    low, high = identity_interval(hits, people)
    kept = sum(result['weights'] == 'after step 0' for result in found)
    again = [r['rows'][1]['R1']['mean'] for r in found if len(r['rows']) > 1 and r['rows'][1]['variant']]
    ranked = f', re-ranked {100 * statistics.fmean(again):.1f}' if again else ''
    note = f', training not kept {kept} times' if kept else ''
    return f'{name:<22} R1 {metrics[0]}, 95 % {100 * low:.0f}-{100 * high:.0f}, mAP {metrics[1]}{ranked}{note}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', help='folder of a manifest.csv')
    parser.add_argument('weights', help="a file of torchvision's mobilenet_v2")
    parser.add_argument('out', type=Path, help='folder of the runs; finished ones are not run again')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4])
    parser.add_argument('--rows', nargs='+')
    parser.add_argument('--people', type=int, nargs='+', default=[])
    parser.add_argument('--protocol', default='sysu/agw')
    args = parser.parse_args()
    protocol: dict[str, Any] = {'type': args.protocol}
    if args.protocol.startswith('sysu'):
        protocol['modes'] = ['all']
    table = rows(args.weights)
    for name in args.rows or table:
        config, over = table[name]
        seeds = args.seeds[:1] if name == 'untrained' else args.seeds  # nothing in it is drawn
        folders = [args.out / f'{name.replace(" ", "_")}_{seed}' for seed in seeds]
        found = [run(config, over, f, args.data, protocol, s) for f, s in zip(folders, seeds, strict=True)]
        print(line(name, folders, found), flush=True)
    for count in args.people:
        for name in ('untrained', 'own_few'):
            config, over = table[name]
            folders, found = [], []
            for seed in args.seeds:
                dataset = {**over.get('dataset', {}), 'identities': count, 'draw': seed}
                folders.append(args.out / f'{name}_of_{count}_{seed}')
                found.append(run(config, {**over, 'dataset': dataset}, folders[-1], args.data, protocol, seed))
            print(line(f'{name}, {count} people', folders, found), flush=True)


if __name__ == '__main__':
    main()
