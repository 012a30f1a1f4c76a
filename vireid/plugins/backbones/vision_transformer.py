"""Splits timm's vision transformers into the token embedding and stages of blocks, and sets their patches."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vireid.errors import Mismatch, WrongValue
from vireid.plugins.backbones.layer_chain import quarters

EMBEDDING = 'embedding'
NORM = 'norm'
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


def transformer_stages(network: Any, class_token: bool) -> dict[int, tuple[str, ...]]:
    """Returns the module names of each stage: the embedding is stage 0, the blocks form four stages of equal depth.

    Args:
        network: timm's `VisionTransformer`.
        class_token: whether class tokens are output; the final norm then belongs to stage 4.

    Raises:
        VireidError: if the network drops patches, has fewer than four blocks, or has no class token to output.
    """
    if class_token and network.cls_token is None:
        raise Mismatch('the vision transformer has no class token', todo='set model.backbone.class_token=False')
    if not isinstance(network.patch_drop, nn.Identity):
        raise WrongValue('patch_drop_rate leaves holes in the map', todo='remove it from the options')
    if len(network.blocks) < 4:
        raise Mismatch(f'the vision transformer has {len(network.blocks)} blocks', allowed='4 or more blocks')
    blocks = quarters([f'blocks.{index}' for index in range(len(network.blocks))])
    stages = {0: (EMBEDDING,), **{s: tuple(part) for s, part in enumerate(blocks, 1)}}
    return {**stages, 4: (*stages[4], NORM)} if class_token else stages


def set_patches(network: Any, image_size: tuple[int, int] | None, stride: int | None) -> None:
    """Sets the image size and the distance between patches, and resamples the position embedding as timm does.

    Args:
        network: timm's `VisionTransformer`; it is changed in place.
        image_size: (H, W); None keeps the network's own.
        stride: pixels from one patch to the next, 1 to the patch size; below it, patches overlap. Each side holds
            floor((side - patch size) / stride) + 1 patches, and what is left at the bottom and right is not seen. None
            means the patch size, which must then divide the image.

    Raises:
        VireidError: if the patches do not divide the image, an image is smaller than a patch, or the network's patches
            cannot overlap.
    """
    from timm.layers import PatchEmbed, resample_abs_pos_embed

    embed = network.patch_embed
    height, width = image_size or embed.img_size
    if not isinstance(embed, PatchEmbed):
        if stride is not None:
            raise Mismatch(
                f'patch_stride is {stride}, but patches come from a {type(embed).__name__}', todo='remove patch_stride'
            )
    elif stride is None:
        _require_whole_patches(embed, (height, width))
    if stride is None:
        if image_size:
            network.set_input_size(img_size=(height, width))
        return
    patch = embed.patch_size
    if not 1 <= stride <= min(patch) or height < patch[0] or width < patch[1] or embed.dynamic_img_pad:
        raise WrongValue(
            f'patch_stride is {stride}, for patches of {patch[0]} x {patch[1]} and images of {height} x {width}'
            + (' that are padded (dynamic_img_pad)' if embed.dynamic_img_pad else ''),
            allowed=f'1 to {min(patch)}, for images that are not padded and at least as large as a patch',
            path='model.backbone.patch_stride',
        )
    grid = tuple((side - length) // stride + 1 for side, length in zip((height, width), patch, strict=True))
    if network.pos_embed is not None:
        prefix = 0 if network.no_embed_class else network.num_prefix_tokens
        resampled = resample_abs_pos_embed(network.pos_embed, grid, embed.grid_size, prefix)
        network.pos_embed = nn.Parameter(resampled.detach())
    embed.proj.stride = (stride, stride)
    embed.img_size, embed.grid_size, embed.num_patches = (height, width), grid, grid[0] * grid[1]


def _require_whole_patches(embed: Any, image_size: tuple[int, int]) -> None:
    patch = embed.patch_size
    if embed.dynamic_img_pad or all(side % length == 0 for side, length in zip(image_size, patch, strict=True)):
        return
    nearest = ', '.join(
        str(max(1, round(side / length)) * length) for side, length in zip(image_size, patch, strict=True)
    )
    raise Mismatch(
        f'patches of {patch[0]} x {patch[1]} do not divide images of {image_size[0]} x {image_size[1]}',
        allowed=f'an images.size whose height is a multiple of {patch[0]} and width a multiple of {patch[1]}',
        todo=f'set images.size=[{nearest}]; or model.backbone.patch_stride={min(patch) - 1} or less, so that patches '
        "overlap; or model.backbone.options={'dynamic_img_pad': True}, which pads",
        path='images.size',
    )


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
