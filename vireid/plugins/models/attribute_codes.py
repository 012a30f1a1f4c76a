"""The style, pose and illumination in an attribute code (Hi-CMD)."""

from __future__ import annotations

from torch import Tensor

from vireid.errors import Mismatch

SLICES = 4  # one for each residual block of the decoder


class AttributeCodes:
    """Attribute codes of images, (B, D): four slices, each half style, a quarter pose and a quarter illumination.

    Style belongs to the identity; pose and illumination are what Hi-CMD excludes from it. Together they are called
    excluded.

    Args:
        codes: (B, D), D divisible by 16.

    Raises:
        Mismatch: if D is not divisible by 16.
    """

    def __init__(self, codes: Tensor) -> None:
        if codes.shape[1] % (4 * SLICES):
            raise Mismatch(f'attribute codes have length {codes.shape[1]}', allowed=f'multiples of {4 * SLICES}')
        self.codes = codes
        self.slices = codes.unflatten(1, (SLICES, -1))  # (B, 4, D / 4)
        self.part = self.slices.shape[2] // 4

    @property
    def style(self) -> Tensor:
        """(B, D / 2)."""
        return self.slices[:, :, : 2 * self.part].flatten(1)

    @property
    def excluded(self) -> Tensor:
        """(B, D / 2): pose and illumination."""
        return self.slices[:, :, 2 * self.part :].flatten(1)

    def with_style_of(self, other: AttributeCodes) -> AttributeCodes:
        """Returns the codes with the style of others, row by row."""
        return self._joined(other, 2 * self.part)

    def with_style_and_pose_of(self, other: AttributeCodes) -> AttributeCodes:
        """Returns the codes with the style and pose of others, row by row; only the illumination stays."""
        return self._joined(other, 3 * self.part)

    def _joined(self, other: AttributeCodes, count: int) -> AttributeCodes:
        own = self.slices.clone()
        own[:, :, :count] = other.slices[:, :, :count]
        return AttributeCodes(own.flatten(1))
