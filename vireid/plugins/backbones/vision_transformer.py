"""Splits timm's vision transformers into the token embedding and stages of blocks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.plugins.backbones.chain import quarters

EMBEDDING = 'embedding'
PARTS = ('patch_embed', 'pos_drop', 'patch_drop', 'norm_pre')


class TokenEmbedding(nn.Module):
    """Everything in a vision transformer before its blocks: patch, prefix-token and position embedding.

    Args:
        network: timm's `VisionTransformer`; its other modules are removed in place.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        for name in [name for name, _ in network.named_children() if name not in PARTS]:
            delattr(network, name)
        self.vit = network

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))
        return self.vit.norm_pre(self.vit.patch_drop(tokens))  # (B, prefix + N, C)


def is_vision_transformer(network: nn.Module) -> bool:
    """Returns whether it is timm's `VisionTransformer`: ViT, DeiT, DINOv2, CLIP, SigLIP; not EVA, BEiT, DINOv3."""
    from timm.models.vision_transformer import VisionTransformer

    return isinstance(network, VisionTransformer)


def transformer_stages(network: Any) -> dict[int, tuple[str, ...]]:
    """Returns the module names of each stage: the embedding is stage 0, the blocks form four stages of equal depth.

    Raises:
        VireidError: if the network drops patches or has fewer than four blocks.
    """
    if not isinstance(network.patch_drop, nn.Identity):
        raise VireidError('patch_drop_rate leaves holes in the map', todo='remove it from the options')
    if len(network.blocks) < 4:
        raise VireidError(f'the vision transformer has {len(network.blocks)} blocks', allowed='4 or more blocks')
    blocks = quarters([f'blocks.{index}' for index in range(len(network.blocks))])
    return {0: (EMBEDDING,), **{s: tuple(part) for s, part in enumerate(blocks, 1)}}


def embedding_keys(network: nn.Module) -> set[str]:
    """Returns the names of the embedding's tensors in the network's state dict."""
    return {key for key in network.state_dict() if '.' not in key or key.partition('.')[0] in PARTS}


def tokens_as_map(tokens: Tensor, prefix: int, grid: tuple[int, int]) -> Tensor:
    """Rearranges tokens to a (B, C, H, W) map, without the prefix tokens.

    Args:
        tokens: (B, prefix + H W, C).
        prefix: number of prefix tokens.
        grid: (H, W).
    """
    return tokens[:, prefix:].transpose(1, 2).unflatten(2, grid)  # (B, C, H, W)
