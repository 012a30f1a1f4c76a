"""Calibration: probabilities of hits, and the threshold below which the person is probably absent."""

import math
from statistics import NormalDist, linear_regression

import numpy as np
import pytest

from vireid.statistics.calibration import Calibration, expected_error, fit, reliability, top_hits


def simulate(people, images=6, seed=0, apart=0.35):
    """Returns similarities and identities of people whose images resemble each other more than those of others.

    How much two people resemble each other varies more than how much their images do, as it does in life.
    """
    rng = np.random.default_rng(seed)
    visible, infrared = np.repeat(np.arange(people), images), np.repeat(np.arange(people), images // 2)
    same = visible[:, None] == infrared[None]
    people_apart = 0.1 * rng.standard_normal((people, people))[visible][:, infrared]
    return 0.2 + apart * same + people_apart + 0.02 * rng.standard_normal(same.shape), visible, infrared


def test_the_reliability_curve_by_hand():
    probability = np.array([0.05, 0.05, 0.95, 0.95])
    right = np.array([False, True, True, True])
    assert reliability(probability, right).tolist() == [[2, 2], [0.05, 0.95], [0.5, 1]]
    assert expected_error(probability, right) == pytest.approx((2 * 0.45 + 2 * 0.05) / 4)


def test_a_probability_of_one_is_in_the_last_bin():
    assert reliability(np.array([1.0]), np.array([True])).tolist() == [[1], [1], [1]]


@pytest.mark.parametrize('people', [30, 60])
def test_probabilities_of_other_people_are_true(people):
    errors = []
    for seed in range(3):
        calibration = fit(*simulate(30, seed=seed))
        similarity, visible, infrared = simulate(people, seed=100 + seed)
        for side, scores, queries, gallery in (
            (calibration.visible, similarity, visible, infrared),
            (calibration.infrared, similarity.T, infrared, visible),
        ):
            top = top_hits(scores)
            probability = side.probability(np.take_along_axis(scores, top, axis=1), len(gallery)).ravel()
            right = (gallery[top] == queries[:, None]).ravel()
            assert 0.1 < right.mean() < 0.4  # many hits are wrong, so it is easy to be wrong about them
            errors.append(expected_error(probability, right))
    assert np.mean(errors) < 0.05


def test_absent_people_give_the_stated_rate_of_false_alarms():
    rates = (0.05, 0.2)
    for people in (20, 80):
        alarms = []
        for seed in range(8):
            calibration = fit(*simulate(60, images=2, seed=seed))
            similarity, visible, infrared = simulate(people + 300, images=2, seed=100 + seed)
            present, absent = visible < people, infrared >= people
            best = similarity[present][:, absent].max(axis=0)
            thresholds = [calibration.infrared.threshold(rate, int(present.sum())) for rate in rates]
            alarms.append([(best > threshold).mean() for threshold in thresholds])
        assert np.mean(alarms, axis=0) == pytest.approx(rates, abs=0.03)


def test_more_people_make_a_hit_less_probable_and_raise_the_threshold():
    side = fit(*simulate(12)).visible
    assert side.images == 3
    assert side.people(30) == 10
    assert side.people(1) == 2  # with one person, there would be nothing to decide
    few, many = side.probability(np.array([0.5]), 30), side.probability(np.array([0.5]), 3000)
    assert 0 < many < few < 1
    assert side.threshold(0.05, 30) < side.threshold(0.05, 3000) < side.threshold(0.01, 3000)


def test_the_log_odds_by_hand():
    side = Calibration.of(
        {'people': 5, **{m: {'slope': 10.0, 'offset': -2.0, 'growth': 0.5, 'images': 2.0, 'place': 0.3, 'scale': 0.1}
                         for m in ('visible', 'infrared')}}
    ).side('infrared')  # fmt: skip
    odds = 10 * 0.4 - 2 - 0.5 * math.log(8)
    assert side.probability(np.array([0.4]), 16) == pytest.approx(1 / (1 + math.exp(-odds)))
    assert side.threshold(0.5, 2) == pytest.approx(0.3 + 0.1 * 0.544952, abs=1e-6)  # the median of the larger of two


def test_the_best_similarities_of_strangers_with_loops():
    similarity, visible, infrared = simulate(6)
    best = [
        [
            max(similarity[row, column] for column in range(len(infrared)) if infrared[column] == other)
            for other in range(6)
            if other != visible[row]
        ]
        for row in range(len(visible))
    ]
    # the best of five normal strangers is below z with the probability of one of them to the fifth power
    rare = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
    z = [NormalDist().inv_cdf((1 - share) ** (1 / 5)) for share in rare]
    most = [np.quantile([max(own) for own in best], 1 - share) for share in rare]
    line = linear_regression(z, most)
    side = fit(similarity, visible, infrared).visible
    assert side.place == pytest.approx((np.mean(best) + line.intercept) / 2)
    assert side.scale == pytest.approx((np.std(best) + line.slope) / 2)


def test_people_of_one_modality_do_not_count():
    similarity, visible, infrared = simulate(6)
    more = np.vstack([similarity, np.full((2, len(infrared)), 0.9)])
    assert fit(more, np.append(visible, [98, 99]), infrared) == fit(similarity, visible, infrared)
    assert fit(similarity, visible, np.where(infrared > 3, 100 + infrared, infrared)) is None  # four people remain


def test_without_a_difference_nothing_is_calibrated():
    similarity, visible, infrared = simulate(6)
    assert fit(np.full_like(similarity, 0.5), visible, infrared) is None
    assert fit(-similarity, visible, infrared) is None


def test_separable_people_do_not_give_certainty():
    similarity, visible, infrared = simulate(6, apart=5.0)
    calibration = fit(similarity, visible, infrared)
    assert np.isfinite(list(calibration.visible.__dict__.values())).all()
    assert calibration.visible.probability(np.array([1.0]), 18) < 1


def test_it_survives_a_checkpoint():
    calibration = fit(*simulate(6))
    assert Calibration.of(calibration.to_dict()) == calibration
