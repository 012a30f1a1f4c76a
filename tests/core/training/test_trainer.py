"""The loop, end to end on a few tiny images: it learns, writes, resumes, stops, and says what is wrong."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vireid
from vireid.boundary import checkpoint
from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.data.loader import WorkerDied
from vireid.core.types import FeatureSpec
from vireid.errors import (
    Changed,
    Conflict,
    DamagedFile,
    InUse,
    Mismatch,
    NoMatch,
    NotFinite,
    OutOfMemory,
    TooFew,
    UnknownComponent,
    UnknownKey,
    UnsupportedFile,
    WrongValue,
)
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch.fabric import make_fabric
from vireid.launch.launch import prepare, train
from vireid.plugin_manager.manager import create_manager, hookimpl
from vireid.runtime.signals import Interrupted

CONFIG = Path(__file__).parents[3] / 'configs' / 'tffn_sysu.py'
RESNET = [
    'model.backbone={"type": "TwoStreamResNet", "depth": 18, "out_stages": [2, 3], "weights": None}',
    'model.necks.s2.inputs=stage2',
    *(f'model.necks.{name}.inputs=stage3' for name in ('s3', 's4')),
]
SMALL = [
    *(f'model.necks.{name}.channels=64' for name in ('s2', 's3', 's4')),
    'images.size=[32,16]',
    'images.workers=0',
    'sampler.identities=2',
    'sampler.visible=2',
    'sampler.infrared=2',
    'training.epochs=2',
    'loggers=[{"type": "MetricsFile"}]',
    'protocol.trials=2',
]


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> Path:
    """SYSU-MM01's layout: 3 training and 2 test identities, each with a brightness of their own, 3 images a camera."""
    root = tmp_path_factory.mktemp('sysu')
    rng = np.random.default_rng(0)
    (root / 'exp').mkdir()
    for name, identities in (('train', '1,2'), ('val', '3'), ('test', '4,5')):
        (root / f'exp/{name}_id.txt').write_text(identities + '\n')
    for camera in (1, 2, 3, 6):
        for identity in range(1, 6):
            folder = root / f'cam{camera}' / f'{identity:04d}'
            folder.mkdir(parents=True)
            for shot in range(3):
                pixels = np.clip(45 * identity + rng.normal(0, 12, (40, 20, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f'{shot + 1:04d}.jpg')
    return root


def experiment(tree: Path, *options: str, manager: Any = None) -> Experiment:
    read = config.load(CONFIG, [*SMALL, *faults.TFFN_ON_TINY, f'dataset.root={tree}', *options])
    manager = manager or create_manager()
    manager.register(faults, 'faults')
    return Experiment.from_config(read, manager)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


class Watcher:
    """Notes the hooks that are called, and may act on a step."""

    def __init__(self, on_step: Any = None) -> None:
        self.calls: list[str] = []
        self.on_step = on_step

    @hookimpl
    def run_started(self) -> None:
        self.calls.append('started')

    @hookimpl
    def step_ended(self, progress: Any) -> None:
        self.calls.append(f'step {progress.step}')
        if self.on_step:
            self.on_step(progress.step)

    @hookimpl
    def epoch_ended(self, progress: Any) -> None:
        self.calls.append(f'epoch {progress.epoch}')

    @hookimpl
    def evaluated(self) -> None:
        self.calls.append('evaluated')

    @hookimpl
    def run_ended(self, finished: bool) -> None:
        self.calls.append(f'ended {finished}')


def watched(tree: Path, watcher: Watcher, *options: str) -> Experiment:
    manager = create_manager()
    manager.register(watcher, 'watcher')
    return experiment(tree, *options, manager=manager)


@pytest.fixture(scope='module')
def whole(tree, tmp_path_factory) -> Path:
    """A run that was left alone; tests read it only."""
    folder = tmp_path_factory.mktemp('whole')
    train(experiment(tree), folder)
    return folder


@pytest.fixture(scope='module')
def whole_resnet(tree, tmp_path_factory) -> Path:
    """The same of a ResNet."""
    folder = tmp_path_factory.mktemp('resnet')
    train(experiment(tree, *RESNET), folder)
    return folder


@pytest.fixture(scope='module')
def short(tree, tmp_path_factory) -> Path:
    """A run of one epoch; tests read it only."""
    folder = tmp_path_factory.mktemp('short')
    train(experiment(tree, 'training.epochs=1'), folder)
    return folder


def test_a_run_writes_config_metrics_and_a_checkpoint_that_load_rebuilds(tree, whole_resnet):
    # 18 images of each modality, 4 a batch: 18 // 4 + 1 = 5 steps an epoch
    lines = metrics(whole_resnet)
    assert [line['step'] for line in lines] == [*range(1, 11), 10]
    assert list(lines[0]['tasks']) == ['s2', 's3', 's4', 'mlfm', 'glfm']
    assert lines[0]['weights']['glfm'] == 0
    # the adaptive weight of epoch 2 by Eq. 6's rule, from the log of epoch 1
    others = [sum(v for k, v in line['tasks'].items() if k != 'glfm') for line in lines[:5]]
    assert lines[5]['weights']['glfm'] == pytest.approx(1 / (1 + np.mean(others)), rel=1e-5)
    # warm-up: a tenth of 0.01 in the first epoch, two tenths in the second
    assert [line['lr'] for line in lines[:10]] == pytest.approx([0.001] * 5 + [0.002] * 5)
    rows = json.loads((whole_resnet / 'result.json').read_text())['rows']
    assert [row['name'] for row in rows] == ['all single-shot', 'indoor single-shot']
    assert config.load(whole_resnet / 'config.yaml')['model']['backbone']['depth'] == 18

    model = vireid.load(whole_resnet / 'checkpoints' / 'last.pt').model
    picture = vireid.core.data.images.read_image(tree / 'cam1/0004/0001.jpg')
    image = model.experiment.build_transform('test')(picture)
    assert model.embed(image[None], 'visible').shape == (1, 64)


def test_testing_a_checkpoint_gives_the_numbers_of_its_run(tree, whole, tmp_path):
    tested = score_checkpoint(experiment(tree), whole / 'checkpoints' / 'last.pt', tmp_path)
    trained = json.loads((whole / 'result.json').read_text())
    assert json.loads(json.dumps(tested.to_dict()))['rows'] == trained['rows']


def test_hooks_are_called_in_order(tree, tmp_path):
    watcher = Watcher()
    train(watched(tree, watcher, 'training.evaluate_every=1'), tmp_path)
    assert watcher.calls == [
        'started', *[f'step {n}' for n in range(1, 6)], 'epoch 1', 'evaluated',
        *[f'step {n}' for n in range(6, 11)], 'epoch 2', 'evaluated', 'ended True',
    ]  # fmt: skip


def test_training_by_steps_may_end_in_the_middle_of_an_epoch(tree, tmp_path):
    watcher = Watcher()
    train(watched(tree, watcher, 'training.epochs=None', 'training.steps=7'), tmp_path)
    assert watcher.calls[-3:] == ['step 7', 'evaluated', 'ended True']


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / 'checkpoints' / 'last.pt')['model']


@pytest.mark.parametrize(('stop_at', 'network'), [(3, 'tiny'), (5, 'tiny'), (8, 'resnet')])
def test_ctrl_c_saves_and_a_resumed_run_ends_as_an_uninterrupted_one(tree, request, tmp_path, stop_at, network):
    whole = request.getfixturevalue('whole' if network == 'tiny' else 'whole_resnet')
    options = RESNET if network == 'resnet' else []
    watcher = Watcher(on_step=lambda step: os.kill(os.getpid(), signal.SIGINT) if step == stop_at else None)
    with pytest.raises(Interrupted):
        train(watched(tree, watcher, *options), tmp_path)
    assert watcher.calls[-1] == 'ended False'
    assert metrics(tmp_path)[-1]['step'] == stop_at
    train(experiment(tree, *options), tmp_path, resume=tmp_path / 'checkpoints' / 'last.pt')
    assert metrics(tmp_path) == metrics(whole)
    expected, found = weights(whole), weights(tmp_path)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


class Apart(nn.Module):
    """A backbone of one layer for each modality."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = nn.ModuleDict({m: nn.Conv2d(3, 8, 8, stride=8) for m in ('visible', 'infrared')})
        self.outputs = {'maps': FeatureSpec(8, 'map', 'paired')}

    def forward(self, images: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
        return {'maps': {m: self.streams[m](x) for m, x in images.items()}}


class Plugin:
    """Brings `Apart`."""

    @hookimpl
    def register_components(self, add: Any) -> None:
        add('backbones', 'Apart', Apart)


def test_learnt_and_warmed_up_weights_are_logged_every_step_and_go_on_after_a_resume(tree, tmp_path):
    """Uncertainty on three tasks from step 2 on, an adaptive lambda on the fourth; cut in the middle of an epoch."""
    options = [option for option in SMALL if not option.startswith(('training.epochs', 'images.size', 'model.necks'))]
    options += [
        'model.backbone={"type": "Apart"}', *(f'model.necks.{name}.inputs=maps' for name in ('low', 'middle', 'map4')),
        'model.weighter.parts.levels.by=step', 'model.weighter.parts.levels.start=2',
        # 3 steps an epoch
        'images.size=[48,24]', 'sampler.visible=4', 'sampler.infrared=4', 'training.steps=5', f'dataset.root={tree}',
    ]  # fmt: skip

    def hybrid(*plugins: Any) -> Experiment:
        manager = create_manager()
        for plugin in (Plugin(), *plugins):
            manager.register(plugin, type(plugin).__name__)
        return Experiment.from_config(config.load(CONFIG.with_name('hybrid_dmcf_glfm.py'), options), manager)

    train(hybrid(), tmp_path / 'whole')
    steps = [line for line in metrics(tmp_path / 'whole') if 'tasks' in line]
    sigma = [line['curves']['sigma']['low'] for line in steps]
    assert sigma[:3] == [1.0] * 3  # the third step is the first that learns it
    assert all(a != b for a, b in itertools.pairwise(sigma[2:]))
    for line in steps:
        learnt = line['step'] > 2
        for name, value in line['curves']['sigma'].items():
            assert line['weights'][name] == pytest.approx(1 / (2 * value**2) if learnt else 1.0, rel=1e-5)
        assert line['curves']['lambda']['glfm'] == line['weights']['glfm']
    assert steps[-1]['weights']['glfm'] > 0

    stopper = Watcher(on_step=lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 4 else None)
    with pytest.raises(Interrupted):
        train(hybrid(stopper), tmp_path / 'cut')
    train(hybrid(), tmp_path / 'cut', resume=tmp_path / 'cut' / 'checkpoints' / 'last.pt')
    assert metrics(tmp_path / 'cut') == metrics(tmp_path / 'whole')
    whole, resumed = weights(tmp_path / 'whole'), weights(tmp_path / 'cut')
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_that_another_process_writes_is_left_alone(tree, tmp_path):
    holder = subprocess.Popen(
        [
            sys.executable,
            '-c',
            f'import fcntl, os, time\nfcntl.flock(os.open({str(tmp_path)!r}, os.O_RDONLY), fcntl.LOCK_EX)\n'
            'print("held", flush=True)\ntime.sleep(600)',
        ],
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdout.readline()
        with pytest.raises(InUse, match=re.escape(str(tmp_path))):
            train(experiment(tree), tmp_path)
        assert not list(tmp_path.iterdir())
    finally:
        holder.kill()
        holder.wait()
    train(experiment(tree, 'training.epochs=1'), tmp_path)  # the lock went with its holder


def test_the_seed_decides_the_run_and_loader_workers_do_not(tree, short, tmp_path):
    for name, option in {'b': 'images.workers=2', 'c': 'seed=1'}.items():
        train(experiment(tree, 'training.epochs=1', option), tmp_path / name)
    a, b, c = weights(short), weights(tmp_path / 'b'), weights(tmp_path / 'c')
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a['tasks.mlfm.head.branch.classifier.weight'], c['tasks.mlfm.head.branch.classifier.weight'])


def test_bf16_trains(tree, tmp_path):
    options = ('training.precision=bf16-mixed', 'training.epochs=None', 'training.steps=2', 'images.size=[64,32]')
    train(experiment(tree, *RESNET, *options), tmp_path)
    assert [np.isfinite(line['loss']) for line in metrics(tmp_path) if 'loss' in line] == [True, True]


def test_a_checkpoint_that_does_not_fit_says_how_much_of_it_does(tree, short, tmp_path):
    other = experiment(tree, 'model.necks.mlfm.attention=False')
    with pytest.raises(Mismatch, match=r': (\d+) of \1 .*4 unexpected \(necks\.mlfm'):
        score_checkpoint(other, short / 'checkpoints' / 'last.pt', tmp_path)


def test_a_resume_with_another_epoch_length_is_refused(tree, short, tmp_path):
    with pytest.raises(Changed, match=r'5 steps .*3'):
        train(experiment(tree, 'sampler.visible=4', 'sampler.infrared=4'), tmp_path,
              resume=short / 'checkpoints' / 'last.pt')  # fmt: skip


@pytest.mark.parametrize(
    ('option', 'named'), [('step.optimizer.lr=0.5', 'step'), ('seed=7', 'seed'), ('sampler.infrared=3', 'sampler')]
)
def test_a_resume_with_other_settings_is_refused_by_name(tree, short, tmp_path, option, named):
    with pytest.raises(Changed, match=f' {named}'):
        train(experiment(tree, option), tmp_path, resume=short / 'checkpoints' / 'last.pt')


def test_a_resume_that_would_end_before_it_begins_is_refused(tree, short, tmp_path):
    folder = Path(shutil.copytree(short, tmp_path / 'run'))
    before = (folder / 'config.yaml').read_text()
    shorter = experiment(tree, 'training.epochs=None', 'training.steps=2')
    with pytest.raises(Mismatch, match=r'step 5, .* 2\n'):
        train(shorter, folder, resume=folder / 'checkpoints' / 'last.pt')
    assert (folder / 'config.yaml').read_text() == before


def test_an_evaluation_lost_between_saving_and_scoring_is_made_up_for(tree, tmp_path):
    class Killed(KeyboardInterrupt):
        pass

    def kill(step: int) -> None:
        if step == 6:
            raise Killed

    options = ('training.evaluate_every=1', 'training.epochs=2')
    with pytest.raises(Killed):
        train(watched(tree, Watcher(on_step=kill), *options), tmp_path)
    lines = [line for line in metrics(tmp_path) if line['step'] <= 5]
    (tmp_path / 'metrics.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in lines if 'rows' not in x))
    train(experiment(tree, *options), tmp_path, resume=tmp_path / 'checkpoints' / 'last.pt')
    assert [line['step'] for line in metrics(tmp_path) if 'rows' in line] == [5, 10]
    assert [line['step'] for line in metrics(tmp_path) if 'loss' in line] == list(range(1, 11))


def test_a_wrong_protocol_is_found_before_training(tree, tmp_path):
    watcher = Watcher()
    with pytest.raises(UnknownComponent, match=r"'sysu/awg'.* 'sysu/agw'"):
        train(watched(tree, watcher, 'protocol.type=sysu/awg'), tmp_path / 'run')
    assert watcher.calls == []
    assert not (tmp_path / 'run').exists()


def test_an_unknown_setting_of_a_parameter_group_is_named(tree):
    with pytest.raises(UnknownKey, match=r"SGD .*'lrr'.* 'lr'\?") as caught:
        experiment(tree, 'step.groups={"backbone.*": {"lrr": 1.0}}')
    config = experiment(tree).to_config()
    config['step']['groups'] = {'backbone.*': {'lrr': 1.0}}
    made = Experiment.unchecked(config, experiment(tree).manager)  # torch would take it and use it nowhere
    assert caught.value.path == 'step.groups.backbone.*.lrr'
    with pytest.raises(UnknownKey, match=r"SGD .*'lrr'.* 'lr'\?") as caught:
        made.build_step(made.build_model(3), make_fabric(made.training))
    assert caught.value.path.startswith('step')


def test_a_loss_that_is_not_finite_stops_the_run_and_names_task_and_image(tree, tmp_path):
    with pytest.raises(NotFinite, match=r'\.jpg and 7 '):
        train(experiment(tree, 'step.optimizer.lr=1e20'), tmp_path)


def test_a_truncated_image_stops_the_run_with_its_path(tree, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(tree, copy)
    for broken in copy.glob('cam1/0002/*.jpg'):
        broken.write_bytes(broken.read_bytes()[:200])
    for workers in (0, 1):
        with pytest.raises(DamagedFile, match=r'cam1/0002/000\d\.jpg'):
            train(experiment(copy, f'images.workers={workers}'), tmp_path / f'run{workers}')


def test_parameter_groups_by_pattern(tree, tmp_path):
    groups = {'backbone.*': {'lr': 0.001}, '*classifier*': {'lr': 0.5, 'weight_decay': 0.0}}
    made = experiment(tree, f'step.groups={groups}')
    step = made.build_step(made.build_model(3), make_fabric(made.training))
    found = step.optimization.optimizer.param_groups
    assert [(g['initial_lr'], g['weight_decay']) for g in found] == [(0.001, 5e-4), (0.5, 0.0), (0.01, 5e-4)]
    assert len(found[1]['params']) == 5


def test_a_pattern_that_matches_nothing_is_an_error(tree):
    made = experiment(tree, 'step.groups={"backbon.*": {"lr": 1.0}}')
    with pytest.raises(NoMatch, match=r"step\.groups.* 'backbon\.\*'"):
        made.build_step(made.build_model(3), make_fabric(made.training))


def test_gradients_are_clipped_to_the_norm(tree):
    made = experiment(tree, 'step.clip_norm=0.01', 'step.optimizer={"type": "SGD", "lr": 1.0}', 'step.schedule=[]')
    model = made.build_model(3)
    step = made.build_step(model, make_fabric(made.training))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    images = {m: torch.randn(4, 3, 32, 16) for m in ('visible', 'infrared')}
    labels = {m: torch.tensor([0, 0, 1, 1]) for m in images}
    step(vireid.core.types.Batch(images, labels), vireid.core.types.Progress(0, 0, 1, 1))
    moved = torch.cat([(p.detach() - before[n]).flatten() for n, p in model.named_parameters()])
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize(
    ('option', 'kind', 'path', 'fact'),
    [
        ('training.steps=5', Conflict, '', 'epochs is 2 and steps is 5'),
        ('training.epochs=None', Conflict, '', 'epochs is None and steps is None'),
        ('training.epochs=0', WrongValue, 'training.epochs', 'training.epochs is 0'),
        ('training.epoch=3', UnknownKey, 'training.epoch', "'epochs'"),
        ('modle={}', UnknownKey, 'modle', "'model'"),
        ('images.size=288', WrongValue, 'images.size', '288 (int)'),
        ('training.precision=fp8', WrongValue, 'training.precision', "'32-true', 'bf16-mixed', '16-mixed'"),
        ('evaluation.batch_size=0', WrongValue, 'evaluation.batch_size', '0 (int)'),
        ('model.heads.s2.losses=[1]', WrongValue, 'model.heads.s2.losses', '[1] (list)'),
        ('model.heads.s2.losses.id.weight=much', WrongValue, 'model.heads.s2.losses.id.weight', "'much'"),
        ('training.accelerator=abacus', WrongValue, 'training.accelerator', "'abacus'"),
        ('step.optimizer.lrr=1', UnknownKey, 'step.optimizer.lrr', "'lr'"),
        ('step.schedule.0.by=month', WrongValue, 'step.schedule.0.by', "'month'"),
        ('sampler.identities=4', TooFew, 'sampler', '4 identities'),
        ('protocol.modes=["al"]', WrongValue, 'protocol.modes', "'all', 'indoor'"),
        ('images.train.0.type=Resise', UnknownComponent, 'images.train.0', "'Resize'"),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(tree, tmp_path, option, kind, path, fact):
    with pytest.raises(kind) as caught:
        train(experiment(tree, option), tmp_path)
    assert caught.value.path.startswith(path)
    assert fact in str(caught.value)


def test_a_run_leaves_out_bad_steps_as_often_as_it_may_and_then_stops(tree, tmp_path):
    options = ('step.optimizer.lr=1e20', 'step.skip_nonfinite=3', 'training.epochs=None', 'training.steps=10')
    with pytest.raises(NotFinite, match='loss'):
        train(experiment(tree, *options), tmp_path)
    skipped = [line['skipped'] for line in metrics(tmp_path) if 'skipped' in line]
    assert skipped == [1, 2, 3]


def test_a_batch_that_does_not_fit_into_memory_is_told_with_what_to_lower(tree, tmp_path):
    trainer = prepare(experiment(tree), tmp_path)

    def step(batch: Any, progress: Any) -> None:
        torch.empty(2**50)

    trainer.step = step
    with pytest.raises(OutOfMemory) as caught:
        trainer.train_step(trainer.batches.first())
    assert '8 images' in caught.value.given
    assert 'sampler.identities' in caught.value.todo


def test_embeddings_in_bf16_are_named_in_the_table(tree, tmp_path):
    done = train(experiment(tree, 'evaluation.precision=bf16-mixed', 'training.epochs=1'), tmp_path)
    assert done.protocol == 'sysu/agw, embeddings in bf16'


class Exit:
    """A transform that ends the loader process that it is in."""

    def __init__(self) -> None:
        self.main = os.getpid()

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image if os.getpid() == self.main else os._exit(1)


@pytest.mark.usefixtures('deaths_are_noticed_soon')
class TestDyingWorkers:
    """A loader process that is killed: its batch is read again, once."""

    def killer(self, times: int, at: int) -> Watcher:
        import multiprocessing

        def kill(step: int) -> None:
            if step >= at and len(killed) < times:
                for child in multiprocessing.active_children():
                    killed.append(child.pid)
                    child.kill()
                    child.join()

        killed: list[int] = []
        return Watcher(on_step=kill)

    def test_the_run_ends_as_if_it_had_lived(self, tree, short, tmp_path, capfd):
        train(watched(tree, self.killer(1, 2), 'images.workers=1', 'training.epochs=1'), tmp_path)
        assert 'a loader process died' in capfd.readouterr().err
        assert metrics(tmp_path) == metrics(short)  # which reads its images itself
        whole, killed = weights(short), weights(tmp_path)
        assert all(torch.equal(whole[name], killed[name]) for name in whole)

    def test_a_second_death_at_the_same_step_stops_the_run_with_a_checkpoint(self, tree, tmp_path):
        manager = create_manager()
        manager.components.add('transforms', 'Exit', Exit)
        size = '{"type": "Resize"}, {"type": "ToFloat"}, {"type": "Exit"}'
        made = experiment(tree, 'images.workers=1', 'training.epochs=1', f'images.train=[{size}]', manager=manager)
        with pytest.raises(WorkerDied, match=r'step 1; .*last\.pt') as caught:
            train(made, tmp_path)
        assert '--resume' in caught.value.todo
        assert checkpoint.load(tmp_path / 'checkpoints' / 'last.pt')['progress']['step'] == 0


def test_a_killed_run_leaves_its_folder_to_the_next_one_at_once(tree, tmp_path):
    """Its loader processes live on for some seconds; they must not hold the folder."""
    from vireid.runtime.lock import exclusive

    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with exclusive(tmp_path):
                child = os.fork()  # a loader process
                if child:
                    os.write(writes, b'ready')
                time.sleep(60 if child else 5)
        finally:
            os._exit(0)
    os.read(reads, 5)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with exclusive(tmp_path):
        pass


class TestBadImages:
    @pytest.fixture
    def damaged(self, tree, tmp_path) -> Path:
        root = Path(shutil.copytree(tree, tmp_path / 'data'))
        for path in (root / 'cam1/0001').iterdir():
            path.write_bytes(b'no image')
        return root

    def test_they_stop_a_run_by_name(self, damaged, tmp_path):
        with pytest.raises(UnsupportedFile, match=r'cam1/0001/000\d\.jpg'):
            train(experiment(damaged, 'training.epochs=1'), tmp_path / 'run')

    @pytest.mark.parametrize('workers', [0, 1])
    def test_or_another_of_the_same_identity_stands_for_them_and_they_are_counted(
        self, damaged, tmp_path, capsys, workers
    ):
        options = ('training.epochs=1', 'images.on_bad_image=skip', f'images.workers={workers}')
        train(experiment(damaged, *options), tmp_path / 'run')
        found = json.loads((tmp_path / 'run' / 'result.json').read_text())
        assert found['unreadable']
        assert {Path(path).parent for path in found['unreadable']} == {damaged / 'cam1/0001'}
        assert len(set(found['unreadable'])) == len(found['unreadable'])
        assert capsys.readouterr().err.count('another image replaces it') == len(found['unreadable'])

    def test_an_identity_without_any_image_stops_it(self, damaged, tmp_path):
        for camera in (1, 2):
            for path in (damaged / f'cam{camera}/0001').iterdir():
                path.write_bytes(b'')
        with pytest.raises(DamagedFile, match=r'visible .*identity 1 .*cam\d/0001'):
            train(experiment(damaged, 'training.epochs=1', 'images.on_bad_image=skip'), tmp_path / 'run')

    def test_scoring_stops_always(self, tree, damaged, tmp_path):
        (damaged / 'cam3/0004/0001.jpg').write_bytes(b'no image either')
        with pytest.raises(UnsupportedFile, match=r'cam3/0004/0001\.jpg'):
            train(experiment(damaged, 'training.epochs=1', 'images.on_bad_image=skip'), tmp_path / 'run')
