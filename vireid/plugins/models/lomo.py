"""LOMO: a model without training."""

from __future__ import annotations

from torch import Tensor, nn

from vireid.core.types import Modality
from vireid.errors import Mismatch
from vireid.plugins.models.local_maximal_occurrence import WINDOW, lomo
from vireid.plugins.models.unit_range import require_unit_range


class LOMO(nn.Module):
    """Local maximal occurrence of colors and textures (Liao et al., CVPR 2015, arXiv 1406.4216).

    The length of the embedding depends on the height of the images only: 26,960 for 128, 64,704 for 288.
    `local_maximal_occurrence.lomo` has the definition.

    Args:
        retinex: even out the illumination before colors are counted, with Gaussian windows of 5 and 20 pixels. The
            authors did, with a program whose source they did not publish.
    """

    def __init__(self, retinex: bool = False) -> None:
        super().__init__()
        self.retinex = retinex

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        """Returns the (B, D) float32 descriptors of (B, 3, H, W) images in 0..1.

        Raises:
            Mismatch: if the images are smaller than a window, or pixels are outside 0..1.
        """
        require_unit_range(images, 'LOMO')
        height, width = images.shape[2:]
        if min(height, width) < WINDOW:
            raise Mismatch(
                f'LOMO got images of {height} x {width}',
                allowed=f'at least {WINDOW} x {WINDOW}, the size of a window',
                todo='set images.size=[128,48], and have images.test begin with Resize',
            )
        return lomo(images, self.retinex)
