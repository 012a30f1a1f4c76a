"""What several test files stand on: datasets of the true shape, made of empty files."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / 'fixtures'


@dataclass(frozen=True)
class SysuFacts:
    """Published facts of SYSU-MM01.

    Attributes:
        counts: split -> identity -> pictures on cameras 1 to 6.
        agw_galleries: row -> trial -> SHA-1 of the newline-joined `camX/IIII/NNNN.jpg` in drawing order.
        official_galleries: the same of the sorted names.
    """

    counts: dict[str, dict[int, list[int]]]
    agw_galleries: dict[str, list[str]]
    official_galleries: dict[str, list[str]]


@pytest.fixture(scope='session')
def sysu() -> SysuFacts:
    """The published counts and gallery digests."""
    facts = json.loads((FIXTURES / 'sysu_mm01.json').read_text())
    counts = {part: {int(i): row for i, row in facts[part].items()} for part in ('train', 'val', 'test')}
    return SysuFacts(counts, facts['agw_gallery_sha1'], facts['official_gallery_sha1'])


@pytest.fixture(scope='session')
def sysu_root(sysu: SysuFacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """SYSU-MM01 of the true size: every folder and file name, no picture in them."""
    root = tmp_path_factory.mktemp('sysu')
    (root / 'exp').mkdir()
    for part, rows in sysu.counts.items():
        (root / 'exp' / f'{part}_id.txt').write_text(','.join(map(str, rows)) + '\n')
        for identity, row in rows.items():
            for camera, count in enumerate(row, 1):
                if count:
                    folder = root / f'cam{camera}' / f'{identity:04d}'
                    folder.mkdir(parents=True)
                    for number in range(1, count + 1):
                        open(f'{folder}/{number:04d}.jpg', 'x').close()
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope='session')
def regdb_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RegDB's ten index pairs: 412 persons, 10 pictures of each and modality, halved anew in every trial."""
    root = tmp_path_factory.mktemp('regdb')
    for folder in ('Visible', 'Thermal', 'idx'):
        (root / folder).mkdir()
    for trial in range(1, 11):
        persons = random.Random(trial).sample(range(1, 413), 412)
        for part, half in (('train', persons[:206]), ('test', persons[206:])):
            for name, letter in (('Visible', 'v'), ('Thermal', 't')):
                lines = [
                    f'{name}/{person}/female_back_{letter}_{person * 10 + shot:05d}_{person}.bmp {label}\n'
                    for label, person in enumerate(half)
                    for shot in range(10)
                ]
                (root / 'idx' / f'{part}_{name.lower()}_{trial}.txt').write_text(''.join(lines))
    return root
