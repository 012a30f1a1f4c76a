"""Identity-balanced batches: their content, the length of an epoch, and determinism."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import Conflict, TooFew, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.samplers.identity_balanced import IdentityBalanced


def people(images: Mapping[int, tuple[int, int]]) -> list[Sample]:
    """Returns samples from identity -> (visible images, infrared images), visible first."""
    return [
        Sample(f'{modality}/{identity}/{number}.jpg', identity, camera, modality)
        for side, (modality, camera) in enumerate(((VISIBLE, 1), (INFRARED, 3)))
        for identity, counts in images.items()
        for number in range(counts[side])
    ]


def rows(
    batch: list[int], samples: list[Sample], identities: int, visible: int, infrared: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Splits a batch by identity: N rows of visible indices and N rows of infrared indices."""
    assert len(batch) == identities * (visible + infrared)
    seen, lit = batch[: identities * visible], batch[identities * visible :]
    assert {samples[i].modality for i in seen} == {VISIBLE}
    assert {samples[i].modality for i in lit} == {INFRARED}
    return (
        [seen[i : i + visible] for i in range(0, len(seen), visible)],
        [lit[i : i + infrared] for i in range(0, len(lit), infrared)],
    )


def persons(cut: list[list[int]], samples: list[Sample]) -> list[int]:
    """Returns the identity of each row, which must have only one."""
    owners = [{samples[i].identity for i in row} for row in cut]
    assert all(len(owner) == 1 for owner in owners)
    return [owner.pop() for owner in owners]


EVEN = people(dict.fromkeys(range(10, 22), (6, 5)))

population = st.dictionaries(
    st.integers(0, 10**6), st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12
)


@settings(max_examples=60)
@given(images=population, seed=st.integers(0, 2**40), epoch=st.integers(0, 10**6), data=st.data())
def test_a_batch_is_n_identities_with_m_visible_and_m_infrared_images_each_in_the_same_order(
    images: dict[int, tuple[int, int]], seed: int, epoch: int, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(images)))
    visible, infrared = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    samples = people(images)
    sampler = IdentityBalanced(samples, seed, identities=n, visible=visible, infrared=infrared)
    batches = sampler.batches(epoch)
    assert len(batches) == len(sampler)
    for batch in batches:
        seen, lit = rows(batch, samples, n, visible, infrared)
        assert persons(seen, samples) == persons(lit, samples)
        assert len(set(persons(seen, samples))) == n
        for cut, quota, side in ((seen, visible, 0), (lit, infrared, 1)):
            for row in cut:
                available = images[samples[row[0]].identity][side]
                if available >= quota:
                    assert len(set(row)) == quota


@settings(max_examples=40)
@given(
    n_visible=st.integers(1, 30), n_infrared=st.integers(1, 30), identities=st.integers(1, 4), quota=st.integers(1, 5)
)
def test_an_epoch_is_floor_of_the_larger_modality_over_n_times_m_plus_one(
    n_visible: int, n_infrared: int, identities: int, quota: int
) -> None:
    samples = people(dict.fromkeys(range(4), (n_visible, n_infrared)))
    sampler = IdentityBalanced(samples, 0, identities=identities, visible=quota, infrared=quota)
    assert len(sampler) == max(4 * n_visible, 4 * n_infrared) // (identities * quota) + 1


def test_sysu_mm01_has_1392_batches_of_4_times_4_and_an_epoch_of_the_field_696() -> None:
    samples = people(dict.fromkeys(range(394), (1, 1)) | {394: (22_258 - 394, 11_909 - 394)})
    assert len(IdentityBalanced(samples, 0, identities=4, visible=4, infrared=4)) == 1_392  # 22258 / 16 = 1391.1
    assert len(IdentityBalanced(samples, 0, identities=8, visible=4, infrared=4)) == 696  # 22258 / 32 = 695.6


def test_the_defaults_are_4_identities_with_4_and_4_images() -> None:
    assert {len(batch) for batch in IdentityBalanced(EVEN, 0).batches(0)} == {32}
    assert len(IdentityBalanced(EVEN, 0)) == 72 // 16 + 1


def test_batches_are_a_pure_function_of_seed_and_epoch() -> None:
    sampler = IdentityBalanced(EVEN, 5)
    expected = [sampler.batches(epoch) for epoch in range(4)]
    np.random.seed(1)
    torch.manual_seed(1)
    again = IdentityBalanced(EVEN, 5)
    assert [again.batches(epoch) for epoch in (3, 0, 2, 1)] == [expected[epoch] for epoch in (3, 0, 2, 1)]
    assert again.batches(0) == expected[0]


def test_epochs_differ_and_so_do_seeds() -> None:
    draws = [IdentityBalanced(EVEN, seed).batches(epoch) for seed in range(5) for epoch in range(5)]
    assert len({str(draw) for draw in draws}) == 25


def test_batches_of_one_epoch_differ() -> None:
    batches = IdentityBalanced(EVEN, 0).batches(0)
    assert len({tuple(batch) for batch in batches}) == len(batches)


def test_the_global_random_state_is_not_touched() -> None:
    torch_before, numpy_before = torch.get_rng_state(), str(np.random.get_state())
    IdentityBalanced(EVEN, 0).batches(0)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert str(np.random.get_state()) == numpy_before


def test_an_identity_with_exactly_enough_images_shows_all_of_them() -> None:
    samples = people({1: (4, 4), 2: (4, 4)})
    for batch in IdentityBalanced(samples, 0, identities=2).batches(0):
        assert Counter(batch) == dict.fromkeys(range(16), 1)


def test_an_identity_with_too_few_images_repeats_them() -> None:
    samples = people({1: (1, 2), 2: (9, 9)})
    for batch in IdentityBalanced(samples, 0, identities=2).batches(0):
        seen, lit = rows(batch, samples, 2, 4, 4)
        at = persons(seen, samples).index(1)
        assert seen[at] == [0, 0, 0, 0]
        assert {samples[i].path for i in lit[at]} <= {'infrared/1/0.jpg', 'infrared/1/1.jpg'}


def test_every_identity_and_every_image_comes_up() -> None:
    sampler = IdentityBalanced(EVEN, 0)
    drawn = Counter(index for epoch in range(30) for batch in sampler.batches(epoch) for index in batch)
    assert set(drawn) == set(range(len(EVEN)))


def test_identities_are_drawn_evenly() -> None:
    # 12 identities, 4 per batch: each is in a third. 3,000 draws: standard deviation sqrt(3000 * 1/3 * 2/3) = 26
    samples = people({i: (600 if i == 0 else 6, 5) for i in range(12)})
    sampler = IdentityBalanced(samples, 0)
    epochs = -(-3_000 // len(sampler))
    batches = [batch for epoch in range(epochs) for batch in sampler.batches(epoch)][:3_000]
    drawn = Counter(person for batch in batches for person in {samples[i].identity for i in batch})
    assert all(abs(count - 1_000) < 5 * 26 for count in drawn.values())


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000), epoch=st.integers(0, 1000), world_size=st.integers(2, 4), identities=st.integers(1, 3)
)
def test_processes_share_out_the_draw_of_one_process_with_as_many_identities(
    seed: int, epoch: int, world_size: int, identities: int
) -> None:
    m = {'visible': 3, 'infrared': 2}
    whole = IdentityBalanced(EVEN, seed, identities=identities * world_size, **m)
    parts = [IdentityBalanced(EVEN, seed, rank, world_size, identities, **m) for rank in range(world_size)]
    assert {len(part) for part in parts} == {len(whole)}
    for together, *shares in zip(whole.batches(epoch), *(part.batches(epoch) for part in parts), strict=True):
        seen, lit = rows(together, EVEN, identities * world_size, 3, 2)
        cut = [rows(share, EVEN, identities, 3, 2) for share in shares]
        assert [row for share in cut for row in share[0]] == seen
        assert [row for share in cut for row in share[1]] == lit
        everyone = [person for share in cut for person in persons(share[0], EVEN)]
        assert len(set(everyone)) == identities * world_size


@pytest.mark.parametrize(
    ('images', 'facts'),
    [
        ({1: (2, 2), 2: (0, 2), 3: (2, 2)}, '1 .* visible .*: 2\n'),
        ({1: (2, 0), 2: (2, 2), 3: (2, 0)}, '2 .* infrared .*: 1, 3\n'),
        (dict.fromkeys(range(1, 8), (2, 0)), '7 .* infrared .*: 1, 2, 3, 4, 5, '),
    ],
)
def test_identities_of_one_modality_are_named(images: dict[int, tuple[int, int]], facts: str) -> None:
    with pytest.raises(TooFew, match=facts):
        IdentityBalanced(people(images), 0, identities=1)


def test_fewer_identities_than_a_batch_needs_says_how_many_would_do() -> None:
    samples = people({1: (4, 4), 2: (4, 4), 3: (4, 4)})
    with pytest.raises(TooFew, match=r' 4 .* 3\n') as caught:
        IdentityBalanced(samples, 0, identities=4)
    assert 'sampler.identities to 3 ' in caught.value.todo
    assert len(IdentityBalanced(samples, 0, identities=3).batches(0)[0]) == 24


def test_processes_together_need_their_identities() -> None:
    samples = people(dict.fromkeys(range(7), (4, 4)))
    with pytest.raises(TooFew, match=r' 8 .* 7\n') as caught:
        IdentityBalanced(samples, 0, world_size=2, identities=4)
    assert 'sampler.identities to 3 ' in caught.value.todo


@pytest.mark.parametrize(('images', 'world_size'), [({}, 1), ({1: (4, 4)}, 2)])
def test_the_advice_is_never_a_number_that_is_refused(images: dict[int, tuple[int, int]], world_size: int) -> None:
    with pytest.raises(TooFew, match=f' {len(images)}\n') as caught:
        IdentityBalanced(people(images), 0, world_size=world_size, identities=4)
    assert 'sampler.identities' not in caught.value.todo


@pytest.mark.parametrize('modality', [VISIBLE, INFRARED])
def test_a_batch_may_consist_of_one_modality(modality: str) -> None:
    other = {VISIBLE: 'infrared', INFRARED: 'visible'}[modality]
    alone = [sample for sample in EVEN if sample.modality == modality]
    for samples in (EVEN, alone):  # the other may be missing
        sampler = IdentityBalanced(samples, 0, identities=2, **{modality: 3, other: 0})
        for batch in sampler.batches(0):
            assert len(batch) == 6
            assert {samples[index].modality for index in batch} == {modality}
            assert len({samples[index].identity for index in batch}) == 2
    with pytest.raises(Conflict, match=r'visible .*infrared'):
        IdentityBalanced(EVEN, 0, visible=0, infrared=0)


@pytest.mark.parametrize(('name', 'value'), [('identities', 0), ('identities', -4), ('visible', -1), ('infrared', -4)])
def test_numbers_below_their_least_are_refused(name: str, value: int) -> None:
    config = {'type': 'IdentityBalanced', name: value}
    with pytest.raises(WrongValue, match=f'{name} is {value}'):
        create_manager().components.build(
            'samplers', config, where='sampler', samples=EVEN, seed=0, rank=0, world_size=1
        )


def test_a_config_says_identities_and_images_and_the_run_says_the_rest() -> None:
    config = {'type': 'IdentityBalanced', 'identities': 2, 'visible': 3, 'infrared': 1}
    built = create_manager().components.build(
        'samplers', config, where='sampler', samples=EVEN, seed=7, rank=0, world_size=1
    )
    assert built.batches(2) == IdentityBalanced(EVEN, 7, identities=2, visible=3, infrared=1).batches(2)


def test_people_without_a_modality_are_called_as_the_user_calls_them() -> None:
    samples = [Sample('a', 1, 1, VISIBLE, 'anna'), Sample('b', 1, 2, INFRARED, 'anna')]
    samples.append(Sample('c', 2, 1, VISIBLE, 'carl'))
    with pytest.raises(TooFew, match=r'1 .* infrared .*: carl'):
        IdentityBalanced(samples, 0, identities=1)
