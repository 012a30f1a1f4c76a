"""`vireid.studies.jobs`: the runs of a study."""

from __future__ import annotations

import pytest

from vireid.errors import NotFinite
from vireid.studies import jobs
from vireid.studies.jobs import Job, finish


def test_a_study_does_not_advise_to_resume_with_other_settings(make_tiny, small_sysu, tmp_path, monkeypatch):
    """It has no `--resume`, and refuses a started run whose settings changed."""

    def train(*_, **__):
        raise NotFinite('the loss is nan', todo='resume with --resume and step.clip_norm')

    monkeypatch.setattr(jobs, 'train', train)
    with pytest.raises(NotFinite, match=r'^agw') as error:
        finish(Job('agw seed 0', make_tiny(small_sysu), tmp_path / 'run'))
    assert '--resume' not in error.value.todo
    assert '--work-dir' in error.value.todo
