"""A cross-modality protocol for data without a protocol of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vireid.core.types import INFRARED, VISIBLE, Trial
from vireid.errors import Mismatch
from vireid.interfaces import Dataset
from vireid.plugins.protocols.choices import require_choices
from vireid.plugins.protocols.llcm import DIRECTIONS, Direction
from vireid.plugins.protocols.llcm import drop_same_camera as same_camera


class Cross:
    """All test images of one modality are queries, and all test images of the other are the gallery, in one trial.

    Args:
        directions: directions to score, one result row each.
        drop_same_camera: True ignores gallery images with the query's identity and camera number.
        cmc: whether the CMC counts `identity` or `image` ranks up to the first match.

    Raises:
        WrongValue: if `directions` is empty or has a duplicate.
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
        """Returns one trial per direction.

        Raises:
            Mismatch: if `drop_same_camera` is True and no camera number has both modalities.
        """
        samples = dataset.split('test')
        cameras = [{s.camera for s in samples if s.modality == m} for m in (VISIBLE, INFRARED)]
        if self.drop and not cameras[0] & cameras[1]:
            raise Mismatch(
                'drop_same_camera has no effect: no camera number has both modalities',
                todo='remove drop_same_camera, or give cameras at the same place the same number',
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
