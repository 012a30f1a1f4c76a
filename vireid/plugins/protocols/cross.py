"""Any images of one modality against any of the other: for data without a protocol of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vireid.core.errors import VireidError
from vireid.core.interfaces import Dataset
from vireid.core.types import INFRARED, VISIBLE, Trial
from vireid.plugins.protocols.choices import require_choices
from vireid.plugins.protocols.llcm import DIRECTIONS, Direction
from vireid.plugins.protocols.llcm import drop_same_camera as same_camera


class Cross:
    """Every test image of one modality searches every test image of the other, once.

    Args:
        directions: which rows to score.
        drop_same_camera: True does not count gallery images of the query's person by the camera of its number.
        cmc: `identity` counts identities up to the first match, `image` counts images.
    """

    def __init__(
        self,
        directions: Sequence[Direction] = ('visible to infrared', 'infrared to visible'),
        drop_same_camera: bool = False,
        cmc: Literal['identity', 'image'] = 'identity',
    ) -> None:
        require_choices(directions=directions)
        self.directions, self.drop, self.cmc = tuple(directions), drop_same_camera, cmc
        self.name = f'cross, CMC by {cmc}' + (', same camera dropped' if drop_same_camera else '')

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns one trial for each direction."""
        samples = dataset.split('test')
        cameras = [{s.camera for s in samples if s.modality == m} for m in (VISIBLE, INFRARED)]
        if self.drop and not cameras[0] & cameras[1]:
            raise VireidError(
                'drop_same_camera would drop nothing: no camera number has both modalities',
                todo='leave drop_same_camera out, or give cameras of the same place the same number',
            )
        sides = {m: tuple(s for s in samples if s.modality == m) for m in (VISIBLE, INFRARED)}
        return [
            Trial(
                direction,
                0,
                sides[DIRECTIONS[direction][0]],
                sides[DIRECTIONS[direction][1]],
                self.cmc,
                same_camera if self.drop else None,
            )
            for direction in self.directions
        ]
