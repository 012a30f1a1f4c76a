"""Rank-1 of every hybrid after a few steps on synthetic people it has never seen, against chance.

python benchmarks/hybrids_learn.py --steps 80
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.launch.launch import train
from vireid.plugin_manager.manager import create_manager
from vireid.synth import synthesize

CONFIGS = Path(__file__).parents[1] / 'configs'
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[64,32]', 'training.epochs=None',
    'sampler.identities=6', 'sampler.visible=2', 'sampler.infrared=2', 'loggers=[]', 'step.schedule=[]',
    'step.optimizer={"type": "Adam", "lr": 0.001}', 'step.groups={}',
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=80)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        people = Path(folder) / 'people'
        synthesize(people, layout='sysu', ids=40, seed=0, images=4)
        for path in sorted(CONFIGS.glob('hybrid_*.py')):
            options = [*SMALL, f'training.steps={steps}', f'dataset.root={people}']
            made = Experiment.from_config(config.load(path, options), create_manager())
            row = train(made, Path(folder) / path.stem).rows()[0]
            print(f'{path.stem:<26} rank-1 {100 * row["R1"]["mean"]:.1f} (12 people, chance about 9)', flush=True)


if __name__ == '__main__':
    main()
