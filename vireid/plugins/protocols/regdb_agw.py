"""RegDB scored as AGW and most later code do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vireid.core.errors import VireidError
from vireid.core.interfaces import Dataset
from vireid.core.types import INFRARED, VISIBLE, Trial
from vireid.plugins.protocols.choices import require_choices

DIRECTIONS = {'visible to thermal': (VISIBLE, INFRARED), 'thermal to visible': (INFRARED, VISIBLE)}


class RegDBAgw:
    """RegDB in both directions: every test image of one modality searches all of the other; CMC counts images.

    A model is scored on the split it was trained on; the field's numbers average ten models, one for each split.

    Args:
        directions: which rows to score.
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
        """Returns one trial for each direction."""
        samples = dataset.split('test')
        cameras = {m: sorted({s.camera for s in samples if s.modality == m}) for m in (VISIBLE, INFRARED)}
        for modality, found in cameras.items():
            if len(found) > 1:
                raise VireidError(
                    f"RegDB's protocols do not fit these images: {modality} ones are by cameras "
                    + ', '.join(map(str, found)),
                    allowed='one camera of each modality',
                    todo="choose the dataset's own protocol, or protocol.type='cross'",
                )
        by_modality = {m: tuple(s for s in samples if s.modality == m) for m in (VISIBLE, INFRARED)}
        return [
            Trial(name, 0, by_modality[DIRECTIONS[name][0]], by_modality[DIRECTIONS[name][1]], self.cmc)
            for name in self.directions
        ]
