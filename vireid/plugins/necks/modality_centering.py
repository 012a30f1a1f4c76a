"""ModalityCentering: subtracts the mean vector of each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec, Modality
from vireid.errors import Mismatch
from vireid.plugins.full_precision import in_float64
from vireid.plugins.necks.matching import one_input


class ModalityCentering(nn.Module):
    """Subtracts from each vector the mean vector of its modality, which closes most of the modality gap.

    `fit` computes the means from the training images; until then they are zero. No labels are needed, so
    `vireid adapt` can compute them from images of other cameras.

    Args:
        inputs: one vector.
        modalities: image channels by modality; each modality gets a mean.

    Raises:
        Mismatch: if the input is not one vector, or, when called, if a modality has no mean.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], modalities: Mapping[Modality, int]) -> None:
        super().__init__()
        spec = one_input('ModalityCentering', inputs, 'vector', 'pool it first, e.g. with StripeEmbedding')
        self.output = spec
        self.modalities = tuple(modalities)
        for modality in modalities:
            self.register_buffer(f'mean_{modality}', torch.zeros(spec.channels))

    def forward(self, vector: Tensor, context: Context) -> Tensor:
        unknown = sorted(set(context.counts) - set(self.modalities))
        if unknown:
            raise Mismatch(f'no mean for modality {unknown}', allowed=', '.join(self.modalities))
        return torch.cat([vector[context.rows(m)] - getattr(self, f'mean_{m}') for m in context.counts])  # (B, C)

    def fit(self, vector: Tensor, context: Context) -> None:
        """Computes the means from (N, C) vectors; modalities without images keep theirs."""
        for modality in context.counts:
            mean = in_float64(vector[context.rows(modality)]).mean(dim=0)
            getattr(self, f'mean_{modality}').copy_(mean)
