"""UnifiedTranslator: what each of the four channels is, what the maps are, and where noise is drawn."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import INFRARED, VISIBLE, Batch
from vireid.errors import Mismatch
from vireid.plugins.translators.unified_translator import UnifiedTranslator

BOTH = {VISIBLE: 3, INFRARED: 3}
MEAN, STD = (torch.tensor(x).double().view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
ALL = ('real', 'fake', 'same', 'cycle', 'code', 'fake_code')


def small() -> UnifiedTranslator:
    torch.manual_seed(0)
    return UnifiedTranslator(BOTH, (8, 8), channels=2, blocks=1).double()


def batch() -> Batch:
    torch.manual_seed(1)
    return Batch({m: torch.randn(2, 3, 8, 8).double() for m in BOTH}, {m: torch.arange(2) for m in BOTH})


def test_the_channels_are_three_colors_and_infrared_of_which_each_image_has_its_own():
    translator, given = small().eval(), batch()
    out = translator(given)
    visible, infrared = (2 * (given.images[m] * STD + MEAN) - 1 for m in (VISIBLE, INFRARED))
    gray = infrared.mean(1, keepdim=True)
    encode, decode = translator.encoders, translator.decoders
    fake_infrared = decode[INFRARED](encode[VISIBLE](visible))
    fake_colors = decode[VISIBLE](encode[INFRARED](gray))
    assert fake_infrared.shape == (2, 1, 8, 8)

    def fourth(x: torch.Tensor) -> torch.Tensor:
        return ((x + 1) / 2 - MEAN.mean()) / STD.mean()

    wanted = {
        VISIBLE: torch.cat([given.images[VISIBLE], fourth(fake_infrared)], 1),
        INFRARED: torch.cat([((fake_colors + 1) / 2 - MEAN) / STD, fourth(gray)], 1),
    }
    assert translator.modalities == {VISIBLE: 4, INFRARED: 4}
    for m in BOTH:
        assert torch.allclose(out.images[m], wanted[m], atol=1e-6)


def test_the_maps_are_those_of_the_cycle():
    translator, given = small().eval(), batch()
    maps = translator(given, needed=ALL).maps
    real = {m: 2 * (x * STD + MEAN) - 1 for m, x in given.images.items()}
    real[INFRARED] = real[INFRARED].mean(1, keepdim=True)
    encode, decode = translator.encoders, translator.decoders
    for m, other in ((VISIBLE, INFRARED), (INFRARED, VISIBLE)):
        code = encode[m](real[m])
        fake = decode[other](code)
        wanted = {
            'real': real[m], 'code': code, 'fake': fake, 'same': decode[m](code), 'fake_code': encode[other](fake),
            'cycle': decode[m](encode[other](fake)),
        }  # fmt: skip
        assert set(maps) == set(wanted)
        for name, value in wanted.items():
            assert maps[name][m].shape[1] == translator.maps[name].channels
            assert torch.allclose(maps[name][m], value.expand_as(maps[name][m]), atol=1e-6), name


def test_codes_are_drawn_in_training_and_not_when_images_are_embedded():
    translator, given = small(), batch()
    for mode, equal in ((True, False), (False, True)):
        translator.train(mode)
        first, second = (translator(given, needed=('fake', 'code')).maps for _ in range(2))
        assert torch.equal(first['fake'][VISIBLE], second['fake'][VISIBLE]) == equal
        assert torch.equal(first['code'][VISIBLE], second['code'][VISIBLE])  # the mean is not


def test_only_the_maps_that_are_read_are_computed():
    translator, calls = small(), []
    for part in (*translator.encoders.values(), *translator.decoders.values()):
        part.register_forward_hook(lambda *_: calls.append(1))
    for needed, count in (((), 4), (('same',), 6), (('fake_code',), 6), (('cycle',), 8), (ALL, 10)):
        calls.clear()
        assert set(translator(batch(), needed=needed).maps) == set(needed)
        assert len(calls) == count


@pytest.mark.parametrize('modality', [VISIBLE, INFRARED])
def test_one_modality_alone_is_seen_as_in_both(modality):
    translator, given = small().eval(), batch()
    alone = translator(Batch({modality: given.images[modality]}, {}))
    assert set(alone.images) == {modality}
    assert torch.equal(alone.images[modality], translator(given).images[modality])


def test_parameters_by_hand():
    block = 2 * (256 * 256 * 9 + 2 * 256)
    down = 128 + (64 * 128 * 16 + 256) + (128 * 256 * 16 + 512)
    up = (256 * 128 * 16 + 256) + (128 * 64 * 16 + 128)
    with torch.device('meta'):
        translator = UnifiedTranslator(BOTH)
    wanted = 2 * (down + up + 8 * block) + 2 * (3 + 1) * 64 * 49  # the colors are 3 and 1
    assert sum(p.numel() for p in translator.parameters()) == wanted


def test_what_it_refuses():
    with pytest.raises(Mismatch, match=r' 3 .* infrared .* 1\n'):
        UnifiedTranslator({VISIBLE: 3, INFRARED: 1})
    with pytest.raises(Mismatch, match='30 x 16'):
        UnifiedTranslator(BOTH, (30, 16))
