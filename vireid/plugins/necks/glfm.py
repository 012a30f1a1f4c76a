"""GLFM: the graph-level fusion module of TFFN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.matching import one_input


class GLFM(nn.Module):
    """Graph attention over the images of one identity in both modalities, with self-edges (TFFN section 2.3).

    TFFN is Cheng et al., ICIP 2021, doi 10.1109/ICIP42928.2021.9506219.

    Head m weights node j for node i with s_ij = softmax_j LeakyReLU([h(f_i) || h(f_j)] . w), over all nodes j with i's
    identity (Eq. 4). The output is the mean over heads of sum_j s_ij f_j (Eq. 5). With w = [a || b], the product is
    a . h(f_i) + b . h(f_j), which avoids a tensor of all feature pairs. GLFM needs identities, so it works only in
    training.

    Args:
        inputs: one vector of even length C.
        num_heads: number of attention heads M, each with its own h and w; at least 1.
        negative_slope: negative slope of the LeakyReLU.

    Raises:
        Mismatch: if the input is not one vector of even length; when called, if the identities are unknown.
    """

    train_only = True

    def __init__(
        self, inputs: Sequence[FeatureSpec], num_heads: Annotated[int, Ge(1)] = 4, negative_slope: float = 0.2
    ) -> None:
        super().__init__()
        spec = one_input('GLFM', inputs)
        if spec.kind != 'vector' or spec.channels % 2:
            raise Mismatch(
                f'GLFM reads a vector of even length and got a {spec.kind} of {spec.channels}',
                todo='set an even number of channels in its input neck',
            )
        self.output = spec
        self.num_heads, self.inner = num_heads, spec.channels // 2
        self.negative_slope = negative_slope
        # h of every head at once; a 1x1 convolution on vectors is a linear map
        self.h = nn.Linear(spec.channels, num_heads * self.inner, bias=False)
        self.w = nn.Parameter(torch.empty(num_heads, 2, self.inner))
        # initialized head by head: Xavier on the joint matrix would see a fan-out that grows with the number of heads
        for h, w in zip(self.h.weight.detach().split(self.inner), self.w.detach(), strict=True):
            nn.init.xavier_uniform_(h)
            nn.init.xavier_uniform_(w.view(1, -1))

    def forward(self, nodes: Tensor, context: Context) -> Tensor:
        if context.identities is None:
            raise Mismatch(
                'GLFM needs identities, which are available only in training', todo='keep it out of the embedding'
            )
        h = self.h(nodes).unflatten(1, (self.num_heads, self.inner))  # (K, M, C/2)
        own, other = torch.einsum('kmc,msc->smk', h, self.w.to(h.dtype))  # (M, K) each
        score = nn.functional.leaky_relu(own[:, :, None] + other[:, None, :], self.negative_slope)  # (M, K, K)
        same = context.identities[:, None] == context.identities[None, :]
        attention = score.masked_fill(~same, float('-inf')).softmax(dim=2)
        return attention.mean(dim=0).to(nodes.dtype) @ nodes  # (K, C): the mean over heads of linear maps
