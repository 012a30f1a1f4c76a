"""The non-local block: each cell of a map attends to all cells."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from vireid.core.errors import VireidError


class NonLocal(nn.Module):
    """Adds to each cell a weighted sum over all cells (Wang et al., CVPR 2018, arXiv 1711.07971, dot-product form).

    z_i = x_i + BN(W y_i) with y_i = 1/N sum_j (theta(x_i) . phi(x_j)) g(x_j), where theta, phi, g and W are linear maps
    of a cell (1x1 convolutions) and N is the number of cells. The scale and shift of the BatchNorm are initialized to
    0, so a new block is the identity and can be inserted into a pretrained network. The weights are not normalized by a
    softmax, so the sum over j can be computed first, y_i = [1/N sum_j g(x_j) phi(x_j)^T] theta(x_i), which avoids an
    N x N tensor.

    Args:
        channels: channels C of the map, at least 2.
        inner: output channels C' of theta, phi and g, 1 to C; None means C / 2, as in the paper.

    Raises:
        VireidError: if `inner` is out of range.
    """

    def __init__(self, channels: int, inner: int | None = None) -> None:
        super().__init__()
        inner = channels // 2 if inner is None else inner
        if not 1 <= inner <= channels:
            raise VireidError(f'non-local blocks have {inner} channels', allowed=f'1 to {channels}, those of the map')
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.W = nn.Conv2d(inner, channels, 1, bias=False)  # the BatchNorm after it would cancel a bias
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, cells: Tensor) -> Tensor:
        theta, phi, g = (part(cells).flatten(2) for part in (self.theta, self.phi, self.g))  # (B, C', N) each
        # 1/N is split over both factors: in half precision the plain sum overflows, and small values / N underflow
        scale = phi.shape[2] ** -0.5
        moments = (scale * g) @ (scale * phi).transpose(1, 2)  # (B, C', C')
        y = (moments @ theta).unflatten(2, cells.shape[2:])  # (B, C', H, W)
        return cells + self.norm(self.W(y))  # (B, C, H, W)


def with_non_local(stage: nn.Sequential, count: int, channels: int, inner: int | None = None) -> nn.Sequential:
    """Inserts a non-local block after each of the last `count` residual blocks of a stage.

    The residual blocks keep their names, so weights trained without non-local blocks still load.

    Args:
        stage: the residual blocks.
        count: number of non-local blocks; a stage with fewer residual blocks gets one after each.
        channels: channels C of the map.
        inner: channels inside the non-local blocks; None means C / 2.
    """
    blocks = OrderedDict[str, nn.Module]()
    first = len(stage) - count
    for position, (name, block) in enumerate(stage.named_children()):
        blocks[name] = block
        if position >= first:
            blocks[f'non_local{name}'] = NonLocal(channels, inner)
    return nn.Sequential(blocks)
