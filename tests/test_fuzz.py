"""Files that are damaged at random: a clear error each; no other exception, no hang, nothing executed.

10,000 in all here; of each kind in one go: VIREID_FUZZ=10000 pytest tests/test_fuzz.py
"""

from __future__ import annotations

import contextlib
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vireid.core.config import files as config
from vireid.core.data.images import read_image
from vireid.core.errors import VireidError
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.training import checkpoint
from vireid.core.types import Sample
from vireid.exchange.features import load as load_features
from vireid.exchange.features import save as save_features
from vireid.plugins.datasets.index_file import read_index
from vireid.plugins.datasets.raw_folder import read_id_list

TIMES = int(os.environ.get('VIREID_FUZZ', 1500))


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """Flips, cuts, doubles, moves or fills some bytes."""
    content = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(max(1, len(content)))
        length = rng.choice([1, 2, 8, 64])
        kind = rng.randrange(6)
        if kind == 0 and content:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = content[at : at + length]
        elif kind == 3:
            del content[at:]
        elif kind == 4:
            content[at : at + length] = rng.randbytes(length)
        else:
            content[at:at] = rng.choice([b'\0', b'-1', b'999999999999999999999', b'\xff\xfe', b'\n', b'../', b'nan'])
    return bytes(content)


def make_checkpoint(path: Path) -> None:
    checkpoint.save(path, {'model': {'w': torch.randn(20, 10)}, 'config': {'seed': 1}, 'progress': {'step': 3}})


def make_jpeg(path: Path) -> None:
    Image.effect_noise((24, 48), 60).convert('RGB').save(path, quality=90)


def make_png(path: Path) -> None:
    Image.effect_noise((24, 48), 60).save(path)


def make_yaml(path: Path) -> None:
    path.write_text(config.dump(config.load(Path(__file__).parents[1] / 'configs/tffn_demo.py')))


def make_features(path: Path) -> None:
    samples = tuple(Sample(f'cam1/{i}.jpg', i, 1, 'visible') for i in range(6))
    about = {'experiment': 'x', 'protocol': {'type': 'cross'}, 'dataset': {'type': 'Folders'}, 'weights': 'w'}
    save_features(path, Embeddings(samples, np.eye(6, dtype=np.float32)), about, None)


KINDS: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], Any]]] = {
    'checkpoints': ('last.pt', make_checkpoint, checkpoint.load),
    'JPEG files': ('0001.jpg', make_jpeg, read_image),
    'PNG files': ('0001.png', make_png, read_image),
    'id lists': ('train_id.txt', lambda path: path.write_text('1,2,3,10,533\n'), read_id_list),
    'index files': ('idx.txt', lambda path: path.write_text('Visible/1/a.bmp 0\nVisible/2/b.bmp 1\n'), read_index),
    'YAML configs': ('x.yaml', make_yaml, config.load),
    'features files': ('f.npz', make_features, load_features),
}


@pytest.mark.parametrize('kind', KINDS)
def test_a_damaged_file_is_read_or_refused_with_its_name(kind, tmp_path, recwarn):
    name, make, read = KINDS[kind]
    path = tmp_path / name
    torch.manual_seed(0)
    make(path)
    whole, rng = path.read_bytes(), random.Random(kind)
    refused = nameless = 0
    times = TIMES // 4 if kind == 'YAML configs' else TIMES  # parsing takes its time
    for _ in range(times):
        path.write_bytes(damaged(whole, rng))
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                read(path)
        except VireidError as error:
            refused += 1
            nameless += name not in str(error)
    assert nameless == 0
    assert refused > times // 20
    assert [p.name for p in tmp_path.iterdir()] == [name]
