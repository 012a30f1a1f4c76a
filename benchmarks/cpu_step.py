"""The training step of several systems in each precision and memory format, step by step in turns.

    python benchmarks/cpu_step.py --size 288 144
    python benchmarks/cpu_step.py --size 144 72 --batch 8 --systems tffn_sysu
    python benchmarks/cpu_step.py --size 144 72 --systems tffn_sysu --compile
    python benchmarks/cpu_step.py --systems tffn_sysu --bound

Random images are on the device already, so nothing is read. Every round takes one step of every variant; the table has
the median of 20 rounds, and the ratio to the first row, the AGW base in float32 and contiguous memory (its training
equals the released code's to machine precision: docs/systems/agw.md). That row is in a process of its own, with the
allocator as glibc sets it: the released code changes nothing there, while vireid keeps freed memory on a CPU.

With `--bound`, each convolution of each system is also timed alone, forward and backward, in bf16 and channels-last.
The sum of their shortest times is what the step would take if everything else took no time.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import nn

from vireid.diagnostics.step_loop import StepLoop
from vireid.launch.precision import BF16, FLOAT32, native_bf16
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager

CONFIGS = Path(__file__).parents[1] / 'configs'
FORMATS = ('contiguous', 'channels_last')
FIRST = ('systems/agw_base', FLOAT32, 'contiguous')


COMPILED = 'compiled'  # and channels-last


def make(name: str, precision: str, form: str, size: list[int], identities: int) -> StepLoop:
    values = {
        'training.precision': precision, 'training.memory_format': FORMATS[1] if form == COMPILED else form,
        'training.compile': form == COMPILED, 'images.size': size, 'sampler.identities': identities,
        'model.backbone.weights': None,
    }  # fmt: skip
    return StepLoop(resolve(CONFIGS / f'{name}.py', manager=create_manager()).with_overrides(values))


# the thresholds in bytes that glibc reaches by itself after a few large allocations; if they are in the environment,
# vireid does not change them
GLIBC = {'MALLOC_MMAP_THRESHOLD_': str(32 * 2**20), 'MALLOC_TRIM_THRESHOLD_': str(64 * 2**20)}


def serve(connection: Connection, size: list[int], identities: int) -> None:
    """Takes a step of the first row each time it is asked, and sends the seconds."""
    step = make(*FIRST, size, identities)
    while connection.recv():
        connection.send(step.images / step())


def released(size: list[int], identities: int) -> Callable[[bool], float]:
    """Returns a function that takes a step of the first row in another process; False ends the process."""
    here, there = multiprocessing.Pipe()
    os.environ.update(GLIBC)
    multiprocessing.get_context('spawn').Process(target=serve, args=(there, size, identities), daemon=True).start()
    for name in GLIBC:
        del os.environ[name]

    def step(go: bool) -> float:
        here.send(go)
        return here.recv() if go else 0.0

    return step


def convolutions(step: StepLoop, repeat: int = 5) -> float:
    """Returns the sum of the shortest times of a step's convolutions, each alone, in bf16 and channels-last."""
    found: Counter[tuple[nn.Conv2d, torch.Size, bool]] = Counter()
    layers = [module for module in step._model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [
        layer.register_forward_hook(lambda m, given, _: found.update([(m, given[0].shape, given[0].requires_grad)]))
        for layer in layers
    ]
    step()
    for hook in hooks:
        hook.remove()
    total = 0.0
    for (layer, shape, learns), count in found.items():
        own = copy.deepcopy(layer).to(torch.bfloat16, memory_format=torch.channels_last)
        images = torch.randn(shape).to(torch.bfloat16, memory_format=torch.channels_last).requires_grad_(learns)
        gradient = torch.randn_like(own(images))
        taken = []
        for _ in range(repeat):
            own.zero_grad()
            images.grad = None
            start = time.perf_counter()
            own(images).backward(gradient)
            taken.append(time.perf_counter() - start)
        total += count * min(taken)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, nargs=2, default=[288, 144], metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--batch', type=int, default=4, metavar='IDENTITIES', help='identities in a batch')
    parser.add_argument('--systems', nargs='+', default=['tffn_sysu', 'dmcf_sysu'])
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument('--compile', action='store_true', help='add compiled steps, which take minutes to compile')
    parser.add_argument('--bound', action='store_true', help='time the convolutions alone too')
    args = parser.parse_args()
    forms = (*FORMATS, COMPILED) if args.compile else FORMATS
    precisions = [FLOAT32, *([BF16] if native_bf16('cpu')[0] else [])]
    rows = [FIRST, *((s, p, f) for s in args.systems for p in precisions for f in forms)]
    baseline = released(args.size, args.batch)
    steps = {row: make(*row, args.size, args.batch) for row in rows[1:]}
    seconds: dict[tuple[str, str, str], list[float]] = {row: [] for row in rows}
    for number in range(args.rounds + 1):  # the first is to warm up
        for row in rows:
            taken = baseline(True) if row == FIRST else steps[row].images / steps[row]()
            if number:
                seconds[row].append(taken)
    baseline(False)
    first = statistics.median(seconds[FIRST])
    print(f'{args.size[0]} x {args.size[1]}, {steps[rows[1]].images} images, {torch.get_num_threads()} threads')
    for (name, precision, form), taken in seconds.items():
        middle, least, most = statistics.median(taken), min(taken), max(taken)
        same = statistics.median(seconds[name, precision, FORMATS[0]])
        print(
            f'{name:<18} {precision:<12} {form:<14} median {middle:6.2f} s ({least:.2f} to {most:.2f})  '
            f'of the AGW base {middle / first:.2f}  of contiguous {middle / same:.2f}'
        )
    for (name, precision, form), step in steps.items():
        if args.bound and (precision, form) == (BF16, FORMATS[1]):
            least = convolutions(step)
            print(f'{name:<18} convolutions alone, in bf16: {least:.2f} s, of the AGW base {least / first:.2f}')


if __name__ == '__main__':
    main()
