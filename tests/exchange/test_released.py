"""Released checkpoints of AGW and DDAG embed as they did where they were made; what is no such file is refused.

The networks they were made by are written down here once more, from the names in their files, without our components.
"""

from __future__ import annotations

import os
import pickle
import re
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import vireid
from vireid.boundary import checkpoint
from vireid.boundary.weights import read_weights
from vireid.core.config.experiment import Experiment
from vireid.core.config.files import load as read_config
from vireid.core.training.state import require_same_run
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Context
from vireid.errors import (
    AlreadyExists,
    DamagedFile,
    Mismatch,
    MissingFile,
    NotFinite,
    UnknownName,
    UnsafeFile,
    UnsupportedFile,
    WrongContent,
)
from vireid.exchange.released import convert
from vireid.plugin_manager.manager import create_manager

sys.path.insert(0, str(Path(__file__).parents[1] / 'fixtures'))
import released_layout

State = dict[str, Tensor]
IDENTITIES = 5
STEMS = {VISIBLE: 'visible_module.visible.', INFRARED: 'thermal_module.thermal.'}
# as numbers of the training that wrote the file lie beside the weights
BESIDE = {'cmc': np.linspace(0.4, 1, 20), 'mAP': np.float64(0.47), 'mINP': np.float64(0.35), 'epoch': 60}


@pytest.fixture(scope='module')
def agw(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """AGW as PyTorch wrote it before 1.6, on a GPU and beside a NumPy before 2."""
    state = released_layout.agw(IDENTITIES)
    file = tmp_path_factory.mktemp('agw') / 'sysu_best.t'
    torch.save({'net': state, **BESIDE}, file, _use_new_zipfile_serialization=False)
    old = file.read_bytes().replace(b'numpy._core', b'numpy.core').replace(_text('cpu'), _text('cuda:0'))
    file.write_bytes(old)
    return _converted('agw', state, file)


@pytest.fixture(scope='module')
def ddag(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """DDAG on a ResNet-18 in today's format, as DataParallel names it."""
    state = released_layout.ddag(IDENTITIES, depth=18)
    file = tmp_path_factory.mktemp('ddag') / 'sysu_best.t'
    torch.save({'net': {f'module.{name}': tensor for name, tensor in state.items()}, **BESIDE}, file)
    return _converted('ddag', state, file, small('ddag'))


def _text(text: str) -> bytes:
    """A text as it stands in a pickle."""
    return b'X' + len(text).to_bytes(4, 'little') + text.encode()


def _converted(system: str, state: State, file: Path, experiment: Experiment | None = None) -> SimpleNamespace:
    done = convert(system, file, file.with_suffix('.pt'), experiment)
    return SimpleNamespace(state=state, file=file, out=done.out, done=done, model=vireid.load(done.out).model)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 96, 32, generator=torch.Generator().manual_seed(1))


def norm(state: State, name: str, x: Tensor) -> Tensor:
    values = [state[f'{name}.{part}'] for part in ('running_mean', 'running_var', 'weight', 'bias')]
    return F.batch_norm(x, *values)


def convolved(state: State, name: str, x: Tensor) -> Tensor:
    return F.conv2d(x, state[f'{name}.weight'], state[f'{name}.bias'])


def released_map(state: State, images: Tensor, modality: str) -> Tensor:
    """A stem for each modality, then a shared ResNet of last stride 1, non-local blocks behind its last blocks."""
    stem, base = STEMS[modality], 'base_resnet.base.'
    bottlenecks = f'{base}layer1.0.conv3.weight' in state
    resnet = torchvision.models.resnet50() if bottlenecks else torchvision.models.resnet18()
    first = resnet.layer4[0]
    (first.conv2 if bottlenecks else first.conv1).stride = first.downsample[0].stride = (1, 1)
    run = {n.removeprefix(stem): t for n, t in state.items() if n.startswith(stem) and '.layer' not in n}
    run |= {n.removeprefix(base): t for n, t in state.items() if n.startswith(f'{base}layer')}
    resnet.fc = nn.Identity()
    resnet.load_state_dict(run)
    resnet.eval()
    x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(images))))
    for layer in (1, 2, 3, 4):
        blocks = getattr(resnet, f'layer{layer}')
        count = len({n.split('.')[1] for n in state if n.startswith(f'NL_{layer}.')})
        for i, block in enumerate(blocks, count - len(blocks)):
            x = block(x)
            if i >= 0:
                x = non_local(state, f'NL_{layer}.{i}', x)
    return x


def non_local(state: State, name: str, x: Tensor) -> Tensor:
    theta, phi, g = (convolved(state, f'{name}.{part}', x).flatten(2) for part in ('theta', 'phi', 'g.0'))
    weights = theta.transpose(1, 2) @ phi / theta.shape[2]  # (B, N, N), all pairs of cells
    y = (weights @ g.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
    return x + norm(state, f'{name}.W.1', convolved(state, f'{name}.W.0', y))


def released_gem(feature: Tensor) -> Tensor:
    return ((feature**3).mean((2, 3)) + 1e-12) ** (1 / 3)


def released_parts(state: State, feature: Tensor) -> Tensor:
    """DDAG's weighted parts, before the last BatchNorm."""
    parts = F.adaptive_avg_pool2d(feature, (len(state['wpa.gate']), 1))
    one, two, three = (convolved(state, f'wpa.{name}', parts).flatten(2) for name in ('fc1.0', 'fc2', 'fc3'))
    attention = (one.transpose(1, 2) @ two).softmax(-1)  # (B, P, P)
    refined = (attention @ three.transpose(1, 2)).transpose(1, 2) @ state['wpa.gate'].softmax(0)
    return refined + norm(state, 'bottleneck', feature.mean((2, 3)))


@pytest.mark.parametrize('modality', MODALITIES)
@torch.inference_mode()
def test_agw_embeds_as_it_was_released(agw, images, modality):
    pooled = released_gem(released_map(agw.state, images, modality))
    expected = F.normalize(norm(agw.state, 'bottleneck', pooled))
    ours = F.normalize(agw.model.embed(images, modality))
    assert (ours - expected).abs().max() < 1e-6
    other = F.normalize(agw.model.embed(images, next(m for m in MODALITIES if m != modality)))
    assert (other - expected).abs().max() > 1e-3  # the stems are not confused


def channels_of(out: Path) -> int | None:
    return checkpoint.load(out)['config']['model']['backbone']['inserts']['non_local'].get('channels')


@torch.inference_mode()
def test_how_many_channels_non_local_blocks_have_inside_is_read_from_the_shapes(agw, tmp_path, images):
    assert agw.done.options == ('model.backbone.inserts.non_local.channels=1',)
    assert 'from file    model.backbone.inserts.non_local.channels=1\n' in agw.done.text()
    assert channels_of(agw.out) == 1
    state = released_layout.agw(IDENTITIES, depth=18, inner=None)
    done = convert('agw', written(tmp_path, state), tmp_path / 'half.pt', small())
    assert done.options == ()
    assert channels_of(done.out) is None
    model = vireid.load(done.out).model
    assert model.backbone.shared['stage2'].non_local0.theta.out_channels == 128 // 2
    expected = F.normalize(norm(state, 'bottleneck', released_gem(released_map(state, images, INFRARED))))
    assert (F.normalize(model.embed(images, INFRARED)) - expected).abs().max() < 1e-6


def test_a_config_that_says_another_number_of_channels_follows_the_file(tmp_path):
    half = written(tmp_path, released_layout.agw(IDENTITIES, depth=18, inner=None))
    one = small('agw', 'model.backbone.inserts.non_local.channels=1')
    done = convert('agw', half, tmp_path / 'new.pt', one)
    assert done.options == ('model.backbone.inserts.non_local.channels=None',)
    assert channels_of(done.out) is None


def test_blocks_of_several_widths_are_refused(tmp_path, eighteen):
    other = released_layout.agw(IDENTITIES, depth=18, inner=3)
    mixed = {**eighteen, **{name: tensor for name, tensor in other.items() if name.startswith('NL_3.1')}}
    with pytest.raises(Mismatch, match=r'\(NL_\d\.\d\.theta\.weight is \(\d, '):
        convert('agw', written(tmp_path, mixed), tmp_path / 'new.pt', small())


@torch.inference_mode()
def test_non_local_blocks_stand_where_they_stood_and_with_the_bias_of_w(agw, images):
    feature = released_map(agw.state, images, VISIBLE)
    torch.testing.assert_close(agw.model.backbone({VISIBLE: images})['stage4'], feature, rtol=1e-4, atol=1e-4)
    for part in ('NL_2.0.W.0.bias', 'NL_3.2.theta.weight'):  # without it the map is another
        without = released_map({**agw.state, part: torch.zeros_like(agw.state[part])}, images, VISIBLE)
        assert (without - feature).abs().max() > 1e-2


@torch.inference_mode()
def test_a_channel_that_is_dead_in_an_image_is_pooled_to_what_it_was(agw):
    feature = torch.rand(2, 2048, 6, 2)
    feature[:, :100] = 0
    ours = agw.model.tasks['stage4'].head.pool(feature)
    torch.testing.assert_close(ours, released_gem(feature))
    torch.testing.assert_close(ours[:, :100], torch.full((2, 100), 1e-4))


@pytest.mark.parametrize('modality', MODALITIES)
@torch.inference_mode()
def test_ddag_embeds_as_it_was_released(ddag, images, modality):
    feature = released_map(ddag.state, images, modality)
    assert feature.shape[2] == 6  # rows, which three parts divide: as of images of 288 rows
    expected = F.normalize(norm(ddag.state, 'wpa.bottleneck', released_parts(ddag.state, feature)))
    assert (F.normalize(ddag.model.embed(images, modality)) - expected).abs().max() < 1e-5


@torch.inference_mode()
def test_the_graph_of_ddag_is_converted_too_though_scoring_reads_none(ddag):
    identities = torch.tensor([0, 1, 0, 1])
    pooled = torch.rand(4, 512)

    def attended(name: str, nodes: Tensor) -> Tensor:
        h = nodes @ ddag.state[f'{name}.W']
        rows = []
        for i in range(4):
            same = [j for j in range(4) if identities[i] == identities[j]]
            scores = torch.stack([(torch.cat([h[i], h[j]]) @ ddag.state[f'{name}.a']).squeeze() for j in same])
            rows.append(F.leaky_relu(scores, 0.2).softmax(0) @ h[same])
        return torch.stack(rows)

    nodes = torch.cat([F.elu(attended(f'attention_{m}', pooled)) for m in range(4)], dim=1)
    context = Context({VISIBLE: 2, INFRARED: 2}, identities=identities)
    ours = ddag.model.necks['graph'](pooled[:, :, None, None], context)
    torch.testing.assert_close(ours, nodes, rtol=1e-4, atol=1e-5)
    logits = ddag.model.tasks['graph'].head(ours, context).logits
    torch.testing.assert_close(logits, F.elu(attended('out_att', nodes)), rtol=1e-4, atol=1e-5)


def test_every_tensor_of_a_file_is_used_or_left_out_for_a_reason(agw, ddag):
    for system in (agw, ddag):
        assert system.done.used + sum(system.done.left_out.values()) == len(system.state)
        assert system.done.identities == IDENTITIES
    assert list(agw.done.left_out) == list(ddag.done.left_out)[:1]
    # two classifiers, and a convolution with a BatchNorm
    assert ddag.done.left_out['declared but never run'] == 2 + 2 + 5
    assert agw.done.training == ()
    assert set(ddag.done.training) == {f'weighter.{name}' for name in ('total', 'count', 'epoch', 'adaptive')}


def test_the_checkpoint_says_where_it_is_from_and_claims_no_training(agw):
    content = checkpoint.load(agw.out)
    assert content['chosen'] == 'converted from sysu_best.t'
    assert content['trained_on'].numel() == 0
    assert content['progress'] == {'step': 0}
    assert content['num_identities'] == IDENTITIES
    assert content['converted']['system'] == 'agw'
    assert len(content['converted']['sha256']) == 64
    assert content['config']['name'] == 'agw'
    assert content['model']['tasks.stage4.head.pool.p'] == 3


def test_no_run_goes_on_from_it(agw):
    run = SimpleNamespace(split='', progress=SimpleNamespace(steps_per_epoch=1))
    with pytest.raises(UnsupportedFile, match=r'sysu_best\.pt'):
        require_same_run(run, checkpoint.load(agw.out), str(agw.out))


def small(config: str = 'agw', *more: str) -> Experiment:
    """The same network on a ResNet-18."""
    options = ['model.backbone.depth=18', 'model.backbone.weights=None', *more]
    sections = read_config(f'vireid::systems/{config}.py', options, folders=lambda: create_manager().configs)
    return Experiment.from_config({'name': 'small', **sections}, create_manager())


@pytest.fixture(scope='module')
def eighteen() -> State:
    return released_layout.agw(IDENTITIES, depth=18)


def written(folder: Path, content: Any) -> Path:
    torch.save(content, folder / 'given.t')
    return folder / 'given.t'


@pytest.mark.parametrize(
    ('system', 'wrap', 'place'),
    [
        (
            'agw',
            lambda s: {'model': {'net': {f'module.{n}': t for n, t in s.items()}}, 'args': Namespace(out=Path('x'))},
            "taken from 'model.net' without the prefix 'module.'",
        ),
        (
            'ddag',
            lambda s: {f'module.net.{n}': nn.Parameter(t, requires_grad=False) for n, t in s.items()},
            "without the prefix 'module.net.'",
        ),
    ],
)
def test_a_state_dict_is_found_below_any_key_and_behind_any_prefix(tmp_path, eighteen, ddag, system, wrap, place):
    state = eighteen if system == 'agw' else ddag.state
    done = convert(system, written(tmp_path, wrap(state)), tmp_path / 'new.pt', small(system))
    assert done.place == place
    assert done.used + sum(done.left_out.values()) == len(state)
    assert f'tensors from the file, {place}\n' in done.text()


def test_tensors_beside_the_network_are_counted(tmp_path, eighteen):
    named = {f'net.{name}': tensor for name, tensor in eighteen.items()}
    file = written(tmp_path, {**named, 'criterion.centers': torch.ones(5, 512)})
    assert convert('agw', file, tmp_path / 'new.pt', small()).left_out['not part of the network'] == 1


def test_half_precision_becomes_single(tmp_path, eighteen):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in eighteen.items()}
    convert('agw', written(tmp_path, half), tmp_path / 'new.pt', small())
    made = checkpoint.load(tmp_path / 'new.pt')['model']
    name = 'backbone.shared.stage2.non_local0.norm.running_mean'
    # the bias of W is taken into it: a difference that half precision would round
    assert torch.equal(made[name], half['NL_2.0.W.1.running_mean'].float() - half['NL_2.0.W.0.bias'].float())


def test_another_config_gives_another_depth_and_other_data(tmp_path, eighteen):
    file = written(tmp_path, eighteen)
    done = convert('agw', file, tmp_path / 'new.pt', small(), split='split 3')
    assert done.used + sum(done.left_out.values()) == len(eighteen)
    content = checkpoint.load(tmp_path / 'new.pt')
    assert content['config']['model']['backbone']['depth'] == 18
    assert content['split'] == 'split 3'


def test_a_file_without_counts_of_batches_is_whole(tmp_path, eighteen):
    early = {name: tensor for name, tensor in eighteen.items() if not name.endswith('num_batches_tracked')}
    done = convert('agw', written(tmp_path, early), tmp_path / 'new.pt', small())
    assert done.used + sum(done.left_out.values()) == len(early)


def test_the_baseline_is_the_same_file_without_non_local_blocks(tmp_path, eighteen):
    file = written(tmp_path, {name: tensor for name, tensor in eighteen.items() if not name.startswith('NL_')})
    assert convert('agw', file, tmp_path / 'new.pt', small('agw_base')).identities == IDENTITIES
    with pytest.raises(Mismatch, match=r'missing \(NL_2\.0\.theta\.weight'):
        convert('agw', file, tmp_path / 'other.pt', small())
    with pytest.raises(Mismatch, match=r'unknown \(NL_2\.0\.'):
        convert('agw', written(tmp_path, eighteen), tmp_path / 'other.pt', small('agw_base'))
    assert not (tmp_path / 'other.pt').exists()


def test_another_network_is_refused_with_what_is_missing_and_the_share_that_fits(agw, tmp_path):
    with pytest.raises(Mismatch, match=r'ddag: 330 of 345 ') as caught:
        convert('ddag', agw.file, tmp_path / 'new.pt')
    text = str(caught.value)
    assert '21 missing (' in text
    assert 'attention_0.a' in text
    assert 'unknown (NL_2.0.g.0.weight' in text
    assert '(agw, ddag)' in caught.value.todo
    assert not (tmp_path / 'new.pt').exists()


def test_another_depth_is_refused_with_both_shapes(agw, tmp_path):
    with pytest.raises(Mismatch) as caught:
        convert('agw', agw.file, tmp_path / 'new.pt', small())
    assert 'base_resnet.base.layer1.0.conv1.weight is (64, 64, 1, 1), expected (64, 64, 3, 3)' in str(caught.value)
    assert '--config' in caught.value.allowed


def test_other_part_numbers_are_refused(tmp_path):
    file = written(tmp_path, released_layout.ddag(IDENTITIES, depth=18, parts=4))
    with pytest.raises(Mismatch, match=r'wpa\.gate is \(4,\), expected \(3,\)'):
        convert('ddag', file, tmp_path / 'new.pt', small('ddag'))


def test_values_that_are_not_finite_are_refused(tmp_path, eighteen):
    broken = {**eighteen, 'bottleneck.running_var': torch.full((512,), float('nan'))}
    with pytest.raises(NotFinite, match=r'bottleneck\.running_var'):
        convert('agw', written(tmp_path, broken), tmp_path / 'new.pt', small())


class Code:
    """Pickles as a call of a shell that would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'touch {self.mark}',)


@pytest.mark.parametrize('hidden', ['beside', 'within an array', 'alone'])
def test_code_in_a_file_is_not_executed(tmp_path, hidden):
    code, file = Code(tmp_path / 'mark'), tmp_path / 'given.t'
    if hidden == 'alone':
        file.write_bytes(pickle.dumps(code, protocol=2))
    else:
        beside = code if hidden == 'beside' else np.array([code], dtype=object)
        torch.save({'net': {'classifier.weight': torch.ones(2, 3)}, 'cmc': beside}, file)
    with pytest.raises(UnsafeFile, match=r'given\.t') as caught:
        convert('agw', file, tmp_path / 'new.pt')
    if hidden != 'alone':
        assert 'system' in caught.value.given
    assert not (tmp_path / 'mark').exists()
    assert not (tmp_path / 'new.pt').exists()


@pytest.mark.parametrize('today', [True, False])
def test_a_torn_file_is_refused(tmp_path, today):
    file = tmp_path / 'given.t'
    torch.save(
        {'net': {'classifier.weight': torch.ones(200, 30)}, **BESIDE}, file, _use_new_zipfile_serialization=today
    )
    whole = file.read_bytes()
    read_weights(file)
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(DamagedFile, match=r'given\.t'):
            read_weights(file)


def test_a_flipped_bit_is_noticed(tmp_path):
    file = written(tmp_path, {'classifier.weight': torch.ones(200, 30)})
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedFile, match='checksum'):
        read_weights(file)


def test_what_is_no_released_checkpoint_is_refused(agw, tmp_path):
    new = tmp_path / 'new.pt'
    with pytest.raises(MissingFile, match=r'none\.t'):
        convert('agw', tmp_path / 'none.t', new)
    with pytest.raises(UnsupportedFile, match=re.escape(agw.out.name)) as caught:
        convert('agw', agw.out, new)
    assert 'CONFIG FILE' in caught.value.todo
    for content in ([1, 2], {}, {'net': {}}, {'net': {'a': 1}}, {'epoch': 3}, {'net': {1: torch.ones(1)}}):
        with pytest.raises(UnsupportedFile, match=r'classifier\.weight'):
            convert('agw', written(tmp_path, content), new)
    with pytest.raises(UnsupportedFile, match=r'classifier\.weight .*fc\.weight'):
        convert('agw', written(tmp_path, {'fc.weight': torch.ones(2, 3)}), new)
    with pytest.raises(WrongContent, match=r'classifier\.weight'):
        convert('agw', written(tmp_path, {'classifier.weight': torch.ones(0, 3)}), new)
    with pytest.raises(UnknownName, match=r"'tffn'(.|\n)*agw, ddag"):
        convert('tffn', agw.file, new)
    assert not new.exists()


def test_no_file_is_written_over(agw):
    before = agw.out.stat().st_mtime_ns
    with pytest.raises(AlreadyExists, match=re.escape(agw.out.name)):
        convert('agw', agw.file, agw.out)
    assert agw.out.stat().st_mtime_ns == before
