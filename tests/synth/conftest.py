"""Small sets drawn once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.synth import synthesize


@pytest.fixture(scope='session')
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sysu set of 8 people, 2 pictures per camera, seed 3, drawn in this process."""
    folder = tmp_path_factory.mktemp('synth') / 'sysu'
    synthesize(folder, layout='sysu', ids=8, seed=3, images=2, workers=1)
    return folder


@pytest.fixture(scope='session')
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sysu set of 5 people, 1 picture per camera, seed 3."""
    folder = tmp_path_factory.mktemp('synth') / 'few'
    synthesize(folder, layout='sysu', ids=5, seed=3, images=1, workers=1)
    return folder


@pytest.fixture(scope='session')
def regdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regdb set of 6 people, seed 3."""
    folder = tmp_path_factory.mktemp('synth') / 'regdb'
    synthesize(folder, layout='regdb', ids=6, seed=3, workers=1)
    return folder


@pytest.fixture(scope='session')
def llcm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An llcm set of 6 people, 1 picture per camera, seed 3."""
    folder = tmp_path_factory.mktemp('synth') / 'llcm'
    synthesize(folder, layout='llcm', ids=6, seed=3, images=1, workers=1)
    return folder
