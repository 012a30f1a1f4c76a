"""Runs docs/api.md, and tests the rest of the public API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vireid
from vireid.errors import AlreadyExists

GUIDE = Path(__file__).parents[1] / 'docs' / 'api.md'


@pytest.mark.long
def test_the_session_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('vireid.reporting.page._figure', lambda name, *_, **__: {'missing': name})  # unread
    names: dict = {}
    for number, code in enumerate(re.findall(r'```python\n(.*?)```', GUIDE.read_text(), re.DOTALL)):
        exec(compile(code, f'api.md, block {number}', 'exec'), names)
    out = capsys.readouterr().out
    assert "model.necks.mlfm.redction: MLFM has no argument 'redction', did you mean 'reduction'?" in out
    assert 'sysu/agw' in out
    assert names['run'].results.rows()[0]['trials'] == 10
    assert names['longer'].results is not None
    assert (tmp_path / 'runs/first/report.html').is_file()
    assert names['embedding'].shape == (1, names['model'].model.embedding_dim)
    with pytest.raises(AlreadyExists, match='runs/first'):
        vireid.train(names['experiment'], 'runs/first')


def test_every_public_name_is_in_the_guide_and_exists() -> None:
    for name in vireid.__all__:
        assert getattr(vireid, name) is not None
        assert name == '__version__' or f'`{name}' in GUIDE.read_text()
    assert dir(vireid) == sorted(vireid.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = vireid.nothing
