"""`vireid publish`: what a stranger gets of a run, and what nobody gets: names, paths, and templates of people."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import faults
import numpy as np
import pytest
import torch
from PIL import Image

import vireid
from vireid.boundary import checkpoint
from vireid.boundary.config_text import dump
from vireid.cli import main
from vireid.core.config.experiment import Experiment
from vireid.errors import Changed
from vireid.exchange.publish_record import read_published
from vireid.launch.launch import train
from vireid.reporting import result_file
from vireid.synth import synthesize

PLUGIN = str(Path(faults.__file__))
NAMES = [f'{first}-quillfeather' for first in ('annabel', 'bertrand', 'clothilde', 'dagobert', 'edeltraud', 'fridolin')]
PHOTO = 'holiday-photo'
AGREED = 'written consent of all six, 2026-03'
OWN = """import vireid
# reads {}


@vireid.hookimpl
def register_components(add):
    add('models', 'Own', object)
"""
FLAGS = ['--weights-license', 'CC-BY-NC-4.0', '--plugin', PLUGIN]


def publish(runs: list[Path], out: Path, *flags: str) -> int:
    return main(['publish', *map(str, runs), '-o', str(out), *FLAGS, *flags])


@pytest.fixture(scope='module')
def own_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people with telling names of folders and files."""
    root = tmp_path_factory.mktemp('own') / 'marketplace-cameras'
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        for modality in ('visible', 'infrared'):
            for shot in range(3):
                path = root / modality / name / f'{PHOTO}-{number}{shot}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(40 * number + rng.normal(0, 12, (40, 20, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def experiment(root: Path, type: str, seed: int, **values: object) -> Experiment:
    values |= {'dataset': {'type': type, 'root': str(root)}, 'seed': seed, 'sampler.identities': 3}
    values |= {'evaluation.select': 'last', 'training.epochs': 2}
    return faults.experiment(root).with_overrides(values)


@pytest.fixture(scope='module')
def own_run(own_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('runs') / 'marketplace'
    cache = {'type': 'ImageCache', 'folder': str(folder.parent / 'image-cache')}
    values = {'name': 'marketplace', 'images.reader': cache, 'protocol': {'type': 'cross'}}
    values['loggers'] = [{'type': 'Report'}]  # which shows people
    train(experiment(own_images, 'Folders', 0, **values), folder)
    return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds on synthetic people."""
    base = tmp_path_factory.mktemp('synthetic')
    synthesize(base / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
    for seed in (3, 1):
        train(experiment(base / 'people', 'SYSU-MM01', seed), base / f'seed_{seed}')
    return [base / 'seed_3', base / 'seed_1']


@pytest.fixture(scope='module')
def release(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('release') / 'net'
    assert publish(runs, out) == 0
    return out


class TestRelease:
    def test_its_files_match_their_checksums(self, release):
        assert sorted(path.name for path in release.iterdir()) == [
            'README.md', 'SHA256SUMS', 'config.yaml', 'model.safetensors', 'release.json'
        ]  # fmt: skip
        for line in (release / 'SHA256SUMS').read_text().splitlines():  # what `sha256sum -c` does
            digest, name = line.split('  ')
            assert hashlib.sha256((release / name).read_bytes()).hexdigest() == digest
        assert read_published(release)['name'] == 'faults'

    def test_the_metrics_are_means_over_seeds_with_both_intervals(self, release, runs):
        record = json.loads((release / 'release.json').read_text())
        results = [result_file.read(run) for run in runs]
        assert record['seeds'] == [1, 3]
        for row, *of_seeds in zip(record['rows'], *(result['rows'] for result in results), strict=True):
            for name, metric in row['metrics'].items():
                values = [seed[name]['mean'] for seed in of_seeds]
                assert metric['mean'] == pytest.approx(sum(values) / 2)
                for low, high in (metric['seeds'], metric['people']):
                    assert 0 <= low <= metric['mean'] <= high <= 1

    def test_the_interval_over_people_of_one_seed_is_that_of_the_run(self, runs, tmp_path):
        assert publish(runs[:1], tmp_path / 'one') == 0
        row = json.loads((tmp_path / 'one/release.json').read_text())['rows'][0]
        there = result_file.read(runs[0])['rows'][0]  # few test identities: it has intervals of its own
        assert row['metrics']['mAP']['people'] == pytest.approx([there['mAP']['low'], there['mAP']['high']])
        assert row['metrics']['mAP']['seeds'] is None
        assert 'the spread over seeds: there is one run' in (tmp_path / 'one/README.md').read_text()

    def test_the_card_states_what_a_reader_must_know(self, release):
        card = (release / 'README.md').read_text()
        for text in (
            'license: CC-BY-NC-4.0\n',
            '- license of the weights: CC-BY-NC-4.0',
            'trained on synthetic people, SYSU-MM01 layout, 7 identities',
            '- seeds measured: 1, 3; the weights are those of seed 1',
            'The people are synthetic: the figures say nothing about real people.',
            '`sysu/agw`',
            '95% interval over seeds',
            '95% interval over 3 test identities',
            'Not measured:',
        ):
            assert text in card, text

    def test_it_loads_and_embeds_like_the_checkpoint_of_the_lowest_seed(self, release, runs):
        ours = vireid.load(release, plugins=[PLUGIN]).model
        theirs = vireid.load(runs[1] / 'checkpoints/last.pt', plugins=[PLUGIN]).model
        images = torch.rand(3, 3, 24, 12)
        assert torch.equal(ours.embed(images, 'infrared'), theirs.embed(images, 'infrared'))

    def test_no_vector_per_training_identity_is_in_it(self, release, runs):
        from safetensors.torch import load_file

        trained, released = (
            checkpoint.load(runs[1] / 'checkpoints/last.pt')['model'],
            load_file(release / 'model.safetensors'),
        )
        classifiers = [name for name, tensor in trained.items() if 7 in tensor.shape]
        assert len(classifiers) == 2  # of the heads a and b
        assert not any(released[name].any() for name in classifiers)
        assert all(torch.equal(released[name], trained[name]) for name in trained if name not in classifiers)


class TestOwnImages:
    def test_they_need_the_permission_of_their_people(self, own_run, tmp_path, capsys):
        assert publish([own_run], tmp_path / 'out') == 2
        error = capsys.readouterr().err
        assert 'trained on your own images: their people must have agreed' in error
        assert '--permission' in error
        assert not (tmp_path / 'out').exists()

    def test_their_people_are_asked_whatever_the_weights_began_with(self, own_run, tmp_path, capsys):
        run = Path(shutil.copytree(own_run, tmp_path / 'run'))
        path = run / 'run.json'
        made = json.loads(path.read_text()) | {'init': {'file': '/x/last.pt', 'weights': '0' * 64, 'partial': False}}
        path.write_text(json.dumps(made))
        assert publish([run], tmp_path / 'out') == 2
        assert 'your own images' in capsys.readouterr().err

    def test_no_name_of_a_person_a_file_or_a_machine_is_anywhere_in_the_release(
        self, own_run, own_images, tmp_path, capsys
    ):
        content = checkpoint.load(own_run / 'checkpoints/last.pt')
        assert set(content['identities']) < set(NAMES)  # the run knows them
        assert publish([own_run], tmp_path / 'out', '--permission', AGREED) == 0
        assert 'left out: images.reader' in capsys.readouterr().out
        assert AGREED in (tmp_path / 'out/README.md').read_text()
        secrets = [*NAMES, 'quillfeather', PHOTO, str(own_images), str(own_run), str(Path.home()), 'image-cache']
        for file in (tmp_path / 'out').iterdir():
            whole = file.read_bytes().lower()
            for secret in secrets:
                assert secret.lower().encode() not in whole, (file.name, secret)
        assert not {'.npz', '.html', '.jpg', '.png'} & {file.suffix for file in (tmp_path / 'out').iterdir()}

    @pytest.mark.parametrize(
        ('changed', 'permission', 'text'),
        [
            ({'name': f'without_{NAMES[0]}'}, AGREED, "name contains 'annabel-quillfeather'"),
            ({'name': 'own'}, f'{NAMES[0].upper()} agreed', '--permission contains'),
            ({'model': {'heads': {NAMES[0]: {}}}}, AGREED, f'model.heads.{NAMES[0]} contains'),
        ],
    )
    def test_a_name_in_a_text_of_the_user_is_refused(self, own_run, tmp_path, capsys, changed, permission, text):
        run = Path(shutil.copytree(own_run, tmp_path / 'run'))
        content = checkpoint.load(run / 'checkpoints/last.pt')
        content['config'] |= changed if 'name' in changed else {}
        content['config']['model']['heads'] |= changed.get('model', {}).get('heads', {})
        checkpoint.save(run / 'checkpoints/last.pt', content)
        (run / 'config.yaml').write_text(dump(content['config']))
        assert publish([run], tmp_path / 'out', '--permission', permission) == 2
        error = capsys.readouterr().err
        assert text in error
        assert 'the name of an identity in the training data' in error
        assert not (tmp_path / 'out').exists()

    def test_a_path_in_a_plugin_file_is_refused(self, own_run, own_images, tmp_path, capsys):
        run = Path(shutil.copytree(own_run, tmp_path / 'run'))
        content = checkpoint.load(run / 'checkpoints/last.pt')
        plugin = tmp_path / 'own.py'
        plugin.write_text(OWN.format(own_images))
        content['config']['plugins'] = [str(plugin)]
        checkpoint.save(run / 'checkpoints/last.pt', content)
        (run / 'config.yaml').write_text(dump(content['config']))
        assert publish([run], tmp_path / 'out', '--permission', AGREED, '--plugin', str(plugin)) == 2
        assert f'own.py would contain {own_images}' in capsys.readouterr().err
        assert not (tmp_path / 'out').exists()

    def test_a_folder_may_be_called_by_a_word_of_the_card(self, runs, tmp_path, capsys):
        run = Path(shutil.copytree(runs[0], tmp_path / 'run'))
        content = checkpoint.load(run / 'checkpoints/last.pt')
        content['config']['dataset']['root'] = 'people'
        checkpoint.save(run / 'checkpoints/last.pt', content)
        (run / 'config.yaml').write_text(dump(content['config']))
        assert publish([run], tmp_path / 'out') == 0, capsys.readouterr().err
        assert 'people' in (tmp_path / 'out/README.md').read_text()


class TestRefusals:
    def test_a_published_dataset_needs_the_word_of_its_owner(self, runs, tmp_path, capsys):
        run = Path(shutil.copytree(runs[0], tmp_path / 'run'))
        path = run / 'result.json'
        path.write_text(json.dumps(json.loads(path.read_text()) | {'data': 'SYSU-MM01'}))
        with np.load(run / 'queries.npz') as there:  # which says that the people are synthetic
            kept = {name: there[name] for name in there.files if name != 'about'}
        np.savez(run / 'queries.npz', **kept)
        assert publish([run], tmp_path / 'out') == 2
        assert 'SYSU-MM01: its license, or its authors, must allow it' in capsys.readouterr().err

    def test_weights_that_began_with_others_need_permission_even_on_synthetic_people(self, runs, tmp_path, capsys):
        run = Path(shutil.copytree(runs[0], tmp_path / 'run'))
        path = run / 'run.json'
        made = json.loads(path.read_text()) | {'init': {'file': '/x/last.pt', 'weights': '0' * 64, 'partial': False}}
        path.write_text(json.dumps(made))
        assert publish([run], tmp_path / 'out') == 2
        assert 'weights of a file' in capsys.readouterr().err
        assert publish([run], tmp_path / 'out', '--permission', 'drawn people only') == 0
        card = (tmp_path / 'out/README.md').read_text()
        assert ', initialized from weights of a file, images of' in card
        assert 'the images that the initial weights were trained on' in card

    def test_an_unfinished_run(self, runs, tmp_path, capsys):
        run = Path(shutil.copytree(runs[0], tmp_path / 'run'))
        (run / 'result.json').unlink()
        assert publish([run], tmp_path / 'out') == 2
        assert 'is not finished' in capsys.readouterr().err

    @pytest.mark.parametrize('name', ['result.json', 'queries.npz', 'config.yaml', 'checkpoints/last.pt'])
    def test_a_damaged_run(self, runs, tmp_path, capsys, name):
        run = Path(shutil.copytree(runs[0], tmp_path / 'run'))
        whole = (run / name).read_bytes()
        (run / name).write_bytes(whole[: len(whole) // 2])
        assert publish([run], tmp_path / 'out') == 2
        assert 'error' in capsys.readouterr().err
        assert not (tmp_path / 'out').exists()

    def test_a_result_that_was_edited(self, runs, tmp_path, capsys):
        run = Path(shutil.copytree(runs[0], tmp_path / 'run'))
        result = json.loads((run / 'result.json').read_text())
        result['rows'][0]['mAP'] = {'mean': 0.99, 'std': 0.0, 'low': 0.9, 'high': 1.0}
        (run / 'result.json').write_text(json.dumps(result))
        assert publish([run], tmp_path / 'out') == 2
        assert 'queries' in capsys.readouterr().err

    def test_weights_of_another_step_than_the_result(self, runs, tmp_path, capsys):
        run = Path(shutil.copytree(runs[0], tmp_path / 'run'))
        content = checkpoint.load(run / 'checkpoints/last.pt')
        content['progress']['step'] += 1
        checkpoint.save(run / 'checkpoints/last.pt', content)
        assert publish([run], tmp_path / 'out') == 2
        assert 'but the result is of step' in capsys.readouterr().err

    def test_an_existing_folder_is_left_as_it_is(self, runs, tmp_path, capsys):
        (tmp_path / 'mine.txt').write_text('mine')
        assert publish(runs, tmp_path) == 2
        assert 'a release is written once' in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']

    def test_seeds_of_different_configs(self, runs, own_run, tmp_path, capsys):
        assert publish([runs[0], own_run], tmp_path / 'out', '--permission', AGREED) == 2
        assert 'have different configs: dataset.type' in capsys.readouterr().err

    def test_one_seed_twice(self, runs, tmp_path, capsys):
        assert publish([runs[0], runs[0]], tmp_path / 'out') == 2
        assert 'the same config with the same seed' in capsys.readouterr().err

    def test_the_license_is_an_identifier(self, runs, tmp_path, capsys):
        words = ['publish', *map(str, runs), '-o', str(tmp_path / 'out'), '--plugin', PLUGIN]
        for wrong in ('free: do\nwhat', 'foo', 'CC BY-NC 4.0', 'MIT OR Apache-2.0'):
            assert main([*words, '--weights-license', wrong]) == 2
            assert 'an SPDX identifier' in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(words)  # required

    def test_a_release_whose_file_was_changed(self, release, tmp_path):
        copy = Path(shutil.copytree(release, tmp_path / 'copy'))
        (copy / 'model.safetensors').unlink()  # may be kept elsewhere
        assert read_published(copy)['seeds'] == [1, 3]
        (copy / 'README.md').write_text('better')
        with pytest.raises(Changed, match=r'README\.md'):
            read_published(copy)
