"""The non-local block: every cell of a map sees all cells of it."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from vireid.core.errors import VireidError


class NonLocal(nn.Module):
    """Adds a weighted sum over all cells of the image to each cell (Wang et al., CVPR 2018, dot-product form).

    z_i = x_i + BN(W y_i) with y_i = 1/N sum_j (theta(x_i) . phi(x_j)) g(x_j), where theta, phi, g and W are linear maps
    of a cell (1x1 convolutions) and N is the number of cells. Scale and shift of the BatchNorm start at 0, so a new
    block is the identity and can stand in a pretrained network. No softmax normalises the weights of j, so the sum over
    j is computed first, y_i = [1/N sum_j g(x_j) phi(x_j)^T] theta(x_i): no N x N tensor is made.

    Args:
        channels: C of the map, at least 2.
        inner: channels C' that theta, phi and g make, 1 to C; None is half of C, as Wang et al. have it.
    """

    def __init__(self, channels: int, inner: int | None = None) -> None:
        super().__init__()
        inner = channels // 2 if inner is None else inner
        if not 1 <= inner <= channels:
            raise VireidError(f'non-local blocks of {inner} channels', allowed=f'1 to {channels}, those of the map')
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.W = nn.Conv2d(inner, channels, 1, bias=False)  # the BatchNorm behind it would take a bias away again
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, cells: Tensor) -> Tensor:
        theta, phi, g = (part(cells).flatten(2) for part in (self.theta, self.phi, self.g))  # (B, C', N) each
        # 1/N in two halves before the sum: in half precision the sum overflows, and small values over N vanish
        scale = phi.shape[2] ** -0.5
        moments = (scale * g) @ (scale * phi).transpose(1, 2)  # (B, C', C')
        y = (moments @ theta).unflatten(2, cells.shape[2:])  # (B, C', H, W)
        return cells + self.norm(self.W(y))  # (B, C, H, W)


def with_non_local(stage: nn.Sequential, count: int, channels: int, inner: int | None = None) -> nn.Sequential:
    """Puts a non-local block behind each of the last `count` residual blocks of a stage, or of all if it has fewer.

    Each is a `NonLocal(channels, inner)`. The residual blocks keep their names, so that weights trained without
    non-local blocks still fit them.
    """
    blocks = OrderedDict[str, nn.Module]()
    first = len(stage) - count
    for position, (name, block) in enumerate(stage.named_children()):
        blocks[name] = block
        if position >= first:
            blocks[f'non_local{name}'] = NonLocal(channels, inner)
    return nn.Sequential(blocks)
