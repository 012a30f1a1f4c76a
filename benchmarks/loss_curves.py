"""The demo's loss in other precisions, memory formats and compiled, against the spread of three seeds.

    python benchmarks/loss_curves.py --data data/demo --out runs/loss_curves
    python benchmarks/loss_curves.py --data data/demo --out runs/loss_curves --variants contiguous channels_last

Trains `tffn_demo` for 300 steps: seeds 0 to 2 in float32, contiguous; then seed 0 in each variant. Prints the mean loss
in windows of 50 steps, and how far each variant is from seed 0, in standard deviations of the seeds. An identical
arithmetic would give 0, another seed about 1. A finished run is not repeated. 15 to 40 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).parents[1] / 'configs' / 'tffn_demo.py'
VARIANTS = {
    'contiguous': ['training.precision=32-true', 'training.memory_format=contiguous'],
    'channels_last': ['training.precision=32-true', 'training.memory_format=channels_last'],
    'compiled': ['training.precision=32-true', 'training.memory_format=contiguous', 'training.compile=true'],
    'bf16': ['training.precision=bf16-mixed', 'training.memory_format=contiguous'],
    'bf16 channels_last': ['training.precision=bf16-mixed', 'training.memory_format=channels_last'],
}
STEPS, WINDOW = 300, 50


def losses(name: str, seed: int, data: Path, out: Path) -> list[float]:
    """Returns the mean loss of each window of a run, which is trained first if need be."""
    folder = out / f'{name.replace(" ", "_")}_{seed}'
    if not (folder / 'result.json').exists():
        options = [*VARIANTS[name], f'training.steps={STEPS}', 'training.evaluate_every=null']
        options += ['loggers=[{"type": "MetricsFile"}]']
        words = [sys.executable, '-m', 'vireid', 'train', str(CONFIG), '--data-root', str(data), '--seed', str(seed)]
        words += ['--work-dir', str(folder), '--cfg-options', *options]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    curve = [line['loss'] for line in lines if 'loss' in line]
    assert len(curve) == STEPS, f'{folder} has {len(curve)} steps'
    return [statistics.fmean(curve[i : i + WINDOW]) for i in range(0, STEPS, WINDOW)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=Path('data/demo'))
    parser.add_argument('--out', type=Path, default=Path('runs/loss_curves'))
    parser.add_argument('--variants', nargs='+', choices=list(VARIANTS), default=list(VARIANTS))
    args = parser.parse_args()
    seeds = {f'seed {seed}': losses('contiguous', seed, args.data, args.out) for seed in (0, 1, 2)}
    spread = [statistics.stdev(values) for values in zip(*seeds.values(), strict=True)]
    rows = {**seeds, 'sd of the seeds': spread}
    for name in args.variants:
        if name != 'contiguous':
            rows[name] = losses(name, 0, args.data, args.out)
    print(f'{"steps":<20}', *(f'{i + 1}-{i + WINDOW:<6}' for i in range(0, STEPS, WINDOW)), ' largest distance')
    for name, values in rows.items():
        away = max(abs(v - s) / d for v, s, d in zip(values, seeds['seed 0'], spread, strict=True))
        told = '' if name.startswith('sd') else f'{away:.2f} sd'
        print(f'{name:<20}', *(f'{value:<9.3f}' for value in values), told)


if __name__ == '__main__':
    main()
