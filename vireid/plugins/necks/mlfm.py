"""MLFM: the multi-level fusion module of TFFN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.errors import WrongValue
from vireid.plugins.necks.matching import require_vectors


class MLFM(nn.Module):
    """Reweights the channels of several levels and sums the levels (TFFN section 2.2).

    TFFN is Cheng et al., ICIP 2021, doi 10.1109/ICIP42928.2021.9506219.

    The levels' vectors are concatenated into S(x). With A = sigmoid(W2 relu(W1 S)) (Eq. 2) and S* = A * S + S (Eq. 3),
    the output is the L2-normalized sum of the levels' slices of S*.

    Args:
        inputs: two or more vectors of the same length C.
        reduction: W1 maps L*C channels to L*C / reduction.
        attention: False omits Eq. 2; the output is then the L2-normalized sum of the inputs ("w/o A" in Table 3).

    Raises:
        VireidError: if the inputs are not two or more vectors of the same length, or `reduction` is below 1.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], reduction: int = 16, attention: bool = True) -> None:
        super().__init__()
        require_vectors('MLFM', inputs)
        if reduction < 1:
            raise WrongValue(f'reduction is {reduction}', allowed='an integer of at least 1')
        self.output = inputs[0]
        width = len(inputs) * self.output.channels
        self.mask = (
            nn.Sequential(
                nn.Linear(width, max(1, width // reduction)),
                nn.ReLU(inplace=True),
                nn.Linear(max(1, width // reduction), width),
                nn.Sigmoid(),
            )
            if attention
            else None
        )

    def forward(self, *levels: Tensor, context: Context) -> Tensor:
        s = torch.cat(levels, dim=1)  # (B, L*C)
        if self.mask is not None:
            s = self.mask(s) * s + s
        fused = s.unflatten(1, (len(levels), -1)).sum(dim=1)  # (B, C)
        return nn.functional.normalize(fused, dim=1)
