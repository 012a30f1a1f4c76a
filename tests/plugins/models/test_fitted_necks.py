"""Fitted necks of the embedding: fitted in order to the features of all images, which are read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from vireid.core.types import INFRARED, VISIBLE, Batch, Context
from vireid.errors import Mismatch
from vireid.plugin_manager.manager import create_manager

pytestmark = pytest.mark.usefixtures('narrow_resnet')

BACKBONE = {'type': 'TwoStreamResNet', 'depth': 18, 'shared_from': 0, 'out_stages': [1], 'weights': None}
NECKS: dict[str, Any] = {
    'stripes': {'type': 'StripeEmbedding', 'inputs': 'stage1', 'parts': 2},
    'centered': {'type': 'ModalityCentering', 'inputs': 'stripes'},
    'whitened': {'type': 'WithinIdentityWhitening', 'inputs': 'centered', 'groups': 2},
}


class Batches:
    """Batches that count how often they are iterated over."""

    def __init__(self, *batches: Batch) -> None:
        self.batches, self.passes = batches, 0

    def __iter__(self) -> Iterator[Batch]:
        self.passes += 1
        return iter(self.batches)


def model(embedding: str, **necks: Any) -> Any:
    torch.manual_seed(0)
    config = {
        'type': 'CrossModalModel',
        'backbone': BACKBONE,
        'necks': necks,
        'heads': {},
        'weighter': {'type': 'Fixed'},
        'embedding': embedding,
    }
    build = create_manager().components.build
    return build('models', config, where='model', num_identities=2, image_size=(32, 16)).eval().double()


def batch(identities: list[int], modalities: tuple[str, ...], seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    count = len(identities)
    return Batch(
        {m: torch.randn(count, 3, 32, 16, generator=generator, dtype=torch.float64) for m in modalities},
        {m: torch.tensor(identities) for m in modalities},
        {m: torch.ones(count, dtype=torch.int64) for m in modalities},
    )


def test_each_is_fitted_to_what_those_before_it_make() -> None:
    made = model('whitened', **NECKS)
    mixed, infrared = batch([4, 4, 7], (VISIBLE, INFRARED), 1), batch([7, 9], (INFRARED,), 2)
    data = Batches(mixed, infrared)
    made.fit(data)
    assert data.passes == 1

    plain = model('stripes', stripes=NECKS['stripes'])
    visible = plain.embed(mixed.images[VISIBLE], VISIBLE)
    others = torch.cat([plain.embed(b.images[INFRARED], INFRARED) for b in (mixed, infrared)])
    torch.testing.assert_close(made.necks['centered'].mean_visible, visible.mean(0))
    torch.testing.assert_close(made.necks['centered'].mean_infrared, others.mean(0))

    alone = create_manager().components.build(
        'necks',
        {'type': 'WithinIdentityWhitening', 'groups': 2},
        where='necks.whitened',
        inputs=(made.specs['centered'],),
    )
    centered = torch.cat([visible - visible.mean(0), others - others.mean(0)])
    alone.double().fit(centered, Context({VISIBLE: 3, INFRARED: 5}, torch.tensor([4, 4, 7, 4, 4, 7, 7, 9])))
    torch.testing.assert_close(made.necks['whitened'].matrix, alone.matrix, rtol=1e-6, atol=1e-9)
    expected = alone(centered[:3], context=Context({VISIBLE: 3}))
    torch.testing.assert_close(made.embed(mixed.images[VISIBLE], VISIBLE), expected, rtol=1e-6, atol=1e-9)


def test_both_modalities_at_once_are_embedded_alike() -> None:
    made = model('centered', stripes=NECKS['stripes'], centered=NECKS['centered'])
    images = batch([1, 2], (VISIBLE, INFRARED), 3)
    made.fit(Batches(images))
    alone = torch.cat([made.embed(images.images[m], m) for m in (VISIBLE, INFRARED)])
    torch.testing.assert_close(made.embed_joint(images.images), alone)


@pytest.mark.parametrize('embedding', ['stripes', 'centered'])
def test_a_model_is_fitted_only_if_its_embedding_has_something_to_fit(embedding: str) -> None:
    made = model(embedding, **{name: NECKS[name] for name in ('stripes', 'centered')[: 1 + (embedding == 'centered')]})
    assert (made.fit is not None) == (embedding == 'centered')


def test_a_head_cannot_learn_from_what_is_fitted_later() -> None:
    config = {
        'type': 'CrossModalModel',
        'backbone': BACKBONE,
        'necks': {**NECKS, 'all': {'type': 'Concat', 'inputs': ['stripes', 'centered']}},
        'heads': {'all': {'type': 'GlobalHead', 'losses': {'id': {'type': 'CrossEntropy'}}}},
        'weighter': {'type': 'Fixed'},
        'embedding': 'whitened',
    }
    with pytest.raises(Mismatch, match="'all'") as caught:
        create_manager().components.build('models', config, where='model', num_identities=2, image_size=(32, 16))
    assert caught.value.path == 'model.heads.all'
