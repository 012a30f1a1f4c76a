"""`vireid checkpoint show`, `export`, `rerun`, `train --init`: what a run leaves is looked at, given away, repeated."""

from __future__ import annotations

import json
import os
from pathlib import Path

import faults
import pytest
import torch

import vireid
from vireid.boundary import checkpoint
from vireid.cli import main
from vireid.core.config.experiment import Experiment
from vireid.errors import Changed, Mismatch, UnsafeFile
from vireid.launch.launch import train
from vireid.launch.weights import load_partly
from vireid.plugin_manager.manager import create_manager
from vireid.studies.jobs import Job, finish

PLUGIN = str(Path(faults.__file__))


OWN = """
import torch
import vireid


class OwnSum(torch.nn.Module):
    def __init__(self, task_names):
        super().__init__()

    def forward(self, tasks, progress):
        return sum(tasks.values()), {name: loss.new_ones(()) for name, loss in tasks.items()}


@vireid.hookimpl
def register_components(add):
    add('weighters', 'OwnSum', OwnSum)
"""
BRANCHING = """
import torch
import vireid


class Branching(torch.nn.Module):
    def __init__(self, num_identities):
        super().__init__()
        self.layer = torch.nn.Linear(3, num_identities)

    def embed(self, images, modality):
        if float(images.mean()) > 0:
            images = images * 2
        return self.layer(images.mean((2, 3)))

    def forward(self, batch):
        return {'size': sum(self.embed(images, m).square().mean() for m, images in batch.images.items())}


@vireid.hookimpl
def register_components(add):
    add('models', 'Branching', Branching)
"""


@pytest.fixture(scope='module')
def run(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny model."""
    folder = tmp_path_factory.mktemp('finished')
    train(faults.experiment(people), folder / 'run')
    return folder / 'run'


def test_show_says_what_it_is_of(run, capsys):
    assert main(['checkpoint', 'show', str(run / 'checkpoints/last.pt')]) == 0
    out = capsys.readouterr().out
    for text in (
        'experiment   faults',
        'dataset      synthetic people, SYSU-MM01 layout',
        'complete, format 2',
        'backbone',
        'necks.a',
        'weighter',
    ):
        assert text in out
    assert main(['checkpoint', 'show', str(run / 'checkpoints/last.pt'), '--tensors', '--config']) == 0
    assert 'type: Tiny' in capsys.readouterr().out


def test_show_of_something_else_is_an_error(run, capsys):
    assert main(['checkpoint', 'show', str(run / 'config.yaml')]) == 2
    assert 'is not a checkpoint of vireid or is damaged' in capsys.readouterr().err


class TestRunFile:
    def test_it_says_what_the_run_was_made_of(self, run):
        found = json.loads((run / 'run.json').read_text())
        keys = {'command', 'config', 'seed', 'data', 'plugin_code', 'versions', 'git', 'machine', 'init'}
        assert set(found) == keys
        assert found['versions']['torch'].split('+')[0] == torch.__version__.split('+')[0]
        assert len(found['config']) == len(found['data']) == 64

    def test_a_repetition_is_identical(self, run, tmp_path, capsys):
        again = tmp_path / 'again'
        assert main(['rerun', str(run), '--work-dir', str(again), '--plugin', PLUGIN]) == 0
        out = capsys.readouterr().out
        words = [line.split() for line in out.splitlines()]
        assert all([name, 'identical'] in words for name in ('weights', 'metrics.jsonl', 'result'))

    def test_a_run_that_went_on_longer_is_noted(self, run, people, tmp_path):
        short = faults.experiment(people).with_overrides({'training.epochs': 1})
        train(short, tmp_path / 'run')
        train(faults.experiment(people), tmp_path / 'run', resume=tmp_path / 'run/checkpoints/last.pt')
        found = json.loads((tmp_path / 'run/run.json').read_text())
        assert [about['step'] for about in found['resumed']] == [short.training.epochs * 3]
        assert found['config'] == json.loads((run / 'run.json').read_text())['config']  # of the longer one
        assert checkpoint.digest(checkpoint.load(tmp_path / 'run/checkpoints/last.pt')['model']) == checkpoint.digest(
            checkpoint.load(run / 'checkpoints/last.pt')['model']
        )

    def test_a_plugin_file_with_other_code_is_noticed(self, people, tmp_path, capsys):
        plugin = tmp_path / 'mine.py'
        plugin.write_text('GAMMA = 2\n')
        experiment = faults.experiment(people)
        experiment = experiment.with_overrides({'plugins': [*experiment.plugins, str(plugin)], 'training.epochs': 1})
        train(experiment, tmp_path / 'run')
        job = Job('mine', experiment, tmp_path / 'run')
        plugin.write_text('GAMMA = 2  # the same code\n')
        finish(job)
        assert 'finished before' in capsys.readouterr().out
        plugin.write_text('GAMMA = 3\n')
        with pytest.raises(Changed, match=rf'mine\.py .*{tmp_path}/run'):
            finish(job)
        longer = experiment.with_overrides({'training.epochs': 2})
        train(longer, tmp_path / 'run', resume=tmp_path / 'run/checkpoints/last.pt')
        assert 'mine.py changed since the run was last started' in capsys.readouterr().err
        finish(Job('mine', longer, tmp_path / 'run'))  # its record has the code that it ended with

    def test_a_run_that_began_with_weights_is_repeated_with_them(self, run, people, tmp_path, capsys):
        begun = run.parent / 'begun.pt'
        begun.write_bytes((run / 'checkpoints/last.pt').read_bytes())
        train(faults.experiment(people).with_overrides({'training.init': str(begun)}), tmp_path / 'run')
        assert json.loads((tmp_path / 'run/run.json').read_text())['init']['file'] == str(begun)
        assert main(['rerun', str(tmp_path / 'run'), '--plugin', PLUGIN]) == 0
        checkpoint.save(begun, {**checkpoint.load(begun), 'model': {'w': torch.zeros(1)}})
        words = ['rerun', str(tmp_path / 'run'), '--work-dir', str(tmp_path / 'other'), '--plugin', PLUGIN]
        assert main(words) == 2
        assert (
            f'was initialized from the weights in {begun}, which are missing or have changed' in capsys.readouterr().err
        )

    def test_what_differs_is_named(self, run, tmp_path, capsys):
        import shutil

        other = Path(shutil.copytree(run, tmp_path / 'run'))
        config = (other / 'config.yaml').read_text()
        (other / 'config.yaml').write_text(config.replace('lr: 0.01', 'lr: 0.02'))
        assert main(['rerun', str(other), '--plugin', PLUGIN]) == 1
        out = capsys.readouterr().out
        assert 'weights        DIFFERENT' in out
        assert 'metrics.jsonl that differs is at step 1' in out
        assert 'config, or a plugin file, differs' in out

    def test_an_unfinished_run_is_refused(self, run, tmp_path, capsys):
        (tmp_path / 'run.json').write_text((run / 'run.json').read_text())
        assert main(['rerun', str(tmp_path)]) == 2
        assert 'is not finished' in capsys.readouterr().err


class TestExport:
    def test_weights_come_back_and_give_the_same_embeddings(self, run, people, tmp_path, capsys):
        out = tmp_path / 'release'
        assert main(['export', 'weights', str(run / 'checkpoints/last.pt'), str(out)]) == 0
        card = (out / 'README.md').read_text()
        assert 'trained on synthetic people, SYSU-MM01 layout, 7 identities, ' in card
        released = (out / 'config.yaml').read_text() + card
        assert not any(str(path) in released for path in (run.parent, people))  # no path of this machine
        model = vireid.load(out, plugins=[PLUGIN]).model
        known = vireid.load(run / 'checkpoints/last.pt', plugins=[PLUGIN]).model
        images = torch.randn(3, 3, 24, 12)
        assert torch.equal(model.embed(images, 'infrared'), known.embed(images, 'infrared'))

    def test_the_place_of_the_initial_weights_is_not_released(self, run, tmp_path):
        content = checkpoint.load(run / 'checkpoints/last.pt')
        content['config']['model']['backbone'] |= {'weights': '/home/me/start.pth'}
        checkpoint.save(tmp_path / 'own.pt', content)
        assert main(['export', 'weights', str(tmp_path / 'own.pt'), str(tmp_path / 'out')]) == 0
        released = ''.join((tmp_path / 'out' / name).read_text() for name in ('config.yaml', 'README.md'))
        assert '/home/me' not in released

    def test_a_release_can_be_read_by_whoever_reads_its_other_files(self, run, tmp_path):
        before = os.umask(0o022)
        try:
            main(['export', 'weights', str(run / 'checkpoints/last.pt'), str(tmp_path)])
        finally:
            os.umask(before)
        assert (tmp_path / 'model.safetensors').stat().st_mode & 0o777 == 0o644

    def test_a_release_of_a_model_with_a_plugin_file_holds_the_file(self, run, tmp_path):
        content = checkpoint.load(run / 'checkpoints/last.pt')
        (tmp_path / 'own.py').write_text(OWN)
        content['config']['plugins'] = [str(tmp_path / 'own.py')]
        content['config']['model'] = {**content['config']['model'], 'weighter': {'type': 'OwnSum'}}
        content['model'] = {k: v for k, v in content['model'].items() if not k.startswith('weighter.')}
        checkpoint.save(tmp_path / 'own.pt', content)
        out = tmp_path / 'release'
        words = ['export', 'weights', str(tmp_path / 'own.pt'), str(out), '--plugin']
        assert main([*words, PLUGIN]) == 2  # a release holds a copy: nobody but the user says of which file
        assert main([*words, str(tmp_path / 'own.py')]) == 0
        assert "plugins=['this folder/own.py']" in (out / 'README.md').read_text()
        with pytest.raises(UnsafeFile, match=r'own\.py') as caught:
            vireid.load(out)
        assert 'own.py' in caught.value.todo
        vireid.load(out, plugins=[out / 'own.py', PLUGIN])
        (tmp_path / 'own.py').unlink()
        assert main(['export', 'weights', str(tmp_path / 'own.pt'), str(out), '--plugin', PLUGIN]) == 2

    def test_a_folder_with_a_readme_of_its_own_is_left_alone(self, run, tmp_path, capsys):
        (tmp_path / 'README.md').write_text('mine')
        assert main(['export', 'weights', str(run / 'checkpoints/last.pt'), str(tmp_path)]) == 2
        assert 'contains README.md, which is not part of a release' in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ['README.md']

    def test_a_module_with_two_names_is_exported_under_both(self, run, tmp_path):
        from safetensors.torch import load_file

        content = checkpoint.load(run / 'checkpoints/last.pt')
        name = next(n for n, t in content['model'].items() if t.dim() > 1)
        content['model']['twin'] = content['model'][name]  # one memory
        checkpoint.save(tmp_path / 'shared.pt', content)
        assert main(['export', 'weights', str(tmp_path / 'shared.pt'), str(tmp_path / 'release')]) == 0
        found = load_file(tmp_path / 'release' / 'model.safetensors')
        assert torch.equal(found['twin'], found[name])

    def test_a_model_that_cannot_be_exported_is_told_so(self, run, people, tmp_path, capsys):
        (tmp_path / 'branching.py').write_text(BRANCHING)
        plugin = str(tmp_path / 'branching.py')
        config = faults.experiment(people).to_config()
        config |= {'model': {'type': 'Branching'}, 'training': {'steps': 1, 'accelerator': 'cpu'}, 'evaluation': {}}
        train(Experiment.from_config(config, create_manager([plugin])), tmp_path / 'run')
        capsys.readouterr()
        words = ['export', 'onnx', str(tmp_path / 'run/checkpoints/last.pt'), str(tmp_path / 'out'), '--plugin', plugin]
        assert main(words) == 2
        error = capsys.readouterr().err
        assert 'error: the embedding of visible images cannot be exported to ONNX: ' in error
        assert 'remove data-dependent control flow' in error
        assert 'Traceback' not in error

    def test_weights_that_were_changed_are_refused(self, run, tmp_path):
        from safetensors.torch import load_file, save_file

        main(['export', 'weights', str(run / 'checkpoints/last.pt'), str(tmp_path)])
        file = tmp_path / 'model.safetensors'
        from safetensors import safe_open

        with safe_open(file, 'pt') as opened:
            about = opened.metadata()
        weights = load_file(file)
        name = next(n for n, t in weights.items() if t.is_floating_point())
        weights[name] = weights[name] + 1
        save_file(weights, file, metadata=about)
        with pytest.raises(Changed, match=r'model\.safetensors'):
            vireid.load(tmp_path, plugins=[PLUGIN])

    def test_onnx_takes_any_batch_and_agrees_with_torch(self, run, tmp_path, capfd):
        import onnxruntime

        arguments = ['export', 'onnx', str(run / 'checkpoints/last.pt'), str(tmp_path), '--plugin', PLUGIN]
        assert main(arguments) == 0
        assert json.loads((tmp_path / 'model.json').read_text())['differs by'] < 1e-4
        model = vireid.load(run / 'checkpoints/last.pt', plugins=[PLUGIN]).model
        for modality in ('visible', 'infrared'):
            session = onnxruntime.InferenceSession(str(tmp_path / f'{modality}.onnx'))
            images = torch.randn(5, 3, 24, 12)
            (made,) = session.run(None, {'images': images.numpy()})
            with torch.inference_mode():
                torch.testing.assert_close(torch.from_numpy(made), model.embed(images, modality), atol=1e-4, rtol=1e-4)


class TestInit:
    def test_a_run_may_begin_with_the_weights_of_another(self, run, people, tmp_path):
        made = faults.experiment(people)
        train(made.with_overrides({'training.init': str(run / 'checkpoints/last.pt')}), tmp_path / 'new')
        first = [json.loads(line)['loss'] for line in (run / 'metrics.jsonl').read_text().splitlines()[:1]]
        new = [json.loads(line)['loss'] for line in (tmp_path / 'new/metrics.jsonl').read_text().splitlines()[:1]]
        assert new != first

    def test_what_fits_is_taken_and_its_share_is_said_for_each_part(self, run, capsys):
        content = checkpoint.load(run / 'checkpoints/last.pt')
        model = vireid.load(run / 'checkpoints/last.pt', plugins=[PLUGIN]).model
        weights = {n: t for n, t in content['model'].items() if not n.startswith('necks.a')}
        shares = load_partly(model, weights, 'x.pt')
        assert shares['necks.a'][0] == 0
        assert shares['backbone'][0] == shares['backbone'][1] > 0
        with pytest.raises(Mismatch, match=r'x\.pt'):
            load_partly(model, {'other': torch.zeros(1)}, 'x.pt')

    @pytest.mark.parametrize(
        ('flags', 'text'),
        [
            (['--partial'], 'training.init_partial is True, but there are no initial weights'),
            (['--init', 'x.pt', '--resume', 'y.pt'], '--resume continues one'),
        ],
        ids=str,
    )
    def test_flags_that_do_not_go_together(self, capsys, flags, text):
        assert main(['train', 'vireid::tffn_demo.py', *flags]) == 2
        assert text in capsys.readouterr().err
