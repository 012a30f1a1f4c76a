"""Cross-entropy on a head's logits: the identity loss."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from vireid.core.types import HeadOutput
from vireid.errors import Mismatch


class CrossEntropy(nn.Module):
    """Softmax cross-entropy, averaged over images and summed over parts (DMCF Eq. 10-11).

    Args:
        label_smoothing: label smoothing, 0 to 1 (exclusive).

    Raises:
        Mismatch: when called, if the head has no logits.
    """

    def __init__(self, label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        if output.logits is None:
            raise Mismatch(
                'CrossEntropy needs logits, but this head has no classifier',
                todo='use a head with a classifier, or another loss',
            )
        logits = output.logits.unsqueeze(1) if output.logits.ndim == 2 else output.logits  # (B, P, K)
        parts = logits.shape[1]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), identities.repeat_interleave(parts), label_smoothing=self.label_smoothing
        )
        return parts * loss  # ()
