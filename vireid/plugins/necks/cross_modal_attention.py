"""CrossModalAttention: each image attends to the images of the other modality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.modality_numbers import modality_numbers
from vireid.plugins.necks.matching import one_input


class CrossModalAttention(nn.Module):
    """Multi-head attention from each image to the batch's other modality (Vaswani et al., 2017, arXiv 1706.03762).

    Queries come from the image; keys and values come from the images of another modality. Attention is the scaled dot
    product, with a residual connection. The output layer is initialized to zero, so the neck starts as the identity
    map. An image without keys keeps its vector. At test time that is every image, since a batch has one modality.

    Args:
        inputs: one vector; its length C is a multiple of `num_heads`.
        num_heads: number of attention heads.
        same_identity: True restricts attention to images of the same identity. This needs labels, so the neck then
            works only in training, like GLFM.

    Raises:
        Mismatch: if the input is not one vector whose length is a multiple of `num_heads`; when called, if it needs
            identities and they are unknown.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], num_heads: int = 4, same_identity: bool = True) -> None:
        super().__init__()
        spec = one_input('CrossModalAttention', inputs)
        if num_heads < 1 or spec.kind != 'vector' or spec.channels % num_heads:
            raise Mismatch(
                f'CrossModalAttention with {num_heads} heads got a {spec.kind} of {spec.channels}',
                allowed='a vector whose length is a multiple of num_heads',
                todo='change num_heads, or the channels of its input',
            )
        self.num_heads, self.same_identity, self.output = num_heads, same_identity, spec
        self.train_only = same_identity
        self.query, self.key, self.value = (nn.Linear(spec.channels, spec.channels) for _ in range(3))
        self.out = nn.Linear(spec.channels, spec.channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, nodes: Tensor, context: Context) -> Tensor:
        modality = modality_numbers(context, nodes.device)  # (B,)
        looks_at = modality[:, None] != modality[None, :]  # (B, B)
        if self.same_identity:
            if context.identities is None:
                raise Mismatch('CrossModalAttention needs identities, which are available only in training')
            looks_at = looks_at & (context.identities[:, None] == context.identities[None, :])
        q, k, v = (
            layer(nodes).unflatten(1, (self.num_heads, -1)).transpose(0, 1)  # (M, B, C/M)
            for layer in (self.query, self.key, self.value)
        )
        score = (q @ k.transpose(1, 2)) * q.shape[2] ** -0.5  # (M, B, B)
        attention = score.masked_fill(~looks_at, torch.finfo(score.dtype).min).softmax(dim=2) * looks_at
        seen = (attention.to(v.dtype) @ v).transpose(0, 1).flatten(1)  # (B, C)
        return nodes + self.out(seen) * looks_at.any(dim=1, keepdim=True)
