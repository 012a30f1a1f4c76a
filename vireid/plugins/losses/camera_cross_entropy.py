"""Cross-entropy of a camera classifier: the view classifier of MSR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch


class CameraCrossEntropy(nn.Module):
    """Softmax cross-entropy of the camera that took each image, averaged over images.

    It trains the view classifier of MSR (Feng et al., TIP 2019, doi 10.1109/TIP.2019.2928126). It reads the scores that
    `CameraHead` outputs as its feature: column c - 1 is camera c.

    Raises:
        Mismatch: when called, if the batch has no camera numbers, or one of them has no score.
    """

    reads_parts = False

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        scores = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))  # (B, cameras)
        if context.cameras is None:
            raise Mismatch(
                'CameraCrossEntropy needs camera numbers, but the batch has none',
                todo='use a dataset with camera numbers',
            )
        wrong = context.cameras[(context.cameras < 1) | (context.cameras > scores.shape[1])]
        if len(wrong):
            raise Mismatch(
                f'an image has camera {int(wrong[0])}, but the classifier has {scores.shape[1]} cameras',
                allowed=f'cameras 1 to {scores.shape[1]}',
                todo='set cameras of the CameraHead to the largest camera number in the dataset',
            )
        return nn.functional.cross_entropy(scores, context.cameras - 1)  # ()
