"""SYSU-MM01 scored as its authors' MATLAB code does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.mat_files import read_cell
from vireid.boundary.reading import reads
from vireid.core.errors import VireidError
from vireid.core.interfaces import Dataset
from vireid.core.types import Sample, Trial
from vireid.plugins.protocols.choices import require_choices, require_trials
from vireid.plugins.protocols.sysu import Draw, Mode, Shots, sysu_trials

FILE = 'rand_perm_cam.mat'


class SYSUOfficial:
    """SYSU-MM01, the `official` family (Wu et al., 2017).

    As `sysu/agw`, but the gallery of trial t has the first image (`single`) or the first ten (`multi`) of row t of
    the authors' permutation of each identity's images on each camera.

    Args:
        modes: `all` searches cameras 1, 2, 4, 5; `indoor` cameras 1, 2.
        trials: how many rows are averaged, 1 to 10.
        shots: `single`, `multi` or both.
        permutation: the file `rand_perm_cam.mat`; by default in the dataset's `exp` folder.

    Raises:
        VireidError: if the file is missing or does not fit the images.
    """

    name = 'sysu/official'

    def __init__(
        self,
        modes: Sequence[Mode] = ('all', 'indoor'),
        trials: int = 10,
        shots: Sequence[Shots] = ('single', 'multi'),
        permutation: str | None = None,
    ) -> None:
        require_choices(modes=modes, shots=shots)
        require_trials(trials, most=10)  # the permutation has ten rows
        self.modes, self.count, self.shots, self.permutation = tuple(modes), trials, tuple(shots), permutation

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns the trials of every mode and number of shots."""
        root = Dataset.root(dataset)
        path = Path(self.permutation) if self.permutation else Path(root or '.') / 'exp' / FILE
        cameras = read_permutation(path)

        def draws() -> Iterator[Draw]:
            for row in range(self.count):

                def draw(cell: tuple[int, int], images: list[Sample], wanted: int, row=row) -> Sequence[Sample]:
                    numbers = _numbers(cameras, cell, path)[row]
                    if len(numbers) != len(images):
                        raise VireidError(
                            f'{path} permutes {len(numbers)} images of identity {cell[0]} on camera {cell[1]}, and '
                            f'there are {len(images)}',
                            todo='the copy is not complete, or has images of its own: unpack the dataset again',
                        )
                    return [images[number - 1] for number in numbers[:wanted]]

                yield draw

        return sysu_trials(dataset, self.modes, self.shots, draws)


@reads('a permutation file', FILE, todo="restore it from the authors' evaluation code")
def read_permutation(path: Path) -> list[Any]:
    """Returns the cells of `rand_perm_cam.mat`: [camera - 1][identity - 1] -> (10, images) numbers from 1.

    Raises:
        VireidError: if it is missing or something else.
    """
    if not path.is_file():
        raise VireidError(
            f'sysu/official needs the permutation {path}, and '
            + ('that is a folder' if path.is_dir() else 'there is none'),
            allowed=f"{FILE} of the authors' evaluation code (github.com/wuancong/SYSU-MM01)",
            todo="put it there or set protocol.permutation; or choose protocol.type='sysu/agw', which draws by itself",
        )
    return read_cell(path, 'rand_perm_cam')


def _numbers(cameras: list[Any], cell: tuple[int, int], path: Path) -> np.ndarray:
    identity, camera = cell
    try:
        numbers = cameras[camera - 1][identity - 1]
    except IndexError:
        numbers = None
    sound = isinstance(numbers, np.ndarray) and numbers.ndim == 2 and len(numbers) >= 10
    if not sound or not (np.sort(numbers[:10], axis=1) == np.arange(1, numbers.shape[1] + 1)).all():
        raise VireidError(
            f'{path} has no permutation for identity {identity} on camera {camera}',
            allowed='identities and cameras that the file has ten permutations of',
            todo="choose weights on validation identities by protocol.type='sysu/agw', then score checkpoints/best.pt: "
            'vireid test ... --protocol sysu/official',
        )
    return numbers.astype(np.int64)
