"""Every shipped config trains and is scored on synthetic people; an ablation changes only what its row says."""

from __future__ import annotations

import json
import math
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import vireid
from vireid.boundary import checkpoint
from vireid.cli import main
from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.diagnostics.count_table import table
from vireid.diagnostics.dry_run import dry_run
from vireid.errors import Mismatch, UnknownComponent, UnknownKey, UnknownName, VireidError, WrongValue
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch.launch import train
from vireid.plugin_manager.manager import create_manager
from vireid.synth import synthesize

pytestmark = pytest.mark.usefixtures('narrow_resnet')

CONFIGS = Path(__file__).parents[1] / 'configs'
FILES = sorted(p.relative_to(CONFIGS) for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)
# those for one's own cameras begin with another network
OWN = [Path('own_few.py'), Path('zero_shot.py')]
# nothing in them is trained: tests/test_hand_crafted.py
UNTRAINED = [Path(f'systems/{name}.py') for name in ('hog', 'lomo', 'mlapg')]
# rows that are the paper's own network
SAME = {'tffn_table3/b_deep_mlfm_glfm': 'tffn', 'dmcf_table2/dmcf': 'dmcf', 'dmcf_table3/feature_2_3_4': 'dmcf'}
# an ablation's row differs from its paper's config by what the tests of rows say: one step on random images is enough
ROWS_OF_TABLES = [path for path in FILES if path.parent.name.startswith(('tffn_table', 'dmcf_table'))]
TRAINED = [path for path in FILES if path not in (Path('zero_shot.py'), *UNTRAINED, *ROWS_OF_TABLES)]
TRIED = [path for path in ROWS_OF_TABLES if str(path.with_suffix('')) not in SAME]
TRIED += [Path('tffn_sysu.py'), *OWN]
# the others are counted for docs/models.md, as `tests/cli/test_count.py` does
PAGE = (CONFIGS.parent / 'docs' / 'models.md').read_text()
NOT_ON_THE_PAGE = [path for path in FILES if f'| {path.with_suffix("").as_posix()} |' not in PAGE]
HYBRIDS = [path for path in FILES if path.stem.startswith('hybrid_')]
SMALL = ['model.backbone.depth=18', 'model.backbone.weights=None', 'images.size=[64,32]', 'training.precision=32-true']
SMALL_VIT = ['model.backbone.network=test_vit', *SMALL[1:]]
SMALL_VIT += [f'model.heads.stage4.losses.{loss}.epochs=None' for loss in ('tri', 'msel', 'dcl')]  # not from epoch 6 on
SMALL_HCML = ['model.heads.both.channels=256', 'evaluation.similarity.dims=200']
SMALL_HICMD = ['model.dilations=[1,2,3]', 'model.critic_width=4', 'model.hidden=16', 'model.backbone.out_stages=[3]']
SMALL_ALIGNGAN = [f'model.translators.gan.{key}' for key in ('size=[64,64]', 'channels=4', 'blocks=1')]
SMALL_ALIGNGAN += ['model.heads.critic_v.channels=4', 'model.heads.critic_i.channels=4']
TWO = ['step.optimizers.generator.identities=2', 'step.optimizers.critics.identities=2', 'training.init_except=[]']
SMALL_D2RL = [f'model.translators.unify.{key}' for key in ('size=None', 'channels=4', 'blocks=1')]
SMALL_D2RL += [f'model.heads.critic_{m}.{key}' for m in 'vi' for key in ('channels=4', 'scales=1')]
MORE = {
    'hcml': SMALL_HCML,
    'hicmd': SMALL_HICMD,
    # each stage alone
    'aligngan': [*SMALL_ALIGNGAN, *TWO, 'stages=[]'],
    'aligngan_features': SMALL_ALIGNGAN,
    'aligngan_pixels': [*SMALL_ALIGNGAN, *TWO],
    'd2rl': [*SMALL_D2RL, 'stages=[]'],
    'd2rl_translation': SMALL_D2RL,
}
SMALL_OWN = [
    'model.backbone.network=shufflenet_v2_x0_5', 'model.backbone.weights=None', 'training.precision=32-true',
    'refit=None',  # the first training alone
]  # fmt: skip
QUIET = ['loggers=[{"type": "MetricsFile"}]']
FEW = ['sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2']


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few synthetic people in each layout."""
    folder = tmp_path_factory.mktemp('people')
    layouts = {'SYSU-MM01': 'sysu', 'RegDB': 'regdb', 'LLCM': 'llcm', 'Manifest': 'manifest'}
    for layout in layouts.values():
        ids = 6 if layout in ('regdb', 'llcm') else 16  # of 16 two validate
        synthesize(folder / layout, layout=layout, ids=ids, seed=0, images=1, workers=1)
    return {dataset: folder / layout for dataset, layout in layouts.items()}


def small(path: Path) -> list[str]:
    """Returns the options that make a config quick."""
    if path in OWN:
        return SMALL_OWN
    return SMALL_VIT if path.stem == 'pmt' else [*SMALL, *MORE.get(path.stem, [])]


def experiment(path: Path, *options: str) -> Experiment:
    return Experiment.from_config(config.load(CONFIGS / path, [*small(path), *options]), create_manager())


def shapes_of(made: Experiment) -> Any:
    """Returns the model without values."""
    with torch.device('meta'):
        return made.build_model(3)


@pytest.mark.parametrize('path', TRAINED, ids=str)
def test_trains_and_is_scored(path: Path, people: dict[str, Path], tmp_path: Path) -> None:
    root = people[config.load(CONFIGS / path)['dataset']['type']]
    # three steps: an uncertainty that starts at 60 % of them weighs the last
    short = ['training.epochs=None', 'training.steps=3', f'dataset.root={root}']
    trials = ['protocol.trials=2'] if config.load(CONFIGS / path)['protocol'].get('trials') else []
    results = train(experiment(path, *QUIET, *FEW, *short, *trials), tmp_path)
    assert 0 <= results.rows()[0]['mAP']['mean'] <= 1
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    steps = [line for line in lines if 'tasks' in line]
    assert all(math.isfinite(loss) for step in steps for loss in step['tasks'].values())
    for name in steps[0]['curves'].get('sigma', {}):
        assert [step['weights'][name] for step in steps] == [1.0, 1.0, 0.5]


@pytest.fixture
def nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without network, without weights that were downloaded before, and without data."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError('the network is closed')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.delenv('VIREID_DATA', raising=False)


@pytest.mark.parametrize('path', TRIED, ids=str)
def test_can_be_tried_with_nothing_there(path: Path, nothing_there: None) -> None:
    options = [option for option in small(path) if 'weights' not in option]  # the papers' begin with ImageNet's
    made = Experiment.from_config(config.load(CONFIGS / path, options), create_manager())
    text = dry_run(made)
    assert 'one evaluation of random images: ' in text
    assert f'one step on random images: {"none" if path.stem == "zero_shot" else "loss"}' in text
    assert 'the loss is' not in text  # inf or nan


@pytest.mark.parametrize('path', [path for path in FILES if path not in UNTRAINED], ids=str)
def test_begins_with_published_weights_unless_it_is_a_demo(path: Path) -> None:
    weights = config.load(CONFIGS / path)['model']['backbone']['weights']
    assert weights in ('imagenet', 'pretrained') or (path.stem.endswith('demo') and weights is None)


def test_untrained_features_are_scored_without_a_checkpoint(people: dict[str, Path], tmp_path: Path) -> None:
    made = experiment(Path('zero_shot.py'), *QUIET, f'dataset.root={people["Manifest"]}')
    found = score_checkpoint(made, None, tmp_path)
    assert found.weights == 'without training'
    assert 0 < found.rows()[0]['mAP']['mean'] <= 1
    # what was fitted is in the checkpoint: it scores alike, whatever the training images are by then
    again = score_checkpoint(made, tmp_path / 'checkpoints/last.pt', tmp_path / 'again')
    assert again.rows() == found.rows()
    means = checkpoint.load(tmp_path / 'checkpoints/last.pt')['model']['necks.centered.mean_visible']
    assert means.abs().sum() > 0


def test_what_is_fitted_belongs_to_the_weights(
    people: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = experiment(Path('own_few.py'), *QUIET, 'training.steps=2', f'dataset.root={people["Manifest"]}')
    train(made, tmp_path)
    last, before = (tmp_path / 'checkpoints' / name for name in ('last.pt', 'last-1.pt'))
    fitted = [(content['progress']['step'], content['fitted_step']) for content in map(checkpoint.load, (last, before))]
    assert fitted == [(2, 2), (2, 0)]  # a checkpoint is written before its weights are scored, and again after it
    # then a test fits it anew, so that both give the same
    rows = [score_checkpoint(made, path, tmp_path / path.stem).rows() for path in (last, before)]
    assert rows[0] == rows[1]
    capsys.readouterr()
    vireid.load(last)
    assert capsys.readouterr().err == ''
    vireid.load(before)
    assert 'last-1.pt was saved before its model was fitted to the training images' in capsys.readouterr().err


@pytest.mark.parametrize('path', NOT_ON_THE_PAGE, ids=str)
def test_is_counted_with_nothing_there(path: Path, nothing_there: None) -> None:
    assert path.stem in table([CONFIGS / path])


@pytest.mark.parametrize('command', ['train', 'trials', 'ablate'])
def test_weights_that_cannot_be_had_are_told_together_with_data_that_are_not_there(
    command: str, nothing_there: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ['--data-root', '/no/such/folder', '--work-dir', str(tmp_path / 'run')]
    words = {
        'train': ['train', str(CONFIGS / 'tffn_sysu.py'), *given],
        'trials': ['train', str(CONFIGS / 'tffn_regdb.py'), '--splits', '1-2', *given],
        'ablate': ['ablate', 'tffn', '--rows', 'b', *given],
    }[command]
    assert main([*words, '--cfg-options', 'model.backbone.depth=18']) == 2
    error = capsys.readouterr().err
    assert f'ImageNet weights of ResNet-18 are not in {tmp_path}/hub/checkpoints and cannot be downloaded' in error
    assert 'then put it into that folder' in error
    assert '/no/such/folder does not exist' in error
    assert not (tmp_path / 'run').exists()


# TFFN's Table 3: the tasks that are trained, what is compared, attention in MLFM, heads of GLFM
TFFN_ROWS: dict[str, tuple[list[str], tuple[str, ...], bool | None, int | None]] = {
    'b': (['s4'], ('s4',), None, None),
    'b_deep': (['s2', 's3', 's4'], ('s4',), None, None),
    'b_deep_mlfm': (['s2', 's3', 's4', 'mlfm'], ('mlfm',), True, None),
    'b_deep_glfm': (['s2', 's3', 's4', 'glfm'], ('s4',), None, 4),
    'b_deep_mlfm_glfm': (['s2', 's3', 's4', 'mlfm', 'glfm'], ('mlfm',), True, 4),
    'b_deep_mlfm_without_attention': (['s2', 's3', 's4', 'mlfm'], ('mlfm',), False, None),
    'b_deep_glfm_without_heads': (['s2', 's3', 's4', 'glfm'], ('s4',), None, 1),
}
# DMCF's Tables 2 and 3: the parts of each level that is trained and compared, and the weighter
DMCF_ROWS: dict[str, tuple[dict[str, int], str]] = {
    'dmcf_table2/dcf': ({'high': 3}, 'HomoscedasticUncertainty'),
    'dmcf_table2/no_split': ({'low': 0, 'middle': 0, 'high': 0}, 'HomoscedasticUncertainty'),
    'dmcf_table2/no_mtl': ({'low': 0, 'middle': 2, 'high': 3}, 'Fixed'),
    'dmcf_table2/dmcf': ({'low': 0, 'middle': 2, 'high': 3}, 'HomoscedasticUncertainty'),
    'dmcf_table3/feature_1_2_3_4': ({'low': 0, 'middle': 2, 'high': 3, 'lowest': 0}, 'HomoscedasticUncertainty'),
    'dmcf_table3/feature_2_4': ({'low': 0, 'high': 3}, 'HomoscedasticUncertainty'),
    'dmcf_table3/feature_2_3': ({'low': 0, 'middle': 2}, 'HomoscedasticUncertainty'),
    'dmcf_table3/feature_3_4': ({'middle': 2, 'high': 3}, 'HomoscedasticUncertainty'),
    'dmcf_table3/feature_2_3_4': ({'low': 0, 'middle': 2, 'high': 3}, 'HomoscedasticUncertainty'),
}
ROWS = [f'tffn_table3/{row}' for row in TFFN_ROWS] + list(DMCF_ROWS)


@pytest.mark.parametrize('folder', ['tffn_table3', 'dmcf_table2', 'dmcf_table3'])
def test_a_table_has_a_config_for_each_row_and_no_more(folder: str) -> None:
    rows = {row.split('/')[1] for row in ROWS if row.startswith(folder)}
    assert {p.stem for p in (CONFIGS / folder).glob('*.py')} == rows
    assert set(yaml.safe_load((CONFIGS / folder / 'table.yaml').read_text())['rows']) == rows


@pytest.mark.parametrize('row', TFFN_ROWS)
def test_a_row_of_tffn_is_what_it_says(row: str) -> None:
    model = shapes_of(experiment(Path(f'tffn_table3/{row}.py')))
    tasks, embedding, attention, heads = TFFN_ROWS[row]
    assert list(model.tasks) == tasks
    assert model.embedding == embedding
    assert (model.necks['mlfm'].mask is not None if 'mlfm' in model.necks else None) == attention
    assert (model.necks['glfm'].num_heads if 'glfm' in model.necks else None) == heads


@pytest.mark.parametrize('row', DMCF_ROWS)
def test_a_row_of_dmcf_is_what_it_says(row: str) -> None:
    model = shapes_of(experiment(Path(f'{row}.py')))
    levels, weighter = DMCF_ROWS[row]
    assert {name: len(task.head.parts) for name, task in model.tasks.items()} == levels
    assert set(model.embedding) == set(levels)
    assert type(model.weighter).__name__ == weighter
    assert model.embedding_dim == 256 * (len(levels) + sum(levels.values()))
    for name, task in model.tasks.items():
        losses = {key: (type(loss).__name__, task.reads[key]) for key, loss in task.losses.items()}
        parts = {'parts': ('CrossEntropy', 'parts')} if levels[name] else {}
        assert losses == {'id': ('CrossEntropy', 'global'), 'tri': ('BatchHardTriplet', 'global'), **parts}


@pytest.mark.parametrize('row', ROWS)
def test_a_row_changes_the_model_and_nothing_else(row: str) -> None:
    full = config.load(CONFIGS / f'{row[:4]}_sysu.py')
    changed = config.load(CONFIGS / f'{row}.py')
    assert {**changed, 'model': None} == {**full, 'model': None}
    assert {**changed['model']['backbone'], 'out_stages': None} == {**full['model']['backbone'], 'out_stages': None}
    kept: dict[str, Any] = {k: v for k, v in changed['model']['heads'].items() if v is not None}
    if row not in ('dmcf_table2/no_split', 'dmcf_table3/feature_1_2_3_4'):  # these are about the heads
        assert all(full['model']['heads'][name] == head for name, head in kept.items())


@pytest.mark.parametrize(('row', 'paper'), SAME.items())
def test_the_full_row_is_the_paper_itself(row: str, paper: str) -> None:
    assert config.load(CONFIGS / f'{row}.py') == config.load(CONFIGS / f'{paper}_sysu.py')


def test_dmcf_embeds_eight_vectors_of_256() -> None:
    model = shapes_of(experiment(Path('dmcf_sysu.py')))
    assert model.embedding_dim == 8 * 256 == 2048
    assert not set(map(id, model.backbone.streams['visible'].parameters())) & set(
        map(id, model.backbone.streams['infrared'].parameters())
    )
    assert not list(model.backbone.shared.parameters())


def test_dmcf_learns_at_the_papers_two_rates() -> None:
    read = experiment(Path('dmcf_sysu.py'))
    from vireid.launch.fabric import make_fabric

    step = read.build_step(read.build_model(3), make_fabric(read.training))
    assert [group['lr'] for group in step.optimization.optimizer.param_groups] == [0.001, 0.01]
    assert (read.training.steps, read.step['optimizer']['type']) == (50_000, 'Adam')
    assert config.load(CONFIGS / 'dmcf_regdb.py')['training']['steps'] == 5_000


# what takes the place of MLFM, and of GLFM, in a line
FUSIONS = [
    ("model.necks.mlfm={'type': 'Concat', 'inputs': ['s2', 's3', 's4']}", 'Concat'),
    ("model.necks.mlfm={'type': 'Sum', 'inputs': ['s2', 's3', 's4']}", 'Sum'),
    ("model.necks.mlfm={'type': 'GatedFusion', 'inputs': ['s2', 's3', 's4']}", 'GatedFusion'),
    ("model.necks.glfm={'type': 'CrossModalAttention', 'inputs': 'mlfm'}", 'CrossModalAttention'),
    ("model.necks.s4.pool={'type': 'GeM', 'p': 4.0}", 'MLFM'),
    ("model.necks.s4.pool='Mixed'", 'MLFM'),
]


@pytest.mark.parametrize(('option', 'name'), FUSIONS)
def test_another_fusion_or_pooling_is_one_line(option: str, name: str) -> None:
    assert name in dry_run(experiment(Path('tffn_sysu.py'), option))


# what a user may get wrong, on DMCF; each is found when the model is built, with its path and a way out
WRONG = [
    (
        'model.heads.high.parts=99',
        Mismatch,
        ['model.heads.high: parts is 99, but the map has 4 rows', 'use fewer parts'],
    ),
    (
        "model.weighter.tasks=['low', 'middle']",
        Mismatch,
        ["model.weighter: no weighter has the task 'high'", 'Composed'],
    ),
    (
        "model.weighter.tasks=['low', 'middle', 'hihg']",
        UnknownName,
        ['model.weighter: unknown task', "did you mean 'high'?"],
    ),
    ('model.weighter.start=1.5', WrongValue, ['model.weighter: start is 1.5', 'start earlier']),
    (
        "model.weighter={'type': 'HomoscedasticUncertainty', 'by': 'step', 'start': 50000}",
        WrongValue,
        ['starts at 49999'],
    ),
    ("model.weighter.task_names=['low', 'middle']", UnknownKey, ['model.weighter.task_names is set by the framework']),
    ('model.heads.low.num_identities=7', UnknownKey, ['model.heads.low.num_identities is set by the framework']),
    ('model.heads.low.channels=0', WrongValue, ['model.heads.low: channels is 0']),
    ('model.heads.low.channels=-4', WrongValue, ['model.heads.low: channels is -4']),
    (
        "model.heads.low.losses.tri.reads=['parts']",
        WrongValue,
        ["model.heads.low.losses.tri.reads is ['parts'] (list)"],
    ),
    ('model.heads.high.overlap=0.01', Mismatch, ['model.heads.high: overlap is 0.01', 'less than half a row']),
    (
        "model.embedding=keys && model.necks.keys={'type': 'CorrespondenceConcat', 'inputs': 'stage2'}",
        WrongValue,
        ["model.necks: invalid name 'keys'"],
    ),
    (
        "model.necks.low.inputs=['stage2', 'stage3']",
        Mismatch,
        ['model.necks.low: CorrespondenceConcat reads one feature'],
    ),
    (
        "model.embedding=fused && model.necks.fused={'type': 'MLFM', 'inputs': ['low', 'high']}",
        Mismatch,
        ['model.necks.fused: MLFM', 'StageEmbedding'],
    ),
    (
        "model.necks.low={'type': 'StageEmbedding', 'inputs': 'stage2'}",
        Mismatch,
        ['model.necks.low', 'CorrespondenceConcat'],
    ),
    (
        "model.embedding='middle' && model.heads.low.inputs=glfm && model.necks.glfm={'type': 'GLFM', 'inputs': 'low'}",
        Mismatch,
        ['model.necks.glfm: GLFM reads a vector', 'map of'],
    ),
    ('model.heads.middle.losses.parts=None', Mismatch, ["model.heads.middle.losses: no loss reads the output 'parts'"]),
    (
        "model.heads.low.pool='Maximum'",
        UnknownComponent,
        ["model.heads.low.pool: no pooling called 'Maximum', did you mean"],
    ),
]


@pytest.mark.parametrize(('option', 'kind', 'texts'), WRONG, ids=[option[:40] for option, _, _ in WRONG])
def test_what_cannot_work_is_found_when_the_model_is_built(
    option: str, kind: type[VireidError], texts: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        shapes_of(experiment(Path('dmcf_sysu.py'), *option.split(' && ')))
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize('path', HYBRIDS, ids=str)
def test_a_hybrid_is_short(path: Path) -> None:
    assert len((CONFIGS / path).read_text().splitlines()) < 25


@pytest.fixture(scope='module')
def lookalikes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training and four test people in SYSU-MM01's layout, who look alike in pairs, in noise.

    Visible images have a color for each half, infrared ones the brightness of the next person's, so that nobody finds
    anything who has not learned it.
    """
    root = tmp_path_factory.mktemp('lookalikes')
    halves = np.array(
        [[[2, 0, 0], [-2, -1, 0]], [[-2, 0, 0], [2, 1, 0]], [[2, 1, 0], [2, 2, 2]], [[-1, -2, 0], [-2, -2, 0]]]
    )
    rng = np.random.default_rng(0)
    (root / 'exp').mkdir()
    for name, identities in (('train', '1,2'), ('val', '3,4'), ('test', '5,6,7,8')):
        (root / f'exp/{name}_id.txt').write_text(identities + '\n')
    for camera in range(1, 7):
        for identity in range(8):
            look = halves[identity % 4]
            if camera in (3, 6):
                look = halves[(identity + 1) % 4].mean(axis=1, keepdims=True).repeat(3, axis=1)
            folder = root / f'cam{camera}/{identity + 1:04d}'
            folder.mkdir(parents=True)
            for shot in range(2):
                pixels = 115 + 50 * (look.repeat(24, axis=0)[:, None] + rng.normal(0, 1, (48, 16, 3)))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f'{shot + 1:04d}.jpg')
    return root


def test_a_hybrid_learns(lookalikes: Path, tmp_path: Path) -> None:
    """One that has a part of each paper, on its first three stages: `benchmarks/hybrids_learn.py` trains all four.

    By chance rank-1 is 0.25.
    """
    options = ['training.epochs=None', 'training.steps=25', f'dataset.root={lookalikes}', 'sampler.identities=4']
    options += ['sampler.visible=2', 'sampler.infrared=2', 'loggers=[]', 'step.schedule=[]', 'images.size=[48,16]']
    options += ['step.optimizer={"type": "Adam", "lr": 0.001}', 'step.groups={}']
    options += ['model.backbone.out_stages=[2,3]', 'model.necks.map4.inputs=stage3']
    (row, *_) = train(experiment(Path('hybrid_dmcf_glfm.py'), *options), tmp_path).rows()
    assert row['R1']['mean'] > 0.7
