"""The range of pixels that hand-crafted descriptors read."""

from __future__ import annotations

from torch import Tensor

from vireid.errors import Mismatch

ROUNDING = 1e-4  # a resize of float images may overshoot by a rounding error


def require_unit_range(images: Tensor, descriptor: str) -> None:
    """Raises unless the pixels are in 0..1, as `ToFloat` returns them.

    Args:
        images: (B, 3, H, W) floats.
        descriptor: its name, for the message.

    Raises:
        Mismatch: if a pixel is outside 0..1 or not a number, as after `Normalize`.
    """
    if images.is_meta or not images.numel():  # `vireid count` embeds an image without values
        return
    low, high = (float(x) for x in images.aminmax())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # NaN fails too
        raise Mismatch(
            f'{descriptor} got pixels of {low:.3g} to {high:.3g}',
            allowed='0 (black) to 1 (white)',
            todo='end images.test with ToFloat, and remove Normalize',
        )
