"""`vireid bench`: what is said of given rates, and that both benchmarks run without data and without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vireid import load_experiment
from vireid.cli import main
from vireid.diagnostics import bench
from vireid.diagnostics.bench import BOTH, LOADER, STEP, Bench, Variant, interleave
from vireid.diagnostics.step_loop import wait_for

CONFIGS = Path(__file__).parents[2] / 'configs'
TINY = ['images.size=[48,24]', 'sampler.identities=2', 'model.backbone.weights=None', 'training.precision=32-true']


def parts(loader: float, step: float, both: float, workers: int = 0, load: float = 0.0, **changes: float) -> Bench:
    """A benchmark of two rounds with these rates; changes are compared with both together."""
    rates = {LOADER: loader, STEP: step, BOTH: both, **changes}
    variants = [Variant(n, lambda: 0.0, BOTH if n in changes else '', n if n in changes else '') for n in rates]
    return Bench('title', variants, {name: [rate, rate] for name, rate in rates.items()}, [], workers, load, 2)


@pytest.mark.parametrize(('kind', 'small'), [('cpu', True), ('cuda', False)])
def test_the_first_step_on_a_gpu_does_not_count(monkeypatch, kind, small):
    """A first step of 10 images takes 5 seconds, the others one tenth."""

    class Loop:
        def __init__(self, experiment, identities, whole=True):
            self.device, self.full, self.steps = torch.device(kind), experiment.sampler['identities'] * 10, 0

        def __call__(self):
            self.steps += 1
            return 10 / (5 if self.steps == 1 else 0.1)

    monkeypatch.setattr(bench, 'StepLoop', Loop)
    experiment = load_experiment(CONFIGS / 'systems' / 'agw_base.py')
    found, step, notes = bench._affordable(experiment)
    assert (found is not experiment, step.full < 80, bool(notes)) == (small, small, small)


class TestAdvice:
    def test_the_slower_of_the_two_limits_training(self):
        assert parts(300, 100, 75).advice() == ['the step limits training: the loader alone is 3.0 times as fast']
        assert parts(100, 250, 71).advice() == ['the loader limits training: the step alone is 2.5 times as fast']
        assert parts(110, 100, 52).advice() == ['the step and the loader are about equally fast']

    def test_without_workers_the_two_take_turns(self):
        # 100 images take a second to read and a second to train on: 50 a second
        assert len(parts(100, 100, 50, workers=0).advice()) == 1
        assert 'they reach 50%' in parts(100, 100, 50, workers=2).advice()[1]

    def test_a_change_is_suggested_with_its_gain_the_best_one_first(self):
        advice = parts(100, 250, 71, slower=60, a=100, b=142).advice()[1:]
        assert advice == [f'set b: {BOTH} is 2.0 times as fast', f'set a: {BOTH} is 1.4 times as fast']

    def test_a_small_or_uncertain_gain_is_not_suggested(self):
        assert 'no change' in parts(100, 250, 71, a=75).advice()[1]
        variants = [Variant(STEP, lambda: 0.0), Variant('a', lambda: 0.0, STEP, 'a')]
        found = Bench('title', variants, {STEP: [10, 10, 10], 'a': [20, 20, 9]}, [])
        assert found.advice() == [f'no change that was tried makes {STEP} faster']

    def test_nothing_is_suggested_about_reading_that_takes_no_time(self):
        assert parts(3000, 100, 97, a=150).advice() == [
            'the step limits training: the loader alone is 30.0 times as fast'
        ]

    def test_a_busy_machine_is_told_with_its_load(self):
        assert 'load average was 3.0 on 2 cores' in parts(300, 100, 75, load=3.0).advice()[-1]
        assert 'OMP_NUM_THREADS' in parts(300, 100, 75, load=3.0).advice()[-1]

    def test_ratios_are_of_rounds_so_that_a_drift_of_the_machine_cancels(self):
        variants = [Variant(STEP, lambda: 0.0), Variant('a', lambda: 0.0, STEP, 'a')]
        found = Bench('title', variants, {STEP: [10, 20, 40], 'a': [20, 40, 80]}, [])
        assert f'set a: {STEP} is 2.0 times as fast' in found.advice()


def test_variants_are_timed_in_turns_and_at_least_twice():
    order: list[str] = []
    variants = [Variant(name, lambda name=name: order.append(name) or 1.0) for name in 'ab']
    rates = interleave(variants, 0.0, lambda *_: None)
    assert order == ['a', 'b'] * bench.MIN_ROUNDS
    assert rates == {'a': [1.0] * bench.MIN_ROUNDS, 'b': [1.0] * bench.MIN_ROUNDS}


@pytest.mark.parametrize('kind', ['cuda', 'mps'])
def test_a_time_includes_the_work_of_the_device(monkeypatch, kind):
    waited = list[object]()
    monkeypatch.setattr(getattr(torch, kind), 'synchronize', lambda *device: waited.append(device))
    wait_for(torch.device('cpu'))
    assert not waited
    wait_for(torch.device(kind))
    assert len(waited) == 1


class TestCommand:
    def test_the_step_needs_no_data(self, capsys):
        assert main(['bench', 'step', str(CONFIGS / 'tffn_demo.py'), '--seconds', '0.1', '--cfg-options', *TINY]) == 0
        out = capsys.readouterr().out
        assert 'tffn_demo on cpu, 32-true, 16 images a batch; medians of 2 rounds' in out
        assert 'training.memory_format=contiguous' in out  # the other one

    @pytest.mark.long
    def test_reading_is_timed_with_generated_images_and_said_so(self, capsys, monkeypatch):
        monkeypatch.setattr(bench, 'SHOTS', 4)
        monkeypatch.setattr(bench, 'PEOPLE', 2)
        monkeypatch.setattr(bench, '_load', lambda: (0.0, 1))  # one loader process is tried
        options = [*TINY, 'images.workers=0']
        flags = ['--seconds', '0.1', '--json', '--cfg-options', *options]
        assert main(['bench', 'data', str(CONFIGS / 'tffn_demo.py'), *flags]) == 0
        found = json.loads(capsys.readouterr().out)
        assert list(found['images_per_second']) == [LOADER, STEP, BOTH, 'images.workers=1', '--cache DIR']
        assert all(rate > 0 for rates in found['images_per_second'].values() for rate in rates)
        assert any('so 16 JPEG images of 384 x 160 were generated' in note for note in found['notes'])

    @pytest.mark.parametrize('seconds', ['0', '-1', 'nan'])
    def test_no_time(self, seconds, capsys):
        assert main(['bench', 'step', str(CONFIGS / 'tffn_demo.py'), f'--seconds={seconds}']) == 2
        assert 'a positive number' in capsys.readouterr().err
