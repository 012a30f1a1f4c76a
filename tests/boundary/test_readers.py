"""Every function that reads a file from outside, on files damaged at random: a clear error each, and nothing runs.

The readers are found by themselves (`READERS`): a new one is tried as soon as a file in `examples` has its name.
10,000 damaged files of each: VIREID_FUZZ=10000 pytest tests/boundary/test_readers.py
"""

from __future__ import annotations

import ast
import contextlib
import fnmatch
import importlib
import io
import json
import os
import pkgutil
import random
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import vireid
from vireid.boundary import checkpoint, config_text
from vireid.boundary.reading import READERS
from vireid.core.config import files as config
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import Sample
from vireid.errors import VireidError
from vireid.exchange.features import save as save_features
from vireid.plugins.indexes.faiss_ivf import FaissIVF
from vireid.reporting.evidence import Evidence
from vireid.search.entries import Entries, Entry
from vireid.video.folder import Record, open_folder
from vireid.video.tracks import Track

TIMES = int(os.environ.get('VIREID_FUZZ', 150))
ROOT = Path(vireid.__file__).parent

for found in pkgutil.walk_packages(vireid.__path__, 'vireid.'):
    if not found.name.endswith('__main__'):
        importlib.import_module(found.name)


def write(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text, encoding='utf-8')


def make_checkpoint(path: Path) -> None:
    content = {'model': {'w': torch.randn(20, 10)}, 'config': {'seed': 1}, 'progress': {'step': 3}}
    checkpoint.save(path, {**content, 'trained_on': torch.arange(3), 'best': {'step': 1, 'value': 0.5}})


def make_features(path: Path) -> None:
    samples = tuple(Sample(f'cam1/{i}.jpg', i, 1, 'visible') for i in range(6))
    about = {'experiment': 'x', 'protocol': {'type': 'cross'}, 'dataset': {'type': 'Folders'}, 'weights': 'w'}
    save_features(path, Embeddings(samples, np.eye(6, dtype=np.float32)), about, None)


def make_evidence(path: Path) -> None:
    about: dict[str, Any] = {
        **dict.fromkeys(('name', 'protocol', 'data', 'weights', 'similarity', 'trial'), 'x'),
        **{key: [] for key in ('rows', 'notes', 'pairs')},
        'images': [['a.jpg', 1, 1, 'visible'], ['b.jpg', 1, 2, 'infrared']],
        'identities': [{'identity': 1, 'queries': 1, 'R1': 1.0, 'mAP': 1.0}],
        'cameras': [{'camera': 2, 'modality': 'infrared', 'queries': 1, 'R1': 1.0, 'mAP': 1.0}],
        'graph': {'nodes': [], 'edges': []},
        'kinds': [['best']],
    }
    lists = {
        'query': np.array([1]),
        'gallery': np.array([[0, -1]]),
        'similarity': np.ones((1, 2), dtype=np.float32),
        'right': np.array([[True, False]]),
        'ap': np.ones(1),
        'first': np.ones(1, dtype=np.int64),
    }
    Evidence(about, [b'', b''], {'all': np.ones(3)}, {'same across': np.arange(5)}, lists).save(path)


def make_queries(path: Path) -> None:
    whole = {key: np.zeros(4, dtype=np.int64) for key in ('row', 'trial', 'identity', 'ahead')}
    np.savez_compressed(path, **whole, ap=np.ones(4), inp=np.ones(4))


def make_entries(path: Path) -> None:
    entries = Entries(path, write=True)
    entries.put([Entry(row, f'{row}.jpg', 'visible', True, '1', '', '', 9, 9, b'x') for row in range(3)])


def make_parquet(path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {'path': ['a.jpg'], 'identity': ['anna'], 'camera': [1], 'modality': ['visible'], 'split': ['train']}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def make_safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({'w': torch.ones(4)}, str(path), metadata={'num_identities': '3'})


def make_matlab_7_3(path: Path) -> None:
    import h5py

    with h5py.File(path, 'w') as file:
        stored = file.create_dataset('x', data=np.eye(8), chunks=(4, 4), compression='gzip')
        file.create_dataset('feature', data=[[stored.ref]] * 3, dtype=h5py.ref_dtype)


def cells(count: int) -> np.ndarray:
    found = np.empty((1, count), dtype=object)
    for number in range(count):
        found[0, number] = np.arange(1.0, 4.0)
    return found


def make_video(path: Path) -> None:
    import av

    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        for level in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * level, dtype=np.uint8), format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_crops(path: Path) -> None:
    with open_folder(path.parent) as folder:
        settings = {'modality': 'visible', 'camera': 3}
        record = Record('lobby', 'lobby.mp4', '0', settings, '2026-11-29T22:41:05', 'name', size=(64, 48))
        record.tracks = [Track(1, np.arange(4.0), 0.5, kept=(0.5, np.zeros((2, 1), dtype=np.uint8)))]
        folder.commit(record, [])
    (path.parent / 'crops.csv').unlink()


INDEX = {'format': 1, 'root': '/x', 'checkpoint': 'last.pt', 'digest': '0', 'label': 'x', 'length': 8, 'options': []}
INDEX['index'] = {'type': 'Exact'}


def make_faiss(path: Path) -> None:
    FaissIVF(path.parent, 4).update(np.eye(4, dtype=np.float16), np.arange(4), [], np.empty(0, dtype=np.int64))


def make_points(path: Path) -> None:
    from qdrant_client.local.persistence import CollectionPersistence
    from qdrant_client.models import PointStruct

    storage = CollectionPersistence(str(path.parent))
    storage.persist(PointStruct(id=3, vector=[1.0, 0.0], payload={'camera': '4', 'time': 1e9}))
    storage.close()


METRIC = {'mean': 0.5, 'std': 0.0}
ROW = {'name': 'all', 'variant': '', 'trials': 1, 'queries': [4, 4], 'valid': [4, 4]}
RESULT = {'rows': [{**ROW, **dict.fromkeys(('R1', 'R5', 'R10', 'R20', 'mAP', 'mINP'), METRIC)}], 'protocol': 'p'}
MADE = {'command': ['vireid'], 'seed': 0, 'machine': {'threads': 2}, 'init': None, 'versions': {'torch': '2'}}
INTERVALS = {'mean': 0.5, 'seeds': None, 'people': [0.4, 0.6]}
MEASURED = {'name': 'all', 'variant': '', 'trials': 1, 'identities': 9}
MEASURED['metrics'] = dict.fromkeys(('R1', 'R5', 'R10', 'R20', 'mAP', 'mINP'), INTERVALS)
TEXTS = dict.fromkeys(('name', 'license', 'permission', 'data', 'split', 'protocol', 'select', 'weights'), 'x')
RELEASE = {**TEXTS, 'format': 1, 'identities': 5, 'steps': 2, 'seeds': [0], 'initialized': False, 'versions': {}}
RELEASE |= {'rows': [MEASURED], 'not_measured': ['y']}
TABLE = 'path,identity,camera,modality,split\na.jpg,anna,1,visible,train\nb.jpg,ben,2,infrared,test\n'
ANSWER = '{"time": "2026", "kind": "people", "tracks": ["a"], "same": [], "different": [["b"]], "name": "", '
ANSWER += '"despite": false}\n'
CROPS = 'path,modality,camera,time,track,video,frame\nx/a.jpg,infrared,3,2026-11-29T08:00:00.250,cam3/1,v.mp4,1\n'
# by the name of the file, what makes one that is sound
EXAMPLES: dict[str, Callable[[Path], Any]] = {
    'last.pt': make_checkpoint,
    'net.pth': lambda path: torch.save({'w': torch.ones(3)}, path),
    'old.t': lambda path: torch.save({'net': {'w': torch.ones(3)}}, path, _use_new_zipfile_serialization=False),
    'x.safetensors': make_safetensors,
    'model.safetensors': make_safetensors,
    '0001.jpg': lambda path: Image.effect_noise((24, 48), 60).convert('RGB').save(path, quality=90),
    '0001.png': lambda path: Image.effect_noise((24, 48), 60).save(path),
    '0001.webp': lambda path: Image.effect_noise((24, 48), 60).convert('RGB').save(path),
    '0001.tif': lambda path: Image.effect_noise((24, 48), 60).save(path),
    '0001.gif': lambda path: Image.effect_noise((24, 48), 60).save(path),
    '0001.pgm': lambda path: Image.effect_noise((24, 48), 60).save(path),
    '0001.jp2': lambda path: Image.effect_noise((24, 48), 60).save(path),
    'train_id.txt': write('1,2,3,10,533\n'),
    'test_id.txt': write('6,10,17\n'),
    'idx.txt': write('Visible/1/a.bmp 0\nVisible/2/b.bmp 1\n'),
    'manifest.csv': write(TABLE),
    'manifest.parquet': make_parquet,
    'config.yaml': lambda path: path.write_text(config_text.dump(config.load(ROOT.parent / 'configs/tffn_demo.py'))),
    'config.json': write(json.dumps(config.load(ROOT.parent / 'configs/tffn_demo.py'))),
    'features.npz': make_features,
    'images.sqlite': make_entries,
    'faiss.index': make_faiss,
    'storage.sqlite': make_points,
    'index.json': write(json.dumps(INDEX)),
    'lobby.mp4': make_video,
    '.crops.json': make_crops,
    'report.npz': make_evidence,
    'queries.npz': make_queries,
    'result.json': write(json.dumps(RESULT)),
    'run.json': write(json.dumps(MADE)),
    'release.json': write(json.dumps(RELEASE)),
    'slurm_jobs.json': write('{"/runs/a/output.log": "4711_0", "/runs/b/output.log": "4711_1"}'),
    'SHA256SUMS': write(f'{"0" * 64}  config.yaml\n{"f" * 64}  release.json\n'),
    'answers.jsonl': write(ANSWER * 2),
    'crops.csv': write(CROPS),
    'metrics.jsonl': write('{"step": 1, "loss": 2.0, "tasks": {"a": 1.0}}\n{"step": 2, "loss": 1.5}\n'),
    'wandb_run_id.txt': write('0123456789abcdef' * 2 + '\n'),
    'rand_perm_cam.mat': lambda path: savemat(path, {'rand_perm_cam': cells(6)}, do_compression=True),
    'x_cam1.mat': lambda path: savemat(path, {'feature': cells(3)}, do_compression=True),
    'hdf5_cam1.mat': make_matlab_7_3,
    'test_id.mat': lambda path: savemat(path, {'id': np.arange(1.0, 4.0)}, do_compression=True),
}
# what a reader takes besides the path
WITH: dict[str, tuple[Any, ...]] = {
    'vireid.exchange.matlab_features._read_cells': ('feature',),
    'vireid.reporting.record.scan_metrics': (lambda line, text: None,),
}


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
            some = [b'\0', b'-1', b'9' * 21, b'\xff\xfe', b'\n', b'../', b'nan', b'null', b'[', b'{}', b'"', b'1e999']
            content[at:at] = rng.choice(some)
    return bytes(content)


TRIED = [
    (name, example) for name, reader in READERS.items() for example in EXAMPLES
    if any(fnmatch.fnmatch(example, pattern) for pattern in reader.names)
]  # fmt: skip


@pytest.mark.parametrize(('name', 'example'), TRIED)
def test_a_damaged_file_is_read_or_refused_with_its_name(name, example, tmp_path, data_only):
    path = tmp_path / example
    torch.manual_seed(0)
    EXAMPLES[example](path)
    read, more = READERS[name].function, WITH.get(name, ())
    whole, rng = path.read_bytes(), random.Random(f'{name} {example}')
    data_only(tmp_path)
    slow = example.startswith('config.') or example.endswith('.parquet')  # parsing takes its time
    refused: list[str] = []
    for _ in range(max(25, TIMES // (4 if slow else 1))):
        path.write_bytes(damaged(whole, rng))
        try:
            with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter('ignore')
                read(path, *more)
        except VireidError as error:
            refused.append(str(error))
    assert refused or name.endswith('scan_metrics')  # they end where a line is none
    assert [text for text in refused if example not in text] == []
    assert [p.name for p in tmp_path.iterdir()] == [example]


@pytest.mark.parametrize(('name', 'example'), TRIED)
@pytest.mark.parametrize('what', ['folder', 'pipe', 'empty', 'missing', 'endless'])
def test_what_is_no_file_is_refused_at_once(name, example, what, tmp_path):
    path = tmp_path / example
    if what == 'folder':
        path.mkdir()
    elif what == 'pipe':
        os.mkfifo(path)
    elif what == 'empty':
        path.touch()
    elif what == 'endless':
        path.symlink_to('/dev/zero')
    try:
        read = READERS[name].function(path, *WITH.get(name, ()))
    except VireidError:
        return
    assert not read or (what == 'empty' and read == ([], []))  # what a run has not come to yet is none, or empty


def test_every_reader_is_tried():
    assert {name for name, _ in TRIED} == set(READERS)


# what opens a file for reading; a function that does is a reader, or stands here with the reason why it need not be
OPENING = {'read_text', 'read_bytes', 'open', 'open_regular', 'open_image', 'load_tensors', 'load_arrays', 'loadmat', 'File', 'safe_open', 'load_file', 'read_table', 'read_cell', 'read_variable'}  # fmt: skip  # noqa: E501
EXEMPT = {
    'vireid.boundary': 'what readers are made of',
    'vireid.console.streams': 'the null device',
    'vireid.synth': 'writes only',
    'vireid.labeling.session.open_labels': 'an index, by its readers',
    'vireid.serve.listening._open': 'a browser',
    'vireid.cli.search.run': 'an index, by its readers',
    'vireid.studies.own_cameras.OwnCameras.run': 'the table of names, for its checksum',
    'vireid.cli.serve.run': 'an index, by its readers',
    'vireid.labeling.labels.drop_outdated': 'an index, by its readers',
    'vireid.serve.web._asset': 'a file of the package',
    'vireid.search.index.append_vectors': 'writes only',
    'vireid.search.times._exif_time': 'metadata; what fails is told by whoever reads the image',
    'vireid.launch.rank_output.quiet_others': 'the null device',
    'vireid.boundary.python_config.run_python': 'a program',
    'vireid.boundary.checkpoint._sync_folder': 'a folder',
    'vireid.runtime.lock.exclusive': 'a folder',
    'vireid.core.training.selection.Selection.bring_best': 'a checkpoint that was read before, copied',
    'vireid.exchange.publish.publish': 'plugin files that the user named',
    'vireid.exchange.publish._contains': 'files that were just written',
    'vireid.exchange.publish_record.digest_of': 'bytes, for their checksum',
    'vireid.exchange.release.write_release': 'plugin files that the user named, copied',
    'vireid.exchange.released.convert': 'bytes, for their checksum',
    'vireid.plugins.git_commit': 'the index, copied as bytes',
    'vireid.plugins.provenance._processor': 'a file of the system',
    'vireid.plugins.provenance.describe': 'plugin files that were run, for their checksum',
    'vireid.boundary.image_files.is_raw': 'a header; what fails is told by whoever reads the image',
    'vireid.plugins.launchers.local.Local._start': 'the output of a run, appended to',
    'vireid.plugins.launchers.slurm': 'the output of a run, appended to',
    'vireid.testing.data_parts._check_launcher': 'the output of its own commands',
    'vireid.studies.launching.read_end': 'a log: any bytes are shown, printable',
    'vireid.video.folder.Folder._undo': 'the table, copied as bytes',
    'vireid.video.folder._load': 'the table, for its checksum',
    'vireid.reporting.markup.asset': 'a file of the package',
    'vireid.reporting.thumbnails.decode': 'what fails is left out',
}


def openers() -> list[str]:
    """Returns the dotted names of the functions that open a file to read it and are no readers."""
    found = []
    for file in sorted(ROOT.rglob('*.py')):
        module = '.'.join(file.relative_to(ROOT.parent).with_suffix('').parts).removesuffix('.__init__')

        def visit(node: ast.AST, where: str, module: str = module) -> None:
            for inner in ast.iter_child_nodes(node):
                here = where
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    here = f'{where}.{inner.name}'
                if isinstance(inner, ast.Call):
                    name = getattr(inner.func, 'attr', getattr(inner.func, 'id', ''))
                    if name in OPENING and not any(f'{module}{part}' in READERS for part in _outer(where)):
                        found.append(f'{module}{where}')
                visit(inner, here)

        visit(ast.parse(file.read_text(encoding='utf-8')), '')
    return sorted(set(found))


def _outer(where: str) -> list[str]:
    parts = where.split('.')[1:]
    return ['.' + '.'.join(parts[: n + 1]) for n in range(len(parts))]


def test_no_function_reads_a_file_without_being_a_reader():
    assert [name for name in openers() if not any(name == e or name.startswith(f'{e}.') for e in EXEMPT)] == []


def test_images_are_opened_in_one_place():
    """Pillow alone reads hostile headers for minutes, opens many formats, and starts programs for some."""
    opened = [
        f.name for f in sorted(ROOT.rglob('*.py')) if re.search(r'\bImage\.open\(', f.read_text(encoding='utf-8'))
    ]
    assert opened == ['image_files.py']


def test_no_exemption_is_idle():
    opening = openers()
    assert [e for e in EXEMPT if not any(name == e or name.startswith(f'{e}.') for name in opening)] == []


def test_a_copy_of_every_example_is_read_whole(tmp_path):
    """Damage proves nothing of a reader that refuses everything."""
    for name, example in TRIED:
        folder = tmp_path / f'{name}-{example}'
        folder.mkdir()
        EXAMPLES[example](folder / example)
        with contextlib.suppress(VireidError):
            READERS[name].function(folder / example, *WITH.get(name, ()))
            shutil.rmtree(folder)
    # two readers each take only some of the files of their names
    left = {p.name.rpartition('.')[0] for p in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) < len(TRIED) / 2, left
