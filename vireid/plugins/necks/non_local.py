"""The non-local block: each cell of a map attends to all cells."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.errors import WrongValue
from vireid.plugins.necks.matching import require_maps


class NonLocal(nn.Module):
    """Adds to each cell a weighted sum over all cells (Wang et al., CVPR 2018, arXiv 1711.07971, dot-product form).

    z_i = x_i + BN(W y_i) with y_i = 1/N sum_j (theta(x_i) . phi(x_j)) g(x_j), where theta, phi, g and W are linear maps
    of a cell (1x1 convolutions) and N is the number of cells. The scale and shift of the BatchNorm are initialized to
    0, so a new block is the identity and can be inserted into a pretrained network. The weights are not normalized by a
    softmax, so the sum over j can be computed first, y_i = [1/N sum_j g(x_j) phi(x_j)^T] theta(x_i), which avoids an
    N x N tensor.

    Meant as an insert of a backbone: `inserts=dict(non_local=dict(type='NonLocal', after=dict(stage2=2, stage3=3)))`.

    Args:
        inputs: one map of C channels.
        channels: output channels C' of theta, phi and g, 1 to C; None means C / 2, as in the paper.

    Raises:
        VireidError: if the input is not one map, or `channels` is out of range.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], channels: int | None = None) -> None:
        super().__init__()
        (spec,) = require_maps('NonLocal', inputs, 1)
        self.output, width = spec, spec.channels
        inner = width // 2 if channels is None else channels
        if not 1 <= inner <= width:
            raise WrongValue(f'channels is {inner}', allowed=f'1 to {width}, those of the map')
        self.theta = nn.Conv2d(width, inner, 1)
        self.phi = nn.Conv2d(width, inner, 1)
        self.g = nn.Conv2d(width, inner, 1)
        self.W = nn.Conv2d(inner, width, 1, bias=False)  # the BatchNorm after it would cancel a bias
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, cells: Tensor, context: Context) -> Tensor:
        theta, phi, g = (part(cells).flatten(2) for part in (self.theta, self.phi, self.g))  # (B, C', N) each
        # 1/N is split over both factors: in half precision the plain sum overflows, and small values / N underflow
        scale = phi.shape[2] ** -0.5
        moments = (scale * g) @ (scale * phi).transpose(1, 2)  # (B, C', C')
        y = (moments @ theta).unflatten(2, cells.shape[2:])  # (B, C', H, W)
        return cells + self.norm(self.W(y))  # (B, C, H, W)
