"""Images told apart by their files' contents: by hand on a few samples."""

from __future__ import annotations

import os

import numpy as np
import pytest

from vireid.boundary.reading import content_digest
from vireid.core.config.settings import ImageSettings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import WrongContent
from vireid.launch.contents import content_numbers, require_apart, require_no_twins

SETTINGS = ImageSettings((4, 4), [], [])


@pytest.fixture
def samples(tmp_path):
    contents = {'a': b'one', 'b': b'two', 'copy of a': b'one', 'c': b'three'}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    os.link(tmp_path / 'b', tmp_path / 'link to b')
    names = [*contents, 'link to b', 'gone']
    return {name: Sample(str(tmp_path / name), 1, 1, VISIBLE) for name in names}


def test_equal_contents_have_equal_numbers_and_what_is_gone_has_none(samples):
    told = []
    found = content_numbers(
        list(samples.values()), SETTINGS, on_progress=lambda done, total: told.append((done, total))
    )
    numbers = {name: found.get(sample.path) for name, sample in samples.items()}
    assert numbers['a'] == numbers['copy of a'] != numbers['b'] == numbers['link to b']
    assert numbers['gone'] is None
    assert told[-1][1] == 6
    digest = int.from_bytes(content_digest(samples['a'].path), 'little', signed=True)
    assert numbers['a'] == digest
    assert np.array([digest], dtype=np.int64)[0] == digest


def test_a_reader_that_knows_them_spares_reading(samples):
    class Cache:
        def digests(self, paths):
            return [bytes([n]) * 8 for n, _ in enumerate(paths)]

    found = content_numbers([samples['gone'], samples['a']], SETTINGS, Cache())
    assert list(found.values()) == [0, int.from_bytes(bytes([1]) * 8, 'little', signed=True)]


def test_nothing_is_read_where_nothing_is_to_be_checked(samples):
    assert content_numbers(list(samples.values()), ImageSettings((4, 4), [], [], check='nothing')) == {}


def test_training_and_test_share_no_content(samples):
    numbers = content_numbers(list(samples.values()), SETTINGS)
    require_apart([samples['a'], samples['b']], [samples['c'], samples['gone']], numbers)
    with pytest.raises(WrongContent, match=rf'1 .*{samples["copy of a"].path} .*{samples["a"].path}'):
        require_apart([samples['a']], [samples['c'], samples['copy of a']], numbers)


def test_a_query_finds_others_unless_the_protocol_drops_its_twin(samples):
    numbers = content_numbers(list(samples.values()), SETTINGS)
    query = Sample(samples['a'].path, 1, 3, INFRARED)
    gallery = (samples['b'], samples['copy of a'])
    with pytest.raises(WrongContent, match=rf'{samples["a"].path} .*{samples["copy of a"].path}'):
        require_no_twins([Trial('all', 0, (query,), gallery)], numbers)
    same_person = Trial('all', 0, (query,), gallery, drop=lambda qi, qc, gi, gc: qi == gi)
    require_no_twins([same_person], numbers)
    require_no_twins([Trial('all', 0, (query,), (samples['b'], samples['c']))], numbers)
