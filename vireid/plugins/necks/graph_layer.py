"""One layer of graph attention over the images of one identity."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GraphLayer(nn.Module):
    """Attention heads that mix projected nodes of a batch (Velickovic et al., 2018, arXiv 1710.10903), as in DDAG.

    Head m maps node i to h_i = W f_i and weighs node j for it by the softmax over j of LeakyReLU([h_i || h_j] . a),
    over all nodes of i's identity, including i. With a = [b || c], the product is b . h_i + c . h_j, which avoids a
    tensor of all feature pairs.

    Args:
        in_channels: length C of a node.
        channels: length D of a projected node, at least 1.
        num_heads: number of heads M, each with its own W and a; at least 1.
        negative_slope: negative slope of the LeakyReLU.
        dropout: dropout rate of the nodes and of the attention, 0 to 1 (exclusive).
    """

    def __init__(
        self, in_channels: int, channels: int, num_heads: int = 1, negative_slope: float = 0.2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.num_heads, self.channels, self.negative_slope = num_heads, channels, negative_slope
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(in_channels, num_heads * channels, bias=False)  # W of every head
        self.a = nn.Parameter(torch.empty(num_heads, 2, channels))
        gain = nn.init.calculate_gain('relu')
        # initialized head by head: Xavier on the joint matrix would see a fan-out that grows with the number of heads
        for w, a in zip(self.project.weight.detach().split(channels), self.a.detach(), strict=True):
            nn.init.xavier_uniform_(w, gain)
            nn.init.xavier_uniform_(a.view(1, -1), gain)

    def forward(self, nodes: Tensor, identities: Tensor) -> Tensor:
        """Maps (B, C) nodes with (B,) labels to the heads' outputs, (M, B, D)."""
        h = self.project(self.dropout(nodes)).unflatten(1, (self.num_heads, self.channels))  # (B, M, D)
        own, other = torch.einsum('bmd,msd->smb', h, self.a.to(h.dtype))  # (M, B) each
        score = nn.functional.leaky_relu(own[:, :, None] + other[:, None, :], self.negative_slope)  # (M, B, B)
        same = identities[:, None] == identities[None, :]
        attention = self.dropout(score.masked_fill(~same, float('-inf')).softmax(dim=2))
        return attention.to(h.dtype) @ h.transpose(0, 1)  # (M, B, D)
