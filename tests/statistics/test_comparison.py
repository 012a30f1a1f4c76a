"""A difference is a claim if it is larger than noise: formulas against loops, and noise that stays noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import t as student

from vireid.errors import Mismatch, TooFew
from vireid.statistics import comparison
from vireid.statistics.comparison import bootstrap, over_seeds, seeds_for


class TestOverSeeds:
    def test_by_hand_without_what_is_known_before(self, monkeypatch):
        """Differences 0.1, 0.2, 0.3: mean 0.2, deviation 0.1, so 0.2 +- 4.303 x 0.1 / sqrt 3."""
        monkeypatch.setattr(comparison, 'PRIOR_FREEDOM', 0.0)
        found = over_seeds([0.5, 0.6, 0.7], [0.4, 0.4, 0.4])
        half = student.ppf(0.975, 2) * 0.1 / 3**0.5
        assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
        assert not found.is_significant

    def test_what_is_known_before_counts_as_half_a_seed_of_3_points(self):
        """Two seeds that agree: v = 0.5 x 0.03^2 / 1.5, with 1.5 degrees of freedom."""
        found = over_seeds([0.5, 0.6], [0.4, 0.5])
        half = student.ppf(0.975, 1.5) * (0.5 * 0.03**2 / 1.5 / 2) ** 0.5
        assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half))

    def test_the_other_way_round_is_the_negative(self):
        a, b = [0.5, 0.62, 0.7], [0.41, 0.4, 0.43]
        one, other = over_seeds(a, b), over_seeds(b, a)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert one.is_significant is other.is_significant is True

    @pytest.mark.parametrize(
        ('first', 'second', 'kind'),
        [([0.5], [0.4], TooFew), ([0.5, 0.6], [0.4], Mismatch), ([], [], TooFew)],
    )
    def test_one_seed_has_no_spread(self, first, second, kind):
        with pytest.raises(kind, match=f'{len(first)} .*{len(second)} '):
            over_seeds(first, second)

    def test_systems_that_are_equal_are_rarely_told_apart(self):
        rng = np.random.default_rng(0)
        claims = [over_seeds(rng.normal(0.5, 0.02, 3), rng.normal(0.5, 0.02, 3)).is_significant for _ in range(1000)]
        assert np.mean(claims) <= 0.07

    def test_the_spread_of_others_counts_as_two_degrees_of_freedom(self):
        """Three others, of which is left what neither their means nor those of the seeds explain."""
        first, second = [0.50, 0.52, 0.51], [0.40, 0.41, 0.42]
        others = [[0.3, 0.4, 0.5], [0.35, 0.45, 0.49], [0.2, 0.33, 0.41]]
        grand = sum(map(sum, others)) / 9
        left = [
            others[i][j] - sum(others[i]) / 3 - sum(row[j] for row in others) / 3 + grand
            for i in range(3)
            for j in range(3)
        ]
        twice = 2 * sum(e * e for e in left) / 4  # (3 - 1)(3 - 1) degrees of freedom, of which 2 count
        apart = [a - b for a, b in zip(first, second, strict=True)]
        squares = sum((d - sum(apart) / 3) ** 2 for d in apart) + 0.5 * 0.03**2
        variance = max(squares / 2.5, (squares + 2 * twice) / 4.5)
        half = student.ppf(0.995, 4.5) * (variance / 3) ** 0.5
        found = over_seeds(first, second, 0.99, others)
        assert (found.low, found.high) == pytest.approx((sum(apart) / 3 - half, sum(apart) / 3 + half))
        assert found.high < over_seeds(first, second, 0.99).high

    def test_others_that_never_differ_do_not_make_a_wild_pair_calm(self):
        """The pair's own variance is a lower limit: deviations 0, 0.2, -0.2."""
        first, second = [0.5, 0.7, 0.3], [0.4, 0.4, 0.4]
        found = over_seeds(first, second, 0.95, [[0.5] * 3] * 4)
        own = (0.08 + 0.5 * 0.03**2) / 2.5
        assert found.high - found.mean == pytest.approx(student.ppf(0.975, 4.5) * (own / 3) ** 0.5)

    def test_one_system_beside_them_tells_nothing(self):
        first, second = [0.5, 0.52], [0.4, 0.43]
        assert over_seeds(first, second, 0.95, [[0.1, 0.9]]) == over_seeds(first, second)

    def test_of_equal_systems_little_is_claimed_though_one_is_wild(self):
        rng = np.random.default_rng(0)
        couples = list(itertools.combinations(range(7), 2))
        claimed = []
        for _ in range(100):
            table = rng.normal(0, [[0.01]] * 6 + [[0.05]], (7, 3))
            rest = {couple: np.delete(table, couple, axis=0) for couple in couples}
            found = [over_seeds(table[a], table[b], 1 - 0.05 / 21, rest[a, b]) for a, b in couples]
            claimed.append(any(difference.is_significant for difference in found))
        assert np.mean(claimed) <= 0.1


class TestSeedsFor:
    def test_so_many_seeds_show_what_they_promise(self):
        rng = np.random.default_rng(1)
        shown = []
        for _ in range(300):
            first, second = rng.normal(0.55, 0.02, 4), rng.normal(0.5, 0.02, 4)
            count = seeds_for(first, second)
            shown.append(over_seeds(rng.normal(0.55, 0.02, count), rng.normal(0.5, 0.02, count)).is_significant)
        assert np.mean(shown) >= 0.8

    def test_more_noise_needs_more_seeds_and_there_is_an_end(self):
        calm = seeds_for([0.50, 0.51, 0.50], [0.50, 0.50, 0.51])
        wild = seeds_for([0.50, 0.60, 0.40], [0.50, 0.42, 0.61])
        assert 2 <= calm < wild <= 50
        assert seeds_for([0.1, 0.9], [0.9, 0.1]) == 50


class TestBootstrap:
    def test_the_mean_is_that_of_means_over_trials(self):
        """Trial 0: (1 + 0) / 2 - (0 + 0) / 2; trial 1, of one query: 0 - 1."""
        found = bootstrap(np.array([1.0, 0, 0]), np.array([0.0, 0, 1]), np.array([1, 2, 2]), np.array([0, 0, 1]))
        assert found.mean == pytest.approx((0.5 - 1) / 2)

    def test_it_draws_people_with_all_their_queries(self):
        """Against a loop that draws people one by one and puts their queries together."""
        rng = np.random.default_rng(0)
        identities, parts = np.repeat(np.arange(12), 6), np.tile([0, 0, 1, 1, 2, 2], 12)
        skill = rng.random(12)
        first = (rng.random(72) < skill[identities]).astype(float)
        second = (rng.random(72) < 0.5 * skill[identities]).astype(float)
        found = bootstrap(first, second, identities, parts, draws=4000)
        means = []
        for _ in range(4000):
            drawn = rng.integers(0, 12, 12)
            rows = np.concatenate([np.flatnonzero(identities == person) for person in drawn])
            means.append(np.mean([(first - second)[rows[parts[rows] == t]].mean() for t in range(3)]))
        from scipy.special import ndtr

        tail = ndtr((12 / 11) ** 0.5 * student.ppf(0.025, 11))
        assert (found.low, found.high) == pytest.approx(np.quantile(means, (tail, 1 - tail)), abs=0.02)

    def test_it_is_the_same_each_time(self):
        rng = np.random.default_rng(0)
        given = rng.random(40), rng.random(40), np.arange(40) % 8, np.zeros(40, dtype=int)
        assert bootstrap(*given) == bootstrap(*given)

    def test_two_runs_alike_differ_by_nothing(self):
        values = np.random.default_rng(0).random(30)
        found = bootstrap(values, values, np.arange(30) % 5, np.zeros(30, dtype=int))
        assert (found.mean, found.low, found.high, found.is_significant) == (0, 0, 0, False)

    def test_of_one_identity_nothing_is_known(self):
        found = bootstrap(np.ones(4), np.zeros(4), np.ones(4, dtype=int), np.zeros(4, dtype=int))
        assert (found.low, found.high) == (-1, 1)

    def test_a_trial_without_the_people_drawn_is_left_out_of_that_draw(self):
        found = bootstrap(np.array([1.0, 0.0]), np.array([0.0, 0.0]), np.array([1, 2]), np.array([0, 1]))
        assert np.isfinite([found.low, found.high]).all()
        assert found.low <= found.mean == 0.5 <= found.high
