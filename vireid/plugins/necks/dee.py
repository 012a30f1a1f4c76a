"""DEE: diverse embedding expansion, which generates further maps of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.matching import require_maps

DILATIONS = (1, 2, 3)


class DEE(nn.Module):
    """Returns each map and, from each branch, a map generated from it (DEEN, section 3.2).

    From Zhang and Wang, CVPR 2023, arXiv 2303.14481. A branch is W ReLU(T_1 x + T_2 x + T_3 x), where T_d is a 3x3
    convolution with dilation d from C to C / 4 channels and W a 1x1 convolution back to C. The later layers see
    `branches` + 1 rows for each row: copy 0 is the map itself, copy i the output of branch i.

    Meant as an insert of a backbone: `inserts=dict(dee=dict(type='DEE', after='stage3'))`.

    Args:
        inputs: one map of C channels.
        branches: number of generated maps; 2 in the released code.
        combine: whether the three convolutions are averaged, as in the released code, or summed, as in the paper.
        bias: whether the 3x3 convolutions have a bias; not in the released code.
        dropout: probability with which values of all copies are dropped; 0.01 in the released code.

    Raises:
        Mismatch: if the input is not one map, or has fewer than 4 channels.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        branches: Annotated[int, Ge(1)] = 2,
        combine: Literal['mean', 'sum'] = 'mean',
        bias: bool = False,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.01,
    ) -> None:
        super().__init__()
        (spec,) = require_maps('DEE', inputs, 1)
        inner = spec.channels // 4
        if inner < 1:
            raise Mismatch(f'DEE reads a map of {spec.channels} channels', allowed='at least 4')
        self.branches, self.combine = branches, combine
        # all branches at once: the i-th C / 4 channels, and the i-th group, are those of branch i
        self.dilated = nn.ModuleList(
            nn.Conv2d(spec.channels, branches * inner, 3, padding=d, dilation=d, bias=bias) for d in DILATIONS
        )
        self.expand = nn.Conv2d(branches * inner, branches * spec.channels, 1, groups=branches)
        self.dropout = nn.Dropout(dropout)
        for layer in (*self.dilated, self.expand):
            nn.init.kaiming_normal_(layer.weight)
        self.output = replace(spec, copies=branches + 1)

    def forward(self, cells: Tensor, context: Context) -> Tensor:
        total = sum(layer(cells) for layer in self.dilated)  # (B, branches C / 4, H, W)
        total = total / len(DILATIONS) if self.combine == 'mean' else total
        generated = self.expand(total.relu()).unflatten(1, (self.branches, -1))  # (B, branches, C, H, W)
        copies = torch.cat([cells[:, None], generated], dim=1)
        return self.dropout(copies.flatten(0, 1))  # (B copies, C, H, W)
