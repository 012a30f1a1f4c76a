"""IWPAHead: the intra-modality weighted-part aggregation of DDAG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import FeatureSpec, HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.necks.matching import one_input
from vireid.plugins.stripes import stripes


class IWPAHead(nn.Module):
    """A global vector, and its refinement by attention among parts (Ye et al., ECCV 2020, arXiv 2007.09314).

    The map is split into P horizontal stripes, which are average-pooled to x_1 ... x_P. With linear maps u, v and z,
    part i becomes x'_i, the sum over j of softmax_j(u(x_i) . v(x_j)) z(x_j). The residual BatchNorm connection adds
    their weighted sum to the BatchNorm of the average-pooled vector x: x* = BN(x) + sum_i w_i x'_i, where w is the
    softmax of P learned numbers. No other image is involved, so the head works at test time.

    The head has two outputs. `global` holds x and the logits of BN(x). `refined` holds x* and the logits of x* after a
    second BatchNorm. Both share the classifier.

    Args:
        inputs: one joint map.
        num_identities: number of classes K.
        parts: number of stripes P, at least 1.
        embedding: which output to use at test time, after its BatchNorm.

    Raises:
        VireidError: if the input is not one map, or has fewer rows than `parts`.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        parts: Annotated[int, Ge(1)] = 3,
        embedding: Literal['global', 'refined'] = 'refined',
    ) -> None:
        super().__init__()
        spec = one_input('IWPAHead', inputs, 'map', 'use GlobalHead for a vector')
        if spec.size is not None:
            stripes(spec.size[0], parts)  # raises before any data is read
        self.outputs = {'global': 0, 'refined': 0}
        self.embedding, self.embedding_dim = embedding, spec.channels
        self.u, self.v, self.z = (nn.Linear(spec.channels, spec.channels) for _ in range(3))
        self.gate = nn.Parameter(torch.full((parts,), 1 / parts))  # w, before its softmax
        self.bnneck, self.refined_bnneck = nn.BatchNorm1d(spec.channels), nn.BatchNorm1d(spec.channels)
        self.bnneck.bias.requires_grad_(False)
        self.refined_bnneck.bias.requires_grad_(False)
        self.classifier = nn.Linear(spec.channels, num_identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, feature: Tensor) -> dict[str, HeadOutput]:
        pooled, normalized, refined = self._vectors(feature)
        return {
            'global': HeadOutput(pooled, self.classifier(normalized)),  # (B, C), (B, K)
            'refined': HeadOutput(refined, self.classifier(self.refined_bnneck(refined))),
        }

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, embedding_dim) vector used at test time."""
        _, normalized, refined = self._vectors(feature)
        return normalized if self.embedding == 'global' else self.refined_bnneck(refined)

    def _vectors(self, feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns x, BN(x) and x*, (B, C) each."""
        pooled = feature.mean(dim=(2, 3))
        normalized = self.bnneck(pooled)
        rows = stripes(feature.shape[2], len(self.gate))
        parts = torch.stack([feature[:, :, first:last].mean(dim=(2, 3)) for first, last in rows], dim=1)  # (B, P, C)
        u, v, z = self.u(parts), self.v(parts), self.z(parts)
        wide = torch.promote_types(u.dtype, torch.float32)
        # under autocast the products would be in half precision, where the sum over all channels may overflow
        with full_precision(feature):
            attention = (u.to(wide) @ v.to(wide).transpose(1, 2)).softmax(dim=2)  # (B, P, P)
            context = self.gate.softmax(dim=0).to(wide) @ (attention @ z.to(wide))  # (B, C)
        return pooled, normalized, normalized + context
