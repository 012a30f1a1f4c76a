"""bf16 that `auto` chose is tried before it is trained in; what stays in bf16 is what it was without the trial."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.boundary import checkpoint
from vireid.core.types import INFRARED, VISIBLE, Batch
from vireid.launch import precision
from vireid.launch.bf16_check import MAX_ERROR, bf16_error
from vireid.launch.launch import train
from vireid.plugin_manager.manager import create_manager

BATCH = Batch({m: torch.ones(2, 3, 8, 4) for m in (VISIBLE, INFRARED)}, {})


class Embedder(nn.Module):
    """Embeds every image as (3, 4) times a factor, which is another one in bf16."""

    def __init__(self, exact: float, bf16: float) -> None:
        super().__init__()
        self.exact, self.bf16, self.modes = exact, bf16, list[bool]()

    def embed(self, images: Tensor, modality: str) -> Tensor:
        self.modes.append(self.training)
        torch.rand(1)
        random.random()
        np.random.rand()
        factor = self.bf16 if torch.is_autocast_enabled('cpu') else self.exact
        return factor * torch.tensor([[3.0, 4.0]]).repeat(len(images), 1)


@pytest.mark.parametrize(
    ('exact', 'bf16', 'error'),
    [
        (1.0, 1.0, 0.0),
        (1.0, 1.5, 0.5),  # |1.5 e - e| = 0.5 |e|
        (2.0, -2.0, 2.0),
        (1.0, math.nan, math.inf),
        (1.0, math.inf, math.inf),
        (math.nan, math.nan, 0.0),  # not for its precision
        (0.0, 1.0, 0.0),
    ],
)
def test_the_error_is_relative_to_the_embeddings_in_float32(exact, bf16, error):
    fabric = Fabric(accelerator='cpu', devices=1, precision='bf16-mixed')
    assert bf16_error(Embedder(exact, bf16), BATCH, fabric) == pytest.approx(error)


def test_the_model_and_random_numbers_stay_as_they_were():
    model = Embedder(1.0, 1.0).train()
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    bf16_error(model, BATCH, Fabric(accelerator='cpu', devices=1, precision='bf16-mixed'))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    assert model.training
    assert model.modes == [False] * 4  # no statistics of BatchNorm are made


class Wrong(faults.Pooled):
    """The fault tests' backbone on a processor whose bf16 is wrong."""

    def forward(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        made = super().forward(images)
        return {n: x + 5 * torch.rand_like(x) if torch.is_autocast_enabled('cpu') else x for n, x in made.items()}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, small_sysu: Path, tmp_path: Path, make_tiny: Any) -> Any:
    """Returns what trains one step on a processor that says that it has bf16; gives weights and result."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    monkeypatch.setattr(precision, '_processor_has_bf16', lambda: True)

    def run(chosen: str, backbone: str = 'Pooled') -> tuple[dict[str, Tensor], dict[str, Any]]:
        manager = create_manager()
        manager.components.add('backbones', 'Wrong', Wrong)
        options = [f'training.precision={chosen}', 'training.epochs=None', 'training.steps=2']
        made = make_tiny(small_sysu, *options, f'model.backbone.type={backbone}', manager=manager)
        folder = tmp_path / f'{chosen}-{backbone}'
        train(made, folder)
        weights = checkpoint.load(folder / 'checkpoints' / 'last.pt')['model']
        return weights, json.loads((folder / 'result.json').read_text())

    return run


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_computes_bf16_wrongly_is_trained_in_float32_and_that_is_said(trained, capsys):
    weights, result = trained('auto', 'Wrong')
    told = capsys.readouterr().err
    assert 'warning: embeddings of the first batch in bf16 differ by ' in told
    assert told.count('the run is trained in 32-true') == 1
    assert result['precision'] == '32-true'
    assert result['precision_reason'].startswith('auto: embeddings in bf16 differ by ')
    assert same(weights, trained('32-true', 'Wrong')[0])


def test_what_stays_in_bf16_is_not_changed_by_the_trial(trained, capsys):
    weights, result = trained('auto')
    assert result['precision'] == 'bf16-mixed'
    assert same(weights, trained('bf16-mixed')[0])
    assert 'differ' not in capsys.readouterr().err


def test_bf16_that_the_config_asks_for_is_the_user_s_choice(trained, capsys):
    assert trained('bf16-mixed', 'Wrong')[1]['precision'] == 'bf16-mixed'
    assert capsys.readouterr().err == ''


def test_rounding_alone_is_far_from_the_limit():
    """Three digits are left in bf16; measured on the systems here: up to 2.3%."""
    assert MAX_ERROR > 4 * 0.023
