"""Fits the seconds of a training step to its counted operations, for `vireid/launch/cost.py`: one thread, float32.

The times are of the processor, which other processes disturb less than the clock. Each step is measured several times,
interleaved, and the median is fitted; every step is also predicted by a fit to the others.

    OMP_NUM_THREADS=1 python benchmarks/cost_model.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from vireid.core.config.overrides import Overrides
from vireid.diagnostics.step_loop import StepLoop
from vireid.launch.resolve import resolve
from vireid.launch.work import count_work
from vireid.plugin_manager.manager import create_manager

CONFIGS = Path(__file__).parents[1] / 'configs'
SMALL = ('sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2')
STEPS = {
    'TFFN ResNet-18 144 x 72': ('tffn_sysu', 'model.backbone.depth=18', 'images.size=[144,72]'),
    'TFFN ResNet-50 144 x 72': ('tffn_sysu', 'images.size=[144,72]'),
    'TFFN ResNet-50 288 x 144': ('tffn_sysu',),
    'DMCF ResNet-18 192 x 96': ('dmcf_sysu', 'model.backbone.depth=18', 'images.size=[192,96]'),
    'DMCF ResNet-50 144 x 72': ('dmcf_sysu', 'images.size=[144,72]'),
    'AGW base ResNet-50 192 x 96': ('systems/agw_base', 'images.size=[192,96]'),
    'AGW ResNet-50 144 x 72': ('systems/agw', 'images.size=[144,72]'),
    'DEEN ResNet-50 96 x 48': ('systems/deen', 'images.size=[96,48]'),
    'PMT ViT-B 96 x 48': ('systems/pmt', 'images.size=[96,48]'),
    'one stream ResNet-101 144 x 72': ('systems/one_stream', 'model.backbone.depth=101', 'images.size=[144,72]'),
}


def fit(operations: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Returns the constant and the seconds an operation that minimize the relative squared error."""
    columns = np.stack([np.ones_like(operations), operations], axis=1) / seconds[:, None]
    constant, slope = np.linalg.lstsq(columns, np.ones(len(seconds)), rcond=None)[0]
    return float(constant), float(slope)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeat', type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    manager, loops, operations, work = create_manager(), {}, [], []
    for name, (config, *options) in STEPS.items():
        chosen = ['model.backbone.weights=None', 'training.precision=32-true', *SMALL, *options]
        experiment = resolve(CONFIGS / f'{config}.py', Overrides(options=chosen), manager=manager)
        work.append(count_work(experiment, 100))
        operations.append(work[-1].operations)
        loops[name] = StepLoop(experiment)
        loops[name]()
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(args.repeat):
        for name, loop in loops.items():
            start = time.process_time()
            loop()
            times[name].append(time.process_time() - start)
    x, y = np.array(operations), np.array([statistics.median(found) for found in times.values()])
    errors = []
    print(
        f'{"step":<34}{"images":>7}{"GFLOP":>8}{"GB kept":>9}'
        f'{"seconds":>9}{"spread":>8}{"by the others":>15}{"error":>10}'
    )
    for i, (name, found) in enumerate(times.items()):
        others = np.arange(len(x)) != i
        constant, slope = fit(x[others], y[others])
        predicted = constant + slope * x[i]
        errors.append(abs(predicted / y[i] - 1))
        spread = (max(found) - min(found)) / y[i]
        kept = work[i].images * work[i].activations / 1e9
        print(
            f'{name:<34}{work[i].images:>7}{x[i] / 1e9:>8.0f}{kept:>9.2f}{y[i]:>9.3f}{spread:>8.0%}'
            f'{predicted:>15.3f}{predicted / y[i] - 1:>+10.0%}'
        )
    constant, slope = fit(x, y)
    print(f'\nseconds = {constant:.3f} + operations / {1 / slope / 1e9:.1f}e9')
    print(f'error of a step that was not fitted: median {statistics.median(errors):.0%}, largest {max(errors):.0%}')
    print(f'load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')


if __name__ == '__main__':
    main()
