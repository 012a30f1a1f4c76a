"""D2RL's config: what each optimizer updates, its stage, and the network's four channels."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.types import INFRARED, VISIBLE, Batch, Progress
from vireid.launch.fabric import make_fabric
from vireid.plugin_manager.manager import create_manager

SYSTEMS = Path(__file__).parents[2] / 'configs' / 'systems'
STAGE = 'stages/d2rl_translation'
SMALL = [
    'model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[32,16]', 'dataset.root=/none',
    'training.precision=32-true', 'training.accelerator=cpu', 'model.translators.unify.size=None',
    'model.translators.unify.channels=2', 'model.translators.unify.blocks=1', 'model.heads.critic_v.channels=2',
    'model.heads.critic_v.scales=1', 'model.heads.critic_i.channels=2', 'model.heads.critic_i.scales=1',
]  # fmt: skip


def experiment(name: str = 'd2rl', overrides: list[str] = SMALL) -> Experiment:
    return Experiment.from_config(config.load(SYSTEMS / f'{name}.py', overrides), create_manager())


def images() -> Batch:
    torch.manual_seed(0)
    labels = torch.arange(4).repeat_interleave(2)
    return Batch(
        {m: torch.randn(8, 3, 32, 16) for m in (VISIBLE, INFRARED)}, dict.fromkeys((VISIBLE, INFRARED), labels)
    )


@pytest.mark.parametrize(
    ('name', 'parts'),
    [
        ('d2rl', {'backbone', 'tasks.stage4', 'translators', 'tasks.critic_v', 'tasks.critic_i'}),
        (STAGE, {'translators', 'tasks.critic_v', 'tasks.critic_i'}),
    ],
)
def test_what_each_stage_updates(name: str, parts: set[str]) -> None:
    made = experiment(name)
    model: Any = made.build_model(4).train()
    step = made.build_step(model, make_fabric(made.training))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    record = step(images(), Progress(0, 0, 1, 1))
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert {'.'.join(key.split('.')[: 2 if key.startswith('tasks') else 1]) for key in changed} == parts
    assert {'vae', 'cycle', 'fool', 'critic_v', 'critic_i'} <= record['tasks'].keys()


def test_the_stage_hands_over_everything() -> None:
    with torch.device('meta'):
        states = [experiment(name).build_model(4).state_dict() for name in (STAGE, 'd2rl')]
    assert {key: value.shape for key, value in states[0].items()} == {k: v.shape for k, v in states[1].items()}


def test_the_identity_losses_reach_the_translation() -> None:
    model: Any = experiment().build_model(4).train()
    model(images(), tasks={'stage4'})['stage4'].backward()
    assert all(p.grad is not None and p.grad.any() for p in model.translators['unify'].encoders.parameters())


def test_parameters_by_hand() -> None:
    with torch.device('meta'):
        model: Any = experiment('d2rl', ['model.backbone.weights=None', 'dataset.root=/none']).build_model(395)
    block = 2 * (256 * 256 * 9 + 2 * 256)
    down = 128 + (64 * 128 * 16 + 256) + (128 * 256 * 16 + 512)
    up = (256 * 128 * 16 + 256) + (128 * 64 * 16 + 128)
    translation = 2 * (down + up + 8 * block) + 2 * (3 + 1) * 64 * 49
    widths = [3, 64, 128, 256, 512]
    critic = 3 * (sum(a * b * 16 + b for a, b in itertools.pairwise(widths)) + 512 + 1)
    network = 23_508_032 + 64 * 49 + 2 * 2048 + 2048 * 395  # a fourth channel, BNNeck, classifier
    assert sum(p.numel() for p in model.parameters()) == network + translation + 2 * critic
