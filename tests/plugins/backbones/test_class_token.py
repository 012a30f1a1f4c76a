"""Class tokens and overlapping patches of vision transformers, as PMT uses them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireid.core.types import INFRARED, VISIBLE, FeatureSpec
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.backbones.two_stream_network import TwoStreamNetwork

timm = pytest.importorskip('timm')
IMAGES = {
    m: torch.linspace(0, n, k * 3 * 64 * 32).sin().view(k, 3, 64, 32)
    for m, k, n in ((VISIBLE, 2, 99), (INFRARED, 3, 70))
}
JOINT = torch.cat([IMAGES[VISIBLE], IMAGES[INFRARED]])


def lively(network: nn.Module) -> nn.Module:
    """Sets weights with which every layer changes its tokens, and switches to eval mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return network.eval()


def saved(network: nn.Module, path) -> str:
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.mark.parametrize('options', [{}, {'reg_tokens': 4}], ids=['class token', 'registers too'])
def test_the_last_class_token_is_timms_own_after_the_final_norm(options, tmp_path):
    own = lively(timm.create_model('test_vit', **options))
    path = saved(own, tmp_path / 'w.pth')
    backbone = TwoStreamNetwork(
        'test_vit', 'timm', 0, (3, 4), path, options, image_size=(64, 32), class_token=True
    ).eval()
    own.set_input_size((64, 32))
    with torch.no_grad():
        expected = own.forward_head(own.forward_features(JOINT), pre_logits=True)
        # six blocks in four parts: stage 3 ends after block 5, before the final norm
        prefix = own.forward_intermediates(JOINT, indices=[4], return_prefix_tokens=True, intermediates_only=True)
        found = backbone(IMAGES)
    assert backbone.outputs == {name: FeatureSpec(64, 'vector') for name in ('stage3', 'stage4')}
    assert torch.allclose(found['stage4'], expected, atol=1e-5)
    assert torch.allclose(found['stage3'], prefix[0][1][:, 0], atol=1e-5)


def test_class_tokens_of_separate_streams_are_paired_each_with_its_own_norm():
    backbone = TwoStreamNetwork('test_vit', 'timm', 5, (4,), None, image_size=(64, 32), class_token=True)
    found = backbone(IMAGES)['stage4']
    assert backbone.outputs == {'stage4': FeatureSpec(64, 'vector', 'paired')}
    assert {m: token.shape for m, token in found.items()} == {VISIBLE: (2, 64), INFRARED: (3, 64)}
    norms = [name for name, _ in backbone.named_parameters() if name.endswith('stage4.norm.weight')]
    assert norms == ['streams.visible.stage4.norm.weight', 'streams.infrared.stage4.norm.weight']
    sum(token.sum() for token in found.values()).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_overlapping_patches_are_those_of_a_convolution_with_their_stride(tmp_path):
    own = lively(timm.create_model('test_vit'))
    path = saved(own, tmp_path / 'w.pth')
    backbone = TwoStreamNetwork('test_vit', 'timm', 0, (4,), path, image_size=(64, 32), patch_stride=12).eval()
    # (64 - 16) / 12 = 4 and (32 - 16) / 12 = 1.3: 5 x 2 patches, and 4 columns at the right that are not seen
    assert backbone.outputs == {'stage4': FeatureSpec(64, 'map', 'joint', (5, 2))}
    embedding = backbone.shared['stage0'].embedding
    position = timm.layers.resample_abs_pos_embed(own.pos_embed, (5, 2), own.patch_embed.grid_size)
    with torch.no_grad():
        for y, x in ((0, 0), (4, 1)):
            patch = JOINT[:, :, 12 * y : 12 * y + 16, 12 * x : 12 * x + 16]
            expected = (patch[:, None] * own.patch_embed.proj.weight).sum(dim=(2, 3, 4)) + own.patch_embed.proj.bias
            index = 1 + 2 * y + x
            assert torch.allclose(embedding(JOINT)[:, index], expected + position[:, index], atol=1e-5)
        unseen = {m: image.index_fill(3, torch.arange(28, 32), 9.0) for m, image in IMAGES.items()}
        assert torch.equal(backbone(unseen)['stage4'], backbone(IMAGES)['stage4'])


def test_pmts_network_by_hand():
    options = {'pos_drop_rate': 0.03, 'proj_drop_rate': 0.03, 'drop_path_rate': 0.1}
    with torch.device('meta'):
        backbone = TwoStreamNetwork(
            'vit_base_patch16_224', 'timm', 0, (4,), None, options, image_size=(256, 128),
            class_token=True, patch_stride=12,
        )  # fmt: skip
    assert backbone.grid == (21, 10)
    assert backbone.outputs == {'stage4': FeatureSpec(768, 'vector')}
    width = 768
    embedding = 3 * 16 * 16 * width + width + width + (1 + 210) * width  # patches, class token, positions
    attention = width * 3 * width + 3 * width + width * width + width
    perceptron = width * 4 * width + 4 * width + 4 * width * width + width
    block = attention + perceptron + 2 * 2 * width  # two norms
    assert sum(p.numel() for p in backbone.parameters()) == embedding + 12 * block + 2 * width == 85_809_408


@pytest.mark.parametrize(
    ('arguments', 'kind', 'path', 'facts'),
    [
        (
            dict(image_size=(250, 128)),
            Mismatch,
            'images.size',
            ('16 x 16', '250 x 128', 'images.size=[256, 128]', 'model.backbone.patch_stride=15'),
        ),
        (dict(image_size=(64, 4)), Mismatch, 'images.size', ('16 x 16', '64 x 4', 'images.size=[64, 16]')),
        (dict(image_size=(64, 8), patch_stride=8), WrongValue, 'model.backbone.patch_stride', ('16 x 16', '64 x 8')),
        (dict(image_size=(64, 32), patch_stride=17), WrongValue, 'model.backbone.patch_stride', ('17', '16 x 16')),
        (dict(image_size=(64, 32), patch_stride=0), WrongValue, 'model.backbone.patch_stride', (' 0,', '16 x 16')),
        (
            dict(options={'class_token': False, 'global_pool': 'avg'}),
            Mismatch,
            '',
            ('model.backbone.class_token=False',),
        ),
        (dict(network='test_convnext'), Mismatch, '', ('test_convnext', 'class_token')),
        (
            dict(network='test_convnext', class_token=False, patch_stride=2),
            Mismatch,
            '',
            ('test_convnext', 'patch_stride'),
        ),
    ],
)
def test_what_cannot_be_built_is_explained(arguments, kind, path, facts):
    known = {'network': 'test_vit', 'library': 'timm', 'out_stages': (4,), 'weights': None, 'class_token': True}
    with torch.device('meta'), pytest.raises(kind) as caught:
        TwoStreamNetwork(**{**known, **arguments})
    assert caught.value.path == path
    for fact in facts:
        assert fact in str(caught.value)


def test_padding_is_left_to_timm():
    options = {'dynamic_img_size': True, 'dynamic_img_pad': True}
    with torch.device('meta'), pytest.raises(WrongValue, match=r'12.*dynamic_img_pad'):
        TwoStreamNetwork('test_vit', 'timm', 0, (4,), None, options, image_size=(250, 128), patch_stride=12)
