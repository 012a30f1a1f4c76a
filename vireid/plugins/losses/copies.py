"""The copies of each image, for losses that compare them."""

from __future__ import annotations

from torch import Tensor

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.unit_distances import one_vector


def split_copies(loss: str, output: HeadOutput, context: Context, least: int) -> Tensor:
    """Returns a head's features as (B, copies, C), in float32, or float64 if they are float64.

    Args:
        loss: name of the loss, for the message.
        output: output of the head.
        context: metadata of its rows.
        least: number of copies that the loss needs.

    Raises:
        Mismatch: if the output has parts, or there are fewer copies.
    """
    feature = one_vector(loss, output)
    if context.copies < least:
        raise Mismatch(
            f'{loss} compares the copies of an image, but its head reads {context.copies} per image',
            allowed=f'at least {least}',
            todo='add a neck that returns copies, such as model.backbone.inserts.dee=dict(type="DEE", after="stage3")',
        )
    return feature.unflatten(0, (-1, context.copies))
