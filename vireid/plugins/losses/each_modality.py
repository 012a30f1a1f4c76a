"""A loss within each modality, summed over the modalities."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn

from vireid.core.interfaces import Loss
from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.registry.signature import names_argument
from vireid.core.types import Context, HeadOutput, joint_order


class EachModality(nn.Module):
    """Takes another loss of each modality's images alone, and adds the results up.

    Hard triplets then never cross modalities, and each modality weighs the same however many images it has. With
    cross-entropy and hard triplets it is the modality respective gap constraint of the X modality (Li et al., AAAI
    2020). Modalities without images are passed over.

    Args:
        build_part: builds the loss.
        loss: a name among `losses`, or a config of one.
    """

    def __init__(
        self, build_part: BuildPart, loss: Annotated[str | dict, Component('losses')] = 'CrossEntropy'
    ) -> None:
        super().__init__()
        self.loss = build_part('losses', loss, 'loss')
        self.reads_parts = Loss.reads_parts(self.loss)
        self._contextual = names_argument(self.loss, 'context')

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        terms = []
        for modality in joint_order(m for m, count in context.counts.items() if count):
            rows = context.rows(modality)
            known = {}
            if self._contextual:
                cameras = None if context.cameras is None else context.cameras[rows]
                known['context'] = Context({modality: context.counts[modality]}, identities[rows], cameras)
            logits = None if output.logits is None else output.logits[rows]
            own = replace(output, feature=output.feature[rows], logits=logits)
            terms.append(self.loss(own, identities[rows], **known))
        return torch.stack(terms).sum()  # ()
