"""Which dataset a folder is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vireid.errors import MissingFile, UnsupportedFile, VireidError
from vireid.launch.recognition import recognize
from vireid.plugin_manager.manager import create_manager
from vireid.synth import synthesize

DATASETS = {'sysu': 'SYSU-MM01', 'regdb': 'RegDB', 'llcm': 'LLCM', 'folders': 'Folders', 'manifest': 'Manifest'}


@pytest.mark.parametrize(('layout', 'dataset'), DATASETS.items())
def test_a_dataset_is_known_by_itsrecognize(layout: str, dataset: str, tmp_path: Path) -> None:
    synthesize(tmp_path, layout=layout, ids=6, seed=0, images=1, workers=1)
    assert recognize(tmp_path, create_manager().components) == dataset


def test_half_of_a_published_dataset_is_still_that_dataset(tmp_path: Path) -> None:
    """So that what is missing can be named."""
    (tmp_path / 'exp').mkdir()
    assert recognize(tmp_path, create_manager().components) == 'SYSU-MM01'


@pytest.mark.parametrize(('name', 'kind'), [('nowhere', MissingFile), ('', UnsupportedFile)])
def test_anything_else_is_an_error(name: str, kind: type[VireidError], tmp_path: Path) -> None:
    with pytest.raises(kind, match=re.escape(str(tmp_path / name))):
        recognize(tmp_path / name, create_manager().components)
