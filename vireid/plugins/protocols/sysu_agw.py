"""The SYSU-MM01 protocol of AGW, DDAG and most later code."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from vireid.core.types import Sample, Trial
from vireid.interfaces import Dataset
from vireid.plugins.protocols.choices import Trials, require_choices
from vireid.plugins.protocols.sysu import Draw, Mode, Shots, sysu_trials


class SYSUAgw:
    """SYSU-MM01 as scored by the code of AGW (Ye et al., 2020, arXiv 2001.04193).

    Queries are all infrared test images (cameras 3 and 6) in both modes. The gallery of trial t has one visible image
    per identity and camera, drawn with `random.Random(t)` in ascending order of identities, then cameras. Queries of
    camera 3 ignore all images of camera 2, which is at the same place. The CMC counts identities.

    The original code is single-shot; `multi` draws ten images in the same way, without replacement.

    Args:
        modes: search modes; the gallery of `all` has cameras 1, 2, 4, 5, that of `indoor` cameras 1, 2.
        trials: number of random galleries to average over, starting with trial 0.
        shots: `single`, `multi` or both.

    Raises:
        WrongValue: if `modes` or `shots` is empty or has a duplicate.
    """

    name = 'sysu/agw'

    def __init__(
        self, modes: Sequence[Mode] = ('all', 'indoor'), trials: Trials = 10, shots: Sequence[Shots] = ('single',)
    ) -> None:
        require_choices(modes=modes, shots=shots)
        self.modes, self.count, self.shots = tuple(modes), trials, tuple(shots)

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns the trials of all modes and shots."""
        return sysu_trials(dataset, self.modes, self.shots, self._draws)

    def _draws(self) -> Iterator[Draw]:
        for index in range(self.count):
            stream = random.Random(index)  # does not touch the global generator

            def draw(cell: tuple[int, int], images: list[Sample], count: int, stream=stream) -> Sequence[Sample]:
                # single-shot must use `choice`, as in the original code: `sample` draws other images
                return [stream.choice(images)] if count == 1 else stream.sample(images, min(count, len(images)))

            yield draw
