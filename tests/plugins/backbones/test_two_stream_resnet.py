"""TwoStreamResNet: shared stages, output maps and weights."""

from __future__ import annotations

import pytest
import torch
import torchvision

from vireid.boundary import checkpoint
from vireid.core.registry.components import BuildPart
from vireid.core.types import INFRARED, VISIBLE, FeatureSpec
from vireid.errors import DamagedFile, Mismatch, MissingFile, UnknownName, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.backbones.two_stream_resnet import TwoStreamResNet

IMAGES = {VISIBLE: torch.randn(2, 3, 64, 32), INFRARED: torch.randn(3, 3, 64, 32)}
SHAPES = {modality: images.to('meta') for modality, images in IMAGES.items()}


def on_shapes(*args, **kwargs) -> TwoStreamResNet:
    with torch.device('meta'):
        return TwoStreamResNet(*args, weights=None, **kwargs).eval()


@pytest.mark.parametrize(('depth', 'channels'), [(18, [64, 128, 256, 512]), (50, [256, 512, 1024, 2048])])
def test_stages_have_the_resnets_channels_and_strides(depth, channels):
    network = on_shapes(depth, shared_from=0, out_stages=(1, 2, 3, 4), last_stride=2)
    maps = network(SHAPES)
    assert [maps[f'stage{s}'].shape for s in (1, 2, 3, 4)] == [
        (5, c, 64 // stride, 32 // stride) for c, stride in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    assert [network.outputs[f'stage{s}'].channels for s in (1, 2, 3, 4)] == channels


@pytest.mark.parametrize('depth', [18, 34, 50, 101])
def test_last_stride_1_keeps_the_map_at_a_sixteenth(depth):
    assert on_shapes(depth, last_stride=1)(SHAPES)['stage4'].shape[2:] == (4, 2)


def test_stages_before_shared_from_are_paired_later_ones_joint():
    network = TwoStreamResNet(18, shared_from=2, out_stages=(1, 2), weights=None)
    assert network.outputs == {'stage1': FeatureSpec(64, 'map', 'paired'), 'stage2': FeatureSpec(128, 'map', 'joint')}
    maps = network(IMAGES)
    assert {m: len(x) for m, x in maps['stage1'].items()} == {VISIBLE: 2, INFRARED: 3}
    assert len(maps['stage2']) == 5


@pytest.mark.parametrize('shared_from', range(6))
def test_only_unshared_stages_have_a_copy_for_each_modality(shared_from):
    network = on_shapes(18, shared_from)
    copies = {name.split('.')[1] for name, _ in network.named_parameters() if name.startswith('streams.visible')}
    per_stream = {n.split('.')[2] for n, _ in network.named_parameters() if n.startswith('streams.infrared')}
    shared = {name.split('.')[1] for name, _ in network.named_parameters() if name.startswith('shared')}
    assert copies == ({VISIBLE} if shared_from else set())
    assert per_stream == {f'stage{s}' for s in range(shared_from)}
    assert shared == {f'stage{s}' for s in range(shared_from, 5)}


@pytest.mark.parametrize('infrared', [3, 1])
@pytest.mark.parametrize('shared_from', [0, 2, 5])
def test_without_values_it_has_the_same_tensors_and_no_stage_twice(shared_from, infrared):
    """There, a network is built once for all streams with the same channels."""
    channels = {VISIBLE: 3, INFRARED: infrared} if shared_from else None
    shapes = on_shapes(18, shared_from, modalities=channels)
    network = TwoStreamResNet(18, shared_from, weights=None, modalities=channels)
    assert {name: tensor.shape for name, tensor in shapes.state_dict().items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    assert len(list(shapes.parameters())) == len(list(network.parameters()))  # a tensor used twice is listed once


def test_stages_after_the_last_output_are_not_built():
    network = on_shapes(18, shared_from=5, out_stages=(2,))
    assert set(network.streams[VISIBLE]) == {'stage0', 'stage1', 'stage2'}


def test_images_of_one_modality_give_that_modality_alone():
    network = TwoStreamResNet(18, shared_from=2, out_stages=(1, 2), weights=None).eval()
    alone = network({INFRARED: IMAGES[INFRARED]})
    both = network(IMAGES)
    assert set(alone['stage1']) == {INFRARED}
    assert torch.allclose(alone['stage2'], both['stage2'][2:], atol=1e-5)


def test_shared_stages_normalize_over_both_modalities():
    network = TwoStreamResNet(18, shared_from=1, weights=None)
    visible, infrared = IMAGES[VISIBLE], 5 + IMAGES[INFRARED]
    first = network.shared['stage1'][0].bn1
    network({VISIBLE: visible, INFRARED: infrared})
    assert first.num_batches_tracked.item() == 1


@pytest.fixture(scope='module')
def resnet18_file(tmp_path_factory):
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp('weights') / 'resnet18.pth'
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


@pytest.mark.parametrize('last_stride', [1, 2])
@pytest.mark.parametrize('size', [(288, 144), (64, 32), (70, 35), (33, 17)])
def test_the_sizes_it_declares_are_those_of_its_maps(size, last_stride):
    network = on_shapes(18, 5, (1, 2, 3, 4), last_stride, image_size=size)
    made = network({VISIBLE: torch.zeros(1, 3, *size, device='meta')})
    for name, spec in network.outputs.items():
        assert made[name][VISIBLE].shape == (1, spec.channels, *spec.size)


def test_weights_from_a_file_fill_both_streams_and_the_shared_stages(resnet18_file):
    network = TwoStreamResNet(18, shared_from=2, weights=str(resnet18_file))
    state = torch.load(resnet18_file, weights_only=True)
    for modality in (VISIBLE, INFRARED):
        assert torch.equal(network.streams[modality]['stage0'][0].weight, state['conv1.weight'])
        assert torch.equal(network.streams[modality]['stage1'][0].conv1.weight, state['layer1.0.conv1.weight'])
    assert torch.equal(network.shared['stage4'][1].conv2.weight, state['layer4.1.conv2.weight'])


def test_padded_images_of_two_channels_go_through_one_network_that_starts_from_the_mean_of_the_colors(resnet18_file):
    network = TwoStreamResNet(18, shared_from=0, weights=str(resnet18_file), modalities={VISIBLE: 2, INFRARED: 2})
    colors = torch.load(resnet18_file, weights_only=True)['conv1.weight']
    first = network.shared['stage0'][0].weight
    assert first.shape == (64, 2, 7, 7)
    for channel in range(2):
        assert torch.allclose(first[:, channel], colors.mean(dim=1) * 3 / 2, atol=1e-6)
    assert len(network.streams) == 0
    assert len(network({m: images[:, :2] for m, images in IMAGES.items()})['stage4']) == 5


def test_weights_from_a_file_fill_the_residual_blocks_between_inserts(resnet18_file):
    inserts = {'non_local': {'type': 'NonLocal', 'after': {'stage2': 2, 'stage3': 3}}}
    build_part = BuildPart(create_manager().components, 'model.backbone', {})
    network = TwoStreamResNet(18, 1, weights=str(resnet18_file), build_part=build_part, inserts=inserts)
    state = torch.load(resnet18_file, weights_only=True)
    for stage in (2, 3):
        for block in (0, 1):
            found = network.shared[f'stage{stage}'].get_submodule(f'{block}').conv2.weight
            assert torch.equal(found, state[f'layer{stage}.{block}.conv2.weight'])


def test_imagenet_weights_are_read_from_the_hub_folder(resnet18_file, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    file_name = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url.rsplit('/', 1)[1]
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / file_name).write_bytes(resnet18_file.read_bytes())
    network = TwoStreamResNet(18, weights='imagenet')
    state = torch.load(resnet18_file, weights_only=True)
    assert torch.equal(network.shared['stage2'][0].conv1.weight, state['layer2.0.conv1.weight'])


def test_weights_out_of_reach_say_what_to_do(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError('ENETUNREACH')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', unreachable)
    with pytest.raises(MissingFile, match=r'ResNet-18 .*ENETUNREACH') as caught:
        TwoStreamResNet(18, weights='imagenet')
    assert f'{tmp_path}/checkpoints' in caught.value.given
    assert torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url in caught.value.todo
    assert 'model.backbone.weights=resnet18-' in caught.value.todo


def test_weights_are_spared_where_a_checkpoint_replaces_them():
    TwoStreamResNet(18, weights='nowhere.pth', pretrained=False)


def test_weights_of_moco_are_those_of_its_encoder(resnet18_file, tmp_path, capsys):
    """Like the published LUPerson weights: from DataParallel, with a momentum encoder and a head of another size."""
    state = torch.load(resnet18_file, weights_only=True)
    named = {f'module.encoder_q.{name}': tensor for name, tensor in state.items() if not name.startswith('fc.')}
    named |= {f'module.encoder_k.{name}': torch.zeros_like(tensor) for name, tensor in state.items()}
    named['module.encoder_q.fc.0.weight'] = torch.ones(128, 512)
    torch.save({'epoch': 199, 'arch': 'resnet18', 'state_dict': named}, tmp_path / 'moco.pth')
    network = TwoStreamResNet(18, shared_from=1, weights=str(tmp_path / 'moco.pth'))
    assert torch.equal(network.streams['visible']['stage0'][0].weight, state['conv1.weight'])
    assert torch.equal(network.shared['stage4'][1].conv2.weight, state['layer4.1.conv2.weight'])
    said = capsys.readouterr().out
    assert f'weights {tmp_path}/moco.pth: 100 of 100 tensors, taken from' in said
    assert "without the prefix 'module.encoder_q.'; left out: fc.0.weight, module.encoder_k.conv1.weight" in said
    assert "the tensors taken from 'state_dict' without the prefix 'module.encoder_k.' would fit as well" in said


def test_weights_of_another_depth_are_refused(resnet18_file):
    with pytest.raises(Mismatch, match=r'ResNet-50: \d+ of 265 '):
        TwoStreamResNet(50, weights=str(resnet18_file))


def test_partial_weights_are_refused(resnet18_file, tmp_path):
    state = torch.load(resnet18_file, weights_only=True)
    del state['layer3.0.conv1.weight']
    torch.save(state, tmp_path / 'partial.pth')
    with pytest.raises(Mismatch, match=r' 99 of 100 .* layer3\.0\.conv1\.weight '):
        TwoStreamResNet(18, weights=str(tmp_path / 'partial.pth'))


def test_a_missing_or_foreign_file_is_named(tmp_path):
    (tmp_path / 'text.pth').write_text('not weights')
    for name, kind in (('nothing.pth', MissingFile), ('text.pth', DamagedFile)):
        with pytest.raises(kind, match=name):
            TwoStreamResNet(18, weights=str(tmp_path / name))


@pytest.mark.parametrize(
    ('arguments', 'fact'), [({'shared_from': 6}, 'shared_from.*6'), ({'out_stages': (5,)}, r'out_stages.*\(5,\)')]
)
def test_stages_that_do_not_exist(arguments, fact):
    with pytest.raises(WrongValue, match=fact):
        TwoStreamResNet(18, weights=None, **arguments)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda whole: b'<!DOCTYPE html><title>404</title>',
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b'',
        lambda whole: b'not weights',
    ],
)
def test_a_file_that_contains_no_weights_is_named(resnet18_file, tmp_path, monkeypatch, spoil):
    own = tmp_path / 'mine.pth'
    own.write_bytes(spoil(resnet18_file.read_bytes()))
    with pytest.raises(DamagedFile, match=f"'{own}'") as caught:
        TwoStreamResNet(18, weights=str(own))
    assert not isinstance(caught.value, Mismatch)  # it is not compared with the network
    # also in torch's download cache
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    kept = tmp_path / 'checkpoints' / url.rsplit('/', 1)[1]
    kept.parent.mkdir()
    kept.write_bytes(own.read_bytes())
    with pytest.raises(DamagedFile, match=f"'{kept}'") as caught:
        TwoStreamResNet(18, weights='imagenet')
    assert not isinstance(caught.value, Mismatch)
    assert url in caught.value.todo


@pytest.mark.parametrize('shared_from', [0, 1, 2])
def test_the_number_of_images_stays_open_when_it_is_exported(shared_from):
    class Infrared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = TwoStreamResNet(depth=18, weights=None, shared_from=shared_from, out_stages=(1,))

        def forward(self, images):
            made = self.network({INFRARED: images})['stage1']
            return made if shared_from < 2 else made[INFRARED]

    batch = torch.export.Dim('batch', min=2, max=64)
    program = torch.export.export(Infrared().eval(), (torch.randn(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    assert program.module()(torch.randn(5, 3, 32, 32)).shape[0] == 5


def test_modalities_share_the_stream_they_name_and_its_norm_sees_both():
    network = TwoStreamResNet(
        depth=18, weights=None, shared_from=1, modalities={VISIBLE: 3, INFRARED: 3, 'x': 3}, streams={'x': VISIBLE}
    )
    assert set(network.streams) == {VISIBLE, INFRARED}
    images = {m: torch.randn(n, 3, 32, 32) for m, n in ((VISIBLE, 2), (INFRARED, 3), ('x', 4))}
    assert network(images)['stage4'].shape[0] == 9
    norm = network.streams[VISIBLE]['stage0'][1]
    both = network.streams[VISIBLE]['stage0'][0](torch.cat([images[VISIBLE], images['x']]))
    assert torch.allclose(norm.running_mean, 0.1 * both.mean(dim=(0, 2, 3)), atol=1e-6)
    for wrong in ({'y': VISIBLE}, {'x': 'y'}):
        with pytest.raises(UnknownName, match=r"streams: .*'y'"):
            TwoStreamResNet(depth=18, weights=None, modalities={VISIBLE: 3, INFRARED: 3, 'x': 3}, streams=wrong)
    with pytest.raises(UnknownName, match=r"\['y'\]"):
        network({'y': images['x']})


def test_channels_that_differ_need_streams_of_their_own():
    apart = TwoStreamResNet(depth=18, weights=None, shared_from=1, modalities={VISIBLE: 3, INFRARED: 1})
    images = {VISIBLE: torch.randn(2, 3, 32, 32), INFRARED: torch.randn(2, 1, 32, 32)}
    assert apart(images)['stage4'].shape[0] == 4
    with pytest.raises(Mismatch, match=r'infrared .* 1 .* visible .* 3'):
        TwoStreamResNet(depth=18, weights=None, shared_from=0, modalities={VISIBLE: 3, INFRARED: 1})
    with pytest.raises(WrongValue, match="'infrared': 5"):
        TwoStreamResNet(depth=18, weights=None, shared_from=1, modalities={VISIBLE: 3, INFRARED: 5})


@pytest.mark.parametrize('shared_from', [0, 1, 5])
def test_a_checkpoint_of_this_backbone_is_a_start_for_all_streams(tmp_path, shared_from, capsys):
    torch.manual_seed(0)
    trained = TwoStreamResNet(18, shared_from=shared_from, weights=None)
    state = {f'backbone.{name}': tensor for name, tensor in trained.state_dict().items()}
    checkpoint.save(tmp_path / 'last.pt', {'model': {**state, 'tasks.x': torch.ones(1)}, 'config': {}})
    network = TwoStreamResNet(18, shared_from=2, weights=str(tmp_path / 'last.pt'))
    assert 'weights' in capsys.readouterr().out
    for stream in (VISIBLE, INFRARED):
        own = trained.streams[VISIBLE] if shared_from > 1 else trained.shared
        assert torch.equal(network.streams[stream]['stage1'][1].conv2.weight, own['stage1'][1].conv2.weight)
    last = trained.streams[VISIBLE] if shared_from == 5 else trained.shared
    assert torch.equal(network.shared['stage4'][0].bn1.running_mean, last['stage4'][0].bn1.running_mean)
