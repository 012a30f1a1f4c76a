"""The folder layouts of a synthetic dataset: its images, their paths, and its lists."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import savemat

from vireid.synth.cameras import LLCM_CAMERAS, RIG, SYSU_CAMERAS
from vireid.synth.look import person
from vireid.synth.picture import draw, faces_camera
from vireid.synth.rng import PERMUTATION, PRESENCE, SENSOR, SPLIT, TRIAL, chance, stream
from vireid.synth.spectrum import Modality

TRIALS = 10


@dataclass(frozen=True)
class Job:
    """The content of a dataset: number of identities, seed, images per identity and camera (or sensor)."""

    ids: int
    seed: int
    images: int


@dataclass(frozen=True)
class Layout:
    """A folder layout.

    Attributes:
        name: as given to `synthesize`.
        least_ids: the smallest number of identities that its splits support.
        images: default number of images per identity and camera, or sensor (regdb).
        write_identity: writes the images of one identity (1 to ids) to a folder; returns the numbers of visible and
            infrared ones.
        write_lists: writes the lists of identities or images to a folder.
    """

    name: str
    least_ids: int
    images: int
    write_identity: Callable[[Path, Job, int], tuple[int, int]]
    write_lists: Callable[[Path, Job], None]


def sysu_cameras(seed: int, identity: int) -> tuple[int, ...]:
    """Returns the cameras that saw this identity, ascending.

    As in SYSU-MM01, not every person passes every camera. At least one of cameras 3 and 6 and one of 1, 4 and 5 sees
    each person: a query of camera 3 excludes camera 2, which is in the same room, and might else have no match.
    """
    rng = stream(seed, PRESENCE, identity)
    seen = {camera for camera in SYSU_CAMERAS if chance(rng, 0.84)}
    if not seen & {1, 4, 5}:
        seen.add((1, 4, 5)[int(rng.integers(3))])
    if not seen & {3, 6}:
        seen.add((3, 6)[int(rng.integers(2))])
    return tuple(sorted(seen))


def _on_sysu_cameras(folder: Path, job: Job, identity: int, name: Callable[[int, int], str]) -> tuple[int, int]:
    """Writes an identity's images on the cameras of SYSU-MM01; `name` returns the path for a camera and a shot."""
    look = person(job.seed, identity)
    counts = {'visible': 0, 'infrared': 0}
    for number in sysu_cameras(job.seed, identity):
        modality = SYSU_CAMERAS[number].modality
        for shot in range(job.images):
            target = folder / name(number, shot)
            target.parent.mkdir(parents=True, exist_ok=True)
            image = draw(look, modality=modality, camera=number, shot=shot, seed=job.seed)
            quality = int(stream(job.seed, SENSOR, identity, number, shot, 9).integers(74, 93))
            image.save(target, quality=quality)
            counts[modality] += 1
    return counts['visible'], counts['infrared']


def _sysu_identity(folder: Path, job: Job, identity: int) -> tuple[int, int]:
    return _on_sysu_cameras(
        folder, job, identity, lambda camera, shot: f'cam{camera}/{identity:04d}/{shot + 1:04d}.jpg'
    )


def sysu_split(job: Job) -> dict[str, list[int]]:
    """Returns the ascending identities of 'train' (about 60%), 'val' (10%) and 'test' (30%)."""
    order = [int(i) + 1 for i in stream(job.seed, SPLIT, job.ids).permutation(job.ids)]
    val, test = max(1, round(0.1 * job.ids)), max(2, round(0.3 * job.ids))
    return {
        'train': sorted(order[val + test :]),
        'val': sorted(order[:val]),
        'test': sorted(order[val : val + test]),
    }


def _sysu_lists(folder: Path, job: Job) -> None:
    (folder / 'exp').mkdir()
    for name, identities in sysu_split(job).items():
        _write(folder / 'exp' / f'{name}_id.txt', ','.join(map(str, identities)) + '\n')
    _sysu_permutation(folder / 'exp' / 'rand_perm_cam.mat', job)


def _sysu_permutation(path: Path, job: Job) -> None:
    """Writes the permutations behind the galleries of the official protocol: a cell per camera, with one per identity.

    Each is a (10, images) matrix with a permutation of the image numbers in every row. As in the authors' file, it is
    empty for validation identities.
    """
    without = set(sysu_split(job)['val'])
    cameras = np.empty((len(SYSU_CAMERAS), 1), dtype=object)
    for place, number in enumerate(sorted(SYSU_CAMERAS)):
        cells = np.empty((job.ids, 1), dtype=object)
        for identity in range(1, job.ids + 1):
            seen = number in sysu_cameras(job.seed, identity) and identity not in without
            count = job.images if seen else 0
            rng = stream(job.seed, PERMUTATION, identity, number)
            rows = [rng.permutation(count) + 1 for _ in range(TRIALS)]
            cells[identity - 1, 0] = np.stack(rows).astype(np.uint16) if count else np.zeros((0, 0), dtype=np.uint16)
        cameras[place, 0] = cells
    buffer = io.BytesIO()
    savemat(buffer, {'rand_perm_cam': cameras}, do_compression=True)
    content = bytearray(buffer.getvalue())
    content[:116] = b'MATLAB 5.0 MAT-file, written by vireid data synth'.ljust(116)  # SciPy writes the time here
    path.write_bytes(content)


def _own_folder(split: dict[str, list[int]], identity: int) -> str:
    return 'test' if identity in split['test'] else 'train'


def _folders_identity(folder: Path, job: Job, identity: int) -> tuple[int, int]:
    part = _own_folder(sysu_split(job), identity)

    def name(camera: int, shot: int) -> str:
        modality = SYSU_CAMERAS[camera].modality
        return f'{part}/{modality}/{identity:04d}/c{camera}_{shot + 1:04d}.jpg'

    return _on_sysu_cameras(folder, job, identity, name)


def _no_lists(folder: Path, job: Job) -> None:
    """Does nothing: this layout needs no lists."""


def _manifest_path(identity: int, camera: int, shot: int) -> str:
    return f'pictures/{identity:04d}_c{camera}_{shot + 1:04d}.jpg'


def _manifest_identity(folder: Path, job: Job, identity: int) -> tuple[int, int]:
    return _on_sysu_cameras(folder, job, identity, lambda camera, shot: _manifest_path(identity, camera, shot))


def _manifest_lists(folder: Path, job: Job) -> None:
    lines = ['path,identity,camera,modality,split\n']
    for split, identities in sysu_split(job).items():
        for identity in identities:
            for camera in sysu_cameras(job.seed, identity):
                rest = f'{identity},{camera},{SYSU_CAMERAS[camera].modality},{split}\n'
                lines += [f'{_manifest_path(identity, camera, shot)},{rest}' for shot in range(job.images)]
    _write(folder / 'manifest.csv', ''.join(lines))


_REGDB_SIZE = (64, 128)
_REGDB_SENSORS: dict[str, Modality] = {'Visible': 'visible', 'Thermal': 'thermal'}


def _regdb_paths(job: Job, identity: int, sensor: str) -> list[str]:
    view = 'front' if faces_camera(job.seed, identity) else 'back'
    return [
        f'{sensor}/{identity}/{view}_{sensor[0].lower()}_{identity * job.images + shot:05d}_{identity}.bmp'
        for shot in range(job.images)
    ]


def _regdb_identity(folder: Path, job: Job, identity: int) -> tuple[int, int]:
    look = person(job.seed, identity)
    for sensor, modality in _REGDB_SENSORS.items():
        (folder / sensor / str(identity)).mkdir(parents=True)
        for shot, path in enumerate(_regdb_paths(job, identity, sensor)):
            image = draw(look, modality=modality, camera=RIG, shot=shot, seed=job.seed, size=_REGDB_SIZE)
            image.save(folder / path)
    return job.images, job.images


def _regdb_lists(folder: Path, job: Job) -> None:
    (folder / 'idx').mkdir()
    for trial in range(1, TRIALS + 1):
        order = [int(i) + 1 for i in stream(job.seed, TRIAL, job.ids, trial).permutation(job.ids)]
        half = job.ids // 2
        # The real lists name the identities in the order they were drawn and number the labels in file order.
        for split, identities in (('train', order[:half]), ('test', order[half:])):
            for sensor in _REGDB_SENSORS:
                lines = [
                    f'{path} {label}\n'
                    for label, identity in enumerate(identities)
                    for path in _regdb_paths(job, identity, sensor)
                ]
                _write(folder / 'idx' / f'{split}_{sensor.lower()}_{trial}.txt', ''.join(lines))


_LLCM_FOLDERS: dict[Modality, str] = {'visible': 'vis', 'infrared': 'nir'}


def llcm_cameras(seed: int, identity: int) -> dict[Modality, list[int]]:
    """Returns the cameras that saw this identity, ascending, at least two of each modality.

    A query excludes the camera with its own number, so with one of each, some queries would have no match.
    """
    seen: dict[Modality, list[int]] = {}
    for kind, modality in enumerate(_LLCM_FOLDERS):
        numbers = [n for m, n in LLCM_CAMERAS if m == modality]
        rng = stream(seed, PRESENCE, identity, kind)
        count = int(rng.integers(2, 6))
        seen[modality] = sorted(int(n) for n in rng.choice(numbers, size=count, replace=False))
    return seen


def llcm_split(job: Job) -> dict[str, list[int]]:
    """Returns the ascending identities of 'train' (about two in three) and 'test'."""
    order = [int(i) + 1 for i in stream(job.seed, SPLIT, job.ids).permutation(job.ids)]
    test = max(2, round(job.ids / 3))
    return {'train': sorted(order[test:]), 'test': sorted(order[:test])}


def _llcm_paths(job: Job, identity: int, modality: Modality, training: bool) -> list[tuple[str, int, int]]:
    """Returns (path, camera of `LLCM_CAMERAS`, shot) of each image."""
    short = _LLCM_FOLDERS[modality]
    paths = []
    for number in llcm_cameras(job.seed, identity)[modality]:
        for shot in range(job.images):
            name = f'{identity:04d}_c{number:02d}_{shot + 1:04d}.jpg'
            folder = f'{short}/{identity:04d}' if training else f'test_{short}/cam{number}/{identity:04d}'
            paths.append((f'{folder}/{name}', LLCM_CAMERAS[modality, number].number, shot))
    return paths


def _llcm_identity(folder: Path, job: Job, identity: int) -> tuple[int, int]:
    look = person(job.seed, identity)
    training = identity in set(llcm_split(job)['train'])
    counts = {'visible': 0, 'infrared': 0}
    for modality in _LLCM_FOLDERS:
        for path, camera, shot in _llcm_paths(job, identity, modality, training):
            image = draw(look, modality=modality, camera=camera, shot=shot, seed=job.seed)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            quality = int(stream(job.seed, SENSOR, identity, camera, shot, 9).integers(74, 93))
            image.save(folder / path, quality=quality)
            counts[modality] += 1
    return counts['visible'], counts['infrared']


def _llcm_lists(folder: Path, job: Job) -> None:
    (folder / 'idx').mkdir()
    split = llcm_split(job)
    _write(folder / 'idx' / 'test_id.txt', ','.join(map(str, split['test'])) + '\n')
    for modality, short in _LLCM_FOLDERS.items():
        lines = [
            f'{path} {label}\n'
            for label, identity in enumerate(split['train'])
            for path, _, _ in _llcm_paths(job, identity, modality, training=True)
        ]
        _write(folder / 'idx' / f'train_{short}.txt', ''.join(lines))


def _write(path: Path, text: str) -> None:
    # Write bytes, for the same line ends on every system.
    path.write_bytes(text.encode('ascii'))


LAYOUTS: dict[str, Layout] = {
    'sysu': Layout('sysu', 5, 5, _sysu_identity, _sysu_lists),
    'regdb': Layout('regdb', 4, 10, _regdb_identity, _regdb_lists),
    'llcm': Layout('llcm', 4, 3, _llcm_identity, _llcm_lists),
    'folders': Layout('folders', 5, 5, _folders_identity, _no_lists),
    'manifest': Layout('manifest', 5, 5, _manifest_identity, _manifest_lists),
}
