"""A run goes on with the people that it began with, and with no others."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from vireid.core.errors import VireidError
from vireid.core.training import checkpoint
from vireid.core.types import Sample
from vireid.launch.identities import name_identities, require_same_identities
from vireid.launch.launch import prepare

SAMPLES = [Sample(f'{i}.jpg', number, 1, 'visible') for i, number in enumerate((9, 2, 9, 30))]


def test_identities_are_named_in_the_order_of_their_labels():
    assert name_identities(SimpleNamespace(), SAMPLES) == ('2', '9', '30')
    assert name_identities(SimpleNamespace(names={2: 'ben', 9: 'anna'}), SAMPLES) == ('ben', 'anna', '30')


@pytest.mark.parametrize(
    ('before', 'now', 'said'),
    [
        (['2', '9'], ('2', '4'), 'only the checkpoint has 9; only this run has 4'),
        (['2', '9'], ('2',), 'only the checkpoint has 9'),
        (['2'], ('10', '2'), 'only this run has 10'),
        (['a', 'b'], ('b', 'a'), 'their labels are in a different order'),
        ([], tuple('abcdefg'), 'only this run has a, b, c, d, e and 2 more'),
    ],
)
def test_others_are_named(before, now, said):
    with pytest.raises(VireidError) as caught:
        require_same_identities({'identities': before}, now, 'last.pt')
    assert caught.value.given == f'last.pt and this run have different training identities: {said}'
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
    with pytest.raises(VireidError, match='only the checkpoint has 2; only this run has 4'):
        prepare(make_tiny(data), tmp_path / 'other', resume=kept)
