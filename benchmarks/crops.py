"""Crops: how many people are found, whether a track is one person, and the speed of decoding.

People: a synthetic video (H.264) of people who walk past and cross, and a detector that knows the truth, once exact
and once with 10% of the people missing and boxes that jitter. Recall counts walks with at least one crop. Purity is the
share of crops that show the most frequent person of their track. The tracker was tuned on seeds 0 to 5; measure on
others.

Speed: 1,000 frames of 1080p, decoded by PyAV alone and by `Video.frames`, in turns in one process; then the whole
command with a detector that finds nothing.

    python benchmarks/crops.py
    python benchmarks/crops.py --video FILE     # another video for the speed
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from walking import Truth, frames, random_walks, write_video

from vireid.video.cropping import Settings, crop_video
from vireid.video.folder import open_folder
from vireid.video.frames import Video


def score(video: Path, folder: Path, min_height: int = 64) -> dict[str, float]:
    """Returns recall and purity of the crops of one video, and their number, from the truth beside it."""
    truth = json.loads(video.with_name(f'{video.name}.json').read_text())
    with (folder / 'crops.csv').open() as file:
        rows = list(csv.DictReader(file))
    by_frame: dict[int, list[dict[str, str]]] = {}
    for row in rows:
        by_frame.setdefault(int(row['frame']), []).append(row)
    people: dict[str, Counter[int]] = {}
    with Video(video) as opened:
        for frame in opened.frames():
            for row in by_frame.get(frame.number, []):
                with Image.open(folder / row['path']) as image:
                    crop = np.asarray(image).astype(int)
                identity = _identity(crop, frame.pixels(), truth[frame.number])
                people.setdefault(row['track'], Counter())[identity] += 1
    height, width = frame.pixels().shape[:2]
    walks = {
        int(box[0])
        for boxes in truth
        for box in boxes
        if box[4] - box[2] >= min_height and box[1] >= 2 and box[3] <= width - 2 and box[2] >= 2 and box[4] < height - 2
    }
    found = {identity for counts in people.values() for identity in counts}
    return {
        'recall': len(found & walks) / len(walks),
        'purity': sum(max(counts.values()) for counts in people.values()) / max(len(rows), 1),
        'walks': len(walks),
        'tracks': len(people),
        'crops': len(rows),
    }


def _identity(crop: np.ndarray, pixels: np.ndarray, boxes: list[list[float]]) -> int:
    """Returns who is at the place of the frame where the crop is from."""
    high, wide = crop.shape[:2]
    best, identity = np.inf, -1
    exact = [box for box in boxes if (wide, high) == (box[3] - box[1], box[4] - box[2])]
    for who, left, top, _, bottom in exact or boxes:
        # a box that jitters has other sides: search around the true one
        reach = 0 if exact else int(0.1 * (bottom - top)) + 2
        for y in range(max(int(top) - reach, 0), min(int(top) + reach, pixels.shape[0] - high) + 1, 2):
            for x in range(max(int(left) - reach, 0), min(int(left) + reach, pixels.shape[1] - wide) + 1, 2):
                difference = np.abs(pixels[y : y + high : 4, x : x + wide : 4] - crop[::4, ::4]).mean()
                if difference < best:
                    best, identity = difference, int(who)
    return identity


def people(folder: Path, count: int, seconds: float, seed: int) -> None:
    """Prints recall and purity on a synthetic video."""
    size = (960, 540)
    video = folder / f'walks{seed}.mp4'
    write_video(video, frames(random_walks(count, seconds, size, seed), seconds, size, seed=seed))
    for what, mistakes in (('exact', {}), ('with mistakes', {'missing': 0.1, 'jitter': 0.01})):
        out = folder / f'{what}{seed}'
        detector = Truth(f'{video}.json', **mistakes)
        with open_folder(out) as opened:
            crop_video(video, opened, detector, Settings('visible', 3, None, False, 64, {'type': 'Truth'}))
        result = score(video, out)
        print(f'seed {seed}, {what}: ' + ', '.join(f'{name} {value:.3g}' for name, value in result.items()), flush=True)


def speed(folder: Path, video: Path | None, repeats: int) -> None:
    """Prints the time of 1,000 frames, by PyAV alone and by vireid, in turns."""
    import av

    if video is None:
        video, size = folder / 'speed.mp4', (1920, 1080)
        few = list(frames(random_walks(12, 4, size), 4, size))
        write_video(video, (frame for _ in range(5) for part in (few, few[::-1]) for frame in part))

    def bare() -> int:
        with av.open(str(video)) as container:
            container.streams.video[0].thread_type = 'AUTO'
            return sum(1 for _, _ in zip(range(1000), container.decode(video=0), strict=False))

    def ours() -> int:
        with Video(video) as opened:
            return sum(1 for _, _ in zip(range(1000), opened.frames(), strict=False))

    def whole() -> int:
        out = Path(tempfile.mkdtemp(dir=folder))
        nobody = [(np.empty((0, 4)), np.empty(0))]
        with open_folder(out) as opened:
            settings = Settings('visible', 3, None, False, 64, {'type': 'Nobody'})
            report = crop_video(video, opened, lambda images: nobody * len(images), settings)  # type: ignore[arg-type]
        return report.counts.frames

    times: dict[str, list[float]] = {'PyAV': [], 'frames': [], 'crops, nobody found': []}
    for _ in range(repeats):
        for name, work in zip(times, (bare, ours, whole), strict=True):
            begin = time.perf_counter()
            count = work()
            times[name].append((time.perf_counter() - begin) / count)
    base = np.array(times['PyAV'])
    for name, seconds in times.items():
        ratio = float(np.median(base / np.array(seconds)))
        print(f'{name}: {1 / float(np.median(seconds)):,.0f} frames/s, {ratio:.2f} of the speed of PyAV')


def main() -> None:
    """Prints all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--people', type=int, default=20)
    parser.add_argument('--seconds', type=float, default=60.0)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--first-seed', type=int, default=100)
    parser.add_argument('--video', type=Path)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            people(Path(folder), args.people, args.seconds, seed)
        speed(Path(folder), args.video, args.repeats)


if __name__ == '__main__':
    main()
