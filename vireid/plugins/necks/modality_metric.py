"""ModalityMetric: a linear metric for each modality, as in MSR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec, Modality
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.necks.matching import one_input


class ModalityMetric(nn.Module):
    """Multiplies the vectors of each modality m by its own matrix W_m (Feng et al., TIP 2019).

    See doi 10.1109/TIP.2019.2928126.

    Euclidean distances between the outputs are distances in the metric W_m^T W_m within modality m. The matrices are
    initialized to the identity. There is no bias, as it would not change a distance within a modality. Train it with a
    metric loss wrapped in `EachModality`. The paper does not say that the metric is linear and learned with the
    network; that is our reading.

    Args:
        inputs: one vector of length C.
        modalities: image channels by modality; each modality gets a matrix.
        channels: number of rows of each matrix, at most C; None means C.

    Raises:
        VireidError: if the input is not one vector, or `channels` is out of range; when called, if a modality has no
            matrix.
    """

    def __init__(
        self, inputs: Sequence[FeatureSpec], modalities: Mapping[Modality, int], channels: int | None = None
    ) -> None:
        super().__init__()
        spec = one_input('ModalityMetric', inputs, 'vector', 'pool it first, e.g. with StageEmbedding')
        if channels is not None and not 1 <= channels <= spec.channels:
            raise WrongValue(f'channels is {channels}', allowed=f'1 to {spec.channels}, or None to keep the length')
        self.output = FeatureSpec(channels or spec.channels)
        self.metrics = nn.ModuleDict(
            {m: nn.Linear(spec.channels, self.output.channels, bias=False) for m in modalities}
        )
        for metric in self.metrics.values():
            nn.init.eye_(metric.weight)  # type: ignore[arg-type]

    def forward(self, vector: Tensor, context: Context) -> Tensor:
        unknown = sorted(set(context.counts) - set(self.metrics))
        if unknown:
            raise Mismatch(f'no metric for modality {unknown}', allowed=', '.join(self.metrics))
        return torch.cat([self.metrics[m](vector[context.rows(m)]) for m in context.counts])  # (B, channels)
