"""What is known of a trial before anything is embedded."""

from __future__ import annotations

import pytest

from vireid.core.scoring.scorable import QUERIES_AT_ONCE, require_match, require_scorable
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import NoMatch, TooFew


def trial(query: list[int], gallery: list[int], **more: object) -> Trial:
    samples = [
        tuple(Sample(f'{m}/{n}', i, 1, m) for n, i in enumerate(ids))
        for m, ids in ((INFRARED, query), (VISIBLE, gallery))
    ]
    return Trial('all', 3, *samples, **more)


def test_a_sound_one():
    for check in (require_scorable, require_match):
        check(trial([1, 2], [1, 2]))
        check(trial([7] * 200 + [2], [1, 2]))  # the one with a match comes late


@pytest.mark.parametrize(
    ('query', 'gallery', 'fact'), [([], [1, 2], '0 query'), ([1], [], '0 gallery'), ([1], [1, 1], 'identity 1')]
)
def test_trials_that_cannot_be_scored(query, gallery, fact):
    with pytest.raises(TooFew, match=f'all, trial 3: .*{fact}'):
        require_scorable(trial(query, gallery))


def test_no_match_at_all_or_none_that_is_kept():
    with pytest.raises(NoMatch, match='2 queries'):
        require_match(trial([3, 4], [1, 2]))
    many = [1] * (QUERIES_AT_ONCE + 3)
    with pytest.raises(NoMatch, match=f'{len(many)} queries'):
        require_match(trial(many, [1, 2], drop=lambda qi, qc, gi, gc: qc == gc))
    require_match(trial(many, [1, 2], drop=lambda qi, qc, gi, gc: (qi == gi) & (gi == 2)))
