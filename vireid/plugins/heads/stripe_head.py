"""StripeHead: horizontal stripes of a map, each with its own reduction, BatchNorm, ReLU and classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.necks.matching import one_input


class StripeHead(nn.Module):
    """The part features of HcTri (Liu et al., IEEE TMM 2020, arXiv 2008.06223).

    Each stripe is pooled, reduced by a 1x1 convolution, and passed through BatchNorm and ReLU; the result is what the
    losses, the classifier and the embedding use. The outputs are `parts`, (B, P, C) with logits (B, P, K), stripes from
    top to bottom, and `whole`, their concatenation (B, P C) without logits. The embedding is `whole`.

    The convolution has no bias, as the BatchNorm after it would subtract it. `PartHead` has stripes without BatchNorm
    and ReLU.

    Args:
        inputs: one joint map.
        num_identities: number of classes K.
        build_part: builds the pooling.
        parts: number of stripes P, at least 1.
        channels: length C of the vector of each stripe, at least 1.
        pool: pooling of each stripe: a name in `poolings`, or a config.
        share_rows: what to do if `parts` does not divide the rows of the map. False is an error. True lets neighboring
            stripes share the row at their border: of H rows, stripe i gets those from i H / P (rounded down) to (i + 1)
            H / P (rounded up). With fewer rows than stripes, several stripes get the same row.

    Raises:
        Mismatch: if the input is not one map, or `parts` does not divide its rows.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        build_part: BuildPart,
        parts: Annotated[int, Ge(1)] = 6,
        channels: Annotated[int, Ge(1)] = 256,
        pool: Annotated[str | dict, Component('poolings')] = 'GeM',
        share_rows: bool = False,
    ) -> None:
        super().__init__()
        spec = one_input('StripeHead', inputs, 'map', 'use GlobalHead for a vector')
        self.share_rows = share_rows
        self.outputs = {'parts': parts, 'whole': 0}
        self.embedding_dim = parts * channels
        if spec.size is not None:
            self._stripes(spec.size[0])  # raises before any data is read
        self.pool = build_part('poolings', pool, 'pool')
        self.reductions = nn.ModuleList(_reduction(spec.channels, channels) for _ in range(parts))
        self.classifiers = nn.ModuleList(_classifier(channels, num_identities) for _ in range(parts))

    def forward(self, feature: Tensor) -> dict[str, HeadOutput]:
        vectors = self._vectors(feature)
        logits = [classifier(vector) for classifier, vector in zip(self.classifiers, vectors, strict=True)]
        return {
            'parts': HeadOutput(torch.stack(vectors, dim=1), torch.stack(logits, dim=1)),  # (B, P, C), (B, P, K)
            'whole': HeadOutput(torch.cat(vectors, dim=1)),  # (B, P C)
        }

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, P C) vector used at test time: the stripes from top to bottom."""
        return torch.cat(self._vectors(feature), dim=1)

    def _vectors(self, feature: Tensor) -> list[Tensor]:
        """Maps (B, C', H, W) to the (B, C) vector of each stripe."""
        rows = self._stripes(feature.shape[2])
        return [
            reduction(self.pool(feature[:, :, first:last]))
            for reduction, (first, last) in zip(self.reductions, rows, strict=True)
        ]

    def _stripes(self, height: int) -> list[tuple[int, int]]:
        """Returns (first row, row after the last) of each stripe."""
        parts = self.outputs['parts']
        if height % parts and not self.share_rows:
            raise Mismatch(
                f'parts is {parts}, but the map has {height} row{"s" if height > 1 else ""}',
                allowed='a number of parts that divides the rows: '
                + ', '.join(str(n) for n in range(1, height + 1) if height % n == 0),
                todo='change parts, images.size or model.backbone.last_stride, or let stripes share rows: '
                'share_rows=True',
            )
        return [(part * height // parts, -(-(part + 1) * height // parts)) for part in range(parts)]


def _reduction(in_channels: int, channels: int) -> nn.Sequential:
    convolution = nn.Linear(in_channels, channels, bias=False)  # a 1x1 convolution on a pooled vector
    nn.init.kaiming_normal_(convolution.weight)
    return nn.Sequential(convolution, nn.BatchNorm1d(channels), nn.ReLU())


def _classifier(channels: int, num_identities: int) -> nn.Linear:
    classifier = nn.Linear(channels, num_identities)
    nn.init.normal_(classifier.weight, std=0.001)
    nn.init.zeros_(classifier.bias)
    return classifier
