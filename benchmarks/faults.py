"""Kills runs at moments chosen by seed, resumes them, and compares what they end with to a run that was left alone.

A moment is a line of Python that is about to run in vireid, or in torch while it writes a checkpoint: the uninterrupted
run counts them by phase (in a step, between steps, saving, scoring), a killed one gets SIGKILL at the n-th. Weights,
optimizer, weighter, averaged weights, metrics.jsonl and the result have to be equal to the last bit. The run has an
adaptive lambda, uncertainty, averaged weights and batches taken in two parts; half of them count steps and end within
an epoch, a third have two optimizers in turns, and of every ten one has a loader process and one has two. Of several
processes one is killed, chosen by seed too, and the launcher ends the others.

    python benchmarks/faults.py --kills 200 --seed 1
    python benchmarks/faults.py --kills 40 --processes 2
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from torch import nn

from vireid.boundary import checkpoint
from vireid.core.config.experiment import Experiment
from vireid.core.types import INFRARED, VISIBLE, FeatureSpec, joint_order
from vireid.launch.launch import train
from vireid.launch.preflight import preflight
from vireid.launch.weights import newest
from vireid.plugin_manager.manager import create_manager, hookimpl
from vireid.synth import synthesize

PHASES = ('step', 'between', 'saving', 'scoring')
# functions that begin a phase; the outermost one counts, but saving and scoring count within any
BEGINS = {
    ('vireid/plugins/steps/single_optimizer.py', '__call__'): 'step',
    ('vireid/plugins/steps/multiple_optimizers.py', '__call__'): 'step',
    ('vireid/core/training/trainer.py', 'save'): 'saving',
    ('vireid/core/scoring/evaluator.py', 'evaluate'): 'scoring',
}
TRACED = ('vireid/core/', 'vireid/plugins/', 'torch/serialization.py')


# options that put TFFN on `Tiny`
TFFN_ON_TINY = ['model.backbone={"type": "Tiny"}', *(f'model.necks.{name}.inputs=deep' for name in ('s2', 's3', 's4'))]


class Tiny(nn.Module):
    """A backbone of two layers: what is tested is not the network."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = nn.ModuleDict({m: nn.Conv2d(3, 4, 3, stride=4) for m in (VISIBLE, INFRARED)})
        self.shared = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.outputs = {'deep': FeatureSpec(8, 'map')}

    def forward(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {'deep': self.shared(torch.cat([self.streams[m](images[m]) for m in joint_order(images)]))}


class Pooled(nn.Module):
    """A backbone without convolutions, which some processors compute wrongly in bf16."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 8), nn.BatchNorm2d(8)
        self.outputs = {'deep': FeatureSpec(8, 'map')}

    def forward(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        pooled = nn.functional.avg_pool2d(torch.cat([images[m] for m in joint_order(images)]), 4)
        return {'deep': self.norm(self.linear(pooled.movedim(1, -1)).movedim(-1, 1))}


@hookimpl
def register_components(add: Callable[..., None]) -> None:
    add('backbones', 'Tiny', Tiny)
    add('backbones', 'Pooled', Pooled)


class Kind(NamedTuple):
    """What kind of run is killed.

    Attributes:
        workers: loader processes.
        by: `epoch`, or `step`: its length is given in steps, and it ends within an epoch.
        processes: how many train.
        optimizers: 1, or 2 in turns, each over parameters and a task of its own.
    """

    workers: int = 0
    by: str = 'epoch'
    processes: int = 1
    optimizers: int = 1


ALONE = Kind()


def experiment(data: Path, kind: Kind = ALONE) -> Experiment:
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
            'workers': kind.workers,
        },
        'sampler': {'type': 'IdentityBalanced', 'identities': 4 // kind.processes, 'visible': 2, 'infrared': 2},
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
            'schedule': [
                {'type': 'LinearLR', 'start_factor': 0.1, 'total_iters': 5, 'by': 'step'},
                {'type': 'StepLR', 'step_size': 1, 'gamma': 0.5, 'by': 'epoch'},
            ],
            'accumulate': 2 if kind.processes == 1 else 1,
            'ema': 0.8,
            'clip_norm': 5.0,
        },
        'training': {
            **({'epochs': 2} if kind.by == 'epoch' else {'steps': 5}),
            'evaluate_every': 1,
            'checkpoint_every': 2,
            'accelerator': 'cpu',
            'devices': kind.processes,
        },
        # by mAP the second evaluation finds better weights than the first
        'evaluation': {'select': 'test', 'select_by': 'mAP'},
        'loggers': [{'type': 'MetricsFile'}],
        'name': 'faults',
    }
    if kind.optimizers == 2:
        config['model']['weighter'] = {'type': 'WarmUp', 'tasks': {'b': 'adaptive'}}
        shared = {'optimizer': {'type': 'Adam', 'lr': 0.01}, 'schedule': config['step']['schedule'], 'clip_norm': 5.0}
        graph = {'parameters': ['necks.b.*', 'tasks.b.*'], 'tasks': ['b'], **shared}
        network = {'parameters': ['backbone.*', 'necks.a.*', 'tasks.a.*'], 'tasks': ['a'], **shared}
        config['step'] = {
            'type': 'MultipleOptimizers',
            'optimizers': {'graph': graph, 'network': network},
            'order': ['network', 'graph', ['network', 'graph']],
        }
    manager = create_manager()
    manager.register(sys.modules[__name__], 'faults')
    return Experiment.from_config(config, manager)


@functools.cache
def of_function(file: str, name: str) -> tuple[bool, str]:
    """Says whether the lines of a function are counted, and the phase that it begins; '' if none."""
    begins = [phase for (end, function), phase in BEGINS.items() if file.endswith(end) and function == name]
    return any(part in file for part in TRACED), ''.join(begins)


class Clock:
    """Counts traced lines by phase; at the n-th line of one, does something."""

    def __init__(self, phase: str = '', number: int = -1, at: Callable[[], None] = lambda: None) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.phase, self.number, self.at = phase, number, at
        self.within: list[tuple[Any, str]] = []

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        if event == 'call':
            traced, begins = of_function(frame.f_code.co_filename, frame.f_code.co_name)
            if not traced:
                return None
            if begins:
                self.within.append((frame, begins))
        elif event == 'return':
            if self.within and self.within[-1][0] is frame:
                self.within.pop()
        elif event == 'line':
            phase = self.within[-1][1] if self.within else 'between'
            if phase == 'between' and 'torch' in frame.f_code.co_filename:
                return self
            if phase == self.phase and self.counts[phase] == self.number:
                self.at()
            self.counts[phase] += 1
        return self


def kill_once() -> Callable[[], None]:
    """Returns what kills this process; its loader processes, which inherit the clock, are spared."""
    own = os.getpid()
    return lambda: os.kill(own, signal.SIGKILL) if os.getpid() == own else None


def in_children(works: list[Callable[[], None]]) -> list[int]:
    """Does each in a process of its own, started as torchrun does; returns how each ended.

    The first that fails ends the others.
    """
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    children: dict[int, int] = {}
    for rank, work in enumerate(works):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                if len(works) > 1:
                    names = ('RANK', 'LOCAL_RANK', 'GROUP_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'MASTER_PORT')
                    values = (rank, rank, 0, len(works), len(works), port)
                    os.environ |= {name: str(value) for name, value in zip(names, values, strict=True)}
                    os.environ |= {'MASTER_ADDR': '127.0.0.1', 'TORCHELASTIC_RUN_ID': 'faults'}
                work()
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(status)
        children[pid] = rank
    ended: dict[int, int] = {}
    while children:
        pid, status = os.wait()
        if pid not in children:
            continue
        ended[children.pop(pid)] = status
        if status != 0:
            for other in children:
                os.kill(other, signal.SIGKILL)
    return [ended[rank] for rank in range(len(works))]


def run(data: Path, folder: Path, kind: Kind, clock: Clock | None = None) -> None:
    """Trains in `folder`, from its newest checkpoint if there is one."""
    found = newest(folder / 'checkpoints' / 'last.pt', lambda line: None)
    made = experiment(data, kind)
    if clock:
        sys.settrace(clock)
    train(made, folder, resume=found)
    sys.settrace(None)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def ended_with(folder: Path) -> dict[str, Any]:
    """Returns all that two runs are compared by."""
    content = checkpoint.load(folder / 'checkpoints' / 'last.pt')
    best = checkpoint.load(folder / 'checkpoints' / 'best.pt')
    kept = {key: content[key] for key in ('model', 'step', 'progress', 'best')}
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
    parser.add_argument('--processes', type=int, default=1, help='that train together')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        data = base / 'people'
        synthesize(data, layout='sysu', ids=10, seed=0, images=1, workers=1)

        # here, so that the processes that are killed find everything imported and read
        first = experiment(data)
        preflight(first)
        first.build_loggers()
        first.build_dataset()

        def kind_of(number: int) -> Kind:
            workers = {8: 1, 9: 2}.get(number % 10, 0) if arguments.processes == 1 else 0
            optimizers = 2 if number // 4 % 6 in (2, 5) else 1
            return Kind(workers, ('epoch', 'step')[number // 4 % 2], arguments.processes, optimizers)

        def count(kind: Kind) -> list[dict[str, int]]:
            """Trains without being killed; returns the moments of each phase, by process."""
            folder = base / '-'.join(map(str, kind))

            def work(rank: int) -> None:
                clock = Clock()
                run(data, folder, kind, clock)
                (base / f'counts{rank}.json').write_text(json.dumps(clock.counts))

            assert not any(in_children([lambda r=r: work(r) for r in range(kind.processes)]))
            return [json.loads((base / f'counts{rank}.json').read_text()) for rank in range(kind.processes)]

        moments = {kind: count(kind) for kind in {kind_of(number) for number in range(arguments.kills)}}
        expected = {kind: ended_with(base / '-'.join(map(str, kind))) for kind in moments}
        for kind, found in expected.items():
            alone = expected.get(kind._replace(workers=0), found)
            assert same(alone, found), 'loader processes change the run'
        rng = random.Random(arguments.seed)
        failed = 0
        done: collections.Counter[str] = collections.Counter()
        for number in range(arguments.kills):
            phase, kind = PHASES[number % 4], kind_of(number)
            victim = rng.randrange(kind.processes)
            at = rng.randrange(moments[kind][victim].get(phase) or 1)
            folder = base / f'run{number}'

            def go(rank: int, f: Path = folder, k: Kind = kind, v: int = victim, p: str = phase, n: int = at) -> None:
                run(data, f, k, Clock(p, n, kill_once()) if rank == v else None)

            statuses = in_children([lambda r=r, go=go: go(r) for r in range(kind.processes)])
            killed = os.WIFSIGNALED(statuses[victim]) and os.WTERMSIG(statuses[victim]) == signal.SIGKILL
            again = in_children([lambda f=folder, k=kind: run(data, f, k)] * kind.processes)
            resumed = not any(again)
            found = ended_with(folder) if resumed else {}
            differ = [k for k in expected[kind] if k not in found or not same(expected[kind][k], found[k])]
            if not killed or not resumed or differ:
                failed += 1
                ends = f'killed {killed}, resumed {resumed}, differs in {differ}'
                print(f'FAILED: {kind}, {phase}, line {at} of process {victim}: {ends}')
            else:
                done[phase] += 1
            for path in sorted(folder.rglob('*'), reverse=True):  # a folder of each is too much for a long run
                path.rmdir() if path.is_dir() else path.unlink()
    total, counted = sum(done.values()), sum(map(collections.Counter, moments[kind_of(0)]), collections.Counter())
    print(f'{total} of {arguments.kills} killed runs ended as the uninterrupted one, bit for bit: '
          + ', '.join(f'{done[phase]} {phase} (of {counted[phase]:,} moments)' for phase in PHASES)
          + f'; {time.perf_counter() - start:.0f} s')  # fmt: skip
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
