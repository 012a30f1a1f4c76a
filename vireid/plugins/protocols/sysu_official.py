"""The SYSU-MM01 protocol of the authors' MATLAB code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from vireid.boundary.mat_files import read_cell
from vireid.boundary.reading import reads
from vireid.core.types import Sample, Trial
from vireid.errors import Mismatch, MissingFile
from vireid.interfaces import Dataset
from vireid.plugins.protocols.choices import require_choices
from vireid.plugins.protocols.sysu import Draw, Mode, Shots, sysu_trials

FILE = 'rand_perm_cam.mat'


class SYSUOfficial:
    """SYSU-MM01 as scored by its authors' code (Wu et al., ICCV 2017).

    See doi 10.1109/ICCV.2017.575.

    Like `sysu/agw`, but the gallery of trial t consists of the first image (`single`) or the first ten images (`multi`)
    in row t of the authors' permutation of each identity's images per camera.

    Args:
        modes: search modes; the gallery of `all` has cameras 1, 2, 4, 5, that of `indoor` cameras 1, 2.
        trials: number of permutation rows to average over, 1 to 10.
        shots: `single`, `multi` or both.
        permutation: path of `rand_perm_cam.mat`; by default, the file in the dataset's `exp` folder.

    Raises:
        WrongValue: if `modes` or `shots` is empty or has a duplicate.
    """

    name = 'sysu/official'

    def __init__(
        self,
        modes: Sequence[Mode] = ('all', 'indoor'),
        trials: Annotated[int, Ge(1), Le(10)] = 10,
        shots: Sequence[Shots] = ('single', 'multi'),
        permutation: str | None = None,
    ) -> None:
        require_choices(modes=modes, shots=shots)
        self.modes, self.count, self.shots, self.permutation = tuple(modes), trials, tuple(shots), permutation

    def trials(self, dataset: Dataset) -> list[Trial]:
        """Returns the trials of all modes and shots.

        Raises:
            VireidError: if the permutation file is missing or does not fit the images.
        """
        root = Dataset.root(dataset)
        path = Path(self.permutation) if self.permutation else Path(root or '.') / 'exp' / FILE
        cameras = read_permutation(path)

        def draws() -> Iterator[Draw]:
            for row in range(self.count):

                def draw(cell: tuple[int, int], images: list[Sample], count: int, row=row) -> Sequence[Sample]:
                    numbers = _numbers(cameras, cell, path)[row]
                    if len(numbers) != len(images):
                        raise Mismatch(
                            f'{path} permutes {len(numbers)} images of identity {cell[0]} on camera {cell[1]}, but '
                            f'there are {len(images)}',
                            todo='unpack the dataset again, as the copy is incomplete or has additional images',
                        )
                    return [images[number - 1] for number in numbers[:count]]

                yield draw

        return sysu_trials(dataset, self.modes, self.shots, draws)


@reads('a permutation file', FILE, todo="restore it from the authors' evaluation code")
def read_permutation(path: Path) -> list[Any]:
    """Returns the cells of `rand_perm_cam.mat`: [camera - 1][identity - 1] is (10, images), numbered from 1.

    Raises:
        VireidError: if the file is missing or has another content.
    """
    if not path.is_file():
        raise MissingFile(
            f'sysu/official needs the permutation {path}, which '
            + ('is a folder' if path.is_dir() else 'does not exist'),
            allowed=f"{FILE} of the authors' evaluation code (github.com/wuancong/SYSU-MM01)",
            todo="put it there, set protocol.permutation, or use protocol.type='sysu/agw', which needs no such file",
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
        raise Mismatch(
            f'{path} has no permutation for identity {identity} on camera {camera}',
            allowed='identities and cameras with ten permutations in the file',
            todo="use protocol.type='sysu/agw' to select weights on validation identities, then score "
            'checkpoints/best.pt: vireid test ... --protocol sysu/official',
        )
    return numbers.astype(np.int64)
