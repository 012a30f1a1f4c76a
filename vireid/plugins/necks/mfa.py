"""MFA: multistage feature aggregation, which attends from a stage's output to its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.necks.matching import require_maps


class MFA(nn.Module):
    """Adds to a stage's output what it attends to in the stage's input, by channels and by positions (DEEN, 3.4).

    From Zhang and Wang, CVPR 2023, arXiv 2303.14481. With h the output, l the input of C' channels, and q, k, v and W
    1x1 convolutions of their own for either part:

    - by channels: h' = h + BN(W (A v(l))) with A = a(q(h) k(l)^T), C' x C', summed over positions. If l is larger than
      h, it is sampled at every second cell first.
    - by positions: h'' = h' + BN(W (A v(l))) with A = a(q(h')^T k(l)), one row for each position of h and one column
      for each of l; q, k and v have C' / `reduction` channels.

    The affinity a divides by the number of columns of A, as in the released code, or is the softmax of its rows, as in
    the paper. Both BatchNorms start at 0, so a new block is the identity and can be inserted into a pretrained network.
    When the affinity is divided, no matrix of positions by positions is computed.

    Meant as an insert of a backbone that reads the stage's input too:
    `inserts=dict(mfa=dict(type='MFA', with_input=True, after=dict(stage1=1, stage2=1, stage3=1)))`.

    Args:
        inputs: two maps, the input and the output of a stage.
        softmax: whether the affinity is a softmax, instead of divided by its size.
        reduction: factor by which the attention by positions reduces the channels of the input, at least 1.
        fold: whether the attention by positions reads its (C' / reduction, N) values as (C', N / reduction), as the
            released code does: `reduction` positions, N / reduction apart, then attend as one.

    Raises:
        VireidError: if the inputs are not two maps, the output is not the input at every n-th cell, `reduction` exceeds
            the input's channels, or with `fold`, does not divide them or the number of positions.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        softmax: bool = False,
        reduction: Annotated[int, Ge(1)] = 2,
        fold: bool = False,
    ) -> None:
        super().__init__()
        low, high = require_maps('MFA', inputs, 2)
        if low.channels < reduction or (fold and low.channels % reduction):
            allowed = f'a divisor of {low.channels}' if fold else f'at most {low.channels}'
            raise WrongValue(f'reduction is {reduction}', allowed=f'{allowed}, the channels of the input')
        self.softmax, self.groups = softmax, reduction if fold else 1
        if low.size and high.size:  # raises before any data is read
            _strides(low.size, high.size)
            for size in (low.size, high.size):
                self._require_foldable(size)
        self.channels = Attention(low.channels, high.channels, low.channels)
        self.positions = Attention(low.channels, high.channels, low.channels // reduction)
        self.output = high

    def forward(self, low: Tensor, high: Tensor, context: Context) -> Tensor:
        rows, columns = _strides(low.shape[2:], high.shape[2:])
        q, k, v = self.channels.read(high, low[:, :, ::rows, ::columns])  # (B, C', N) each
        high = self.channels.add(self._attend(q, k, v), high)
        self._require_foldable(low.shape[2:])
        self._require_foldable(high.shape[2:])
        q, k, v = (x.reshape(len(x), self.groups * x.shape[1], -1) for x in self.positions.read(high, low))
        if self.softmax:
            y = self._attend(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)
        else:  # the same sums in another order
            scale = k.shape[2] ** -0.5
            y = ((scale * v) @ (scale * k).transpose(1, 2)) @ q  # (B, C'', N)
        return self.positions.add(y, high)  # (B, C, H, W)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Returns (B, N, D): sums of the rows of v (B, M, D), by the affinity of q (B, N, E) to k (B, M, E)."""
        if self.softmax:
            return nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
        scale = k.shape[1] ** -0.5  # split over both factors: in half precision the plain sum overflows
        return ((scale * q) @ (scale * k).transpose(1, 2)) @ v

    def _require_foldable(self, size: Sequence[int]) -> None:
        if size[0] * size[1] % self.groups:
            raise Mismatch(
                f'MFA with fold reads a map of {size[0]} x {size[1]}, whose positions {self.groups} does not divide',
                todo='set fold=False, or change images.size',
            )


class Attention(nn.Module):
    """The convolutions of one attention: queries from the output of a stage, keys and values from its input.

    Args:
        low: channels of the input.
        high: channels of the output.
        inner: channels of queries, keys and values.
    """

    def __init__(self, low: int, high: int, inner: int) -> None:
        super().__init__()
        self.q = nn.Conv2d(high, inner, 1)
        self.k = nn.Conv2d(low, inner, 1)
        self.v = nn.Conv2d(low, inner, 1)
        self.W = nn.Conv2d(inner, high, 1, bias=False)  # the BatchNorm after it would cancel a bias
        self.norm = nn.BatchNorm2d(high)
        nn.init.zeros_(self.norm.weight)

    def read(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries (B, inner, N), keys and values (B, inner, M)."""
        return self.q(high).flatten(2), self.k(low).flatten(2), self.v(low).flatten(2)

    def add(self, y: Tensor, high: Tensor) -> Tensor:
        """Adds a sum of values y, reshaped to (B, inner, H, W), to the output of the stage."""
        return high + self.norm(self.W(y.reshape(len(y), -1, *high.shape[2:])))


def _strides(low: Sequence[int], high: Sequence[int]) -> tuple[int, int]:
    """Returns how many rows and columns of the input there are for each of the output, rounded up."""
    rows, columns = (-(-n // m) for n, m in zip(low, high, strict=True))
    if (-(-low[0] // rows), -(-low[1] // columns)) != tuple(high):
        raise Mismatch(
            f'MFA reads an input of {low[0]} x {low[1]} and an output of {high[0]} x {high[1]}',
            allowed='an output that has every n-th cell of the input',
        )
    return rows, columns
