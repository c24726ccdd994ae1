import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from loralab.statistics.decisions import (
    Direction,
    Evidence,
    MarginAnswer,
    direction,
    holm,
    judge,
    margin_answer,
    mcnemar,
)
from loralab.statistics.estimate import Estimate, at_margin, crossed, with_more
from loralab.statistics.needed import both_needed, decides, detectable, is_beyond_seeds, items_needed, seeds_needed
from loralab.statistics.ratios import geometric
from loralab.statistics.resampling import Array, resample

P = st.floats(0.0, 1.0)


def estimate(value: float = 0.0, error: float = 1.0) -> Estimate:
    return Estimate(value, seeds=3, items=10**9, seed_variance=0.0, item_variance=error**2, interaction=0.0)


def means_of(values: Array, draws: int = 4000) -> Array:
    """Draw the items of (items, seeds) again."""
    return resample(values.astype(np.float32)[..., None], lambda means: means[..., 0], draws)


def made_of(items: int, seeds: int, of_seeds: float, generator: np.random.Generator) -> Array:
    """Values of items and seeds, (items, seeds), with effects of both and their interaction."""
    of_item, of_seed = generator.normal(size=(items, 1)), of_seeds * generator.normal(size=(1, seeds))
    values: Array = of_item + of_seed + generator.normal(size=(items, seeds))
    return values


def test_one_seeds_interval_is_students_one_sample_interval() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, size=(400, 1))
    found = crossed(values.mean(axis=0), means_of(values, 20_000), items=400)
    expected = stats.ttest_1samp(values[:, 0], 0)
    low, high = expected.confidence_interval(0.95)
    assert found.interval() == pytest.approx((low, high), abs=0.03 * (high - low))
    assert found.p_apart() == pytest.approx(expected.pvalue, rel=0.15)


def test_with_items_all_alike_the_interval_is_students_over_seeds() -> None:
    of_seeds = np.array([0.1, 0.3, 0.2, 0.5, 0.4])
    values = np.tile(of_seeds, (500, 1))
    found = crossed(of_seeds, means_of(values, 200), items=500)
    assert found.interval() == pytest.approx(stats.ttest_1samp(of_seeds, 0).confidence_interval(0.95), rel=1e-6)


def test_the_variance_parts_are_those_of_the_two_way_analysis_of_variance() -> None:
    generator = np.random.default_rng(2)
    items, seeds = 600, 6
    values = made_of(items, seeds, 0.2, generator)
    centred = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    of_items = seeds * values.mean(axis=1).var(ddof=1)
    of_seeds = items * values.mean(axis=0).var(ddof=1)
    of_both = (centred**2).sum() / ((items - 1) * (seeds - 1))
    found = crossed(values.mean(axis=0), means_of(values, 40_000), items)
    assert found.item_variance * items * seeds == pytest.approx(of_items - of_both, rel=0.04)
    assert found.interaction * items * seeds == pytest.approx(of_both, rel=0.08)
    assert found.seed_variance * items * seeds == pytest.approx(of_seeds, rel=1e-6)
    assert found.error**2 * items * seeds == pytest.approx(of_items + of_seeds - of_both, rel=0.03)


def test_resampling_seeds_and_items_together_gives_the_same_variance_but_for_the_interaction() -> None:
    """Owen 2007: with both drawn again, the interaction is counted three times, the seeds' part (S - 1) / S times."""
    generator = np.random.default_rng(3)
    items, seeds = 300, 5
    values = made_of(items, seeds, 0.3, generator)
    found = crossed(values.mean(axis=0), means_of(values, 20_000), items)
    drawn = means_of(values, 20_000)
    weights = generator.multinomial(seeds, [1 / seeds] * seeds, size=20_000) / seeds
    both = float((drawn * weights).sum(axis=1).var())
    apart = found.item_variance + found.interaction + found.seed_variance * (seeds - 1) / seeds
    assert both == pytest.approx(apart + found.interaction * (seeds - 1) / seeds, rel=0.05)


def test_every_arm_and_seed_sees_the_same_items_drawn() -> None:
    values = np.random.default_rng(4).normal(size=(50, 1))
    drawn = means_of(np.repeat(values, 3, axis=1), 100)
    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    assert np.array_equal(drawn[:, 0], drawn[:, 2])


def test_draws_in_several_pieces_are_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loralab.statistics.resampling._AT_ONCE", 700)
    drawn = means_of(np.random.default_rng(5).normal(size=(100, 2)), 50)
    assert drawn.shape == (50, 2)
    assert len(np.unique(drawn[:, 0])) == 50


@pytest.mark.parametrize(
    ("gain", "p", "answer"),
    [
        (0.02, 0.01, Direction.BETTER),
        (-0.02, 0.01, Direction.WORSE),
        (0.02, 0.05, Direction.BETTER),
        (0.02, 0.0501, Direction.NOT_SHOWN),
        (-0.02, 0.9, Direction.NOT_SHOWN),
        (0.0, 1.0, Direction.NOT_SHOWN),
    ],
)
def test_a_direction_is_that_of_the_gain_where_its_p_allows(gain: float, p: float, answer: Direction) -> None:
    assert direction(gain, p, 0.05) is answer


@pytest.mark.parametrize(
    ("shown", "inferior", "non_inferior", "equivalent", "answer"),
    [
        (Direction.WORSE, 0.01, 0.99, 0.99, MarginAnswer.INFERIOR),
        (Direction.NOT_SHOWN, 0.01, 0.99, 0.99, MarginAnswer.UNDECIDED),
        (Direction.NOT_SHOWN, 0.99, 0.01, 0.04, MarginAnswer.EQUIVALENT),
        (Direction.WORSE, 0.99, 0.01, 0.04, MarginAnswer.EQUIVALENT),
        (Direction.NOT_SHOWN, 0.99, 0.01, 0.06, MarginAnswer.NON_INFERIOR),
        (Direction.NOT_SHOWN, 0.99, 0.05, 0.06, MarginAnswer.NON_INFERIOR),
        (Direction.BETTER, 0.9, 0.1, 0.5, MarginAnswer.NON_INFERIOR),
        (Direction.NOT_SHOWN, 0.50, 0.50, 0.50, MarginAnswer.UNDECIDED),
        (Direction.WORSE, 0.051, 0.949, 0.949, MarginAnswer.UNDECIDED),
    ],
)
def test_the_margins_answer_is_the_strongest_claim_that_its_p_allows(
    shown: Direction, inferior: float, non_inferior: float, equivalent: float, answer: MarginAnswer
) -> None:
    evidence = Evidence(direction=1.0, inferior=inferior, non_inferior=non_inferior, equivalent=equivalent)
    assert margin_answer(shown, evidence, 0.05) is answer


@pytest.mark.parametrize(
    ("value", "direction_", "answer"),
    [
        (-5.0, Direction.WORSE, MarginAnswer.INFERIOR),
        (-3.0, Direction.WORSE, MarginAnswer.UNDECIDED),  # at the margin
        (-2.1, Direction.WORSE, MarginAnswer.UNDECIDED),
        (0.0, Direction.NOT_SHOWN, MarginAnswer.EQUIVALENT),
        (1.5, Direction.NOT_SHOWN, MarginAnswer.NON_INFERIOR),
        (5.0, Direction.BETTER, MarginAnswer.NON_INFERIOR),
    ],
)
def test_an_arm_is_judged_by_its_gain_in_standard_errors(
    value: float, direction_: Direction, answer: MarginAnswer
) -> None:
    verdict = judge({"arm": estimate(value)}, margin=3.0)["arm"]
    assert (verdict.direction, verdict.margin_answer) == (direction_, answer)


def test_worse_and_yet_not_by_what_matters_are_two_answers() -> None:
    verdict = judge({"arm": estimate(-2.5)}, margin=10.0)["arm"]
    assert verdict.direction is Direction.WORSE
    assert verdict.margin_answer is MarginAnswer.EQUIVALENT


def test_an_arm_without_a_measurement_counts_among_those_adjusted_for() -> None:
    alone = judge({"arm": estimate(2.1)}, margin=1.0)["arm"]
    beside = judge({"arm": estimate(2.1), "failed": None}, margin=1.0)
    assert list(beside) == ["arm"]
    assert beside["arm"].evidence.direction == pytest.approx(2 * alone.evidence.direction)


@given(st.floats(-10, 10), st.floats(0, 5), st.floats(0.01, 5), st.floats(0.1, 5))
def test_equivalence_is_never_claimed_without_non_inferiority(
    value: float, of_seeds: float, of_items: float, margin: float
) -> None:
    evidence = judge({"arm": Estimate(value, 3, 1000, of_seeds, of_items, 0.0)}, margin)["arm"].evidence
    assert evidence.equivalent >= evidence.non_inferior
    assert evidence.inferior + evidence.non_inferior == pytest.approx(1)


@given(st.lists(P, min_size=1, max_size=8))
def test_holm_adjusts_as_statsmodels_does(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1])


def test_the_equivalence_test_is_statsmodels_two_one_sided_tests() -> None:
    differences = np.random.default_rng(6).normal(0.05, 1, size=300)
    expected = ttost_paired(differences, np.zeros(300), -0.2, 0.2)[0]
    gain = Estimate(differences.mean(), 1, 300, 0.0, differences.var(ddof=1) / 300, 0.0)
    assert judge({"arm": gain}, margin=0.2)["arm"].evidence.equivalent == pytest.approx(expected)


def test_mcnemars_test_is_statsmodels_exact_one() -> None:
    own, base = np.random.default_rng(7).random((2, 200)) < [[0.8], [0.7]]
    table = [[np.sum(own & base), np.sum(own & ~base)], [np.sum(~own & base), np.sum(~own & ~base)]]
    assert mcnemar(list(own), list(base)) == pytest.approx(reference(table, exact=True).pvalue)


def test_models_that_answer_alike_are_not_told_apart() -> None:
    assert mcnemar([True, False], [True, False]) == 1.0


def test_without_any_variation_only_the_difference_itself_counts() -> None:
    still = estimate(0.0, error=0.0)
    assert still.p_apart() == 1.0
    assert still.p_above(-0.1) == 0.0
    assert still.p_above(0.0) == 1.0


@given(st.floats(0, 5), st.floats(0.01, 5), st.floats(0.001, 0.49))
def test_a_bound_at_the_intervals_end_has_the_p_of_its_level(of_seeds: float, of_items: float, tail: float) -> None:
    found = Estimate(0.3, 3, 1000, of_seeds, of_items, 0.0)
    low, high = found.interval(1 - 2 * tail)
    assert found.p_above(low) == pytest.approx(tail, rel=1e-6)
    assert found.p_below(high) == pytest.approx(tail, rel=1e-6)
    assert found.p_above(high) == pytest.approx(1 - tail, rel=1e-6)


def test_ratios_are_compared_on_the_log_scale() -> None:
    found = geometric([0.5, 1.0, 2.0])
    assert found.value == pytest.approx(1)
    assert found.interval is not None
    assert found.interval[0] == pytest.approx(1 / found.interval[1])
    logs = np.log([0.5, 1.0, 2.0])
    assert found.interval == pytest.approx(np.exp(stats.ttest_1samp(logs, 0).confidence_interval(0.95)))


def test_one_seeds_ratio_has_no_interval() -> None:
    assert geometric([0.5]).interval is None


def test_more_seeds_shrink_what_seeds_add_and_leave_what_items_add() -> None:
    now = Estimate(0.0, 4, 1000, seed_variance=4.0, item_variance=3.0, interaction=1.0)
    more = with_more(now, seeds=8, items=1000)
    assert (more.seed_variance, more.interaction, more.item_variance) == (2.0, 0.5, 3.0)
    assert more.reach(0.025) < now.reach(0.025)


def test_more_items_shrink_what_items_add_and_the_interaction() -> None:
    now = Estimate(0.0, 4, 1000, seed_variance=4.0, item_variance=3.0, interaction=1.0)
    more = with_more(now, seeds=4, items=2000)
    assert (more.seed_variance, more.interaction, more.item_variance) == (3.5, 0.5, 1.5)


def test_where_hardly_any_item_differs_one_does_not_make_a_small_margin_safe() -> None:
    """At 200 items and a margin of 2 points, no lost item may be chance (18 in 1,000), one is."""
    for lost, answer in ((0, MarginAnswer.EQUIVALENT), (1, MarginAnswer.UNDECIDED)):
        differences = np.zeros(200)
        differences[:lost] = -1
        gain = crossed(np.array([differences.mean()]), means_of(differences[:, None]), 200, 200**-2.0)
        assert judge({"arm": gain}, 0.02, are_shares=True)["arm"].margin_answer is answer


@given(gained=st.integers(0, 40), lost=st.integers(0, 40), margin=st.sampled_from([0.01, 0.02, 0.05]))
def test_the_variance_at_the_margin_is_that_of_the_likeliest_shares_there(
    gained: int, lost: int, margin: float
) -> None:
    items = 500
    up, down = gained / items, lost / items
    at_hand = (up + down - (up - down) ** 2) / items
    tested = at_margin(Estimate(up - down, 1, items, 0.0, at_hand, 0.0), margin)
    shares = np.linspace(1e-9, (1 - margin) / 2 - 1e-9, 200_001)  # of the items gained, all that are possible
    likelihood = up * np.log(shares) + down * np.log(shares + margin) + (1 - up - down) * np.log1p(-2 * shares - margin)
    likeliest = shares[likelihood.argmax()]
    expected = (2 * likeliest + margin - margin**2) / items
    assert tested.item_variance == pytest.approx(max(at_hand, expected), abs=2e-5 / items)


def test_an_undecided_arm_far_beyond_the_margin_is_worth_more_seeds() -> None:
    far = Estimate(-0.1, 3, 200, seed_variance=2e-3, item_variance=4e-4, interaction=1e-5)
    assert not is_beyond_seeds(far, margin=0.02, level=0.0125)
    assert seeds_needed(far, margin=0.02, level=0.0125) is not None


def test_an_arm_that_other_seeds_may_move_far_beyond_the_margin_is_worth_more_of_them() -> None:
    """4.5 points worse after three seeds, 8 in truth: twelve seeds would mostly show it, though 500 items are few."""
    gain = Estimate(-0.045, 3, 500, seed_variance=9e-4, item_variance=1.5e-4, interaction=1e-5)
    assert not is_beyond_seeds(gain, margin=0.02, level=0.0125)


def test_as_many_seeds_as_are_said_to_be_needed_decide() -> None:
    gain = Estimate(0.0, 3, 1000, seed_variance=1e-4, item_variance=1e-5, interaction=5e-6)
    needed = seeds_needed(gain, margin=0.02, level=0.05)
    assert needed is not None
    assert decides(with_more(gain, needed, 1000), 0.02, 0.05)
    assert not decides(with_more(gain, needed - 1, 1000), 0.02, 0.05)


def test_no_number_of_seeds_makes_up_for_too_few_items() -> None:
    gain = Estimate(0.0, 3, 100, seed_variance=1e-6, item_variance=1e-3, interaction=1e-5)
    assert seeds_needed(gain, margin=0.02, level=0.05) is None
    assert is_beyond_seeds(gain, margin=0.02, level=0.05)
    more = items_needed(gain, margin=0.02, level=0.05)
    assert more is not None
    assert more > 100


def test_no_number_of_items_makes_up_for_seeds_that_differ() -> None:
    gain = Estimate(0.0, 3, 25_000, seed_variance=1e-3, item_variance=1e-6, interaction=1e-7)
    assert items_needed(gain, margin=0.02, level=0.05) is None
    assert not is_beyond_seeds(gain, margin=0.02, level=0.05)


def test_where_neither_is_enough_alone_both_are_named() -> None:
    gain = Estimate(0.0, 3, 1000, seed_variance=1e-4, item_variance=1e-4, interaction=1e-5)
    margin = 0.011
    assert (seeds_needed(gain, margin, 0.05), items_needed(gain, margin, 0.05)) == (None, None)
    both = both_needed(gain, margin, 0.05)
    assert both is not None
    assert decides(with_more(gain, *both), margin, 0.05)


def test_with_one_seed_no_number_of_seeds_is_promised() -> None:
    single = Estimate(0.0, 1, 100, 0.0, 1e-3, 0.0)
    assert seeds_needed(single, margin=0.02, level=0.05) is None
    assert both_needed(single, margin=0.02, level=0.05) is None


def test_a_design_that_would_not_show_the_direction_does_not_decide_that_an_arm_is_inferior() -> None:
    """With a small margin and few seeds, the two-sided test asks more than the one-sided claim does."""
    gain = Estimate(-0.1, 3, 10_000, seed_variance=6e-4, item_variance=1e-8, interaction=1e-8)
    level, margin = 0.05, 0.0001
    spare = gain.reach(0.2)
    assert gain.reach(level) + spare <= abs(gain.value + margin)
    assert gain.reach(level / 2) + spare > abs(gain.value)
    assert not decides(gain, margin, level)


def test_a_difference_from_which_on_the_design_sees_one_is_seen_in_four_of_five_cases() -> None:
    error = 0.01
    least = detectable(estimate(0.0, error), level=0.05)
    values = np.random.default_rng(8).normal(least, error, size=4000)
    seen = np.mean([estimate(float(value), error).p_apart() <= 0.05 for value in values])
    assert 0.76 < seen < 0.84


def test_a_ratio_of_sums_is_drawn_by_document_and_weighted_by_its_tokens() -> None:
    """Mean negative log-likelihood a token, from sums and token counts of documents of unlike length."""
    generator = np.random.default_rng(9)
    tokens = generator.integers(10, 1000, size=400).astype(np.float64)
    sums = tokens * (3 + 0.5 * generator.normal(size=400))
    totals = np.stack([sums, tokens], axis=1)[:, None, :]
    drawn = resample(totals.astype(np.float32), lambda means: means[..., 0] / means[..., 1], 20_000)
    ratio = sums.sum() / tokens.sum()
    by_the_delta_method = np.std(sums - ratio * tokens, ddof=1) / tokens.mean() / np.sqrt(400)
    assert drawn.mean() == pytest.approx(ratio, abs=0.2 * by_the_delta_method)
    assert drawn.std() == pytest.approx(by_the_delta_method, rel=0.05)
