"""OneModality: another loss, computed on the images of a single modality."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.registry.signature import names_argument
from vireid.core.types import Context, HeadOutput, Modality
from vireid.errors import Mismatch
from vireid.interfaces import Loss


class OneModality(nn.Module):
    """Computes another loss on the images of one modality only, such as translated images.

    Args:
        build_part: builds the loss.
        modality: the modality.
        loss: a name in `losses`, or a config.

    Raises:
        Mismatch: when called, if the batch has no images of the modality.
    """

    def __init__(
        self,
        build_part: BuildPart,
        modality: Modality,
        loss: Annotated[str | dict, Component('losses')] = 'CrossEntropy',
    ) -> None:
        super().__init__()
        self.modality, self.loss = modality, build_part('losses', loss, 'loss')
        self.reads_parts = Loss.reads_parts(self.loss)
        self._contextual = names_argument(self.loss, 'context')

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        rows = context.rows(self.modality)
        if rows.start == rows.stop:
            raise Mismatch(f'OneModality reads {self.modality} images, but the batch has none')
        logits = None if output.logits is None else output.logits[rows]
        own = replace(output, feature=output.feature[rows], logits=logits)
        if not self._contextual:
            return self.loss(own, identities[rows])  # ()
        cameras = None if context.cameras is None else context.cameras[rows]
        known = Context({self.modality: context.counts[self.modality]}, identities[rows], cameras, context.copies)
        return self.loss(own, identities[rows], context=known)
