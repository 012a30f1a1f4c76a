"""A GPU that torch cannot use is told, with the reason that the driver gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vireid.console import warn
from vireid.core.config.settings import TrainingSettings
from vireid.errors import Unavailable
from vireid.launch import fabric
from vireid.launch.fabric import make_fabric, why_no_gpu

OLD = (
    'The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading '
    'and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx'
)
TOLD = 'The NVIDIA driver on your system is too old (found version 11040)'


@pytest.fixture(autouse=True)
def old_driver(monkeypatch):
    """A machine whose driver is too old for torch."""

    def refuse():
        raise RuntimeError(OLD)

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'init', refuse)
    monkeypatch.setattr(warn, '_warned', set())


def test_the_reason_is_one_sentence():
    assert why_no_gpu() == TOLD


@pytest.mark.parametrize('accelerator', ['cuda', 'gpu'])
def test_a_run_that_needs_a_gpu_says_why_there_is_none(accelerator):
    with pytest.raises(Unavailable, match='11040'):
        make_fabric(TrainingSettings(steps=1, accelerator=accelerator))


@pytest.mark.parametrize('there', [True, False])
def test_the_cpu_is_not_used_silently_beside_a_gpu(monkeypatch, tmp_path, capsys, there):
    monkeypatch.setattr(fabric, 'NVIDIA', tmp_path if there else Path('/dev/null/none'))
    assert make_fabric(TrainingSettings(steps=1)).device.type == 'cpu'
    told = f'warning: this machine has an NVIDIA GPU that torch cannot use, so the CPU is used: {TOLD}\n'
    assert capsys.readouterr().err == (told if there else '')
