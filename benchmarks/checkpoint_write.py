"""How long writing a checkpoint holds training up, against the bare `torch.save` of the same content, and reading it.

TFFN's ResNet-50 with SGD's momentum, or Adam's two moments with `--adam`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from vireid.boundary import checkpoint
from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.launch.fabric import make_fabric
from vireid.plugin_manager.manager import create_manager

CONFIG = Path(__file__).parents[1] / 'configs' / 'tffn_sysu.py'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeat', type=int, default=7)
    parser.add_argument('--adam', action='store_true')
    args = parser.parse_args()
    options = ['model.backbone.weights=null', 'training.accelerator=cpu']
    if args.adam:
        options.append("step.optimizer={'type': 'Adam', 'lr': 0.001}")
    experiment = Experiment.from_config(config.load(CONFIG, options), create_manager())
    model = experiment.build_model(395)
    step = experiment.build_step(model, make_fabric(experiment.training))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step.optimization.optimizer.step()
    content = {'model': model.state_dict(), 'step': step.state_dict(), 'config': {}, 'progress': {'step': 1}}
    times: dict[str, list[float]] = {'torch.save': [], 'vireid': [], 'reading': []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'last.pt'
        for _ in range(args.repeat):
            for name, work in (
                ('torch.save', lambda: torch.save(content, Path(folder) / 'bare.pt')),
                ('vireid', lambda: checkpoint.save(path, content, keep=2)),
                ('reading', lambda: checkpoint.load(path)),
            ):
                start = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - start)
        size = path.stat().st_size / 1e6
    middle = {name: statistics.median(found) for name, found in times.items()}
    print(f'{size:.0f} MB; goal: at most 1 s to write')
    for name, found in times.items():
        ratio = middle[name] / middle['torch.save']
        print(f'{name:<12}{middle[name]:.2f} s (worst {max(found):.2f})  {ratio:.2f} of torch.save')


if __name__ == '__main__':
    main()
