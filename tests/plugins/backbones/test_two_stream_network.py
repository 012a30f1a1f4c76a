"""TwoStreamNetwork outputs the same maps as the network's own code, for any network."""

from __future__ import annotations

import importlib.util

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models.feature_extraction import create_feature_extractor

from vireid.core.types import INFRARED, VISIBLE, FeatureSpec
from vireid.errors import Mismatch, MissingFile, MissingPackage, UnknownKey, UnknownName, WrongValue
from vireid.plugins.backbones import networks
from vireid.plugins.backbones.two_stream_network import TwoStreamNetwork
from vireid.plugins.backbones.two_stream_resnet import TwoStreamResNet

SIZE = (64, 32)
IMAGES = {
    m: torch.linspace(0, n, k * 3 * 64 * 32).sin().view(k, 3, 64, 32)
    for m, k, n in ((VISIBLE, 2, 99), (INFRARED, 3, 70))
}
JOINT = torch.cat([IMAGES[VISIBLE], IMAGES[INFRARED]])
SMALL = 'shufflenet_v2_x0_5'


def lively(network: torch.nn.Module) -> torch.nn.Module:
    """Sets weights with which every layer changes its map, and switches to eval mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(('running_mean', 'bias')):
                value.normal_(0, 0.1)
            elif value.dim() <= 1 and value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return network.eval()


def saved(network: torch.nn.Module, path) -> str:
    torch.save(network.state_dict(), path)
    return str(path)


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(
        found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max()
    )


@pytest.mark.parametrize(
    ('network', 'nodes'),
    [
        ('mobilenet_v2', {1: 'features.3', 2: 'features.6', 3: 'features.13', 4: 'features.18'}),
        (SMALL, {1: 'maxpool', 2: 'stage2', 3: 'stage3', 4: 'conv5'}),
        ('efficientnet_b0', {1: 'features.2', 2: 'features.3', 3: 'features.5', 4: 'features.8'}),
        ('regnet_y_400mf', {1: 'trunk_output.block1', 2: 'trunk_output.block2', 4: 'trunk_output.block4'}),
        ('squeezenet1_1', {1: 'features.4', 2: 'features.7', 3: 'features.12'}),
    ],
)
def test_maps_are_those_of_torchvisions_own_code(network, nodes, tmp_path):
    own = lively(torchvision.models.get_model(network, weights=None))
    path = saved(own, tmp_path / 'w.pth')
    backbone = TwoStreamNetwork(network, shared_from=0, out_stages=tuple(nodes), weights=path, image_size=SIZE).eval()
    with torch.no_grad():
        expected = create_feature_extractor(own, {node: f'stage{s}' for s, node in nodes.items()})(JOINT)
        found = backbone(IMAGES)
    for s in nodes:
        assert same(found[f'stage{s}'], expected[f'stage{s}'])
        spec = backbone.outputs[f'stage{s}']
        assert found[f'stage{s}'].shape == (5, spec.channels, *spec.size)


SWIN = {'embed_dim': 16, 'depths': (1, 2, 1, 1), 'num_heads': (1, 2, 4, 8)}


@pytest.mark.filterwarnings('ignore::UserWarning:timm')
@pytest.mark.parametrize(
    ('network', 'stages', 'options'),
    [
        ('mobilenetv2_100', (1, 2, 3), {}),  # the network's own stage 4 excludes the final convolution
        ('convnext_atto', (1, 2, 3, 4), {}),
        ('test_resnet', (1, 2, 3, 4), {}),
        ('mambaout_femto', (1, 2, 3, 4), {'depths': (1, 1, 1, 1), 'dims': (32, 48, 56, 64)}),  # (B, H, W, C) inside
        ('swin_tiny_patch4_window7_224', (1, 2, 3), SWIN),  # the network's own stage 4 excludes the final norm
    ],
)
def test_maps_are_those_of_timms_own_intermediates(network, stages, options, tmp_path):
    own = lively(timm.create_model(network, **options))
    path = saved(own, tmp_path / 'w.pth')
    backbone = TwoStreamNetwork(network, 'timm', 0, stages, path, options, image_size=SIZE).eval()
    if hasattr(own, 'set_input_size'):
        own.set_input_size(SIZE)
    with torch.no_grad():
        expected = {64 // made.shape[2]: made for made in own.forward_intermediates(JOINT, intermediates_only=True)}
        found = backbone(IMAGES)
    for s in stages:
        assert same(found[f'stage{s}'], expected[2 ** (s + 1)])
        assert found[f'stage{s}'].shape[1:] == (
            backbone.outputs[f'stage{s}'].channels,
            *backbone.outputs[f'stage{s}'].size,
        )


@pytest.mark.parametrize(
    ('network', 'prefix', 'options'),
    [
        ('test_vit', 1, {}),
        ('test_vit', 1, {'dynamic_img_size': True}),
        ('test_vit', 5, {'reg_tokens': 4}),
        ('test_vit', 0, {'class_token': False, 'global_pool': 'avg', 'pre_norm': True}),
        ('deit_tiny_distilled_patch16_224', 2, {'embed_dim': 24, 'depth': 6}),
    ],
)
def test_the_map_of_a_vision_transformer_is_its_tokens_on_their_grid(network, prefix, options, tmp_path):
    own = lively(timm.create_model(network, **options))
    path = saved(own, tmp_path / 'w.pth')
    # six blocks in four parts: they end after blocks 2, 3, 5 and 6
    backbone = TwoStreamNetwork(network, 'timm', 0, (1, 2, 3, 4), path, options, image_size=SIZE).eval()
    own.set_input_size(SIZE)  # resamples the position embedding that was loaded
    with torch.no_grad():
        expected = own.forward_intermediates(JOINT, indices=[1, 2, 4, 5], intermediates_only=True)
        found = backbone(IMAGES)
    assert own.num_prefix_tokens == prefix
    for s, wanted in enumerate(expected, 1):
        assert backbone.outputs[f'stage{s}'] == FeatureSpec(own.embed_dim, 'map', 'joint', (4, 2))
        assert same(found[f'stage{s}'], wanted)


def test_a_resnet_is_that_of_the_papers_component(tmp_path):
    path = saved(lively(torchvision.models.resnet18()), tmp_path / 'w.pth')
    shared_from, stages = 2, (1, 2, 3, 4)
    one = TwoStreamNetwork('resnet18', 'torchvision', shared_from, stages, path, image_size=(70, 35)).eval()
    other = TwoStreamResNet(18, shared_from, stages, 2, path, image_size=(70, 35)).eval()
    assert one.outputs == other.outputs
    with torch.no_grad():
        found, expected = one(IMAGES), other(IMAGES)
    assert all(torch.equal(found['stage1'][m], expected['stage1'][m]) for m in (VISIBLE, INFRARED))
    assert all(torch.equal(found[f'stage{s}'], expected[f'stage{s}']) for s in (2, 3, 4))
    assert sum(p.numel() for p in one.parameters()) == sum(p.numel() for p in other.parameters())


def test_random_weights_are_those_of_the_papers_component_too():
    torch.manual_seed(3)
    one = TwoStreamNetwork('resnet18', shared_from=1, out_stages=(4,), weights=None)
    torch.manual_seed(3)
    other = TwoStreamResNet(18, shared_from=1, weights=None)
    for m in (VISIBLE, INFRARED):
        assert torch.equal(one.streams[m]['stage0'].conv1.weight, other.streams[m]['stage0'][0].weight)
    assert not torch.equal(one.streams[VISIBLE]['stage0'].conv1.weight, one.streams[INFRARED]['stage0'].conv1.weight)
    assert torch.equal(one.shared['stage4'].layer4_1.conv2.weight, other.shared['stage4'][1].conv2.weight)


def test_its_parameters_by_hand():
    # shufflenet_v2_x0_5: 3 -> 24 channels, 3x3; BatchNorm of 24. Stage 2: 48 channels, 4 blocks, two branches of 24.
    stem = 3 * 24 * 9 + 2 * 24
    depthwise, pointwise = 24 * 9 + 2 * 24, 24 * 24 + 2 * 24
    first = (depthwise + pointwise) + (pointwise + depthwise + pointwise)
    later = pointwise + depthwise + pointwise
    one = TwoStreamNetwork(SMALL, shared_from=0, out_stages=(2,), weights=None)
    assert sum(p.numel() for p in one.parameters()) == stem + first + 3 * later
    two = TwoStreamNetwork(SMALL, shared_from=1, out_stages=(2,), weights=None)
    assert sum(p.numel() for p in two.parameters()) == 2 * stem + first + 3 * later


@pytest.mark.parametrize('shared_from', [0, 2, 5])
@pytest.mark.parametrize(
    ('network', 'library'), [(SMALL, 'torchvision'), ('test_convnext', 'timm'), ('test_vit', 'timm')]
)
def test_stages_before_shared_from_are_paired_and_all_that_is_kept_is_trained(network, library, shared_from):
    torch.manual_seed(0)
    backbone = TwoStreamNetwork(network, library, shared_from, (1, 3), None, image_size=SIZE)
    assert {name: spec.layout for name, spec in backbone.outputs.items()} == {
        'stage1': 'joint' if shared_from < 2 else 'paired',
        'stage3': 'joint' if shared_from < 4 else 'paired',
    }
    assert len(backbone.streams) == (2 if shared_from else 0)
    made = backbone(IMAGES)
    total = torch.zeros(())
    for name, spec in backbone.outputs.items():
        parts = {'joint': made[name]} if spec.layout == 'joint' else made[name]
        lengths = {'joint': 5} if spec.layout == 'joint' else {VISIBLE: 2, INFRARED: 3}
        assert {m: part.shape for m, part in parts.items()} == {
            m: (n, spec.channels, *spec.size) for m, n in lengths.items()
        }
        total = total + sum(part.square().sum() for part in parts.values())
    total.backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_patches_are_stage_0_so_that_modalities_can_have_their_own():
    for network, own in (('test_convnext', {'stem_0', 'stem_1'}), ('test_vit', {'embedding'})):
        backbone = TwoStreamNetwork(network, 'timm', 1, (4,), None, image_size=SIZE)
        assert {name for name, _ in backbone.streams[VISIBLE]['stage0'].named_children()} == own


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
@pytest.mark.parametrize(
    ('network', 'library'), [(SMALL, 'torchvision'), ('test_convnext', 'timm'), ('test_vit', 'timm')]
)
def test_weights_from_a_file_fill_streams_and_shared_stages(network, library, suffix, tmp_path):
    own = lively(networks.build_network(network, library, {}))
    path = tmp_path / f'w.{suffix}'
    state = {key: value for key, value in own.state_dict().items() if not key.startswith(('fc.', 'head.'))}
    save_file(state, path) if suffix == 'safetensors' else torch.save({'state_dict': state}, path)
    backbone = TwoStreamNetwork(network, library, 1, (4,), str(path))
    found = backbone.state_dict()
    first = {key.partition('.stage0.')[2]: value for key, value in found.items() if key.startswith('streams.visible')}
    assert first
    for key, value in first.items():
        assert torch.equal(value, found[f'streams.infrared.stage0.{key}'])
    shared = {value.sum().item() for key, value in found.items() if key.startswith('shared')}
    assert shared <= {value.sum().item() for value in state.values()}


def test_weights_that_do_not_fit_say_how_many_do_and_what_they_look_like(tmp_path):
    def refused(network, library, own, **arguments):
        path = saved(own, tmp_path / 'w.pth')
        with pytest.raises(Mismatch, match=network) as caught:
            TwoStreamNetwork(network, library, out_stages=(1,), weights=path, **arguments)
        return caught.value.given

    # only the stem: a convolution, and a BatchNorm with four tensors and a counter
    given = refused(SMALL, 'torchvision', timm.create_model('test_vit'))
    for fact in (' 0 of 5 ', ' conv1.0.weight ', "'cls_token'"):
        assert fact in given
    given = refused('test_convnext', 'timm', timm.create_model('test_convnext', dims=(8, 8, 8, 8)))
    for fact in (' stages.0.blocks.0.conv_dw.bias ', ' 8 ', ' 24;'):
        assert fact in given
    # later stages may differ
    TwoStreamNetwork(
        'test_convnext',
        'timm',
        out_stages=(1,),
        weights=saved(torch.nn.ModuleDict(), tmp_path / 'x.pth'),
        pretrained=False,
    )
    other = timm.create_model('test_convnext', dims=(24, 32, 8, 8))
    TwoStreamNetwork('test_convnext', 'timm', out_stages=(1,), weights=saved(other, tmp_path / 'w.pth'))


def test_torchvisions_weights_are_read_from_the_hub_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    url = torchvision.models.get_model_weights(SMALL).DEFAULT.url

    def unreachable(*args, **kwargs):
        raise OSError('ENETUNREACH')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', unreachable)
    with pytest.raises(MissingFile, match=f'{SMALL} .*ENETUNREACH') as caught:
        TwoStreamNetwork(SMALL)
    assert str(tmp_path / 'checkpoints') in caught.value.given
    assert url in caught.value.todo
    own = lively(torchvision.models.get_model(SMALL))
    (tmp_path / 'checkpoints').mkdir(exist_ok=True)
    saved(own, tmp_path / 'checkpoints' / url.rpartition('/')[2])
    assert torch.equal(TwoStreamNetwork(SMALL).shared['stage0'].conv1_0.weight, own.conv1[0].weight)


@pytest.mark.parametrize(
    ('failure', 'kind', 'facts'),
    [
        (OSError('ENETUNREACH'), MissingFile, ('ENETUNREACH', 'model.safetensors', 'timm/test_vit.r160_in1k')),
        (
            RuntimeError('Error(s) in loading state_dict for VisionTransformer'),
            Mismatch,
            ("{'embed_dim': 32}", 'weights=None'),
        ),
    ],
)
def test_timms_weights_out_of_reach_say_which_file(failure, kind, facts, monkeypatch):
    real = timm.create_model

    def fails(*args, pretrained=False, **kwargs):
        if pretrained:
            raise failure
        return real(*args, **kwargs)

    monkeypatch.setattr(timm, 'create_model', fails)
    with pytest.raises(kind, match='test_vit') as caught:
        TwoStreamNetwork('test_vit', 'timm', options={'embed_dim': 32})
    for fact in facts:
        assert fact in str(caught.value)


def test_timms_weights_fill_it(monkeypatch):
    real, own = timm.create_model, lively(timm.create_model('test_convnext'))
    monkeypatch.setattr(timm, 'create_model', lambda *args, pretrained=False: own if pretrained else real(*args))
    found = TwoStreamNetwork('test_convnext.r160_in1k', 'timm', 1).streams[INFRARED]['stage0'].stem_0.weight
    assert torch.equal(found, own.stem[0].weight)
    with pytest.raises(UnknownName, match=r"'test_vit\.none'") as caught:
        TwoStreamNetwork('test_vit.none', 'timm')
    assert caught.value.allowed == 'test_vit.r160_in1k'


def test_weights_are_spared_where_a_checkpoint_replaces_them():
    TwoStreamNetwork(SMALL, weights='nowhere.pth', pretrained=False)


@pytest.mark.parametrize(('network', 'library'), [(SMALL, 'torchvision'), ('test_vit', 'timm'), ('test_nfnet', 'timm')])
def test_channels_of_each_modality(network, library, tmp_path):
    own = lively(networks.build_network(network, library, {}))
    path = saved(own, tmp_path / 'w.pth')
    backbone = TwoStreamNetwork(
        network, library, 1, (4,), path, image_size=SIZE, modalities={VISIBLE: 4, INFRARED: 1}
    ).eval()
    three = TwoStreamNetwork(network, library, 1, (4,), path, image_size=SIZE).eval()
    gray = IMAGES[VISIBLE][:, :1]
    with torch.no_grad():
        expected = three({VISIBLE: gray.expand(-1, 3, -1, -1)})['stage4']
        found = backbone({VISIBLE: gray.expand(-1, 4, -1, -1), INFRARED: gray})['stage4']
    if network != 'test_nfnet':  # it standardizes its weights over the channels
        assert same(found[:2], expected)
        assert same(found[2:], expected)
    assert found.shape[0] == 4


def test_a_first_layer_of_its_own_kind_takes_three_channels_only():
    with torch.device('meta'):
        TwoStreamNetwork('tresnet_m', 'timm', 0, (1,), None)
        with pytest.raises(Mismatch, match='tresnet_m'):
            TwoStreamNetwork('tresnet_m', 'timm', 0, (1,), None, modalities={VISIBLE: 1, INFRARED: 1})


@pytest.mark.parametrize(
    ('network', 'library'), [(SMALL, 'torchvision'), ('regnet_y_400mf', 'torchvision'), ('test_vit', 'timm')]
)
def test_it_is_built_on_shapes_alone(network, library):
    with torch.device('meta'):
        backbone = TwoStreamNetwork(network, library, 2, (1, 2, 3), None, image_size=SIZE)
    assert all(parameter.is_meta for parameter in backbone.parameters())
    assert backbone.outputs == TwoStreamNetwork(network, library, 2, (1, 2, 3), None, image_size=SIZE).outputs


@pytest.mark.filterwarnings('ignore:.*non-meta parameter')
def test_weights_are_checked_on_shapes_alone(tmp_path):
    path = str(tmp_path / 'w.safetensors')
    save_file(timm.create_model('test_vit').state_dict(), path)
    with torch.device('meta'):
        TwoStreamNetwork('test_vit', 'timm', weights=path, image_size=SIZE)
        with pytest.raises(Mismatch, match=r'w\.safetensors.* 0 of [0-9]+ '):
            TwoStreamNetwork('test_convnext', 'timm', weights=path, image_size=SIZE)


def test_it_is_trained_after_it_is_built_and_its_statistics_are_new():
    backbone = TwoStreamNetwork(SMALL, weights=None)
    assert all(module.training for module in backbone.modules())
    counters = [value for key, value in backbone.state_dict().items() if key.endswith('num_batches_tracked')]
    assert counters
    assert not any(counters)


def test_without_an_image_size_sizes_stay_open():
    assert TwoStreamNetwork(SMALL, out_stages=(3,), weights=None).outputs == {'stage3': FeatureSpec(96, 'map')}


def test_maps_in_which_channels_look_like_places_are_refused():
    # 64 x 32 cells with 16 channels last look like 64 channels of 32 x 16 cells; another image size resolves it
    options = {'depths': (1, 1, 1, 1), 'dims': (16, 8, 4, 2)}
    with pytest.raises(Mismatch, match=r' 64 .* 72 '):
        TwoStreamNetwork('mambaout_femto', 'timm', 0, (2,), None, options, image_size=(288, 144))


def test_options_reach_the_constructor():
    assert (
        TwoStreamNetwork('test_vit', 'timm', weights=None, options={'embed_dim': 32}).outputs['stage3'].channels == 32
    )


@pytest.mark.parametrize(
    ('arguments', 'kind', 'facts'),
    [
        (dict(network='mobilenet_v3'), UnknownName, ("'mobilenet_v3'", 'mobilenet_v3_large')),
        (dict(network='fasterrcnn_resnet50_fpn'), UnknownName, ('torchvision', "'fasterrcnn_resnet50_fpn'")),
        (dict(network='mobilenetv2_1000', library='timm'), UnknownName, ("'mobilenetv2_1000'", 'mobilenetv2_100, ')),
        (dict(network='swin_tiny', library='timm'), UnknownName, ("'swin_tiny'", 'swin_tiny_patch4_window7_224')),
        (dict(network='zzzzzz', library='timm'), UnknownName, ("'zzzzzz'", 'timm.list_models()')),
        (
            dict(network='mobilenet_v2', options={'width_mul': 1}),
            UnknownKey,
            ("'width_mul'", "'width_mult'", 'dropout'),
        ),
        (dict(network='mobilenet_v2', options={'width_mult': 'a'}), WrongValue, ("{'width_mult': 'a'}",)),
        (dict(network='mobilenet_v2', options={'weights': None}), UnknownKey, ("'weights'",)),
        (dict(network='test_vit', library='timm', options={'in_chans': 1}), UnknownKey, ("'in_chans'",)),
        (
            dict(network='test_convnext', library='timm', options={'features_only': True}),
            UnknownKey,
            ("'features_only'",),
        ),
        (
            dict(network='squeezenet1_1', out_stages=(4,)),
            Mismatch,
            ('squeezenet1_1', ' 4:', "'features.12'", ' 1, 2, 3'),
        ),
        (
            dict(network='hrnet_w18_small', library='timm', out_stages=(4,)),
            Mismatch,
            ('hrnet_w18_small', ' 4:', "'transition1.0.2'", "'transition1.1.0.0'"),
        ),
        (dict(network='vit_b_32'), Mismatch, ('vit_b_32', '256 x 128', "library='timm'")),
        (dict(network='vit_b_32', image_size=(224, 224)), Mismatch, ("'conv_proj'", "'encoder'", "library='timm'")),
        (dict(network='maxvit_t'), Mismatch, ('maxvit_t', '256 x 128')),
        (dict(network='inception_v3', image_size=(48, 24)), Mismatch, ('inception_v3', '48 x 24')),
        (dict(network='test_vit', library='timm', options={'patch_drop_rate': 0.5}), WrongValue, ('patch_drop_rate',)),
        (dict(network='test_vit', library='timm', options={'depth': 3}), Mismatch, (' 3 ', ' 4 ')),
    ],
)
def test_what_cannot_be_built_is_explained(arguments, kind, facts):
    with torch.device('meta'), pytest.raises(kind) as caught:
        TwoStreamNetwork(weights=None, **arguments)
    for fact in facts:
        assert fact in str(caught.value)


def test_a_network_without_maps_is_refused_though_it_runs():
    with torch.device('meta'), pytest.raises(Mismatch, match='mixer_s32_224') as caught:
        TwoStreamNetwork('mixer_s32_224', 'timm', weights=None, image_size=(224, 224))
    assert '224 x 224' not in caught.value.given


def test_timm_that_is_not_installed_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(networks, 'find_spec', lambda name: None if name == 'timm' else find(name))
    with pytest.raises(MissingPackage, match=r'vireid\[timm\]'):
        TwoStreamNetwork('test_vit', 'timm')
