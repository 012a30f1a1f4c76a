"""DEEN's config: its parameters and the length of its embedding."""

from __future__ import annotations

from pathlib import Path

import torch

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.plugin_manager.manager import create_manager

DEEN = Path(__file__).parents[2] / 'configs' / 'systems' / 'deen.py'


def mfa(low: int, high: int) -> int:
    """Parameters of both attentions: q, k and v with biases, W, and a BatchNorm."""
    return sum(high * n + n + 2 * (low * n + n) + n * high + 2 * high for n in (low, low // 2))


def test_parameters():
    read = config.load(DEEN, ['model.backbone.weights=None', 'dataset.root=/none'])
    with torch.device('meta'):
        model = Experiment.from_config(read, create_manager()).build_model(395)
    inserts = mfa(64, 256) + mfa(256, 512) + mfa(512, 1024) + 2 * (3 * 1024 * 256 * 9 + 256 * 1024 + 1024)
    # ResNet-50, a second stem, the inserts, BNNeck and classifier
    wanted = 23_508_032 + 9_536 + inserts + 2 * 2048 + 395 * 2048
    assert sum(p.numel() for p in model.parameters()) == wanted == 42_034_208
    assert model.embedding_dim == 3 * 2 * 2048
