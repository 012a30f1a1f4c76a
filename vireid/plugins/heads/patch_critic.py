"""PatchCritic: tells real images of a modality from those translated to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import FeatureSpec, HeadOutput, Modality
from vireid.errors import Mismatch
from vireid.plugins.image_networks import OTHER, initialize, of_modality, patch_layers, require_size


class PatchCritic(nn.Module):
    """A discriminator that judges patches (PatchGAN): is this a real image, or one translated from the other modality?

    See Isola et al., 2017, arXiv 1611.07004.

    Convolutions with stride 2, each after the first with twice the channels, and one that maps to a value per patch.
    It may look at several scales, each with its own network and half the size of the previous one.

    It has two outputs. Each has, per image, the values of all patches; with several scales, a part for each, whose
    values are repeated so that all parts have equally many.

    - `real`: of the real images of `modality`, from the first input;
    - `fake`: of the images that the second input has for the other modality, which are translated to this one.

    Args:
        inputs: two paired maps, `real` and `fake`.
        modality: the modality of the images that it judges.
        channels: after the first convolution.
        doublings: number of convolutions that double the channels.
        norm: whether these have instance normalization.
        kernel: size of the last convolution, which has a bias only if it is 1.
        scales: number of scales.

    Raises:
        VireidError: if there are not two maps with equal channels, or they are too small.
    """

    layout, train_only = 'paired', True

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        modality: Literal['visible', 'infrared'],
        channels: Annotated[int, Ge(1)] = 64,
        doublings: Annotated[int, Ge(0)] = 4,
        norm: bool = True,
        kernel: Literal[1, 3] = 3,
        scales: Annotated[int, Ge(1)] = 1,
    ) -> None:
        super().__init__()
        if len(inputs) != 2 or inputs[0].channels != inputs[1].channels:
            raise Mismatch(f'PatchCritic reads {len(inputs)} maps', allowed='two with equal channels: real and fake')
        require_size(inputs[0], doublings + scales, 2 if norm else 1, 'PatchCritic')
        self.modality = modality
        wide = channels * 2**doublings
        self.networks = nn.ModuleList(
            nn.Sequential(
                *patch_layers(inputs[0].channels, channels, doublings, norm),
                nn.Conv2d(wide, 1, kernel, padding=kernel // 2, bias=kernel == 1),
            )
            for _ in range(scales)
        )
        self.outputs = dict.fromkeys(('real', 'fake'), 0 if scales == 1 else scales)
        initialize(self)

    def forward(self, real: Mapping[Modality, Tensor], fake: Mapping[Modality, Tensor]) -> dict[str, HeadOutput]:
        images = of_modality(real, self.modality, 'PatchCritic')
        translated = of_modality(fake, OTHER[self.modality], 'PatchCritic')
        # (N, patches) each, or (N, scales, values)
        return {'real': HeadOutput(self.judge(images)), 'fake': HeadOutput(self.judge(translated))}

    def judge(self, images: Tensor) -> Tensor:
        """Maps (N, C, H, W) images to (N, patches) values, or to (N, scales, values)."""
        values = []
        for network in self.networks:
            values.append(network(images).flatten(1))
            # the padding does not count, so the means stay those of the image
            images = nn.functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
        if len(values) == 1:
            return values[0]
        longest = math.lcm(*(x.shape[1] for x in values))  # repeating does not change the mean of a scale
        return torch.stack([x.repeat_interleave(longest // x.shape[1], dim=1) for x in values], dim=1)
