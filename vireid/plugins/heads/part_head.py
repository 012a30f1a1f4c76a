"""PartHead: a map's global vector and horizontal stripes, each reduced and classified separately."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.errors import WrongValue
from vireid.plugins.heads.branch import Branch, Place
from vireid.plugins.necks.matching import one_input
from vireid.plugins.stripes import stripes


class PartHead(nn.Module):
    """The whole map and `parts` horizontal stripes of it, pooled and reduced (DMCF Eq. 4-7).

    The outputs are `global`, (B, C), and `parts`, (B, P, C), stripes from top to bottom. The embedding concatenates the
    global vector and the stripes' vectors. With `whole=False` and six parts it is the head of PCB (Sun et al., 2018,
    arXiv 1711.09349).

    Args:
        inputs: one joint map.
        num_identities: number of classes K.
        build_part: builds the pooling.
        parts: number of stripes P; 0 removes the output `parts`.
        overlap: fraction of its height by which a stripe extends into each neighbor, 0 to 1 (exclusive).
        pool: pooling of the map and of each stripe: a name in `poolings`, or a config.
        channels: length C of each vector after the reduction (Eq. 7); None disables it.
        bnneck: True adds a BatchNorm before each classifier.
        embedding: which vectors to use at test time, `before` or `after` the BatchNorm.
        whole: False removes the output `global`.

    Raises:
        VireidError: if the input is not one map, it has fewer rows than `parts`, no output would be left, or a number
            is out of range.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        build_part: BuildPart,
        parts: int = 0,
        overlap: float = 0.0,
        pool: Annotated[str | dict, Component('poolings')] = 'Max',
        channels: int | None = 256,
        bnneck: bool = False,
        embedding: Place = 'after',
        whole: bool = True,
    ) -> None:
        super().__init__()
        spec = one_input('PartHead', inputs, 'map', 'use GlobalHead for a vector')
        if parts < 0 or (parts == 0 and not whole):
            raise WrongValue(
                f'parts is {parts} and whole is {whole}', allowed='parts of at least 1, or 0 with whole=True'
            )
        if not 0 <= overlap < 1 or (overlap and parts < 2):
            raise WrongValue(
                f'overlap is {overlap} and parts is {parts}',
                allowed='0 to 1 (exclusive); above 0 only with two or more parts',
            )
        if spec.size is not None:
            stripes(spec.size[0], parts, overlap)  # raises before any data is read
        self.overlap = overlap
        self.outputs = ({'global': 0} if whole else {}) | ({'parts': parts} if parts else {})
        self.pool = build_part('poolings', pool, 'pool')
        settings = (spec.channels, num_identities, channels, bnneck, embedding)
        self.whole = Branch(*settings) if whole else None
        self.parts: Any = nn.ModuleList(Branch(*settings) for _ in range(parts))
        self.embedding_dim = (parts + int(whole)) * (channels or spec.channels)

    def forward(self, feature: Tensor) -> dict[str, HeadOutput]:
        outputs = {}
        if self.whole is not None:
            outputs['global'] = self.whole(self.pool(feature))  # (B, C), (B, K)
        if self.parts:
            parts = [branch(vector) for branch, vector in zip(self.parts, self._stripes(feature), strict=True)]
            outputs['parts'] = HeadOutput(
                feature=torch.stack([part.feature for part in parts], dim=1),  # (B, P, C)
                logits=torch.stack([part.logits for part in parts], dim=1),  # (B, P, K)
            )
        return outputs

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, embedding_dim) vector used at test time: the global one, then the stripes."""
        vectors = [self.whole.embed(self.pool(feature))] if self.whole is not None else []
        vectors += [branch.embed(vector) for branch, vector in zip(self.parts, self._stripes(feature), strict=True)]
        return torch.cat(vectors, dim=1)

    def _stripes(self, feature: Tensor) -> list[Tensor]:
        """Pools each stripe of a (B, C, H, W) map to a (B, C) vector."""
        rows = stripes(feature.shape[2], len(self.parts), self.overlap)
        return [self.pool(feature[:, :, first:last]) for first, last in rows]
