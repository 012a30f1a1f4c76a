"""HOG: a model without training."""

from __future__ import annotations

from torch import Tensor, nn

from vireid.core.types import Modality
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.models.gradient_histograms import gradient_histograms
from vireid.plugins.models.unit_range import require_unit_range


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

    Raises:
        WrongValue: if an argument is out of range.
    """

    def __init__(self, orientations: int = 9, cell: int = 8, block: int = 2, sqrt: bool = False) -> None:
        super().__init__()
        for name, value in (('orientations', orientations), ('cell', cell), ('block', block)):
            if value < 1:
                raise WrongValue(f'{name} is {value}', allowed='an integer of at least 1')
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
