"""CycleTranslator: what each map is, what the backbone sees, and what is computed only on demand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireid.core.types import INFRARED, VISIBLE, Batch
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.translators.cycle_translator import CycleTranslator

BOTH = {VISIBLE: 3, INFRARED: 3}
SMALL = {'size': None, 'channels': 2, 'blocks': 1}
ALL = ('real', 'fake', 'cycle', 'same')


def batch(count: int = 2, size: tuple[int, int] = (16, 8)) -> Batch:
    torch.manual_seed(1)
    images = {m: torch.randn(count, 3, *size, dtype=torch.float64) for m in BOTH}
    return Batch(images, {m: torch.arange(count) for m in BOTH})


def small(**settings: object) -> CycleTranslator:
    torch.manual_seed(0)
    return CycleTranslator(BOTH, (16, 8), **{**SMALL, **settings}).double()


def test_the_maps_are_those_of_the_cycle():
    """There, there and back, and through the generator of one's own modality, in -1..1."""
    translator, given = small(), batch()
    out = translator(given, needed=ALL)
    mean, std = (torch.tensor(x).double().view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    real = {m: 2 * (x * std + mean) - 1 for m, x in given.images.items()}
    to_infrared, to_visible = translator.generators[VISIBLE], translator.generators[INFRARED]
    wanted = {
        'real': real,
        'fake': {VISIBLE: to_infrared(real[VISIBLE]), INFRARED: to_visible(real[INFRARED])},
        'cycle': {VISIBLE: to_visible(to_infrared(real[VISIBLE])), INFRARED: to_infrared(to_visible(real[INFRARED]))},
        'same': {VISIBLE: to_visible(real[VISIBLE]), INFRARED: to_infrared(real[INFRARED])},
    }
    assert set(out.maps) == set(wanted)
    for name, maps in wanted.items():
        for m in BOTH:
            assert torch.allclose(out.maps[name][m], maps[m], rtol=0, atol=1e-7), (name, m)
    assert torch.allclose(out.images[VISIBLE], ((wanted['fake'][VISIBLE] + 1) / 2 - mean) / std, atol=1e-7)
    assert torch.allclose(out.images[INFRARED], given.images[INFRARED], atol=1e-7)


def test_only_the_maps_that_are_read_are_computed():
    translator, calls = small(), []
    for m, generator in translator.generators.items():
        generator.register_forward_hook(lambda *_, m=m: calls.append(m))
    for needed, counts in (((), (1, 0)), (('fake',), (1, 1)), (('fake', 'cycle'), (2, 2)), (('same',), (2, 1))):
        calls.clear()
        out = translator(batch(), needed=needed)
        assert set(out.maps) == set(needed)
        assert (calls.count(VISIBLE), calls.count(INFRARED)) == counts


@pytest.mark.parametrize('modality', [VISIBLE, INFRARED])
def test_one_modality_alone_is_seen_as_in_both(modality):
    translator, given = small().eval(), batch()
    alone = translator(Batch({modality: given.images[modality]}, {}))
    assert set(alone.images) == {modality}
    assert torch.equal(alone.images[modality], translator(given).images[modality])


def test_real_and_translated_images_pass_through_the_resolution_of_the_generators():
    translator, given = small(size=(8, 8)), batch()
    out = translator(given, needed=('real', 'fake'))
    assert out.maps['real'][VISIBLE].shape == out.maps['fake'][VISIBLE].shape == (2, 3, 8, 8)
    assert out.images[VISIBLE].shape == out.images[INFRARED].shape == (2, 3, 16, 8)
    rows = nn.functional.interpolate(given.images[INFRARED], (8, 8), mode='bilinear', antialias=True)
    assert torch.allclose(out.images[INFRARED], nn.functional.interpolate(rows, (16, 8), mode='bilinear'), atol=1e-6)


def test_evaluation_uses_running_statistics_or_those_of_the_image():
    """With the statistics of the image, the contrast of the input does not matter; with running ones it does."""
    for running, equal in ((True, False), (False, True)):
        generator = small(running=running, blocks=0).eval().generators[VISIBLE][:2]  # a convolution and its norm
        x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
        assert torch.allclose(generator(x), generator(3 * x), atol=1e-3) == equal


def test_parameters_by_hand():
    """Convolutions without a bias; instance normalization has two parameters per channel, but not after the last."""
    block = 2 * (256 * 256 * 9 + 2 * 256)
    down = (3 * 64 * 49 + 128) + (64 * 128 * 16 + 256) + (128 * 256 * 16 + 512)
    up = (256 * 128 * 16 + 256) + (128 * 64 * 16 + 128) + 64 * 3 * 49
    translator = CycleTranslator(BOTH)
    assert sum(p.numel() for p in translator.generators[VISIBLE].parameters()) == down + 4 * block + up == 6_053_504
    assert sum(p.numel() for p in translator.parameters()) == 2 * 6_053_504


def test_the_warm_up_of_the_backbone_sees_infrared_images_alone():
    translator, given = small(infrared_only=True), batch()
    assert translator.modalities == {INFRARED: 3}
    out = translator(given)
    assert set(out.images) == set(out.identities) == {INFRARED}
    assert set(given.images) == {VISIBLE, INFRARED}
    embedded = translator(Batch(dict(given.images), {}))  # nothing is dropped or translated
    assert torch.allclose(embedded.images[VISIBLE], given.images[VISIBLE], atol=1e-7)


def test_what_it_refuses():
    with pytest.raises(Mismatch, match=r' 3 .* infrared\n'):
        CycleTranslator({VISIBLE: 3})
    with pytest.raises(Mismatch, match=r'visible .* 2, infrared .* 2\n'):
        CycleTranslator({VISIBLE: 2, INFRARED: 2})
    with pytest.raises(Mismatch, match='30 x 16'):
        CycleTranslator(BOTH, (30, 16), size=None)
    with pytest.raises(WrongValue, match=r'std is \(0.2, 0.2, 0.0\)'):
        CycleTranslator(BOTH, std=(0.2, 0.2, 0.0))
