"""What vireid's training step costs beyond a bare PyTorch loop over the same model and batch."""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.registry.contracts import located, require_record
from vireid.core.training.nonfinite import is_finite, not_finite
from vireid.core.training.run import Run, seed_step
from vireid.core.types import INFRARED, VISIBLE, Batch, Progress
from vireid.launch.fabric import make_fabric
from vireid.plugin_manager.manager import create_manager
from vireid.runtime.processes import agreed

CONFIG = Path(__file__).parents[1] / 'configs' / 'tffn_sysu.py'
IDENTITIES = 16
STEPS_PER_EPOCH = 10  # the weighter's new epoch is part of the step


def fixed_batch(size: tuple[int, int], device: torch.device) -> Batch:
    """Noise for 4 identities, 4 visible and 4 infrared images each."""
    generator = torch.Generator().manual_seed(0)
    images = {m: torch.randn(16, 3, *size, generator=generator).to(device) for m in (VISIBLE, INFRARED)}
    identities = {m: torch.arange(4).repeat_interleave(4).to(device) for m in images}
    cameras = {VISIBLE: torch.ones(16, dtype=torch.int64), INFRARED: torch.full((16,), 3)}
    paths = {m: [f'{m}-{n}.jpg' for n in range(16)] for m in images}
    return Batch(images, identities, cameras, paths)


def vireid_step(
    experiment: Experiment, batch: Batch, start: Progress, folder: Path
) -> tuple[torch.nn.Module, Callable]:
    """One turn of the loop: what `Trainer.train_step` does, without the data."""
    fabric = make_fabric(experiment.training)
    model = experiment.build_model(IDENTITIES)
    step = experiment.build_step(model, fabric)
    run = Run(experiment, folder, model, fabric.device, start)
    hooks = experiment.manager.observers(experiment.build_loggers())
    hooks.run_started(run=run)
    model.train()
    progress = start

    def turn() -> None:
        nonlocal progress
        model.train()
        seed_step(run, progress, fabric.global_rank)
        with located(model):
            record = step(fabric.to_device(batch), progress)
        require_record(record, experiment.step['type'])
        failed, _ = agreed(fabric.device, not is_finite(record), False)
        if failed:
            raise not_finite(record, batch, run)
        progress = progress.next()
        hooks.step_ended(run=run, progress=progress, record=record)

    return model, turn


def bare_step(experiment: Experiment, batch: Batch, start: Progress) -> tuple[torch.nn.Module, Callable]:
    """The same update in plain PyTorch."""
    model = experiment.build_model(IDENTITIES).to(batch.images[VISIBLE].device).train()
    settings = {key: value for key, value in experiment.step['optimizer'].items() if key != 'type'}
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    mixed = experiment.training.precision == 'bf16-mixed'
    device = batch.images[VISIBLE].device.type
    progress = start

    def turn() -> None:
        nonlocal progress
        with torch.autocast(device, dtype=torch.bfloat16, enabled=mixed):
            tasks = model(batch)
        total, _ = model.weighter(tasks, progress)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        progress = progress.next()

    return model, turn


NETWORK = ('s2', 's3', 's4', 'mlfm')  # tasks of the first of two optimizers; the second has GLFM's


def two_optimizers(step: dict) -> dict:
    """Returns the step of two optimizers in turns, each with the settings of the one."""
    parts = {
        'network': {'parameters': ['backbone.*', 'necks.[!g]*', 'tasks.[!g]*'], 'tasks': [*NETWORK]},
        'graph': {'parameters': ['necks.glfm.*', 'tasks.glfm.*'], 'tasks': ['glfm']},
    }
    optimizers = {name: {**part, 'optimizer': step['optimizer']} for name, part in parts.items()}
    return {'type': 'MultipleOptimizers', 'optimizers': optimizers, 'order': ['network', 'graph']}


def bare_turns(experiment: Experiment, batch: Batch, start: Progress) -> tuple[torch.nn.Module, Callable]:
    """The same alternating updates in plain PyTorch, as one would write them: what rests needs no gradient."""
    model: Any = experiment.build_model(IDENTITIES).to(batch.images[VISIBLE].device).train()
    settings = experiment.step['optimizers']['network']['optimizer']
    settings = {key: value for key, value in settings.items() if key != 'type'}
    graph = [*model.necks['glfm'].parameters(), *model.tasks['glfm'].parameters()]
    apart = {id(p) for p in graph}
    groups = {
        'network': [p for p in model.parameters() if p.requires_grad and id(p) not in apart],
        'graph': [p for p in graph if p.requires_grad],
    }
    optimizers = {name: torch.optim.SGD(parameters, **settings) for name, parameters in groups.items()}
    mixed, device = experiment.training.precision == 'bf16-mixed', batch.images[VISIBLE].device.type
    progress = start

    def turn() -> None:
        nonlocal progress
        name, other = ('network', 'graph') if progress.step % 2 == 0 else ('graph', 'network')
        for parameter in groups[other]:
            parameter.requires_grad_(False)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=mixed):
            tasks = model(batch)
        weights = model.weighter(tasks, progress)[1]
        names = NETWORK if name == 'network' else ('glfm',)
        total = torch.stack([weights[task] * tasks[task] for task in names]).sum()
        optimizers[name].zero_grad(set_to_none=True)
        total.backward()
        optimizers[name].step()
        for parameter in groups[other]:
            parameter.requires_grad_(True)
        progress = progress.next()

    return model, turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--precision', choices=['32-true', 'bf16-mixed'], default='32-true')
    parser.add_argument('--accelerator', default='cpu')
    parser.add_argument('--blocks', type=int, default=30, help='blocks of each kind')
    parser.add_argument('--steps', type=int, default=1, help='steps in a block')
    parser.add_argument('--depth', type=int, default=18, help='of the ResNet')
    parser.add_argument('--size', type=int, nargs=2, default=(144, 72), metavar=('H', 'W'))
    parser.add_argument('--all-loggers', action='store_true', help='the bar and the report too')
    parser.add_argument('--optimizers', type=int, choices=[1, 2], default=1, help='two take turns')
    args = parser.parse_args()

    options = [
        f'model.backbone.depth={args.depth}',
        'model.backbone.weights=null',
        f'images.size={list(args.size)}',
        f'training.precision={args.precision}',
        f'training.accelerator={args.accelerator}',
        'step.schedule=[]',
        "loggers=[{'type': 'Console'}, {'type': 'MetricsFile'}, {'type': 'Report'}]"
        if args.all_loggers
        else "loggers=[{'type': 'MetricsFile'}]",
    ]
    settings = config.load(CONFIG, options)
    if args.optimizers == 2:
        settings['step'] = two_optimizers(settings['step'])
    experiment = Experiment.from_config(settings, create_manager())
    total = (args.blocks + 1) * args.steps
    start = Progress(0, 0, STEPS_PER_EPOCH, total)
    with tempfile.TemporaryDirectory() as folder:
        device = make_fabric(experiment.training).device
        batch = fixed_batch(tuple(args.size), device)
        models, turns = {}, {}
        models['vireid'], turns['vireid'] = vireid_step(experiment, batch, start, Path(folder))
        bare = bare_step if args.optimizers == 1 else bare_turns
        models['bare'], turns['bare'] = bare(experiment, batch, start)

        def block(name: str) -> tuple[float, float]:
            """Seconds a step by the clock, and of processor time in this process."""
            clock, processor = time.perf_counter(), time.process_time()
            for _ in range(args.steps):
                turns[name]()
            if device.type == 'cuda':
                torch.cuda.synchronize()
            return (time.perf_counter() - clock) / args.steps, (time.process_time() - processor) / args.steps

        times: dict[str, list[tuple[float, float]]] = {'vireid': [], 'bare': []}
        for name in times:
            block(name)  # warm up
        # which kind goes first alternates, so that a drift of the machine falls on both
        orders = itertools.cycle([('vireid', 'bare'), ('bare', 'vireid')])
        for _, order in zip(range(args.blocks), orders, strict=False):
            for name in order:
                times[name].append(block(name))

    difference = max(
        (a.detach() - b.detach()).abs().max().item()
        for a, b in zip(models['vireid'].parameters(), models['bare'].parameters(), strict=True)
    )
    print(f'ResNet-{args.depth}, {args.size[0]} x {args.size[1]}, batch 16 + 16, {args.precision}, {device}')
    print(f'{"a step":<16}{"vireid ms":>10}{"bare ms":>9}{"ratio":>7}{"quartiles":>17}   goal: <= 1.03')
    for kind, title in enumerate(('clock', 'processor time')):
        ours, theirs = ([pair[kind] for pair in times[name]] for name in ('vireid', 'bare'))
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        quartiles = f'{ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f}'
        print(
            f'{title:<16}{1e3 * statistics.median(ours):>10.1f}{1e3 * statistics.median(theirs):>9.1f}'
            f'{statistics.median(ratios):>7.3f}{quartiles:>17}'
        )
    print(f'largest difference of a weight after {total} steps: {difference:g}')


if __name__ == '__main__':
    main()
