"""CorrelationHead, and the contrast of pairs: kernel by kernel, cell by cell, channel by channel."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.heads.contrast import contrast
from vireid.plugins.heads.correlation_head import CorrelationHead


def literal(tensors, kernels, others, other_kernels) -> torch.Tensor:
    """The similarities of all pairs with plain loops, from the difference of the kernels."""
    channels, cells = tensors.shape[1:]
    rows = []
    for a in range(len(tensors)):
        row = []
        for b in range(len(others)):
            cosine = squares = torch.zeros((), dtype=torch.float64)
            for n in range(cells):
                cosine = cosine + sum(tensors[a, c, n] * others[b, c, n] for c in range(channels))
                for s in range(kernels.shape[1]):
                    gap = kernels[a, s] - other_kernels[b, s]
                    first = sum(gap[c] * tensors[a, c, n] for c in range(channels))
                    second = sum(gap[c] * others[b, c, n] for c in range(channels))
                    squares = squares + (first - second) ** 2
            row.append(cosine - squares / 2)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def random_set(count: int, channels: int = 5, cells: int = 3, kernels: int = 2) -> list[torch.Tensor]:
    tensors = torch.randn(count, channels * cells, dtype=torch.float64)
    tensors = torch.nn.functional.normalize(tensors, dim=1).view(count, channels, cells)
    made = torch.randn(count, kernels, channels, dtype=torch.float64)
    return [tensors.requires_grad_(), made.requires_grad_()]


def test_contrast_equals_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    leaves = [*random_set(3), *random_set(4)]
    found, wanted = contrast(*leaves), literal(*leaves)
    assert found.shape == (3, 4)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    direction = torch.randn(3, 4, dtype=torch.float64)
    gradients, expected = (torch.autograd.grad((value * direction).sum(), leaves) for value in (found, wanted))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(gradients, expected, strict=True))


def test_contrast_falls_with_the_distance_of_tensors_and_contrastive_features():
    torch.manual_seed(0)
    first, second = random_set(1), random_set(1)
    gap = first[1] - second[1]
    a, b = (torch.cat([tensor.flatten(), (gap @ tensor).flatten()]) for tensor in (first[0], second[0]))
    assert torch.allclose(contrast(*first, *second)[0, 0], 1 - (a - b).square().sum() / 2, rtol=0, atol=1e-10)


def test_contrast_by_hand():
    # one kernel, two channels, one cell; K_A - K_B = (1, -2); T_A - T_B = (1, -1): |.|^2 is 2, and 3^2 after D
    tensors, others = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[0.0], [1.0]]])
    kernels, other_kernels = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]])
    assert contrast(tensors, kernels, others, other_kernels).item() == pytest.approx(1 - (2 + 9) / 2)


def test_contrast_is_symmetric_and_at_most_the_cosine_of_the_tensors():
    torch.manual_seed(0)
    first, second = random_set(6), random_set(7)
    found = contrast(*first, *second)
    assert torch.allclose(found, contrast(*second, *first).T, rtol=0, atol=1e-10)
    cosine = first[0].flatten(1) @ second[0].flatten(1).T
    assert (found < cosine).all()
    alike = torch.ones(7, 2, 5, dtype=torch.float64)
    assert torch.allclose(contrast(first[0], alike[:6], second[0], alike), cosine, rtol=0, atol=1e-10)


def test_an_image_is_wholly_like_itself_with_a_finite_gradient():
    torch.manual_seed(0)
    tensors, kernels = (part.detach().float().requires_grad_() for part in random_set(4))
    found = contrast(tensors, kernels, tensors, kernels)
    assert torch.allclose(found.diagonal(), torch.ones(4), atol=1e-5)
    found.sum().backward()
    assert torch.isfinite(tensors.grad).all()
    assert torch.isfinite(kernels.grad).all()


def test_the_features_of_an_image_depend_on_the_other():
    # both others have the same tensor and differ only in their kernels, which select one channel each
    tensors, others = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[0.6], [0.8]]]).expand(2, -1, -1)
    kernels, other_kernels = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    found = contrast(tensors, kernels, others, other_kernels)[0]
    assert found.tolist() == pytest.approx([0.6 - 0.4**2 / 2, 0.6 - 0.8**2 / 2])


def test_half_precision_becomes_float32():
    leaves = [part.detach().half() for part in (*random_set(3), *random_set(3))]
    assert contrast(*leaves).dtype == torch.float32


MAP = FeatureSpec(7, 'map', size=(4, 4))


def head(**arguments) -> CorrelationHead:
    torch.manual_seed(0)
    return CorrelationHead([MAP], num_identities=3, **{'channels': 5, 'kernels': 2, 'grid': (2, 2), **arguments})


def test_parameters_by_hand():
    made = head()
    trained = {name: p.numel() for name, p in made.named_parameters() if p.requires_grad}
    assert trained == {
        'projection.weight': 7 * 5,
        'bnneck.weight': 5,
        'generator.weight': (5 * 4) * (2 * 5),
        'classifier.weight': 5 * 4 * 3,
    }
    assert made.embedding_dim == 5 * (4 + 2)


def test_the_tensor_is_the_mean_of_its_cells_projected():
    made, images = head().double(), torch.randn(6, 7, 4, 4, dtype=torch.float64)
    outputs = made(images)
    assert list(outputs) == list(made.outputs) == ['tensor', 'pairs']
    found = outputs['tensor'].feature.view(6, 5, 2, 2)
    weight = made.projection.weight[:, :, 0, 0]
    for row in range(2):
        for column in range(2):
            cell = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(dim=(2, 3))
            assert torch.allclose(found[:, :, row, column], cell @ weight.T, rtol=0, atol=1e-10)
    assert outputs['tensor'].logits.shape == (6, 3)
    assert outputs['pairs'].feature.shape == (6, 6)


def test_pairs_are_the_contrast_of_the_embeddings():
    made, images = head().double().eval(), torch.randn(6, 7, 4, 4, dtype=torch.float64)
    embeddings = made.embed(images)
    tensors, kernels = made.split(embeddings)
    assert tensors.shape == (6, 5, 4)
    assert kernels.shape == (6, 2, 5)
    assert torch.allclose(tensors.square().sum(dim=(1, 2)), torch.ones(6, dtype=torch.float64))
    assert torch.allclose(kernels.square().sum(dim=(1, 2)), torch.full((6,), 2.5, dtype=torch.float64))
    # the framework's normalization of embeddings has no effect
    wanted = literal(tensors, kernels, *made.split(embeddings / 3))
    assert torch.allclose(made(images)['pairs'].feature, wanted, rtol=0, atol=1e-10)


def test_a_smaller_map_keeps_its_cells():
    made = CorrelationHead([FeatureSpec(7, 'map', size=(4, 2))], num_identities=3)
    assert made.grid == (4, 2)
    assert made.embedding_dim == 256 * (8 + 4)


def test_equal_and_zero_images_have_a_finite_gradient():
    for images in (torch.ones(4, 7, 4, 4), torch.zeros(4, 7, 4, 4)):
        images.requires_grad_()
        outputs = head()(images)
        (outputs['pairs'].feature.sum() + outputs['tensor'].logits.sum()).backward()
        assert torch.isfinite(images.grad).all()


def test_wrong_arguments():
    for specs in ([FeatureSpec(7)], [MAP, MAP], [FeatureSpec(7, 'map')]):
        with pytest.raises(Mismatch, match='CorrelationHead'):
            CorrelationHead(specs, num_identities=3)
