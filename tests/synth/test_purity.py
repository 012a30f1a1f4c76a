"""The same arguments give the same bytes, whoever draws them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vireid.synth import draw, person, synthesize


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize(('layout', 'alone'), [('sysu', 'few'), ('regdb', 'few_regdb')])
def test_bytes_do_not_depend_on_the_number_of_workers(layout, alone, tmp_path, request):
    synthesize(tmp_path / 'shared', layout=layout, ids=5, seed=3, images=1, workers=2)
    assert _contents(tmp_path / 'shared') == _contents(request.getfixturevalue(alone))


@pytest.fixture
def few_regdb(tmp_path: Path) -> Path:
    synthesize(tmp_path / 'alone', layout='regdb', ids=5, seed=3, images=1, workers=1)
    return tmp_path / 'alone'


def test_another_seed_gives_other_pictures_everywhere(few, tmp_path):
    synthesize(tmp_path / 'other', layout='sysu', ids=5, seed=4, images=1, workers=1)
    here, there = _contents(few), _contents(tmp_path / 'other')
    both = [name for name in here if name in there and name.endswith('.jpg')]
    assert both
    assert not [name for name in both if here[name] == there[name]]


def test_pictures_of_a_person_do_not_depend_on_how_many_there_are(sysu, few):
    here, there = _contents(sysu), _contents(few)
    pictures = [name for name in there if name.endswith('.jpg')]
    assert pictures
    assert [name for name in pictures if here[name] != there[name]] == []


def test_looks_are_fixed_and_differ_between_people():
    assert person(5, 17) == person(5, 17)
    looks = [person(5, identity) for identity in range(40)]
    described = {(look.upper, look.lower, look.bag, look.tones) for look in looks}
    assert len(described) == 40


def test_one_moment_is_the_same_for_both_sensors():
    look = person(0, 1)
    visible = draw(look, modality='visible', camera=2, shot=0, seed=0)
    infrared = draw(look, modality='infrared', camera=2, shot=0, seed=0)
    assert visible.size == infrared.size
    edges = [np.hypot(*np.gradient(np.asarray(image.convert('L'), dtype=np.float32))) for image in (visible, infrared)]
    # Brightness changes between the sensors, outlines stay where they are.
    assert np.corrcoef(edges[0].ravel(), edges[1].ravel())[0, 1] > 0.25


def test_importing_needs_no_torch():
    code = 'import sys, vireid.synth; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
