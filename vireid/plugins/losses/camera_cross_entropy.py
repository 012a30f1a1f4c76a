"""Cross-entropy of a camera classifier: the view classifier of MSR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import Context, HeadOutput


class CameraCrossEntropy(nn.Module):
    """Softmax cross-entropy of the camera that took an image, mean over images.

    It trains the view classifier of MSR (Feng et al., TIP 2019). It reads the scores that a `CameraHead` hands on as
    its feature: column c - 1 is camera c.

    Raises:
        VireidError: when called, if the batch does not tell its cameras, or one of them has no score.
    """

    reads_parts = False

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        scores = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))  # (B, cameras)
        if context.cameras is None:
            raise VireidError(
                'CameraCrossEntropy reads the cameras of the images and the batch does not tell them',
                todo='use a dataset that numbers its cameras',
            )
        wrong = context.cameras[(context.cameras < 1) | (context.cameras > scores.shape[1])]
        if len(wrong):
            raise VireidError(
                f'an image of camera {int(wrong[0])} and a classifier of {scores.shape[1]} cameras',
                allowed=f'cameras 1 to {scores.shape[1]}',
                todo='set cameras of the CameraHead to the largest camera number of the dataset',
            )
        return nn.functional.cross_entropy(scores, context.cameras - 1)  # ()
