"""Cross-entropy of a modality discriminator, for the discriminator and for the network that confuses it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import MODALITIES, Context, HeadOutput
from vireid.errors import Mismatch


class ModalityCrossEntropy(nn.Module):
    """Softmax cross-entropy of modality scores, averaged over the images: L_D of cmGAN (Dai et al., IJCAI 2018).

    See doi 10.24963/ijcai.2018/94.

    The discriminator minimizes it. The network that should confuse the discriminator minimizes one of two losses:

    - minus L_D, that is, this loss with a negative weight: cmGAN's formula. It has no lower bound, and almost no
      gradient where the discriminator is confident and correct.
    - L_D with `inverted` modalities: Goodfellow's non-saturating form. It is at least 0, and its gradient is largest
      where the discriminator is confident and correct.

    Auxiliary modalities are ignored.

    Args:
        inverted: whether visible images count as infrared and infrared ones as visible.

    Raises:
        Mismatch: when called, if the feature is not (B, 2).
    """

    reads_parts = False

    def __init__(self, inverted: bool = False) -> None:
        super().__init__()
        self.inverted = inverted

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        scores = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if scores.shape != (len(identities), len(MODALITIES)):
            raise Mismatch(
                f'ModalityCrossEntropy got a feature {tuple(scores.shape)} for {len(identities)} images',
                allowed=f'one score for each of {", ".join(MODALITIES)}',
                todo='use it on a ModalityDiscriminator',
            )
        log_odds = nn.functional.log_softmax(scores, dim=1)
        names = reversed(MODALITIES) if self.inverted else MODALITIES
        columns = dict(zip(names, range(len(MODALITIES)), strict=True))
        right = [log_odds[context.rows(m), column] for m, column in columns.items()]
        return -torch.cat(right).mean()  # ()
