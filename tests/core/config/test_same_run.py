"""Two configs describe one run if what its weights depend on is equal."""

from __future__ import annotations

from typing import Any

import pytest

from vireid.core.config.experiment import Sections
from vireid.core.config.same_run import READING, changes, matches, named, read_sections, resumable, scoring
from vireid.errors import WrongContent

PLAIN: dict[str, Any] = {
    'dataset': {'type': 'SYSU-MM01', 'root': '/a'}, 'protocol': {'type': 'sysu/agw', 'trials': 10},
    'images': {'size': [8, 4], 'train': [{'type': 'ToFloat'}], 'test': [{'type': 'ToFloat'}]},
    'sampler': {'type': 'IdentityBalanced'}, 'model': {'backbone': {'depth': 18}},
    'step': {'type': 'SingleOptimizer'}, 'training': {'steps': 3},
}  # fmt: skip


def sections(**changed: dict[str, Any]) -> Sections:
    return read_sections(PLAIN | {key: PLAIN.get(key, {}) | value for key, value in changed.items()}, 'a file')


def test_defaults_that_are_written_out_and_tuples_are_no_difference():
    images = {'size': (8, 4), 'workers': None, 'train': ({'type': 'ToFloat'},), 'views': {}}
    same = sections(images=images, losses={'across_ranks': False}, evaluation={}, training={'precision': '32-true'})
    assert changes(sections(), same) == {}


def test_the_tuples_of_a_view_are_no_difference_either():
    def seen(**given: Any) -> Sections:
        return sections(images={'views': {'gray': {'of': 'visible', **given}}})

    whole = seen(train=[{'type': 'Normalize', 'mean': (0.4, 0.5, 0.6)}])
    assert changes(whole, seen(train=[{'type': 'Normalize', 'mean': [0.4, 0.5, 0.6]}])) == {}
    assert changes(whole, seen(train=[])).keys() == {'images.views.gray.train'}


def test_each_difference_is_a_dotted_key():
    other = sections(
        model={'backbone': {'depth': 50}, 'necks': {}}, training={'steps': 4}, dataset={'root': '/b'},
        images={'test': [{'type': 'ToFloat'}, {'type': 'Normalize'}]},
    )  # fmt: skip
    keys = ['dataset.root', 'images.test', 'model.backbone.depth', 'training.steps', 'model.necks']
    assert changes(sections(), other).keys() == set(keys)
    assert changes(sections(), other, {'model.*', '*.root'}).keys() == {'images.test', 'training.steps'}


def test_a_difference_shows_both_values_unless_one_is_long():
    other = sections(training={'steps': 4}, model={'backbone': {'depth': 50}}, images={'test': [{'type': 'x' * 50}]})
    found = changes(sections(), other)
    assert (found['training.steps'], found['images.test']) == (f'4, not {sections().training.steps}', '')
    assert named({'training.steps': '4, not 2', 'images.test': ''}) == 'training.steps (4, not 2), images.test'


@pytest.mark.parametrize('key', READING)
def test_how_images_are_read_is_no_part_of_a_run(key: str):
    value = {'workers': 3, 'reader*': {'type': 'ImageCache'}, 'check': 'nothing', 'on_bad_image': 'skip'}
    name = key.removeprefix('images.')
    other = sections(images={name.rstrip('*'): value.get(name, 5)})
    assert changes(sections(), other)
    assert changes(sections(), other, READING) == {}


@pytest.mark.parametrize(
    ('section', 'value', 'may'),
    [
        ('training', {'steps': 9}, True), ('training', {'precision': 'bf16-mixed'}, True),
        ('training', {'freeze': ['*']}, False), ('training', {'sync_batchnorm': True}, False),
        ('losses', {'across_ranks': True}, False), ('sampler', {'identities': 2}, False),
        ('images', {'workers': 2}, True), ('images', {'scale_raw': 'percentiles'}, False),
        ('step', {'clip_norm': 1.0}, True), ('step', {'accumulate': 2}, False),
        ('dataset', {'root': '/b'}, True), ('evaluation', {'flip': True}, True),
    ],
)  # fmt: skip
def test_what_may_change_when_a_run_is_resumed(section: str, value: dict[str, Any], may: bool):
    changed = changes(sections(), sections(**{section: value}), resumable(sections(), ['clip_norm']))
    assert (not changed) == may


@pytest.mark.parametrize('select', ['last', 'validation'])
@pytest.mark.parametrize(
    'other',
    [{'evaluation': {'ties': 'gallery-order'}}, {'evaluation': {'precision': 'bf16-mixed'}},
     {'protocol': {'trials': 1}}, {'dataset': {'split': 2}},
     {'evaluation': {'similarity': {'type': 'HCML'}}}],
)  # fmt: skip
def test_weights_that_metrics_chose_depend_on_the_metrics(select: str, other: dict[str, Any]):
    chosen = {'evaluation': {'select': select}}
    ours = sections(**chosen)
    both = {key: {**chosen.get(key, {}), **value} for key, value in other.items()}
    theirs = sections(**{**chosen, **both})
    assert (changes(ours, theirs, resumable(ours)) == {}) == (select == 'last')
    if 'dataset' not in other:  # scored again, or trained again
        assert all(matches(key, scoring(ours)) for key in changes(ours, theirs)) == (select == 'last')


def test_many_differences_are_counted():
    assert named(['a', 'b']) == 'a, b'
    assert named(list('abcdefg')) == 'a, b, c, d, e and 2 more'


@pytest.mark.parametrize('damage', [{'training': 3}, {'images': {'size': 1}}, {'losses': {'x': 1}}])
def test_a_config_of_anyone_is_refused_by_name(damage: dict[str, Any]):
    with pytest.raises(WrongContent, match=r'last\.pt'):
        read_sections(PLAIN | damage, 'last.pt')
    with pytest.raises(WrongContent, match=r'last\.pt'):
        read_sections({}, 'last.pt')
