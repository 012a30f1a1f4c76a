"""Files of embeddings in three formats, read with the libraries of the formats."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from vireid.errors import WrongValue
from vireid.search.features_file import write_features

FEATURES = np.arange(6, dtype=np.float32).reshape(3, 2)
COLUMNS = {'path': ['a.jpg', os.fsdecode(b'\xe9.jpg'), '<c>.jpg'], 'modality': ['visible', 'infrared', 'visible']}
PATHS = ['a.jpg', '\\udce9.jpg', '<c>.jpg']
ABOUT = {'checkpoint': 'last.pt'}


def test_npz(tmp_path):
    write_features(tmp_path / 'a.npz', FEATURES, COLUMNS, ABOUT)
    file = np.load(tmp_path / 'a.npz', allow_pickle=False)
    np.testing.assert_array_equal(file['features'], FEATURES)
    assert file['modality'].tolist() == COLUMNS['modality']
    assert file['path'][0] == 'a.jpg'
    assert json.loads(str(file['about'])) == ABOUT


def test_parquet(tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    write_features(tmp_path / 'a.parquet', FEATURES, COLUMNS, ABOUT)
    table = parquet.read_table(tmp_path / 'a.parquet')
    assert table.column_names == ['path', 'modality', 'embedding']
    assert table['embedding'].to_pylist() == FEATURES.tolist()
    assert table['path'].to_pylist()[::2] == ['a.jpg', '<c>.jpg']
    assert json.loads(table.schema.metadata[b'about']) == ABOUT


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip('safetensors')
    write_features(tmp_path / 'a.safetensors', FEATURES, COLUMNS, ABOUT)
    with safetensors.safe_open(tmp_path / 'a.safetensors', 'np') as file:
        np.testing.assert_array_equal(file.get_tensor('features'), FEATURES)
        assert json.loads(file.metadata()['path'])[0] == 'a.jpg'
        assert json.loads(file.metadata()['about']) == ABOUT


def test_another_suffix_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(WrongValue, match=r"'\.h5'"):
        write_features(tmp_path / 'a.h5', FEATURES, COLUMNS, ABOUT)
