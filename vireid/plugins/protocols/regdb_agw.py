"""The RegDB protocol of AGW and most later code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vireid.core.types import INFRARED, VISIBLE, Trial
from vireid.errors import Mismatch
from vireid.interfaces import Dataset
from vireid.plugins.protocols.choices import require_choices

DIRECTIONS = {'visible to thermal': (VISIBLE, INFRARED), 'thermal to visible': (INFRARED, VISIBLE)}


class RegDBAgw:
    """All test images of one modality query all test images of the other. The CMC counts images.

    A model is scored on the split that it was trained on. Published numbers are averages of ten models, one per split.

    Args:
        directions: directions to score, one result row each.

    Raises:
        WrongValue: if `directions` is empty or has a duplicate.
    """

    name = 'regdb/agw'
    cmc: Literal['identity', 'image'] = 'image'

    def __init__(
        self,
        directions: Sequence[Literal['visible to thermal', 'thermal to visible']] = (
            'visible to thermal',
            'thermal to visible',
        ),
    ) -> None:
        require_choices(directions=directions)
        self.directions = tuple(directions)

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns one trial per direction.

        Raises:
            Mismatch: if a modality has several cameras.
        """
        samples = dataset.split('test')
        cameras = {m: sorted({s.camera for s in samples if s.modality == m}) for m in (VISIBLE, INFRARED)}
        for modality, numbers in cameras.items():
            if len(numbers) > 1:
                raise Mismatch(
                    f'the RegDB protocols do not fit these images: {modality} images have the cameras '
                    + ', '.join(map(str, numbers)),
                    allowed='one camera per modality',
                    todo="use the protocol of the dataset, or protocol.type='cross'",
                )
        by_modality = {m: tuple(s for s in samples if s.modality == m) for m in (VISIBLE, INFRARED)}
        return [
            Trial(name, 0, by_modality[DIRECTIONS[name][0]], by_modality[DIRECTIONS[name][1]], self.cmc)
            for name in self.directions
        ]
