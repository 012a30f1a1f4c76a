"""HOG: a model without training."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import Modality
from vireid.errors import Mismatch
from vireid.plugins.models.gradient_histograms import gradient_histograms
from vireid.plugins.models.unit_range import require_unit_range

Count = Annotated[int, Ge(1)]


class HOG(nn.Module):
    """Histograms of oriented gradients (Dalal and Triggs, CVPR 2005).

    See doi 10.1109/CVPR.2005.177.

    `gradient_histograms.gradient_histograms` has the definition. The embedding of a constant image is 0, so it is
    equally similar to every image.

    Args:
        orientations: number of bins of the gradient's direction, at least 1.
        cell: side of a cell in pixels, at least 1.
        block: side of a block in cells, at least 1.
        sqrt: take the square root of the pixels first, which compresses bright areas.
    """

    def __init__(self, orientations: Count = 9, cell: Count = 8, block: Count = 2, sqrt: bool = False) -> None:
        super().__init__()
        self.orientations, self.cell, self.block, self.sqrt = orientations, cell, block, sqrt

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Returns the (B, D) descriptors of (B, 3, H, W) images in 0..1.

        Raises:
            Mismatch: if the images are smaller than a block, or pixels are outside 0..1.
        """
        require_unit_range(images, 'HOG')
        height, width = images.shape[2:]
        least = self.cell * self.block
        if min(height, width) < least:
            raise Mismatch(
                f'HOG got images of {height} x {width}',
                allowed=f'at least {least} x {least}, one block of {self.block} x {self.block} cells',
                todo='set images.size=[128,64], and have images.test begin with Resize; or set a smaller model.cell',
            )
        return gradient_histograms(images.clamp(0, 1), self.orientations, self.cell, self.block, self.sqrt)
