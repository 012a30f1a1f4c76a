"""Necks that return several rows per image: identities, counts and embeddings follow."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Batch, Context, FeatureSpec, HeadOutput
from vireid.errors import Mismatch
from vireid.plugin_manager.manager import create_manager


class Means(nn.Module):
    """The channel means of an image, as one vector of 3."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.outputs = {'mean': FeatureSpec(3)}

    def forward(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        return {'mean': torch.cat([x.mean((2, 3)) for x in images.values()]) * self.scale}


class Multiples(nn.Module):
    """Returns each row times 1, 2, ..., k."""

    def __init__(self, inputs: Any, k: int = 3) -> None:
        super().__init__()
        self.k, self.output = k, FeatureSpec(inputs[0].channels, copies=k)
        assert inputs[0].copies == 1  # to a neck, every row it receives is one row

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return torch.stack([n * x for n in range(1, self.k + 1)], dim=1).flatten(0, 1)


class Shorter(Multiples):
    def forward(self, x: Tensor, context: Context) -> Tensor:
        return super().forward(x, context)[1:]


class Seen(nn.Module):
    """Records what a loss sees; the loss is the sum of the features."""

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        self.output, self.identities, self.context = output, identities, context
        return output.feature.sum()


CONFIG: dict[str, Any] = {
    'backbone': {'type': 'Means'},
    'necks': {
        'three': {'type': 'Multiples', 'inputs': 'mean'},
        'six': {'type': 'Multiples', 'inputs': 'three', 'k': 2},
    },
    'heads': {
        name: {'type': 'GlobalHead', 'bnneck': False, 'losses': {'seen': {'type': 'Seen'}}}
        for name in ('mean', 'three', 'six')
    },
    'weighter': {'type': 'Fixed'},
    'embedding': ('mean', 'three'),
}
BATCH = Batch(
    {VISIBLE: torch.arange(24.0).view(2, 3, 2, 2), INFRARED: 50 + torch.arange(12.0).view(1, 3, 2, 2)},
    {VISIBLE: torch.tensor([4, 5]), INFRARED: torch.tensor([4])},
    {VISIBLE: torch.tensor([1, 2]), INFRARED: torch.tensor([3])},
)


def build(change: Any = None, **more: Any) -> Any:
    components = create_manager().components
    components.add('backbones', 'Means', Means)
    for name, part in (('Multiples', Multiples), ('Shorter', Shorter)):
        components.add('necks', name, part)
    components.add('losses', 'Seen', Seen)
    config = copy.deepcopy(CONFIG)
    if change is not None:
        change(config)
    torch.manual_seed(0)
    return components.build('models', {'type': 'CrossModalModel', **config, **more}, where='model', num_identities=6)


def test_identities_cameras_and_counts_follow_with_the_copies_of_an_image_together():
    model = build()
    assert [model.specs[name].copies for name in ('mean', 'three', 'six')] == [1, 3, 6]
    model(BATCH)
    seen = {name: task.losses['seen'] for name, task in model.tasks.items()}
    assert seen['mean'].context.counts == {VISIBLE: 2, INFRARED: 1}
    assert seen['three'].context.counts == {VISIBLE: 6, INFRARED: 3}
    assert seen['six'].context.counts == {VISIBLE: 12, INFRARED: 6}
    assert seen['three'].context.copies == 3
    assert seen['three'].identities.tolist() == [4, 4, 4, 5, 5, 5, 4, 4, 4]
    assert seen['three'].context.cameras.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    rows = seen['three'].context.rows(INFRARED)
    assert torch.allclose(seen['three'].output.feature[rows], torch.tensor([[1.0], [2.0], [3.0]]) * torch.tensor(
        [51.5, 55.5, 59.5]))  # fmt: skip


def test_an_embedding_is_one_vector_per_image():
    model = build().eval()
    assert model.embedding_dim == 3 + 9
    with torch.no_grad():
        found = model.embed(BATCH.images[INFRARED], INFRARED)
        mean = torch.tensor([51.5, 55.5, 59.5])
        assert torch.allclose(found, torch.cat([mean, mean, 2 * mean, 3 * mean])[None])
        parts = build(normalize_parts=True).eval().embed(BATCH.images[INFRARED], INFRARED)
    assert torch.allclose(parts, (mean / mean.norm()).repeat(4)[None])


def test_a_neck_that_returns_fewer_rows_than_it_declares_is_named():
    def change(config: dict[str, Any]) -> None:
        config['necks']['three']['type'] = 'Shorter'

    with pytest.raises(Mismatch, match=r"'three' .*\(8, 3\)\n.* 3 channels .* 3 rows .*\(3\)") as caught:
        build(change)(BATCH)
    assert caught.value.path == 'model.necks.three'


def test_features_with_different_rows_cannot_be_read_together():
    def change(config: dict[str, Any]) -> None:
        config['necks']['both'] = {'type': 'Concat', 'inputs': ('mean', 'three')}

    with pytest.raises(Mismatch, match=r'\(mean 1, three 3\)') as caught:
        build(change)
    assert caught.value.path == 'model.necks.both'


@pytest.mark.parametrize(('first', 'then'), [(1, 3), (3, 1), (2, 6), (4, 4)])
def test_metadata_of_copies(first, then):
    counts = {VISIBLE: 2 * first, INFRARED: first}
    context = Context(counts, torch.arange(3).repeat_interleave(first), None, first).copied(then)
    assert context.counts == {VISIBLE: 2 * then, INFRARED: then}
    assert context.identities.tolist() == [i for i in range(3) for _ in range(then)]
    assert (context.cameras, context.copies) == (None, then)
