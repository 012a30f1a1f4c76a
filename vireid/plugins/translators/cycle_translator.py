"""CycleTranslator: two generators that translate visible images to infrared ones, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import VISIBLE, Batch, FeatureSpec, Modality
from vireid.plugins.image_networks import (
    IMAGENET,
    OTHER,
    PixelRange,
    decoder_layers,
    encoder_layers,
    initialize,
    require_colors,
    require_quarters,
    resized,
)


class CycleTranslator(nn.Module):
    """Replaces visible images with infrared ones that a generator makes from them (AlignGAN, ICCV 2019).

    AlignGAN is Wang et al., arXiv 1910.05839.

    The backbone sees translated visible images and real infrared ones, in training and when images are embedded. Both
    pass through the resolution of the generators, so that it cannot tell them apart by their sharpness.

    Both generators work on pixels in -1..1. So do the maps, which are computed only if a head reads them:

    - `real`: the images;
    - `fake`: the images, translated to the other modality;
    - `cycle`: `fake`, translated back;
    - `same`: the images, passed through the generator whose output is their own modality.

    A generator is a 7 x 7 convolution, two that halve the size, residual blocks, two transposed ones that double it,
    and a 7 x 7 convolution with a tanh; all but the last have instance normalization.

    Args:
        modalities: image channels by modality. Auxiliary modalities are not changed.
        image_size: (H, W) of the images, if known.
        size: (H, W) at which the generators work; None means that of the images.
        channels: after the first convolution.
        blocks: number of residual blocks.
        mean: mean of the `Normalize` in `images.train`.
        std: its standard deviation.
        running: whether instance normalization keeps running statistics and uses them when images are embedded, as
            the released code does. Otherwise it always uses those of the image.
        infrared_only: translate nothing, and leave visible images out of training: the warm-up of the backbone.

    Raises:
        Mismatch: if visible and infrared images do not have three channels, or the size is not a multiple of 4.
    """

    def __init__(
        self,
        modalities: Mapping[Modality, int],
        image_size: tuple[int, int] | None = None,
        size: tuple[int, int] | None = (128, 128),
        channels: Annotated[int, Ge(1)] = 64,
        blocks: Annotated[int, Ge(0)] = 4,
        mean: Sequence[float] = IMAGENET[0],
        std: Sequence[float] = IMAGENET[1],
        running: bool = True,
        infrared_only: bool = False,
    ) -> None:
        super().__init__()
        require_colors(modalities, 'CycleTranslator')
        self.modalities, self.size, self.infrared_only = dict(modalities), size, infrared_only
        if infrared_only:
            del self.modalities[VISIBLE]
        known = size or image_size
        require_quarters(known, 'CycleTranslator')
        self.maps = dict.fromkeys(('real', 'fake', 'cycle', 'same'), FeatureSpec(3, 'map', 'paired', known))
        self.range = PixelRange(mean, std)
        # by the modality that they translate
        self.generators = nn.ModuleDict(
            {m: nn.Sequential(*encoder_layers(3, channels, blocks, running), *decoder_layers(3, channels, 0, running))
             for m in OTHER}
        )  # fmt: skip
        initialize(self.generators)

    def forward(self, batch: Batch, needed: Collection[str] = ()) -> Batch:
        """Replaces the visible images; adds those of the maps that are in `needed`, for the modalities of the batch.

        Images stay (B, 3, H, W); maps are (B, 3, h, w) by modality, with (h, w) = `size`.
        """
        if self.infrared_only and batch.identities:
            batch = _without_visible(batch)
        images = {m: batch.images[m] for m in OTHER if m in batch.images}
        real = {m: resized(self.range.unpack(x), self.size or x.shape[2:]) for m, x in images.items()}
        if self.infrared_only:
            translated = []
        else:
            translated = [m for m in real if m == VISIBLE or {'fake', 'cycle'} & set(needed)]
        fake = {m: self.generators[m](real[m]).to(real[m].dtype) for m in translated}
        shown = {**real, VISIBLE: fake[VISIBLE]} if VISIBLE in fake else real
        seen = {m: self._enlarged(x, images[m]) for m, x in shown.items()}
        maps = {'real': real, 'fake': fake}
        if 'cycle' in needed:
            maps['cycle'] = {m: self.generators[OTHER[m]](x) for m, x in fake.items()}
        if 'same' in needed:
            maps['same'] = {m: self.generators[OTHER[m]](x) for m, x in real.items()}
        kept = {name: by_modality for name, by_modality in maps.items() if name in needed}
        return replace(batch, images={**batch.images, **seen}, maps={**batch.maps, **kept})

    def _enlarged(self, x: Tensor, like: Tensor) -> Tensor:
        return self.range.pack(resized(x, like.shape[2:]))


def _without_visible(batch: Batch) -> Batch:
    kept: dict[str, Any] = {
        key: {m: value for m, value in getattr(batch, key).items() if m != VISIBLE}
        for key in ('images', 'identities', 'cameras', 'paths')
    }
    return replace(batch, **kept)
