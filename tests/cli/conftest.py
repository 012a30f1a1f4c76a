"""People that several commands are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.synth import synthesize


@pytest.fixture(scope='session')
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten synthetic people in SYSU-MM01's layout."""
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder, layout='sysu', ids=10, seed=0, images=1, workers=1)
    return folder
