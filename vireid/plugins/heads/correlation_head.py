"""CorrelationHead: a tensor that keeps the spatial structure, and kernels for comparing it with other images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import FeatureSpec, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.heads.contrast import contrast
from vireid.plugins.necks.matching import describe


class CorrelationHead(nn.Module):
    """The common tensor space of DSCSN with the kernels of its contrastive correlation.

    DSCSN is Zhang et al., TIP 2021, arXiv 1910.11656. A map becomes a unit-length tensor T of C channels in N cells; it
    is not pooled to one vector. A linear generator computes S kernels K over the C channels from the whole tensor.
    |K|^2 is C / 2, so that the difference of two unrelated kernels preserves lengths. `contrast` compares two images.
    The paper's abstract states the tensor space, and that a pair's features depend on both images. The layers are our
    reading.

    The head has two outputs. `tensor` holds the flattened tensor before the BatchNorm, (B, C N), and the logits of the
    one after it. `pairs` holds the similarity between all images of the batch as its feature, (B, B). The embedding is
    T followed by K, of length C (N + S). To rank with it, use `ContrastiveCorrelation`.

    Args:
        inputs: one joint map of known size.
        num_identities: number of classes.
        channels: C, at least 1.
        kernels: S, at least 1.
        grid: maximum rows and columns of cells, each at least 1; a smaller map keeps its size.

    Raises:
        Mismatch: if the input is not one map of known size.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        channels: Annotated[int, Ge(1)] = 256,
        kernels: Annotated[int, Ge(1)] = 4,
        grid: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (6, 3),
    ) -> None:
        super().__init__()
        if len(inputs) != 1 or inputs[0].kind != 'map' or inputs[0].size is None:
            raise Mismatch(f'CorrelationHead got: {describe(inputs)}', allowed='one map of known size')
        rows, columns = inputs[0].size
        self.channels, self.kernels = channels, kernels
        self.grid = (min(grid[0], rows), min(grid[1], columns))
        self.cells = self.grid[0] * self.grid[1]
        self.outputs = {'tensor': 0, 'pairs': 0}
        self.embedding_dim = channels * (self.cells + kernels)
        self.pool = nn.AdaptiveAvgPool2d(self.grid)
        self.projection = nn.Conv2d(inputs[0].channels, channels, 1, bias=False)
        self.bnneck = nn.BatchNorm2d(channels)
        self.bnneck.bias.requires_grad_(False)
        self.generator = nn.Linear(channels * self.cells, kernels * channels, bias=False)
        self.classifier = nn.Linear(channels * self.cells, num_identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, feature: Tensor) -> dict[str, HeadOutput]:
        before = self._project(feature)  # (B, C, rows, columns)
        after = self.bnneck(before)
        tensors, kernels = self._compared(after)
        return {
            'tensor': HeadOutput(before.flatten(1), self.classifier(after.flatten(1))),  # (B, C N), (B, K)
            'pairs': HeadOutput(contrast(tensors, kernels, tensors, kernels)),  # (B, B)
        }

    def embed(self, feature: Tensor) -> Tensor:
        """Returns (B, embedding_dim): the tensor, channel by channel, then the kernels."""
        tensors, kernels = self._compared(self.bnneck(self._project(feature)))
        return torch.cat([tensors.flatten(1), kernels.flatten(1)], dim=1)

    def split(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Splits embeddings into (B, C, N) tensors and (B, S, C) kernels, normalized as described above."""
        return split(embeddings, self.channels, self.kernels)

    def _project(self, feature: Tensor) -> Tensor:
        return self.projection(self.pool(feature))  # both are linear; this order is cheaper

    def _compared(self, after: Tensor) -> tuple[Tensor, Tensor]:
        after = after.to(torch.promote_types(after.dtype, torch.float32))
        kernels = self.generator(after.flatten(1)).to(after.dtype)
        return self.split(torch.cat([after.flatten(1), kernels], dim=1))


def split(embeddings: Tensor, channels: int, kernels: int) -> tuple[Tensor, Tensor]:
    """Splits embeddings into tensors and kernels.

    Args:
        embeddings: (B, C (N + S)).
        channels: C.
        kernels: S.

    Returns:
        (B, C, N) tensors of unit length, and (B, S, C) kernels with |K|^2 = C / 2.
    """
    tensors, flat = embeddings.split([embeddings.shape[1] - kernels * channels, kernels * channels], dim=1)
    tensors, flat = nn.functional.normalize(tensors, dim=1), nn.functional.normalize(flat, dim=1)
    return tensors.unflatten(1, (channels, -1)), (channels / 2) ** 0.5 * flat.unflatten(1, (kernels, channels))
