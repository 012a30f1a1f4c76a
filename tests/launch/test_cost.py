"""The price of a run, worked out by hand from the work of a step and the size of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.core.config.experiment import Experiment
from vireid.core.config.overrides import Overrides
from vireid.errors import MissingKey, UnknownName
from vireid.launch.cost import DEVICES, LAUNCH, CostEstimate, cost_lines, duration, hours, run_size
from vireid.launch.resolve import resolve
from vireid.launch.work import Work
from vireid.plugin_manager.manager import create_manager

CONFIGS = Path(__file__).parents[2] / 'configs'
CORE = 'one core of AMD EPYC (Zen 3)'
# a step of 10 images: 600 GFLOP in convolutions and 300 in products; 2 GFLOP to embed an image
WORK = Work(10, 60e9, 30e9, 100, 1e9, int(1e9), 2e9)


def experiment(config: str, *options: str) -> Experiment:
    return resolve(CONFIGS / f'{config}.py', Overrides(options=options), manager=create_manager())


class TestSize:
    def test_a_complete_sysu_mm01(self):
        size = run_size(experiment('tffn_sysu'))
        assert size.identities == 395
        assert size.images == 22_258 + 11_909
        assert size.steps == 70 * (22_258 // 16 + 1)  # a batch has 16 visible images
        assert size.embedded == 6_775 + 3_803

    def test_mirrored_images_and_evaluations_in_between_are_embedded_too(self):
        test, validation = 6_775 + 3_803, 1_974 + 1_980
        assert run_size(experiment('tffn_sysu', 'evaluation.flip=True')).embedded == 2 * test
        options = ('training.evaluate_every=10', 'evaluation.select=validation', 'dataset.train_lists=["train"]')
        assert run_size(experiment('tffn_sysu', *options)).embedded == test + 7 * validation  # after 10, 20, ... 70

    def test_the_data_that_are_there(self, tmp_path):
        (tmp_path / 'exp').mkdir()
        for part, identities in (('train', '1,2,3,4'), ('val', ''), ('test', '5,6,7')):
            (tmp_path / 'exp' / f'{part}_id.txt').write_text(f'{identities}\n')
        for camera, count in ((1, 12), (3, 2)):
            for identity in range(1, 8):
                folder = tmp_path / f'cam{camera}' / f'{identity:04d}'
                folder.mkdir(parents=True)
                for number in range(count):
                    (folder / f'{number:04d}.jpg').touch()
        size = run_size(experiment('tffn_sysu', f'dataset.root={tmp_path}', 'training.epochs=2'))
        assert (size.identities, size.images, size.embedded) == (4, 4 * 14, 3 * 14)
        assert size.steps == 2 * (48 // 16 + 1)
        assert str(tmp_path) in size.source

    def test_your_own_images_have_to_be_there(self):
        with pytest.raises(MissingKey, match='--data-root'):
            run_size(experiment('tffn_own'))


class TestCostEstimate:
    def test_a_core_by_hand(self):
        cost = CostEstimate(experiment('tffn_sysu', 'training.epochs=null', 'training.steps=1000'), WORK)
        found, core = cost.on(CORE), DEVICES[CORE]
        assert found.seconds == pytest.approx(core.step + 900e9 / core.convolutions)
        embedding = 10_578 * 2e9 / core.convolutions
        assert found.hours == pytest.approx((1000 * found.seconds + embedding) / 3600)
        assert found.rate == pytest.approx(10 / found.seconds)
        assert found.basis == 'fitted'

    def test_a_gpu_by_hand(self):
        cost = CostEstimate(experiment('tffn_sysu', 'training.precision=bf16-mixed'), WORK)
        assert cost.on('A100').seconds == pytest.approx(900e9 / (0.2 * 312e12))
        cost = CostEstimate(experiment('tffn_sysu', 'training.precision=32-true'), WORK)
        assert cost.on('A100').seconds == pytest.approx(600e9 / (0.2 * 156e12) + 300e9 / (0.5 * 19.5e12))
        assert cost.on('V100').seconds == pytest.approx(900e9 / (0.5 * 15.7e12))
        assert cost.on('A100').basis == 'assumed'

    def test_a_gpu_is_no_faster_than_it_is_given_kernels(self):
        many = Work(10, 60e9, 30e9, 100_000, 1e9, int(1e9), 2e9)
        assert CostEstimate(experiment('tffn_sysu'), many).on('H100').seconds == pytest.approx(100_000 * LAUNCH)

    def test_auto_precision_is_that_of_the_device(self):
        cost = CostEstimate(experiment('tffn_sysu', 'training.precision=auto'), WORK)
        assert cost.on('A100').precision == 'bf16-mixed'
        assert cost.on('V100').precision == '32-true'

    def test_memory_that_a_device_does_not_have(self):
        large = Work(20, 60e9, 30e9, 100, 1e9, int(1e9), 2e9)  # 21 GB
        cost = CostEstimate(experiment('tffn_sysu'), large)
        assert not cost.on('T4').fits
        assert cost.on('RTX 3090').fits
        assert any(line.startswith('T4') and 'too little memory' in line for line in cost_lines(cost))

    def test_an_unknown_device(self):
        with pytest.raises(UnknownName, match=r"'A10'.*\n.*A100"):
            CostEstimate(experiment('tffn_sysu'), WORK).on('A10')

    def test_the_table_says_what_is_assumed(self):
        lines = cost_lines(CostEstimate(experiment('tffn_sysu'), WORK))
        assert 'estimated for a complete SYSU-MM01 (395 training identities' in lines[0]
        assert lines[-1].startswith('assumed: not measured')
        assert len(lines) == 1 + 1 + len(DEVICES) + 1


@pytest.mark.parametrize(
    ('value', 'text'), [(0.0349, '0.03'), (0.35, '0.35'), (2.44, '2.4'), (24.4, '24'), (1234, '1,200')]
)
def test_hours_have_two_digits(value: float, text: str):
    assert hours(value) == text


@pytest.mark.parametrize(
    ('value', 'text'), [(0.001, 'less than 1 min'), (0.05, '3 min'), (0.9, '54 min'), (1.04, '1.0 h'), (180, '180 h')]
)
def test_durations_have_a_unit(value: float, text: str):
    assert duration(value) == text
