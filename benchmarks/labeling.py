"""How many answers `vireid label` needs, and what errors it leaves, with a scripted labeler who knows the truth.

    python benchmarks/labeling.py DIR OUT --cameras visible=1,2 infrared=3,6 --cfg-options model.backbone.weights=FILE

DIR has images in DIR/camN/PERSON/*.jpg. Each folder is cut into tracks of eight consecutive files, which are copied to
OUT under names that do not tell the person. Naming each track by hand takes one answer per track.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vireid.labeling.journal import FILE
from vireid.labeling.labels import INDEX, Labels, embed, only_one
from vireid.labeling.people import Contradiction, Rows
from vireid.labeling.questions import Question
from vireid.labeling.tracks import find_crops
from vireid.search.index import ZERO_SHOT, Index
from vireid.search.open_embedder import open_embedder

LENGTH = 8


def cut(source: Path, out: Path, cameras: dict[str, str]) -> dict[str, str]:
    """Copies the images to OUT/<modality>/camN/<track>/; returns the person of each track."""
    truth: dict[str, str] = {}
    folders = [(c, p) for c in cameras for p in sorted((source / f'cam{c}').iterdir())]
    random.Random(0).shuffle(folders)  # the names of tracks tell nothing
    for camera, folder in folders:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        for start in range(0, len(files), LENGTH):
            name = f'{cameras[camera]}/cam{camera}/{len(truth):06d}'
            truth[name] = folder.name
            (out / name).mkdir(parents=True, exist_ok=True)
            for file in files[start : start + LENGTH]:
                if not (out / name / file.name).exists():
                    shutil.copy(file, out / name / file.name)
    return truth


class Labeler:
    """Answers as the truth says; a share of the answers is wrong."""

    def __init__(self, labels: Labels, truth: dict[str, str], wrong: float, seed: int) -> None:
        self.labels, self.wrong, self.rng = labels, wrong, random.Random(seed)
        self.people = [truth[track.name] for track in labels.tracks]
        self.answers = self.keys = self.mistakes = self.confirmed = 0
        self.stated: list[tuple[float, bool]] = []  # the certainty of each candidate, and whether it was right

    def run(self) -> None:
        while (question := self.labels.question()) is not None:
            self.answer(question)

    def owner(self, rows: Rows) -> str:
        return Counter(self.people[row] for row in rows).most_common(1)[0][0]

    def answer(self, question: Question) -> None:
        slip = self.rng.random() < self.wrong
        for rows in (question.rows, *(c.rows for c in question.candidates)):
            out = [row for row in rows if self.people[row] != self.owner(rows)]
            # a stranger in a group that is asked about, or that would be chosen, is seen and taken out
            if out and (rows == question.rows or self.owner(rows) == self.owner(question.rows)):
                if slip:
                    out = out[1:]
                self.mistakes += slip
                keep = [row for row in rows if row not in out]
                self.keys += 2 + len(out)
                return self.give(keep, [], [out] if out else [])
        right = [self.owner(c.rows) == self.owner(question.rows) for c in question.candidates]
        self.stated += [(c.certainty, r) for c, r in zip(question.candidates, right, strict=True)]
        chosen = list(right)
        if slip and chosen:
            place = self.rng.randrange(len(chosen))
            chosen[place] = not chosen[place]
        self.mistakes += slip and bool(chosen)
        proposed = [c.certainty >= 0.5 for c in question.candidates]
        self.keys += 1 + sum(a != b for a, b in zip(chosen, proposed, strict=True))
        same = [c.rows for c, yes in zip(question.candidates, chosen, strict=True) if yes]
        other = [c.rows for c, yes in zip(question.candidates, chosen, strict=True) if not yes]
        self.give(question.rows, same, other)

    def give(self, rows: Sequence[int], same: Sequence[Sequence[int]], different: Sequence[Sequence[int]]) -> None:
        self.answers += 1
        try:
            self.labels.answer('people', rows, same, different)
        except Contradiction:  # who says what is true insists
            self.confirmed += 1
            self.keys += 1
            self.labels.answer('people', rows, same, different, despite=True)


def purity(groups: np.ndarray, people: Sequence[str]) -> float:
    """Returns the share of tracks that are of the most frequent person of their group."""
    most = [Counter(np.array(people)[groups == group]).most_common(1)[0][1] for group in np.unique(groups)]
    return sum(most) / len(people)


def errors(table: Path, truth: dict[str, str]) -> tuple[int, int, int]:
    """Returns the images of a manifest, those whose identity is not that of most of theirs, and its identities."""
    rows = list(csv.DictReader(table.open()))
    people = [(row['identity'], truth[row['path'].rpartition('/')[0]]) for row in rows]
    named = {name: Counter(p for n, p in people if n == name).most_common(1)[0][0] for name, _ in people}
    return len(rows), sum(named[name] != person for name, person in people), len(named)


def measure(truth: dict[str, str], labels: Labels, wrong: float, seed: int) -> str:
    before = len(np.unique(labels.people.groups)), purity(labels.people.groups, [truth[t.name] for t in labels.tracks])
    person = Labeler(labels, truth, wrong, seed)
    person.run()
    images, bad, identities = errors(labels.manifest, truth)
    after = purity(labels.people.groups, person.people)
    bins = [(s, r) for s, r in person.stated]
    told = []
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        own = [(s, r) for s, r in bins if low <= s < high]
        if own:
            told.append(f'{np.mean([s for s, _ in own]):.2f}->{np.mean([r for _, r in own]):.2f} ({len(own)})')
    return (
        f'{wrong:.0%} wrong, seed {seed}: {before[0]} groups of purity {before[1]:.3f}; {person.answers} answers '
        f'({person.answers / len(truth):.2f} of {len(truth)} tracks), {person.keys} keys, {person.mistakes} mistakes, '
        f'{person.confirmed} confirmed; then purity {after:.3f}, manifest: {identities} identities of '
        f'{len(set(truth.values()))}, {images} images, {bad} wrong; certainty: {", ".join(told)}'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--cameras', nargs='+', default=['visible=1,2', 'infrared=3,6'], metavar='MODALITY=N,N')
    parser.add_argument('--wrong', type=float, nargs='+', default=[0.0, 0.02])
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--cfg-options', nargs='+', default=[])
    args = parser.parse_args()
    given = [part.partition('=') for part in args.cameras]
    truth = cut(args.source, args.out, {camera: m for m, _, cameras in given for camera in cameras.split(',')})
    found, names, _ = find_crops(args.out)
    with only_one(args.out) as own:
        embedder = open_embedder('zero-shot', own / INDEX / ZERO_SHOT, found, args.cfg_options, [])
        embed(args.out, found, embedder, ZERO_SHOT, [], lambda what, done, total: None)
        for wrong in args.wrong:
            for seed in range(args.seeds if wrong else 1):
                (own / FILE).unlink(missing_ok=True)
                print(measure(truth, Labels(args.out, Index.open(own / INDEX), names), wrong, seed), flush=True)


if __name__ == '__main__':
    main()
