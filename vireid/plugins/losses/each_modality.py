"""EachModality: another loss, computed within each modality and summed."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.registry.signature import names_argument
from vireid.core.types import Context, HeadOutput, joint_order
from vireid.interfaces import Loss


class EachModality(nn.Module):
    """Computes another loss separately for each modality and sums the results.

    Hard triplets then never cross modalities, and each modality has the same weight, however many images it has. With
    cross-entropy and hard triplets, this is the modality respective gap constraint of the X modality (Li et al., AAAI
    2020, doi 10.1609/aaai.v34i04.5891). Modalities without images are skipped.

    Args:
        build_part: builds the loss.
        loss: a name in `losses`, or a config.
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
