"""The demo's rank-1 over training seeds, as this machine trains it and as a laptop would: mean, range, minutes.

`here` is the machine as it is; `laptop` limits it to AVX2, where `training.precision=auto` is float32.

    python benchmarks/demo_spread.py                        # seeds 0 to 2, both: six runs
    python benchmarks/demo_spread.py --config configs/dmcf_demo.py --seeds 0 --on here
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MACHINES = {'here': {}, 'laptop': {'ONEDNN_MAX_CPU_ISA': 'AVX2', 'ATEN_CPU_CAPABILITY': 'avx2'}}


def run(config: str, data: Path, folder: Path, machine: str, seed: int) -> tuple[float, float, str, float]:
    """Returns rank-1 and mAP, percent, the precision, and the minutes; a finished run is not repeated."""
    words = [sys.executable, '-m', 'vireid', 'train', config, '--data-root', str(data), '--seed', str(seed)]
    words += ['--work-dir', str(folder)]
    start = time.perf_counter()
    if not (folder / 'result.json').exists():
        environment = {**os.environ, **MACHINES[machine]}
        subprocess.run(words, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    minutes = (time.perf_counter() - start) / 60
    found = json.loads((folder / 'result.json').read_text())
    row = found['rows'][0]
    return 100 * row['R1']['mean'], 100 * row['mAP']['mean'], found['precision'], minutes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='configs/tffn_demo.py')
    parser.add_argument('--data', type=Path, default=Path('data/demo'), help='synthetic people; drawn if need be')
    parser.add_argument('--data-seed', type=int, default=0, help='who they are; the settings were chosen on 101')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--on', nargs='+', choices=list(MACHINES), default=list(MACHINES))
    parser.add_argument('--out', type=Path, default=Path('runs/demo_spread'))
    arguments = parser.parse_args()
    data = arguments.data.absolute()
    draw = ['data', 'synth', '--layout', 'sysu', '--ids', '120', '--seed', str(arguments.data_seed), str(data)]
    subprocess.run([sys.executable, '-m', 'vireid', *draw], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    ranks: list[float] = []
    for machine in arguments.on:
        for seed in arguments.seeds:
            folder = arguments.out.absolute() / f'{Path(arguments.config).stem}_{machine}_{seed}'
            rank, mean_ap, precision, minutes = run(arguments.config, data, folder, machine, seed)
            ranks.append(rank)
            about = f'{machine:<7} {precision:<11} seed {seed}'
            print(f'{about}: rank-1 {rank:.1f}, mAP {mean_ap:.1f}, {minutes:.1f} minutes', flush=True)
    spread = f' ± {statistics.stdev(ranks):.1f}' if len(ranks) > 1 else ''
    print(f'rank-1 {statistics.fmean(ranks):.1f}{spread}, {min(ranks):.1f} to {max(ranks):.1f}, over {len(ranks)} runs')


if __name__ == '__main__':
    main()
