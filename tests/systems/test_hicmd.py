"""Hi-CMD's config: its size, its weights, who trains what, and its small settings."""

from __future__ import annotations

from pathlib import Path

import torch

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.plugin_manager.manager import create_manager

HICMD = Path(__file__).parents[2] / 'configs' / 'systems' / 'hicmd.py'
SMALL = HICMD.parents[1] / '_base_' / 'systems_small_hicmd.py'


def experiment(*options: str) -> Experiment:
    return Experiment.from_config(config.load(HICMD, list(options)), create_manager())


def test_parameters():
    with torch.device('meta'):
        model = experiment('model.backbone.weights=None', 'dataset.root=/none').build_model(395)
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in model.named_children()}
    stages_2_and_3 = 1_219_584 + 7_098_368
    layers = 2048 * 2048 + 2048 + 2 * 2048 + 2048 * 1024 + 1024 + 2048 * 395 + 395
    assert counts['prototypes'] == 2 * 1_520_448
    assert counts['attributes'] == 2 * 23_508_032
    assert counts['decoder'] == 12_123_011
    assert counts['critics'] == 2 * 3 * 341_857
    assert counts['identity'] == stages_2_and_3 + layers + 1
    assert sum(counts.values()) == 79_657_045


def test_the_weights_of_the_losses_stand_in_the_config():
    weights = experiment('dataset.root=/none').model['weighter']['tasks']
    assert weights == dict(same=50, cross=50, cycle=50, codes=10, prior=1, fool=20, critic=20, id=1, tri=2)


def test_three_optimizers_with_their_rates_in_two_turns():
    step = experiment('dataset.root=/none').step
    rates = {name: own['optimizer']['lr'] for name, own in step['optimizers'].items()}
    assert rates == {'critics': 1e-4, 'generator': 1e-4, 'identity': 1e-3}
    assert step['optimizers']['identity']['groups'] == {'identity.mix': {'lr': 1e-5}}
    assert step['order'] == ['critics', ['generator', 'identity']]
    assert step['all_turns']


def test_the_small_settings_of_the_table_fit(tmp_path):
    path = tmp_path / 'small.py'
    path.write_text(f'_base_ = [{str(HICMD)!r}, {str(SMALL)!r}]\ndataset = dict(root="/none")\n')
    made = Experiment.from_config(config.load(path), create_manager())
    assert made.model['backbone']['depth'] == 18
    assert made.step['optimizers']['generator']['optimizer']['lr'] == 8e-4
    assert made.sampler['visible'] == made.sampler['infrared'] == 4
