"""`vireid adapt`: from a run's checkpoint and unlabeled images to one that all commands accept, and back."""

from __future__ import annotations

import csv
from pathlib import Path

import faults
import pytest

import vireid
from vireid.boundary import checkpoint
from vireid.cli import main
from vireid.launch.launch import train
from vireid.synth import synthesize

PLUGIN = ['--plugin', str(Path(faults.__file__))]


@pytest.fixture(scope='module')
def work(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny model, `run`, and images of other cameras, `cameras`."""
    folder = tmp_path_factory.mktemp('work')
    synthesize(folder / 'cameras', layout='folders', ids=5, seed=1, images=1, workers=1)
    train(faults.experiment(people), folder / 'run')
    return folder


@pytest.fixture(scope='module')
def source(work: Path) -> str:
    return str(work / 'run/checkpoints/last.pt')


@pytest.fixture(scope='module')
def adapted(work: Path, source: str) -> str:
    assert main(['adapt', source, str(images(work)), '-o', str(work / 'new.pt'), *PLUGIN]) == 0
    return str(work / 'new.pt')


def images(work: Path) -> Path:
    """The folder that has `visible` in it: the synthetic ones have splits."""
    return work / 'cameras/train'


def test_it_says_what_it_did_and_how_to_find_out_whether_it_helped(work, source, tmp_path, capsys):
    assert main(['adapt', source, str(images(work)), '-o', str(tmp_path / 'new.pt'), *PLUGIN]) == 0
    out = capsys.readouterr().out
    visible, infrared = (len(list((images(work) / m).rglob('*.*'))) for m in ('visible', 'infrared'))
    assert f'images       {visible} visible and {infrared} infrared images' in out
    assert 'mean and variance of 3 BatchNorm layers' in out
    assert 'Only labeled images of these cameras can show whether it helped' in out
    assert f'vireid test CONFIG {tmp_path / "new.pt"} --data-root DIR' in out
    assert f'vireid adapt {tmp_path / "new.pt"} --revert -o ORIGINAL' in out


def test_the_new_file_is_scored_and_its_table_says_that_it_is_adapted(work, adapted, tmp_path, capsys):
    config = str(work / 'run/config.yaml')
    assert main(['test', config, adapted, '--work-dir', str(tmp_path), *PLUGIN]) == 0
    assert ', adapted to ' in (tmp_path / 'result.json').read_text()


def test_it_is_shown_loaded_and_exported(adapted, tmp_path, capsys):
    assert main(['checkpoint', 'show', adapted]) == 0
    out = capsys.readouterr().out
    assert 'weights      after step ' in out
    assert 'adapted to   ' in out
    model = vireid.load(adapted, plugins=[PLUGIN[1]]).model
    assert checkpoint.digest(model.state_dict()) == checkpoint.digest(checkpoint.load(adapted)['model'])
    assert main(['export', 'weights', adapted, str(tmp_path / 'release')]) == 0
    assert ', adapted to ' in (tmp_path / 'release/README.md').read_text()


def test_a_checkpoint_that_is_not_adapted_shows_nothing_of_it(source, capsys):
    assert main(['checkpoint', 'show', source]) == 0
    assert 'adapted' not in capsys.readouterr().out


def test_it_is_taken_back_bit_for_bit(source, adapted, tmp_path, capsys):
    assert main(['adapt', adapted, '--revert', '-o', str(tmp_path / 'back.pt')]) == 0
    assert 'before adaptation, after step ' in capsys.readouterr().out
    digests = [checkpoint.digest(checkpoint.load(p)['model']) for p in (source, adapted, tmp_path / 'back.pt')]
    assert digests[0] == digests[2] != digests[1]


def test_a_split_of_a_table(work, source, tmp_path, capsys):
    with (tmp_path / 'table.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['path', 'modality', 'split'])
        for modality in ('visible', 'infrared'):
            for number, path in enumerate(sorted((images(work) / modality).rglob('*.*'))):
                writer.writerow([path, modality, 'new' if number < 3 else 'old'])
    words = ['adapt', source, str(tmp_path / 'table.csv'), '-o', str(tmp_path / 'new.pt'), '--split', 'new', *PLUGIN]
    assert main(words) == 0
    assert 'images       3 visible and 3 infrared images' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['SOURCE'], 'no images were given'),
        (['SOURCE', 'IMAGES', '--revert'], '--revert accepts neither images nor --split'),
        (['SOURCE', '--revert'], 'was not adapted'),
        (['SOURCE', 'nowhere'], 'nowhere does not exist'),
        (['SOURCE', 'IMAGES/visible'], 'has no images in visible/ or infrared/'),
        (['SOURCE', 'IMAGES', '--split', 'train'], "split is 'train', but"),
        (['nowhere.pt', 'IMAGES'], 'no checkpoint nowhere.pt'),
        (['SOURCE', 'IMAGES'], 'has components of the plugin files'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be(work, source, tmp_path, capsys, words, message):
    if 'plugin' in message:
        content = checkpoint.load(source)
        content['config']['plugins'] = [PLUGIN[1]]
        source = str(tmp_path / 'named.pt')
        checkpoint.save(source, content)
    words = [word.replace('SOURCE', source).replace('IMAGES', str(images(work))) for word in words]
    assert main(['adapt', *words, '-o', str(tmp_path / 'new.pt')]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'new.pt').exists()


def test_a_file_is_never_written_over(work, source, adapted, capsys):
    before = Path(adapted).read_bytes()
    for words in ([source, str(images(work))], [adapted, '--revert']):
        assert main(['adapt', *words, '-o', adapted, *PLUGIN]) == 2
        assert 'already exists' in capsys.readouterr().err
    assert Path(adapted).read_bytes() == before


def test_the_file_to_write_has_to_be_named(source, capsys):
    with pytest.raises(SystemExit):
        main(['adapt', source, 'images'])
    assert '-o/--out' in capsys.readouterr().err
