"""A run goes on with the people that it began with, and with no others."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vireid.boundary import checkpoint
from vireid.core.types import Sample
from vireid.errors import Changed
from vireid.launch.identities import digest_of, name_identities, require_same_identities, require_same_images
from vireid.launch.launch import prepare

SAMPLES = [Sample(f'{i}.jpg', number, 1, 'visible') for i, number in enumerate((9, 2, 9, 30))]


def test_identities_are_named_in_the_order_of_their_labels():
    assert name_identities(SimpleNamespace(), SAMPLES) == ('2', '9', '30')
    assert name_identities(SimpleNamespace(names={2: 'ben', 9: 'anna'}), SAMPLES) == ('ben', 'anna', '30')


@pytest.mark.parametrize(
    ('before', 'now', 'facts'),
    [
        (['2', '9'], ('2', '4'), 'checkpoint .*9; .*run .*4'),
        (['2', '9'], ('2',), 'checkpoint .*9$'),
        (['2'], ('10', '2'), 'run .*10$'),
        (['a', 'b'], ('b', 'a'), 'order$'),
        ([], tuple('abcdefg'), 'run .*a, b, c, d, e and 2 more$'),
    ],
)
def test_differing_identities_are_named(before, now, facts):
    with pytest.raises(Changed, match=r'last\.pt') as caught:
        require_same_identities({'identities': before}, now, 'last.pt')
    assert re.search(facts, caught.value.given.partition(':')[2])
    assert '--init last.pt' in caught.value.todo


def test_the_same_ones_and_a_checkpoint_that_does_not_say_are_no_error():
    require_same_identities({'identities': ['2', '9']}, ('2', '9'), 'last.pt')
    require_same_identities({}, ('2', '9'), 'last.pt')


def test_a_run_is_not_resumed_on_others(small_sysu, tmp_path, make_tiny):
    """One training and one test identity have changed places: as many steps, as many classes."""
    data = tmp_path / 'data'
    shutil.copytree(small_sysu, data, symlinks=True)
    trainer = prepare(make_tiny(data), tmp_path / 'run')
    trainer.save()
    kept = tmp_path / 'run/checkpoints/last.pt'
    assert checkpoint.load(kept)['identities'] == ['1', '2', '3', '6', '7']  # the training and the validation list
    prepare(make_tiny(data), tmp_path / 'other', resume=kept)
    (data / 'exp/train_id.txt').write_text('1,4,6\n')
    (data / 'exp/test_id.txt').write_text('2,5\n')
    with pytest.raises(Changed, match=r'checkpoint .*2; .*run .*4'):
        prepare(make_tiny(data), tmp_path / 'other', resume=kept)


NUMBERS = {f'{i}.jpg': 100 + i for i in range(4)}
NAMES = ('2', '9', '30')


class TestImages:
    """A run goes on with the images and labels that it began with."""

    def number(self, samples=SAMPLES, numbers=NUMBERS):
        return digest_of(samples, NAMES, numbers)

    def test_the_order_and_the_place_of_the_files_do_not_matter(self):
        moved = [replace(s, path=f'/other/{s.path}') for s in reversed(SAMPLES)]
        assert self.number(moved, {f'/other/{path}': n for path, n in NUMBERS.items()}) == self.number()
        assert self.number(numbers={}) == 0

    @pytest.mark.parametrize(
        'changed', [{'identity': 2}, {'camera': 2}, {'modality': 'infrared'}, {'path': '1.jpg'}], ids=str
    )
    def test_whatever_is_known_about_an_image_matters(self, changed):
        assert self.number([replace(SAMPLES[0], **changed), *SAMPLES[1:]]) != self.number()

    @pytest.mark.parametrize(
        ('now', 'fact'), [([100, 101, 102, 999], '1 training image'), ([100, 101], 'identity, camera or modality')]
    )
    def test_changes_are_named(self, now, fact):
        content = {'images_digest': 5, 'trained_on': torch.tensor([7, *NUMBERS.values()])}
        with pytest.raises(Changed, match=rf'last\.pt .*{fact}'):
            require_same_images(content, 6, np.array(now), 'last.pt')
        require_same_images(content, 5, np.array(now), 'last.pt')
        require_same_images(content, 0, np.array(now), 'last.pt')  # not known now, or not then
        require_same_images({}, 6, np.array(now), 'last.pt')

    def test_a_run_is_not_resumed_after_two_people_exchanged_images(self, small_sysu, tmp_path, make_tiny):
        data = tmp_path / 'data'
        shutil.copytree(small_sysu, data)
        prepare(make_tiny(data), tmp_path / 'run').save()
        kept = tmp_path / 'run/checkpoints/last.pt'
        shutil.move(data, tmp_path / 'moved')
        prepare(make_tiny(tmp_path / 'moved'), tmp_path / 'other', resume=kept)
        for before, after in (('0001', 'x'), ('0002', '0001'), ('x', '0002')):
            (tmp_path / 'moved/cam3' / before).rename(tmp_path / 'moved/cam3' / after)
        with pytest.raises(Changed, match='identity, camera'):
            prepare(make_tiny(tmp_path / 'moved'), tmp_path / 'other', resume=kept)
