"""Kills a system that trains in stages at moments chosen by seed, in each of its stages, and resumes it.

Moments and phases are those of `faults.py`. Each killed run is resumed by the same call; the weights, the state of the
optimizers, the metrics and the result of every stage have to be equal, to the last bit, to those of a run that was left
alone. The networks are as small as the config allows.

    python benchmarks/faults_in_stages.py aligngan --kills 12
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).parent))

import torch
from faults import PHASES, Clock, in_children, kill_once, same

from vireid.boundary import checkpoint
from vireid.core.config.overrides import Overrides
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager
from vireid.studies.jobs import Job, finish, make_job
from vireid.synth import synthesize

SYSTEMS = Path(__file__).parents[1] / 'configs' / 'systems'
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'model.backbone.last_stride=2', 'images.size=[64,32]',
    'images.workers=0', 'sampler.identities=4', 'sampler.visible=2', 'sampler.infrared=2',
    'training.epochs=None', 'training.steps=3',
    'training.checkpoint_every=1', 'training.precision=32-true', 'training.accelerator=cpu', 'protocol.trials=1',
    'loggers=[{"type": "MetricsFile"}]',
]  # fmt: skip
OWN = {
    'aligngan': [
        'model.translators.gan.size=[64,64]', 'model.translators.gan.channels=4', 'model.translators.gan.blocks=1',
        'model.heads.critic_v.channels=4', 'model.heads.critic_i.channels=4',
    ],
    'd2rl': [
        'model.translators.unify.size=None', 'model.translators.unify.channels=4',
        'model.translators.unify.blocks=1', 'model.heads.critic_v.channels=4',
        'model.heads.critic_v.scales=1', 'model.heads.critic_i.channels=4', 'model.heads.critic_i.scales=1',
    ],
    'hicmd': [
        'model.backbone.out_stages=[3]', 'model.dilations=[1,2,3]', 'model.critic_width=2', 'model.hidden=8',
        'model.channels=16', 'model.metric_channels=8',
    ],
}  # fmt: skip


def job(system: str, data: Path, folder: Path) -> Job:
    overrides = Overrides(options=[*SMALL, *OWN.get(system, [])], values={'dataset.root': str(data)})
    experiment = resolve(str(SYSTEMS / f'{system}.py'), overrides, manager=create_manager())
    return make_job(experiment, overrides, folder, system)


def run(system: str, data: Path, folder: Path, clock: Clock | None = None) -> None:
    """Trains all stages, from where an earlier run ended."""
    whole = job(system, data, folder)
    if clock:
        sys.settrace(clock)
    finish(whole, data_may_move=True, log=lambda line: None)
    sys.settrace(None)


def folders(folder: Path) -> list[Path]:
    return [*sorted(path for path in folder.glob('stage*') if path.is_dir()), folder]


def ended_with(folder: Path) -> dict[str, Any]:
    """Returns what two runs are compared by, of each stage."""
    found = {}
    for place in folders(folder):
        content = checkpoint.load(place / 'checkpoints' / 'last.pt')
        kept = {key: content[key] for key in ('model', 'step', 'progress')}
        texts = {name: (place / name).read_text() for name in ('metrics.jsonl', 'result.json')}
        found[place.name if place != folder else 'last'] = {**kept, **texts}
    return found


def stages_done(folder: Path) -> int:
    return sum((place / 'result.json').is_file() for place in folders(folder))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('system', choices=list(OWN))
    parser.add_argument('--kills', type=int, default=12)
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    rng = random.Random(arguments.seed)
    done: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        data, alone = base / 'people', base / 'alone'
        synthesize(data, layout='sysu', ids=10, seed=0, images=1, workers=1)

        def count() -> None:
            clock = Clock()
            run(arguments.system, data, alone, clock)
            (base / 'counts.json').write_text(json.dumps(clock.counts))

        assert in_children([count]) == [0]
        counts, expected = json.loads((base / 'counts.json').read_text()), ended_with(alone)
        stages = len(expected)
        for number in range(arguments.kills):
            phase, stage = PHASES[number % len(PHASES)], number // len(PHASES) % stages
            moments = counts.get(phase) or 1
            # the phases take about as many lines in each stage, but for the steps, of which later stages have more
            at = int(moments * (stage + rng.random()) / stages)
            folder = base / f'run{number}'

            def go(place: Path = folder, phase: str = phase, at: int = at) -> None:
                run(arguments.system, data, place, Clock(phase, at, kill_once()))

            (status,) = in_children([go])
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            before = stages_done(folder)
            (again,) = in_children([lambda f=folder: run(arguments.system, data, f)])
            found = ended_with(folder) if again == 0 else {}
            differ = [
                f'{part} of {place}'
                for place, parts in expected.items()
                for part, value in parts.items()
                if not same(value, found.get(place, {}).get(part))
            ]
            if not killed or again or differ:
                print(f'FAILED: {phase}, line {at}: killed {killed}, resumed {again == 0}, differs in {differ}')
            else:
                done[f'stage {before + 1}'] += 1
            shutil.rmtree(folder)
    total = sum(done.values())
    print(f'{total} of {arguments.kills} killed runs ended as the uninterrupted one, bit for bit: '
          + ', '.join(f'{n} in {stage}' for stage, n in sorted(done.items()))
          + f'; {time.perf_counter() - start:.0f} s')  # fmt: skip
    return 0 if total == arguments.kills else 1


if __name__ == '__main__':
    sys.exit(main())
