"""SYSU-MM01 scored as AGW, DDAG and most later code do."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from vireid.core.interfaces import Dataset
from vireid.core.types import Sample, Trial
from vireid.plugins.protocols.choices import require_choices, require_trials
from vireid.plugins.protocols.sysu import Draw, Mode, Shots, sysu_trials


class SYSUAgw:
    """SYSU-MM01, the `agw` family.

    Queries are all infrared test images (cameras 3 and 6) in both modes. The gallery of trial t has one visible
    image of each identity and camera, drawn with `random.Random(t)`, identities ascending, then cameras. Queries
    of camera 3 drop all images of camera 2, which stands at the same place. CMC counts identities.

    The family's own code is single-shot; `multi` draws ten images in the same way, without replacement.

    Args:
        modes: `all` searches cameras 1, 2, 4, 5; `indoor` cameras 1, 2.
        trials: how many draws are averaged, from trial 0.
        shots: `single`, `multi` or both.
    """

    name = 'sysu/agw'

    def __init__(
        self, modes: Sequence[Mode] = ('all', 'indoor'), trials: int = 10, shots: Sequence[Shots] = ('single',)
    ) -> None:
        require_choices(modes=modes, shots=shots)
        require_trials(trials)
        self.modes, self.count, self.shots = tuple(modes), trials, tuple(shots)

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns the trials of every mode and number of shots."""
        return sysu_trials(dataset, self.modes, self.shots, self._draws)

    def _draws(self) -> Iterator[Draw]:
        for index in range(self.count):
            stream = random.Random(index)  # its own: the global one is not touched

            def draw(cell: tuple[int, int], images: list[Sample], wanted: int, stream=stream) -> Sequence[Sample]:
                # `choice` and not `sample` for one image: they use the stream differently
                return [stream.choice(images)] if wanted == 1 else stream.sample(images, min(wanted, len(images)))

            yield draw
