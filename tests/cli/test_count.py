"""`vireid count`: parameters by hand, and docs/models.md as the configs are."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from vireid.boundary.config_text import dump
from vireid.cli import main
from vireid.core.config.files import load
from vireid.core.config.overrides import Overrides
from vireid.diagnostics.count_table import table

ROOT = Path(__file__).parents[2]


def cells(config: str, *options: str, identities: int = 395) -> list[str]:
    return (
        table([ROOT / 'configs' / config], identities, Overrides(options=list(options)))
        .splitlines()[2]
        .strip('| ')
        .split(' | ')
    )


def test_parameters_of_the_baseline_added_by_hand():
    resnet50 = 23_508_032  # without its classifier
    stem_and_stage1 = 9_408 + 128 + 215_808  # a second copy, for the other modality
    embedding, bnneck, classifier = 2048 * 1024 + 1024, 2 * 1024, 395 * 1024
    found = cells('tffn_table3/b.py')
    assert found[3] == f'{resnet50 + stem_and_stage1 + embedding + bnneck + classifier:,}'
    assert found[4] == f'{resnet50 + embedding + bnneck:,}'
    assert found[6] == '1024'


def test_parameters_of_dmcf_added_by_hand():
    reductions = 256 * (512 + 3 * 1024 + 4 * 2048)  # low; middle and its 2 parts; high and its 3 parts
    each = 8 * (2 * 256 + 395 * 256)  # BNNeck and classifier
    assert cells('dmcf_sysu.py')[3] == f'{2 * 23_508_032 + reductions + each + 3:,}'  # 3 variances


def test_operations_of_a_stem_and_one_stage_by_hand():
    options = ['model.backbone.depth=18', 'model.backbone.shared_from=0', 'images.size=[640,320]']
    only = ['model.heads={"v": {"type": "GlobalHead", "losses": {"id": {"type": "CrossEntropy"}}}}']
    only += [
        'model.necks={"v": {"type": "StageEmbedding", "inputs": "stage1", "channels": 8}}',
        'model.embedding=["v"]',
    ]
    only += ['model.weighter={"type": "Fixed"}', 'model.backbone.out_stages=[1]']
    stem = 2 * (320 * 160) * 64 * 3 * 49  # a 7x7 convolution from 3 to 64 channels on 320x160 places
    stage1 = 4 * 2 * (160 * 80) * 64 * 64 * 9  # four 3x3 convolutions of 64 channels on 160x80 places
    assert cells('tffn_sysu.py', *options, *only)[5] == f'{(stem + stage1 + 2 * 64 * 8) / 1e9:.2f}'


@pytest.mark.long
def test_the_page_is_as_the_configs_are(monkeypatch, tmp_path):
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError('the network is closed')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))  # and no weights are there
    spec = importlib.util.spec_from_file_location('model_table', ROOT / 'tools' / 'model_table.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sizes, _, costs = (ROOT / 'docs' / 'models.md').read_text().partition(f'\n{module.PRICES}')
    assert sizes == module.document(), 'run `make docs`'
    price = module.price(ROOT / 'configs' / 'tffn_sysu.py')  # counting all of them takes minutes
    assert costs.startswith(module.prices([price]).removeprefix(module.PRICES))


def test_prints_a_table(capsys):
    assert main(['count', str(ROOT / 'configs/dmcf_sysu.py')]) == 0
    assert '50,843,779' in capsys.readouterr().out


def test_the_name_of_a_file_is_text_in_the_table(tmp_path):
    config = tmp_path / 'a|b [x](evil) <img src=x>.yaml'
    config.write_text(dump({**load(ROOT / 'configs/dmcf_sysu.py'), 'name': 'x'}))
    row = table([config]).splitlines()[2]
    assert row.startswith(r'| a\|b \[x\](evil) \<img src=x\> | ')


@pytest.mark.parametrize('identities', ['0', '-3'])
def test_refuses_no_identities(identities, capsys):
    assert main(['count', str(ROOT / 'configs/dmcf_sysu.py'), '--identities', identities]) == 2
    assert 'at least 1' in capsys.readouterr().err
