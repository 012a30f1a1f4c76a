"""What a hit is worth: from the validation identities of a run to the probability beside a hit."""

import json
from pathlib import Path
from types import SimpleNamespace

import faults
import numpy as np
import pytest
import torch

from vireid.boundary import checkpoint as checkpoints
from vireid.cli import main
from vireid.exchange.release import release_weights
from vireid.search.confidence import judge, percent
from vireid.search.embedder import load
from vireid.search.index import Hit
from vireid.statistics.calibration import FEWEST, Calibration, Side

CALIBRATION = Calibration(10, Side(10, -2, 1, 4, 0.3, 0.1), Side(10, -2, 1, 4, 0.3, 0.1))


def make_index(visible=40, infrared=40, calibration=CALIBRATION):
    """An index of so many images."""
    numbers = {'visible': visible, 'infrared': infrared}
    entries = SimpleNamespace(rows=lambda where: np.arange(numbers[where.modality]))
    return SimpleNamespace(embedder=SimpleNamespace(calibration=calibration), entries=entries)


def hit(score, modality='visible'):
    return Hit(0, score, 'a.jpg', '', None, '', modality)


def test_only_hits_of_the_other_modality_have_a_probability():
    found = judge(make_index(), 'infrared', [hit(0.9, 'infrared'), hit(0.7), hit(0.2)])
    ten_people = 10 * np.array([0.7, 0.2]) - 2 - np.log(10)
    assert found.probabilities[0] is None
    assert found.probabilities[1:] == pytest.approx(1 / (1 + np.exp(-ten_people)))
    assert found.absent is False
    assert found.unknown == 'only visible hits are calibrated'


def test_a_weak_best_hit_means_absent_and_the_rate_is_said():
    found = judge(make_index(), 'infrared', [hit(0.4)], rate=0.1)
    assert found.absent is True
    assert found.text(0.1) == (
        f'probably not in this gallery: the best visible hit scores below {found.threshold:.3f}, which 10% of the '
        'people who are not in it would reach (percentages assume that the person is in it)'
    )
    assert judge(make_index(), 'infrared', [hit(0.4)], rate=0.9).absent is False
    assert judge(make_index(visible=4000), 'infrared', [hit(0.6)]).absent is True  # among a thousand people


def test_what_is_unknown_is_said():
    for index, hits in ((make_index(), [hit(0.5, 'infrared')]), (make_index(calibration=None), [hit(0.5)])):
        found = judge(index, 'infrared', hits)
        assert found.probabilities == (None,)
        assert found.absent is None
        assert 'calibrated' in found.unknown
        assert found.text(0.05) == ''
    assert judge(make_index(), 'infrared', []).absent is None
    assert str(FEWEST) in judge(make_index(calibration=None), 'infrared', [hit(0.5)]).unknown  # however it was trained


def test_percent_never_claims_certainty():
    assert [percent(p) for p in (0.0, 0.004, 0.126, 0.5, 0.9999)] == ['< 1%', '< 1%', '13%', '50%', '> 99%']


@pytest.fixture(scope='module')
def calibrated(checkpoint, tmp_path_factory):
    """The checkpoint of a model, with a calibration as a run with validation identities writes it."""
    path = tmp_path_factory.mktemp('calibrated') / 'best.pt'
    checkpoints.save(path, {**checkpoints.load(checkpoint), 'calibration': CALIBRATION.to_dict()})
    return path


PLUGIN = ['--plugin', str(Path(faults.__file__))]


def test_it_is_kept_by_checkpoint_and_release_and_dropped_by_adaptation(calibrated, tmp_path):
    plugins = [Path(faults.__file__)]
    assert load(calibrated, plugins).calibration == CALIBRATION
    release_weights(calibrated, tmp_path / 'release', plugins, log=lambda line: None)
    assert load(tmp_path / 'release', plugins).calibration == CALIBRATION
    content = checkpoints.load(calibrated)
    checkpoints.save(tmp_path / 'adapted.pt', {**content, 'adapted': {'images': {}}})
    assert load(tmp_path / 'adapted.pt', plugins).calibration is None


def test_a_damaged_calibration_is_refused(calibrated, tmp_path):
    content = checkpoints.load(calibrated)
    for wrong in ({'people': 5}, {**CALIBRATION.to_dict(), 'people': -1}, {**CALIBRATION.to_dict(), 'visible': 3}):
        torch.save({**content, 'calibration': wrong}, tmp_path / 'wrong.pt')
        with pytest.raises(Exception, match='calibration'):
            checkpoints.load(tmp_path / 'wrong.pt')


def test_the_command_shows_it(calibrated, people, tmp_path, capsys):
    index = ['index', str(people / 'cam1'), '-o', str(tmp_path / 'index'), '--checkpoint', str(calibrated), *PLUGIN]
    assert main(index) == 0
    query = str(next((people / 'cam3').rglob('*.jpg')))
    capsys.readouterr()
    search = ['search', str(tmp_path / 'index'), query, '--top', '2', *PLUGIN]
    assert main([*search, '--html', str(tmp_path / 'found.html')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split('  ')[0] == 'rank'
    assert 'same person' in lines[1]
    assert '%' in lines[2]
    assert '% same' in (tmp_path / 'found.html').read_text()
    assert main([*search, '--json', '--false-alarms', '0.01']) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert all(0 < h['probability'] < 1 for h in found['hits'])
    assert found['absent'] in (True, False)
    assert main([*search, '--false-alarms', '2']) == 2
    assert 'a share between 0 and 1' in capsys.readouterr().err
