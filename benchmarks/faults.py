"""Kills runs at moments chosen by seed, resumes them, and compares what they end with to a run that was left alone.

A moment is a line of Python that is about to run in vireid, or in torch while it writes a checkpoint: the uninterrupted
run counts them by phase (in a step, between steps, saving, scoring), a killed one gets SIGKILL at the n-th. Weights,
optimizer, weighter, averaged weights, metrics.jsonl and the result have to be equal to the last bit. The run has an
adaptive lambda, uncertainty, averaged weights and batches taken in two parts; some have a loader process.

    python benchmarks/faults.py --kills 200 --seed 1
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from torch import nn

from vireid.core import checkpoint
from vireid.core.experiment import Experiment
from vireid.core.plugins import create_manager, hookimpl
from vireid.core.rehearsal import rehearse
from vireid.core.run import make_fabric
from vireid.core.training import train
from vireid.core.types import INFRARED, VISIBLE, FeatureSpec, joint_order
from vireid.synth import synthesize

PHASES = ('step', 'between', 'saving', 'scoring')
# functions that begin a phase; the outermost one counts, but saving and scoring count within any
BEGINS = {
    ('vireid/core/training.py', '__call__'): 'step',
    ('vireid/core/snapshots.py', 'save'): 'saving',
    ('vireid/core/scoring.py', 'evaluate'): 'scoring',
}
TRACED = ('vireid/core/', 'vireid/plugins/', 'torch/serialization.py')


class Tiny(nn.Module):
    """A backbone of two layers: what is tested is not the network."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = nn.ModuleDict({m: nn.Conv2d(3, 4, 3, stride=4) for m in (VISIBLE, INFRARED)})
        self.shared = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.outputs = {'deep': FeatureSpec(8, 'map')}

    def forward(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {'deep': self.shared(torch.cat([self.streams[m](images[m]) for m in joint_order(images)]))}


@hookimpl
def register_components(add: Callable[..., None]) -> None:
    add('backbones', 'Tiny', Tiny)


def experiment(data: Path, workers: int) -> Experiment:
    losses = {'id': {'type': 'CrossEntropy'}, 'tri': {'type': 'BatchHardTriplet', 'margin': 0.3}}
    levels = {'type': 'HomoscedasticUncertainty', 'tasks': ['a'], 'by': 'step', 'start': 2, 'bounds': [-2, 5]}
    parts = {'levels': levels, 'graph': {'type': 'WarmUp', 'tasks': {'b': 'adaptive'}}}
    config: dict[str, Any] = {
        'dataset': {'type': 'SYSU-MM01', 'root': str(data)},
        'protocol': {'type': 'sysu/agw', 'modes': ['all'], 'trials': 2},
        'images': {
            'size': [24, 12],
            'train': [{'type': 'Resize'}, {'type': 'RandomHorizontalFlip'}, {'type': 'ToFloat'}],
            'test': [{'type': 'Resize'}, {'type': 'ToFloat'}],
            'workers': workers,
        },
        'sampler': {'type': 'IdentityBalanced', 'identities': 4, 'visible': 2, 'infrared': 2},
        'model': {
            'backbone': {'type': 'Tiny'},
            'necks': {
                'a': {'type': 'StageEmbedding', 'inputs': 'deep', 'channels': 8},
                'b': {'type': 'GLFM', 'inputs': 'a', 'num_heads': 2},
            },
            'heads': {name: {'type': 'GlobalHead', 'losses': losses} for name in ('a', 'b')},
            'weighter': {'type': 'Composed', 'parts': parts},
            'embedding': 'a',
        },
        'step': {
            'type': 'SingleOptimizer',
            'optimizer': {'type': 'Adam', 'lr': 0.01},
            'schedule': [{'type': 'LinearLR', 'start_factor': 0.1, 'total_iters': 5, 'by': 'step'}],
            'accumulate': 2,
            'ema': 0.8,
            'clip_norm': 5.0,
        },
        'training': {'epochs': 2, 'evaluate_every': 1, 'checkpoint_every': 2, 'accelerator': 'cpu'},
        'evaluation': {'select': 'test'},
        'loggers': [{'type': 'MetricsFile'}],
        'name': 'faults',
    }
    manager = create_manager()
    manager.register(sys.modules[__name__], 'faults')
    return Experiment.from_config(config, manager)


class Clock:
    """Counts traced lines by phase; at the n-th line of one, does something."""

    def __init__(self, phase: str = '', number: int = -1, at: Callable[[], None] = lambda: None) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.phase, self.number, self.at = phase, number, at
        self.within: list[tuple[Any, str]] = []

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        place = frame.f_code.co_filename
        if event == 'call':
            if not any(part in place for part in TRACED):
                return None
            for (file, name), phase in BEGINS.items():
                if place.endswith(file) and frame.f_code.co_name == name:
                    self.within.append((frame, phase))
        elif event == 'return':
            if self.within and self.within[-1][0] is frame:
                self.within.pop()
        elif event == 'line':
            phase = self.within[-1][1] if self.within else 'between'
            if phase == 'between' and 'torch' in place:
                return self
            if phase == self.phase and self.counts[phase] == self.number:
                self.at()
            self.counts[phase] += 1
        return self


def kill_once() -> Callable[[], None]:
    """Returns what kills this process; its loader processes, which inherit the clock, are spared."""
    own = os.getpid()
    return lambda: os.kill(own, signal.SIGKILL) if os.getpid() == own else None


def in_child(work: Callable[[], None]) -> int:
    """Does something in a process of its own; returns how that ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def run(data: Path, folder: Path, workers: int, clock: Clock | None = None) -> None:
    """Trains in `folder`, from its newest checkpoint if there is one."""
    found = checkpoint.newest(folder / 'checkpoints' / 'last.pt', lambda line: None)
    made = experiment(data, workers)
    if clock:
        sys.settrace(clock)
    train(made, folder, resume=found)
    sys.settrace(None)


def ended_with(folder: Path) -> dict[str, Any]:
    """Returns all that two runs are compared by."""
    content = checkpoint.load(folder / 'checkpoints' / 'last.pt')
    best = checkpoint.load(folder / 'checkpoints' / 'best.pt')
    kept = {key: content[key] for key in ('model', 'step', 'progress', 'rng', 'best')}
    lines = (folder / 'metrics.jsonl').read_text()
    return {**kept, 'best weights': best['model'], 'metrics': lines, 'result': (folder / 'result.json').read_text()}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=40, help='in all, a quarter in each phase')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=1, help='loader processes of every tenth run')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        data = base / 'people'
        synthesize(data, layout='sysu', ids=10, seed=0, images=1, workers=1)

        # here, so that the processes that are killed find everything imported and read
        first = experiment(data, 0)
        rehearse(first, make_fabric(first))
        first.build_loggers()
        first.build_dataset()

        def count(workers: int) -> dict[str, int]:
            """Trains without being killed; returns the moments of each phase."""

            def work() -> None:
                clock = Clock()
                run(data, base / f'whole{workers}', workers, clock)
                (base / 'counts.json').write_text(json.dumps(clock.counts))

            assert in_child(work) == 0
            return json.loads((base / 'counts.json').read_text())

        by_workers = {workers: count(workers) for workers in {0, arguments.workers}}
        expected = ended_with(base / 'whole0')
        assert same(expected, ended_with(base / f'whole{arguments.workers}')), 'loader processes change the run'
        rng = random.Random(arguments.seed)
        failed = 0
        done: collections.Counter[str] = collections.Counter()
        for number in range(arguments.kills):
            phase = PHASES[number % 4]
            workers = arguments.workers if number % 10 == 9 else 0
            at = rng.randrange(by_workers[workers][phase])
            folder = base / f'run{number}'
            status = in_child(lambda f=folder, w=workers, p=phase, n=at: run(data, f, w, Clock(p, n, kill_once())))
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            resumed = in_child(lambda f=folder, w=workers: run(data, f, w)) == 0
            found = ended_with(folder) if resumed else {}
            differ = [key for key in expected if key not in found or not same(expected[key], found[key])]
            if not killed or not resumed or differ:
                failed += 1
                print(f'FAILED: {phase}, line {at}: killed {killed}, resumed {resumed}, differs in {differ}')
            else:
                done[phase] += 1
            for path in sorted(folder.rglob('*'), reverse=True):  # a folder of each is too much for a long run
                path.rmdir() if path.is_dir() else path.unlink()
    total = sum(done.values())
    print(f'{total} of {arguments.kills} killed runs ended as the uninterrupted one, bit for bit: '
          + ', '.join(f'{done[phase]} {phase} (of {by_workers[0][phase]:,} moments)' for phase in PHASES)
          + f'; {time.perf_counter() - start:.0f} s')  # fmt: skip
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
