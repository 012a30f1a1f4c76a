"""Runs `vireid reproduce tffn` on synthetic people with exactly the folders, counts and lists of SYSU-MM01.

python benchmarks/reproduce_true_size.py FOLDER [--rows b b_deep_mlfm_glfm] [--seeds 0-1] [--size 144 72] [--steps 4]

Draws 44,745 images into FOLDER/sysu (resumable), checks them with `vireid data check`, and trains a few steps per run
with the networks and batches of the papers' configs, without pretrained weights. The command is killed once after its
first run and repeated: the first run must not be trained again. Prints the tables and the minutes of each part.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from scipy.io import savemat

from vireid.synth.cameras import SYSU_CAMERAS
from vireid.synth.look import person
from vireid.synth.picture import draw

FACTS = Path(__file__).parents[1] / 'tests/fixtures/sysu_mm01.json'
SEED = 5  # of the people
Counts = dict[str, dict[int, list[int]]]


def read_counts() -> Counts:
    """Returns the published number of images by split, identity and camera (1 to 6)."""
    facts = json.loads(FACTS.read_text())
    return {part: {int(i): row for i, row in facts[part].items()} for part in ('train', 'val', 'test')}


def draw_identity(root: Path, task: tuple[int, list[int]]) -> int:
    """Draws the missing images of an identity; returns how many it has."""
    identity, row = task
    look = person(SEED, identity)
    for camera, count in enumerate(row, 1):
        folder = root / f'cam{camera}' / f'{identity:04d}'
        if count:
            folder.mkdir(parents=True, exist_ok=True)
        for shot in range(count):
            path = folder / f'{shot + 1:04d}.jpg'
            if not path.exists():
                image = draw(look, modality=SYSU_CAMERAS[camera].modality, camera=camera, shot=shot, seed=SEED)
                image.save(path.with_suffix('.part'), 'JPEG', quality=85)
                path.with_suffix('.part').rename(path)
    return sum(row)


def write_lists(root: Path, counts: Counts) -> None:
    """Writes the lists of identities, and ten random orders of every identity's images on each camera."""
    exp = root / 'exp'
    exp.mkdir(exist_ok=True)
    for part, rows in counts.items():
        (exp / f'{part}_id.txt').write_text(','.join(map(str, rows)) + '\n')
    rng = np.random.default_rng(0)
    known = {**counts['train'], **counts['test']}
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(6):
        cells = np.empty((533, 1), dtype=object)
        for number in range(1, 534):
            count = known[number][camera] if number in known else 0
            orders = [rng.permutation(count) + 1 for _ in range(10)]
            cells[number - 1, 0] = np.array(orders, dtype=np.uint16) if count else np.zeros((0, 0), dtype=np.uint16)
        cameras[camera, 0] = cells
    savemat(exp / 'rand_perm_cam.mat', {'rand_perm_cam': cameras}, do_compression=True)


def timed(what: str, work: Callable[[], object]) -> None:
    """Runs a part and prints its minutes."""
    start = time.perf_counter()
    work()
    print(f'{what}: {(time.perf_counter() - start) / 60:.1f} min', flush=True)


def make(root: Path) -> None:
    """Draws the images, in two processes."""
    counts = read_counts()
    tasks = [item for rows in counts.values() for item in rows.items()]
    with Pool(2) as pool:
        total = sum(pool.imap_unordered(functools.partial(draw_identity, root), tasks))
    write_lists(root, counts)
    print(f'{len(tasks)} identities, {total:,} images')


def results(folder: Path) -> dict[Path, int]:
    """Returns when each finished run wrote its result."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob('result.json')}


def killed_after_first_run(command: list[str], folder: Path) -> None:
    """Starts a command, and kills it and its processes once a run is finished."""
    with subprocess.Popen(command, start_new_session=True) as process:
        while not results(folder) and process.poll() is None:
            time.sleep(1)
        if process.poll() is not None:
            raise SystemExit(f'the command ended with status {process.poll()} before it could be killed')
        os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    """Draws, checks, runs, kills and repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--rows', nargs='+', default=['b', 'b_deep_mlfm_glfm'])
    parser.add_argument('--seeds', default='0-1')
    parser.add_argument('--size', type=int, nargs=2, default=[144, 72])
    parser.add_argument('--steps', type=int, default=4)
    parser.add_argument('--only-data', action='store_true', help='draw the images and stop')
    args = parser.parse_args()
    root, runs = args.folder / 'sysu', args.folder / 'runs'
    timed('drawing', lambda: make(root))
    if args.only_data:
        return
    vireid = [sys.executable, '-m', 'vireid']
    timed('vireid data check', lambda: subprocess.run([*vireid, 'data', 'check', str(root)], check=True))
    height, width = args.size
    command = [
        *vireid, 'reproduce', 'tffn', '--data-root', str(root), '--tables', 'tffn_table3', '--rows', *args.rows,
        '--seeds', args.seeds, '--work-dir', str(runs), '--yes', '--allow-differences', '--precision', 'auto',
        '--cfg-options', 'training.epochs=None', f'training.steps={args.steps}', f'images.size=[{height},{width}]',
        'model.backbone.weights=None',
    ]  # fmt: skip
    timed('until the first run is killed', lambda: killed_after_first_run(command, runs))
    before = results(runs)
    timed('the same command again', lambda: subprocess.run(command, check=True))
    after = results(runs)
    again = [path for path, moment in before.items() if after[path] != moment]
    print(f'{len(before)} results before the kill, {len(again)} of them written again, {len(after)} in the end')


if __name__ == '__main__':
    main()
