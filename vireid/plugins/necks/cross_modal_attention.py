"""CrossModalAttention: each image looks at the images of the other modality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import require_one


class CrossModalAttention(nn.Module):
    """Adds to each image's vector what it attends to in the batch's other modality (Vaswani et al., 2017).

    Queries come from the image, keys and values from the images of another modality: scaled dot products, several
    heads, a residual connection; the last layer starts at 0, so that at first the output is the input. An image with
    nothing to look at keeps its vector, as all of a test batch do, which has one modality.

    Args:
        inputs: one vector; its length C is a multiple of `num_heads`.
        num_heads: attention heads.
        same_identity: True looks at images of the same person only. That needs labels, so it works in training only,
            like GLFM.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], num_heads: int = 4, same_identity: bool = True) -> None:
        super().__init__()
        (spec,) = require_one('CrossModalAttention', inputs)
        if num_heads < 1 or spec.kind != 'vector' or spec.channels % num_heads:
            raise VireidError(
                f'CrossModalAttention with {num_heads} heads reads a vector whose length they divide and was given a '
                f'{spec.kind} of {spec.channels}',
                todo='change num_heads, or the channels of the neck it reads',
            )
        self.num_heads, self.same_identity, self.output = num_heads, same_identity, spec
        self.train_only = same_identity
        self.query, self.key, self.value = (nn.Linear(spec.channels, spec.channels) for _ in range(3))
        self.out = nn.Linear(spec.channels, spec.channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, nodes: Tensor, context: Context) -> Tensor:
        counts = torch.tensor(list(context.counts.values()), device=nodes.device)
        modality = torch.repeat_interleave(torch.arange(len(counts), device=nodes.device), counts)  # (B,)
        looks_at = modality[:, None] != modality[None, :]  # (B, B)
        if self.same_identity:
            if context.identities is None:
                raise VireidError('CrossModalAttention reads identities and there are none outside training')
            looks_at = looks_at & (context.identities[:, None] == context.identities[None, :])
        q, k, v = (
            layer(nodes).unflatten(1, (self.num_heads, -1)).transpose(0, 1)  # (M, B, C/M)
            for layer in (self.query, self.key, self.value)
        )
        score = (q @ k.transpose(1, 2)) * q.shape[2] ** -0.5  # (M, B, B)
        attention = score.masked_fill(~looks_at, torch.finfo(score.dtype).min).softmax(dim=2) * looks_at
        seen = (attention.to(v.dtype) @ v).transpose(0, 1).flatten(1)  # (B, C)
        return nodes + self.out(seen) * looks_at.any(dim=1, keepdim=True)
