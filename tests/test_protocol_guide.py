"""Runs the example in docs/protocols.md that scores your own embeddings; only the data folder is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.cli import main
from vireid.synth import synthesize

GUIDE = Path(__file__).parents[1] / 'docs' / 'protocols.md'


def test_ones_own_embeddings_are_scored_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    synthesize(tmp_path / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
    code = next(b for b in GUIDE.read_text().split('```python\n') if b.startswith('# score_mine.py')).split('```')[0]
    assert '/data/SYSU-MM01' in code
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace('/data/SYSU-MM01', str(tmp_path / 'people')), 'score_mine.py', 'exec'), {})
    table = capsys.readouterr().out.strip()
    assert table.startswith('sysu/agw')
    assert main(['score', 'mine.npz']) == 0
    assert table.splitlines()[2] in capsys.readouterr().out
