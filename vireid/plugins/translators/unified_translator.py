"""UnifiedTranslator: images of both modalities as four channels, of which the missing ones are generated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import torch
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


class UnifiedTranslator(nn.Module):
    """Turns images of both modalities into four channels: three colors and infrared (D2RL, CVPR 2019).

    A visible image gets a generated infrared channel, an infrared image three generated color channels, in training
    and when images are embedded. The translation is that of UNIT (Liu et al., 2017, arXiv 1703.00848): an encoder per
    modality to a latent code that both share, and a decoder per modality. The code is the mean of a normal
    distribution with variance 1; in training, it is drawn.

    Networks work on pixels in -1..1: three channels of visible images, and one of infrared images, the mean of their
    three. So do the maps, in which infrared images have three equal channels. They are computed only if a head reads
    them:

    - `real`: the images;
    - `fake`: the images, decoded in the other modality;
    - `same`: the images, decoded in their own modality;
    - `cycle`: `fake`, encoded again and decoded in the first modality;
    - `code`, `fake_code`: the means of the codes of `real` and `fake`.

    Args:
        modalities: image channels by modality.
        image_size: (H, W) of the images, if known.
        size: (H, W) at which the networks work; None means that of the images.
        channels: after the first convolution of an encoder.
        blocks: number of residual blocks of each encoder and decoder.
        mean: mean of the `Normalize` in `images.train`.
        std: its standard deviation.

    Raises:
        Mismatch: if visible and infrared images do not have three channels, or the size is not a multiple of 4.
    """

    def __init__(
        self,
        modalities: Mapping[Modality, int],
        image_size: tuple[int, int] | None = None,
        size: tuple[int, int] | None = None,
        channels: Annotated[int, Ge(1)] = 64,
        blocks: Annotated[int, Ge(0)] = 4,
        mean: Sequence[float] = IMAGENET[0],
        std: Sequence[float] = IMAGENET[1],
    ) -> None:
        super().__init__()
        require_colors(modalities, 'UnifiedTranslator')
        self.modalities, self.size = {**modalities, **dict.fromkeys(OTHER, 4)}, size
        known = size or image_size
        require_quarters(known, 'UnifiedTranslator')
        image = FeatureSpec(3, 'map', 'paired', known)
        code = FeatureSpec(4 * channels, 'map', 'paired', known and (known[0] // 4, known[1] // 4))
        self.maps = dict.fromkeys(('real', 'fake', 'same', 'cycle'), image)
        self.maps |= dict.fromkeys(('code', 'fake_code'), code)
        self.range = PixelRange(mean, std)
        colors = {m: 3 if m == VISIBLE else 1 for m in OTHER}
        self.encoders = nn.ModuleDict(
            {m: nn.Sequential(*encoder_layers(colors[m], channels, blocks, running=False)) for m in OTHER}
        )
        self.decoders = nn.ModuleDict(
            {m: nn.Sequential(*decoder_layers(colors[m], channels, blocks, running=False)) for m in OTHER}
        )
        initialize(self)

    def forward(self, batch: Batch, needed: Collection[str] = ()) -> Batch:
        """Replaces the images; adds those of the maps that are in `needed`, for the modalities of the batch.

        The (B, 3, H, W) images become (B, 4, H, W). With (h, w) = `size`, maps of images are (B, 3, h, w) by modality,
        and those of codes (B, 4 * channels, h / 4, w / 4).
        """
        images = {m: batch.images[m] for m in OTHER if m in batch.images}
        real = {
            m: self._channels(resized(self.range.unpack(x), self.size or x.shape[2:]), m) for m, x in images.items()
        }
        codes = {m: self.encoders[m](x) for m, x in real.items()}
        drawn = {m: self._drawn(code) for m, code in codes.items()}
        fake = {m: self.decoders[OTHER[m]](code) for m, code in drawn.items()}
        maps: dict[str, dict[Modality, Tensor]] = {'real': real, 'fake': fake, 'code': codes}
        if 'same' in needed:
            maps['same'] = {m: self.decoders[m](code) for m, code in drawn.items()}
        if {'cycle', 'fake_code'} & set(needed):
            maps['fake_code'] = {m: self.encoders[OTHER[m]](x) for m, x in fake.items()}
        if 'cycle' in needed:
            maps['cycle'] = {m: self.decoders[m](self._drawn(code)) for m, code in maps['fake_code'].items()}
        kept = {
            name: {m: x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x for m, x in maps[name].items()}
            for name in self.maps
            if name in needed
        }
        seen = {m: self._unified(x, fake[m].to(x.dtype), m) for m, x in images.items()}
        return replace(batch, images={**batch.images, **seen}, maps={**batch.maps, **kept})

    def _channels(self, x: Tensor, modality: Modality) -> Tensor:
        return x if modality == VISIBLE else x.mean(dim=1, keepdim=True)

    def _drawn(self, code: Tensor) -> Tensor:
        return code + torch.randn_like(code) if self.training else code

    def _unified(self, images: Tensor, fake: Tensor, modality: Modality) -> Tensor:
        """Joins the (N, 3, H, W) normalized images and what was generated for them to (N, 4, H, W)."""
        fake = resized(fake, images.shape[2:])
        if modality == VISIBLE:
            return torch.cat([images, self.range.pack_gray(fake)], dim=1)
        gray = self.range.unpack(images).mean(dim=1, keepdim=True)
        return torch.cat([self.range.pack(fake), self.range.pack_gray(gray)], dim=1)
