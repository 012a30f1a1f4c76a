"""Which weights a run ends with: the rule decides, the table says it, and stopping in between changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vireid.boundary import checkpoint
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.training.selection import Selection
from vireid.core.training.trainer import Trainer
from vireid.core.types import Progress, Sample, Trial
from vireid.errors import Changed, Conflict, MissingFile, MissingKey, UnknownName
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch.launch import train
from vireid.launch.validation_split import ValidationSplit
from vireid.plugin_manager.manager import create_manager, hookimpl
from vireid.runtime.signals import Interrupted
from vireid.statistics import calibration
from vireid.statistics.scores import Scores

VALIDATED = ['evaluation.select=validation', "dataset.train_lists=['train']", 'training.evaluate_every=1']


def results(*rank_1: float) -> Results:
    """Two rows; the first has a trial for each metric, with mAP a tenth of it."""
    trials = [Trial('all', n, (), ()) for n in range(len(rank_1))] + [Trial('indoor', 0, (), ())]
    ahead = [(np.arange(10) >= 10 * r).astype(int) for r in rank_1]
    scores = [
        Scores(np.arange(10), a, np.full(10, r / 10), np.full(10, r / 100), 10, 2)
        for r, a in zip(rank_1, ahead, strict=True)
    ]
    scores.append(Scores(np.arange(10), np.zeros(10, dtype=int), np.ones(10), np.ones(10), 10, 2))
    return Results('p', tuple(trials), tuple(scores), Embeddings((), np.zeros((0, 2))))


def selection(make_small: Any, *options: str) -> Selection:
    made = make_small(Path('nowhere'), 'training.evaluate_every=1', *options)
    return Selection(made.evaluation, 99)


def at(step: int) -> Progress:
    return Progress(0, step, 100, 100)


def test_on_validation_the_mean_of_the_first_row_decides(make_small):
    found = selection(make_small, 'evaluation.select=validation')
    assert found.value(results(0.5, 0.7)) == pytest.approx(0.6)
    assert found.rule == 'best R1 on 99 validation identities'


def test_on_the_test_trial_0_of_the_first_row_decides_as_in_the_field(make_small):
    found = selection(make_small, 'evaluation.select=test')
    assert found.value(results(0.5, 0.7)) == 0.5
    assert found.rule == 'best R1 on trial 0 of the test'


@pytest.mark.parametrize(('by', 'value'), [('mAP', 0.06), ('mINP', 0.006), ('R5', 1.0)])
def test_another_figure_may_decide(make_small, by, value):
    found = selection(make_small, 'evaluation.select=validation', f'evaluation.select_by={by}')
    assert found.value(results(0.5, 0.7)) == pytest.approx(value)


def test_the_earlier_one_of_two_equal_ones_is_kept(make_small):
    found = selection(make_small, 'evaluation.select=test')
    assert [found.is_best(results(r), at(step)) for step, r in ((10, 0.5), (20, 0.6), (30, 0.6), (40, 0.2))] == [
        True,
        True,
        False,
        False,
    ]
    assert found.best == {'step': 20, 'value': 0.6, 'seen': 40, 'after': 0.6}
    assert found.text() == 'after step 20, best R1 on trial 0 of the test'


class TestBeforeTraining:
    def test_of_two_equal_ones_the_one_before_training_is_kept(self, make_small):
        found = selection(make_small, 'evaluation.select=validation', 'evaluation.before_training=True')
        assert found.is_best(results(0.5), at(0))
        assert found.text() == 'before training, best R1 on 99 validation identities'
        assert not found.is_best(results(0.5), at(10))
        assert found.text() == 'before training, best R1 on 99 validation identities (50.0 before training, 50.0 after)'
        assert found.is_best(results(0.7), at(20))
        assert not found.is_best(results(0.6), at(30))
        assert found.text() == 'after step 20, best R1 on 99 validation identities (50.0 before training, 70.0 after)'

    def test_a_run_that_learns_nothing_ends_with_what_it_began_with(self, small_sysu, tmp_path, make_tiny):
        still = [
            'step.optimizer.lr=0.0',
            'evaluation.before_training=True',
            'training.epochs=1',
            'training.freeze=["backbone.*"]',
        ]
        found = train(make_tiny(small_sysu, *VALIDATED, *still), tmp_path / 'run')
        assert found.weights.startswith('before training, best R1 on 2 validation identities (')
        best = checkpoint.load(tmp_path / 'run/checkpoints/best.pt')
        assert best['progress']['step'] == 0
        assert best['chosen'].startswith('before training, best R1 on 2 validation identities')

    def test_it_needs_no_other_candidate_than_the_last_weights(self, make_small):
        options = ['evaluation.select=test', 'training.evaluate_every=None']
        with pytest.raises(MissingKey, match=r'training\.evaluate_every') as caught:
            make_small(Path('nowhere'), *options)
        assert caught.value.path == 'evaluation.select'
        assert 'evaluation.before_training=True' in caught.value.todo
        make_small(Path('nowhere'), *options, 'evaluation.before_training=True')


class TestRun:
    def test_the_best_weights_are_scored_and_the_result_says_how_they_were_chosen(
        self, small_sysu, tmp_path, make_tiny
    ):
        values: list[tuple[int, str, float]] = []

        class Watcher:
            @hookimpl
            def evaluated(self, progress: Progress, results: Results) -> None:
                values.append((progress.step, results.protocol, results.rows()[0]['mAP']['mean']))

        manager = create_manager()
        manager.register(Watcher(), 'watcher')
        made = make_tiny(small_sysu, *VALIDATED, 'evaluation.select_by=mAP', 'training.epochs=3', manager=manager)
        found = train(made, tmp_path / 'run')
        # 3 of 3 evaluations on validation identities, then the test
        assert [p for _, p, _ in values] == ['sysu/agw on 2 validation identities'] * 3 + ['sysu/agw']
        best = max(value for _, _, value in values[:3])
        step = next(step for step, _, value in values[:3] if value == best)
        assert found.weights == f'after step {step}, best mAP on 2 validation identities'
        told = json.loads((tmp_path / 'run' / 'result.json').read_text())
        assert told['weights'] == found.weights
        assert told['protocol'] == 'sysu/agw'
        # a test of that checkpoint says the same
        again = score_checkpoint(made, tmp_path / 'run/checkpoints/best.pt', tmp_path / 'test', None)
        assert again.rows() == found.rows()
        assert again.weights == found.weights

    def test_a_run_that_was_stopped_chooses_as_one_that_was_not(self, small_sysu, tmp_path, make_tiny):
        options = [*VALIDATED, 'training.epochs=3', 'training.checkpoint_every=2', 'evaluation.select_by=mAP']
        train(make_tiny(small_sysu, *options), tmp_path / 'whole')

        class Stopper:
            """Stops in the middle of the second epoch, and again while the second epoch is scored."""

            def __init__(self, on: str) -> None:
                self.on, self.evaluations = on, 0

            @hookimpl
            def step_ended(self, progress: Progress) -> None:
                if self.on == 'step' and progress.epoch == 1 and progress.step_in_epoch == 2:
                    raise KeyboardInterrupt

            @hookimpl
            def evaluated(self, progress: Progress) -> None:
                if self.on == 'scoring' and progress.epoch == 2:
                    raise KeyboardInterrupt

        last = None
        for on in ('step', 'scoring'):
            manager = create_manager()
            manager.register(Stopper(on), 'stopper')
            with pytest.raises(KeyboardInterrupt):
                train(make_tiny(small_sysu, *options, manager=manager), tmp_path / 'parts', resume=last)
            last = tmp_path / 'parts/checkpoints/last.pt'
        train(make_tiny(small_sysu, *options), tmp_path / 'parts', resume=last)
        whole, parts = (json.loads((tmp_path / n / 'result.json').read_text()) for n in ('whole', 'parts'))
        assert parts == whole | {'dataset': parts['dataset']}
        a, b = (checkpoint.load(tmp_path / n / 'checkpoints/best.pt')['model'] for n in ('whole', 'parts'))
        assert all(torch.equal(a[key], b[key]) for key in a)

    @pytest.mark.parametrize(
        ('worse', 'keep'),
        [(False, 1), (True, 1), (True, 2)],
        ids=['better each time', 'worse after the second', 'of two'],
    )
    def test_a_run_that_is_killed_between_writing_better_weights_and_remembering_them(
        self, small_sysu, tmp_path, make_tiny, monkeypatch, worse, keep
    ):
        def value(self: Selection, results: Results) -> float:
            step = int(re.search(r'\d+', results.weights).group())
            return float(-step if worse and step > 10 else step)

        def saving(self: Trainer, best: bool = False) -> None:
            save(self, best=best)
            if best and self.progress.step == 10:  # the second epoch's
                raise KeyboardInterrupt

        save = Trainer.save
        monkeypatch.setattr(Selection, 'value', value)
        options = [*VALIDATED, 'training.epochs=3', f'training.keep={keep}']
        train(make_tiny(small_sysu, *options), tmp_path / 'whole')
        monkeypatch.setattr(Trainer, 'save', saving)
        with pytest.raises(KeyboardInterrupt):
            train(make_tiny(small_sysu, *options), tmp_path / 'parts')
        monkeypatch.setattr(Trainer, 'save', save)
        last = tmp_path / 'parts/checkpoints/last.pt'
        assert checkpoint.load(last)['best']['step'] == 5
        assert checkpoint.load(last.with_name('best.pt'))['progress']['step'] == 10
        train(make_tiny(small_sysu, *options), tmp_path / 'parts', resume=last)
        whole, parts = (checkpoint.load(tmp_path / n / 'checkpoints/best.pt') for n in ('whole', 'parts'))
        assert whole['progress']['step'] == parts['progress']['step'] == (10 if worse else 15)
        assert all(torch.equal(whole['model'][key], parts['model'][key]) for key in whole['model'])

    def test_similarities_of_the_best_weights_are_calibrated(self, small_sysu, tmp_path, make_tiny, monkeypatch):
        monkeypatch.setattr(calibration, 'FEWEST', 2)  # as many as the data have
        monkeypatch.setattr(calibration, '_logistic', lambda *data: (1.0, 0.5, 0.0))  # so few steps teach nothing
        train(make_tiny(small_sysu, *VALIDATED, 'training.epochs=1', 'loggers=[dict(type="Report")]'), tmp_path)
        best = checkpoint.load(tmp_path / 'checkpoints/best.pt')
        fitted = best['calibration']
        assert fitted['people'] == 2
        assert (fitted['infrared']['images'], fitted['visible']['images']) == (3, 6)  # those of the trials
        assert checkpoint.load(tmp_path / 'checkpoints/last.pt').get('calibration') is None  # of other weights
        with np.load(tmp_path / 'report.npz') as evidence:
            assert evidence['reliability/count'].sum() > 0  # of the test

    def test_without_choosing_the_last_weights_are_scored(self, small_sysu, tmp_path, make_tiny):
        found = train(make_tiny(small_sysu, 'training.epochs=1'), tmp_path)
        assert re.fullmatch(r'after step \d+', found.weights)
        assert not (tmp_path / 'checkpoints/best.pt').exists()


class TestRefusals:
    def test_choosing_without_evaluations(self, make_small):
        with pytest.raises(MissingKey, match=r'training\.evaluate_every=2'):
            make_small(Path('x'), 'evaluation.select=test')

    def test_validation_identities_that_are_trained_on(self, small_sysu, tmp_path, make_tiny):
        made = make_tiny(small_sysu, 'evaluation.select=validation', 'training.evaluate_every=1')
        with pytest.raises(Conflict, match=r"\b2 [\s\S]*dataset\.train_lists=\['train'\]") as caught:
            train(made, tmp_path)
        assert caught.value.path == 'evaluation.select'

    def test_a_dataset_without_validation_split(self, small_regdb, tmp_path, make_small):
        made = make_small(small_regdb, 'evaluation.select=validation', 'training.evaluate_every=1', name='regdb')
        with pytest.raises(UnknownName, match=r"'val'[\s\S]*evaluation\.select='last'") as caught:
            train(made, tmp_path)
        assert caught.value.path == 'evaluation.select'

    def test_resuming_by_another_rule(self, small_sysu, tmp_path, make_tiny):
        train(make_tiny(small_sysu, *VALIDATED, 'training.epochs=1'), tmp_path)
        other = make_tiny(small_sysu, *VALIDATED, 'evaluation.select=test')
        with pytest.raises(Changed, match=r'evaluation\.select'):
            train(other, tmp_path, resume=tmp_path / 'checkpoints/last.pt')

    def test_resuming_by_figures_of_another_protocol(self, small_sysu, tmp_path, make_tiny):
        train(make_tiny(small_sysu, *VALIDATED, 'training.epochs=1'), tmp_path)
        other = make_tiny(small_sysu, *VALIDATED, 'protocol.modes=["indoor"]')
        with pytest.raises(Changed, match='protocol'):
            train(other, tmp_path, resume=tmp_path / 'checkpoints/last.pt')

    def test_resuming_without_the_best_weights(self, small_sysu, tmp_path, make_tiny):
        train(make_tiny(small_sysu, *VALIDATED, 'training.epochs=1'), tmp_path)
        (tmp_path / 'checkpoints/best.pt').unlink()
        longer = make_tiny(small_sysu, *VALIDATED, 'training.epochs=2')
        with pytest.raises(MissingFile, match=r'step \d+, .*checkpoints/best\.pt'):
            train(longer, tmp_path, resume=tmp_path / 'checkpoints/last.pt')


@pytest.mark.parametrize('place', ['run', 'elsewhere'])
def test_a_longer_run_keeps_the_best_weights_of_the_shorter_one(small_sysu, tmp_path, make_tiny, monkeypatch, place):
    values = iter([0.5, 0.9, 0.3, 0.2])  # the last one of the shorter run is the best
    monkeypatch.setattr(Selection, 'value', lambda self, results: next(values))
    first = train(make_tiny(small_sysu, *VALIDATED, 'training.epochs=2'), tmp_path / 'run')
    longer = make_tiny(small_sysu, *VALIDATED, 'training.epochs=3')
    found = train(longer, tmp_path / place, resume=tmp_path / 'run/checkpoints/last.pt')
    assert found.weights == first.weights
    assert found.rows() == first.rows()
    best = checkpoint.load(tmp_path / place / 'checkpoints/best.pt')
    assert f'after step {best["progress"]["step"]}' in found.weights


def test_a_validation_split_is_the_test_split_of_any_protocol():
    class Data:
        root = 'somewhere'

        def split(self, name: str) -> list[Sample]:
            return [Sample(f'{name}.jpg', 1 if name == 'val' else 2, 1, 'visible')]

    data: Any = Data()
    found = ValidationSplit(data, data.split('train'))
    assert [s.path for s in found.split('test')] == ['val.jpg']
    assert found.root == 'somewhere'


def test_interrupted_runs_have_no_result(small_sysu, tmp_path, make_tiny):
    class Stopper:
        @hookimpl
        def step_ended(self, progress: Progress) -> None:
            if progress.step == 2:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGINT)

    manager = create_manager()
    manager.register(Stopper(), 'stopper')
    # of an earlier, finished state of this folder
    (tmp_path / 'config.yaml').write_text('dataset: {}\nprotocol: {}\nmodel: {}\ntraining: {}\n')
    (tmp_path / 'result.json').write_text('{"rows": []}')
    with pytest.raises(Interrupted):
        train(make_tiny(small_sysu, manager=manager), tmp_path)
    assert not (tmp_path / 'result.json').exists()
