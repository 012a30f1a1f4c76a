"""All that can be known is checked before hours of training; then each seed of every config is trained in turn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vireid
from vireid.boundary import config_text
from vireid.errors import Conflict, Mismatch, MissingFile, TooFew
from vireid.studies import comparison_runs, launching
from vireid.studies.jobs import Job
from vireid.studies.systems import read_systems

HITS = [[1, 2], [1, 1]]


@pytest.fixture
def trained(monkeypatch, make_run):
    """Collects the runs that would be trained; each is finished at once."""
    found = []

    def finish(job, *_, **__):
        found.append(job.label)
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        make_run(job.folder.parent.name, job.experiment.seed, HITS).rename(job.folder)
        return {'queries': job.folder / 'queries.npz'}

    monkeypatch.setattr(launching, 'finish', finish)
    return found


def write_configs(folder: Path, root: Path, *names: str) -> list[Path]:
    """Writes configs of a small network without pretrained weights."""
    paths = []
    for name in names:
        paths.append(folder / f'{name}.py')
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_text(
            "_base_ = 'vireid::systems/one_stream.py'\n"
            f"dataset = dict(root='{root}')\n"
            'model = dict(backbone=dict(weights=None))\n'
        )
    return paths


def test_seeds_take_turns_and_may_come_from_a_generator(trained, small_sysu, tmp_path):
    configs = write_configs(tmp_path, small_sysu, 'a', 'b')
    found = vireid.compare(configs, seeds=(seed for seed in (1, 0, 1)), work_dir=tmp_path / 'out')
    assert trained == ['a seed 1', 'b seed 1', 'a seed 0', 'b seed 0']
    assert [row['name'] for row in found.rows()] == ['a', 'b']


def test_runs_stand_beside_configs_in_the_order_given(trained, small_sysu, make_run, tmp_path):
    (config,) = write_configs(tmp_path, small_sysu, 'b')
    found = vireid.compare([config, make_run('a', 0, HITS)], seeds=range(2), work_dir=tmp_path / 'out')
    assert trained == ['b seed 0', 'b seed 1']
    assert [row['name'] for row in found.rows()] == ['b', 'a']


def test_nothing_is_trained_that_could_not_be_compared(trained, small_sysu, make_run, tmp_path):
    config, twin = write_configs(tmp_path, small_sysu, 'b', 'other/b')
    run = make_run('a', 3, HITS)
    for systems, (kind, fact) in {
        (config,): (TooFew, r'\b1 system'),
        (config, config): (Conflict, r' b\b'),
        (config, twin): (Conflict, r' b\b'),
        (config, run): (Mismatch, r'^a .*\[3\].*\[0, 1, 2\]'),
        (config, tmp_path): (MissingFile, re.escape(str(tmp_path))),
    }.items():
        with pytest.raises(kind, match=fact):
            vireid.compare(systems, work_dir=tmp_path / 'out')
    assert trained == []


def test_a_config_that_cannot_run_is_known_before_another_is_trained(monkeypatch, trained, tmp_path):
    def refuse(jobs):
        if jobs[0].folder.parent.name == 'second':
            raise Mismatch('second')

    monkeypatch.setattr(comparison_runs, 'check_first', refuse)
    said = []
    with pytest.raises(Mismatch, match='second'):
        comparison_runs.train_and_compare(
            [[job(tmp_path, 'first')], [job(tmp_path, 'second')]], before_training=lambda: said.append('begin')
        )
    assert trained == said == []


def job(base: Path, name: str) -> Job:
    """A run of a config that is only looked at."""

    class Experiment:
        seed = 0

    return Job(name, Experiment(), base / name / 'seed_0')


def test_runs_with_stages_are_one_system_although_each_starts_from_its_own_stage(make_run):
    folders = [make_run('a', seed, [[1, 2], [3, 4]]) for seed in (0, 1)]
    for folder in folders:
        config = config_text.read_record(folder / 'config.yaml')
        config['training'] = {'init': str(folder / 'stage1_before' / 'checkpoints' / 'last.pt')}
        (folder / 'config.yaml').write_text(config_text.dump(config))
    assert [sorted(system.runs) for system in read_systems(folders)] == [[0, 1]]
    config['training'] = {'init': str(folders[0] / 'stage1_before' / 'checkpoints' / 'last.pt')}
    (folders[1] / 'config.yaml').write_text(config_text.dump(config))
    assert len(read_systems(folders)) == 2  # the second now starts from the first
