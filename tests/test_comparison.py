from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from conftest import MakeExperiment
from loralab import api
from loralab.comparison import compare
from loralab.experiment import Experiment, Trial
from loralab.progress import Watcher
from loralab.recommendation import NoReason, Turn
from loralab.report import advice, answer, beside, content, limits
from loralab.report.charts import tradeoffs
from loralab.results import MERGED, RELOADED, Check, Failure, Measurement
from loralab.statistics.decisions import Direction, MarginAnswer
from made_up import Right, hits, made_up, template, untuned


@pytest.fixture(scope="module")
def like(finished: Path) -> Measurement:
    return template(finished)


@pytest.fixture(scope="module")
def plain(toy_experiment: Experiment) -> Experiment:
    """Three arms, three seeds, a margin of 2 points."""
    return untuned(toy_experiment, seeds=(0, 1, 2), margin={"accuracy": 0.02})


def shares(**of_arm: float) -> "dict[str, float]":
    return {"full": 0.9, "lora": 0.9, "head-only": 0.9} | {name.replace("_", "-"): x for name, x in of_arm.items()}


def answers(of_arm: dict[str, float], arm: str, seed: int, count: int = 2000) -> Right:
    """Answers of which so large a share is right, some of them other ones for every seed."""
    found = hits(of_arm[arm], count)
    return np.roll(found, 7 * seed)


def test_an_arm_that_loses_points_on_the_same_items_is_worse_and_inferior(plain: Experiment, like: Measurement) -> None:
    of_arm = shares(lora=0.85, head_only=0.895)
    comparison = compare(plain, made_up(like, plain, lambda arm, seed: answers(of_arm, arm, seed)))
    lora, head = comparison.verdicts["lora"], comparison.verdicts["head-only"]
    assert lora.gain.value == pytest.approx(-0.05)
    assert (lora.direction, lora.margin_answer) == (Direction.WORSE, MarginAnswer.INFERIOR)
    assert (head.direction, head.margin_answer) == (Direction.WORSE, MarginAnswer.EQUIVALENT)
    sentence = answer.sentence(comparison)
    assert "lora was worse by 5.0 points (" in sentence
    assert "by more than the margin of 2 points" in sentence
    assert "equivalent within the margin of 2 points" in sentence


def test_where_lower_is_better_the_gain_is_turned(plain: Experiment, like: Measurement) -> None:
    by_loss = plain.model_copy(update={"primary": "log_loss", "margin": {"log_loss": 0.05}})
    of_arm = shares(lora=0.95)
    comparison = compare(by_loss, made_up(like, by_loss, lambda arm, seed: answers(of_arm, arm, seed)))
    assert comparison.arms["lora"].differences["log_loss"].value == pytest.approx(-0.095, abs=1e-3)
    assert comparison.verdicts["lora"].gain.value == pytest.approx(0.095, abs=1e-3)
    assert comparison.verdicts["lora"].direction is Direction.BETTER


def test_an_interval_of_f1_is_near_that_of_accuracy_where_labels_are_alike(
    plain: Experiment, like: Measurement
) -> None:
    of_arm = shares(lora=0.85)
    comparison = compare(plain, made_up(like, plain, lambda arm, seed: answers(of_arm, arm, seed)))
    differences = comparison.arms["lora"].differences
    assert set(differences) == {metric.name for metric in plain.conditions.task.metrics}
    # All items have one label of six, so that macro recall is a sixth of accuracy.
    assert differences["recall_macro"].error == pytest.approx(differences["accuracy"].error / 6, rel=0.1)


def test_seeds_that_differ_widen_the_interval_beyond_what_items_do(plain: Experiment, like: Measurement) -> None:
    steady = compare(plain, made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed)))
    moody = compare(
        plain,
        made_up(like, plain, lambda arm, seed: hits(0.9 + (0.04 * (seed - 1) if arm == "lora" else 0.0), 2000)),
    )
    assert moody.verdicts["lora"].gain.seed_variance > steady.verdicts["lora"].gain.seed_variance
    assert moody.verdicts["lora"].margin_answer is MarginAnswer.UNDECIDED
    lines = " ".join(limits.caveats(moody))
    assert "lora is undecided" in lines
    assert "would decide it in four of five" in lines


def test_one_seed_is_judged_by_its_items_and_the_answer_says_so(plain: Experiment, like: Measurement) -> None:
    single = plain.model_copy(update={"seeds": (0,)})
    comparison = compare(single, made_up(like, single, lambda arm, seed: answers(shares(lora=0.85), arm, seed)))
    assert comparison.verdicts["lora"].direction is Direction.WORSE
    told = "With one seed (lora, head-only), nothing is known"
    assert any(told in line for line in limits.caveats(comparison))
    assert told in comparison._repr_html_()
    assert told in " ".join(beside.meaning({"here": comparison}))


def test_after_one_seed_no_larger_design_is_promised_to_decide(plain: Experiment, like: Measurement) -> None:
    single = plain.model_copy(update={"seeds": (0,)})
    comparison = compare(single, made_up(like, single, lambda arm, seed: answers(shares(lora=0.8825), arm, seed)))
    assert comparison.verdicts["lora"].margin_answer is MarginAnswer.UNDECIDED
    (told,) = (line for line in limits.caveats(comparison) if line.startswith("lora is undecided"))
    assert told.endswith("after one seed it isn't known what would decide it.")


def test_models_that_could_not_be_loaded_again_are_not_said_to_be_whole(plain: Experiment, like: Measurement) -> None:
    """Where memory ran out, nothing is known of them."""
    results = made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed))
    assert any(line.startswith("Whole: 9 final trials") for line in limits.caveats(compare(plain, results)))
    for name, found in results.items():
        if found.trial.arm == "lora":
            kept = tuple(check for check in found.checks if check.name not in (RELOADED, MERGED))
            results[name] = found.model_copy(update={"checks": kept})
    lines = limits.caveats(compare(plain, results))
    assert not any(line.startswith("Whole") for line in lines)
    assert any("the saved models of 3 could not be loaded again" in line for line in lines)


def test_unfinished_runs_say_so_wherever_they_are_shown(plain: Experiment, like: Measurement) -> None:
    results = made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed))
    early = compare(plain, {name: found for name, found in results.items() if found.trial.seed < 2})
    assert "Still to be carried out: 3 trials" in early._repr_html_()
    assert "Still to be carried out: 3 trials" in " ".join(beside.meaning({"here": early}))


def test_shares_are_held_against_the_margin_with_the_error_that_they_would_have_there(
    plain: Experiment, like: Measurement
) -> None:
    """One lost text of 200 leaves 2 points open; by the error at hand alone it would not."""
    single = plain.model_copy(update={"seeds": (0,), "margin": {"accuracy": 0.02}})
    made = made_up(like, single, lambda arm, seed: hits(0.9 - 0.005 * (arm == "lora"), 200))
    assert compare(single, made).verdicts["lora"].margin_answer is MarginAnswer.UNDECIDED


def test_mcnemars_test_stands_by_each_seed(plain: Experiment, like: Measurement) -> None:
    comparison = compare(plain, made_up(like, plain, lambda arm, seed: answers(shares(lora=0.85), arm, seed)))
    assert set(comparison.arms["lora"].mcnemar) == {0, 1, 2}
    assert max(comparison.arms["lora"].mcnemar.values()) < 1e-6
    assert set(comparison.arms["head-only"].mcnemar.values()) == {1.0}
    assert comparison.baseline.mcnemar == {}


def test_an_arm_scored_on_other_items_is_not_judged(plain: Experiment, like: Measurement) -> None:
    results = made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed, 2000 if arm != "lora" else 1000))
    assert set(compare(plain, results).verdicts) == {"head-only"}


def test_a_failed_seed_leaves_the_others_paired(plain: Experiment, like: Measurement) -> None:
    results: dict[str, Measurement | Failure] = dict(
        made_up(like, plain, lambda arm, seed: answers(shares(lora=0.85), arm, seed))
    )
    lost = next(name for name, found in results.items() if found.trial.arm == "lora" and found.trial.seed == 1)
    results[lost] = Failure(trial=results[lost].trial, reason="diverged", message="")
    gain = compare(plain, results).verdicts["lora"].gain
    assert gain.seeds == 2
    assert gain.value == pytest.approx(-0.05)


def test_an_arm_of_which_a_seed_failed_is_not_recommended(plain: Experiment, like: Measurement) -> None:
    found = made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed))
    results: dict[str, Measurement | Failure] = dict(priced(found, "lora", 0.001))
    lost = next(name for name, one in results.items() if one.trial.arm == "lora" and one.trial.seed == 1)
    results[lost] = Failure(trial=results[lost].trial, reason="diverged", message="")
    comparison = compare(plain, results)
    assert comparison.recommendation.arm != "lora"
    assert "Not considered, since trials failed: lora." in advice.recommendation(comparison)
    assert any("lora is compared over 2 of 3 seeds" in line for line in limits.caveats(comparison))
    assert "lora (2 of 3 seeds) differed" in answer.sentence(comparison)
    assert next(row for row in content.answers(comparison).rows if row[0] == "lora")[1].endswith("(2 of 3 seeds)")


@pytest.mark.parametrize("head_only", [0.5, 0.88])
def test_what_was_not_considered_is_told_where_the_baseline_or_nothing_is_recommended(
    head_only: float, plain: Experiment, like: Measurement
) -> None:
    of_arm = shares(head_only=head_only)
    found = made_up(like, plain, lambda arm, seed: answers(of_arm, arm, seed))
    results: dict[str, Measurement | Failure] = dict(found)
    lost = next(name for name, one in found.items() if one.trial.arm == "lora" and one.trial.seed == 1)
    results[lost] = Failure(trial=found[lost].trial, reason="diverged", message="")
    told = " ".join(advice.recommendation(compare(plain, results)))
    assert "no other arm without failed trials was shown to be non-inferior" in told
    assert "Not considered, since trials failed: lora." in told


def test_an_arm_alone_gets_no_recommendation(plain: Experiment, like: Measurement) -> None:
    alone = plain.model_copy(update={"arms": {"full": plain.arms["full"]}})
    found = made_up(like, alone, lambda arm, seed: answers(shares(), arm, seed))
    assert advice.recommendation(compare(alone, found)) == []


def test_a_void_baseline_leaves_nothing_to_judge(plain: Experiment, like: Measurement) -> None:
    results = made_up(like, plain, lambda arm, seed: answers(shares(lora=0.8), arm, seed))
    broken = Check(name="the loss fell", passed=False, seen="it rose")
    results = {
        name: one.model_copy(update={"checks": (broken,)}) if one.trial.arm == "full" else one
        for name, one in results.items()
    }
    comparison = compare(plain, results)
    assert not comparison.verdicts
    assert comparison.recommendation.reason is NoReason.NO_BASELINE
    assert "lora can't be judged, since full is void" in answer.sentence(comparison)
    assert len([line for line in limits.caveats(comparison) if "it isn't true that the loss fell" in line]) == 1


def test_differences_keep_their_sign_in_words_where_lower_is_better(plain: Experiment, like: Measurement) -> None:
    by_loss = plain.model_copy(update={"primary": "log_loss", "margin": {}})
    results = made_up(like, by_loss, lambda arm, seed: np.roll(hits(0.9 if arm != "lora" else 0.905, 400), 3 * seed))
    comparison = compare(by_loss, results)
    if comparison.verdicts["lora"].direction is Direction.NOT_SHOWN:
        assert "lora differed by −0.0" in answer.sentence(comparison)
    else:
        assert "lora was better by 0.0" in answer.sentence(comparison)


def priced(results: dict[str, Measurement], arm: str, training: float) -> dict[str, Measurement]:
    return {
        name: found.model_copy(update={"seconds": found.seconds.model_copy(update={"training": training})})
        if found.trial.arm == arm
        else found
        for name, found in results.items()
    }


def test_the_cheapest_non_inferior_arm_is_recommended_with_its_runner_up(plain: Experiment, like: Measurement) -> None:
    results = made_up(like, plain, lambda arm, seed: answers(shares(head_only=0.8), arm, seed))
    for arm, seconds in (("full", 10.0), ("lora", 6.0), ("head-only", 2.0)):
        results = priced(results, arm, seconds)
    comparison = compare(plain, results)
    assert (comparison.recommendation.arm, comparison.recommendation.runner_up) == ("lora", "full")
    told = advice.recommendation(comparison)
    assert told[0].startswith("Recommended: lora: not worse than full by what matters")
    assert "0.60×" in told[0]


def test_a_price_that_chance_may_have_made_is_said_to_be_so(plain: Experiment, like: Measurement) -> None:
    told = {}
    for spread in (0.0, 3.0):
        results = made_up(like, plain, lambda arm, seed: answers(shares(head_only=0.8), arm, seed))
        for name, found in results.items():
            price = {"full": 10.0, "lora": 9.0 + spread * (found.trial.seed - 1)}.get(found.trial.arm, 5.0)
            seconds = found.seconds.model_copy(update={"training": price + 0.001 * found.trial.seed})
            results[name] = found.model_copy(update={"seconds": seconds})
        told[spread] = advice.recommendation(compare(plain, results))[1]
    assert "may be chance" not in told[0.0]
    assert "may be chance" in told[3.0]


def test_two_prices_that_are_the_same_are_not_told_as_chance(plain: Experiment, like: Measurement) -> None:
    results = made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed))
    comparison = compare(plain.model_copy(update={"prefer": "storage"}), results)
    assert "; it costs the same)" in advice.recommendation(comparison)[1]


def test_the_baseline_is_recommended_where_every_other_arm_is_inferior(plain: Experiment, like: Measurement) -> None:
    of_arm = shares(lora=0.8, head_only=0.8)
    comparison = compare(plain, made_up(like, plain, lambda arm, seed: answers(of_arm, arm, seed)))
    assert comparison.recommendation.arm == "full"
    assert advice.recommendation(comparison)[0].startswith("Recommended: full: no other arm was shown")


def test_nothing_is_recommended_while_arms_are_undecided(plain: Experiment, like: Measurement) -> None:
    few = made_up(like, plain, lambda arm, seed: np.roll(hits(0.8, 60), 11 * seed + (5 if arm == "full" else 0)))
    comparison = compare(plain, few)
    assert comparison.recommendation.reason is NoReason.UNDECIDED
    assert advice.recommendation(comparison) == [
        "No recommendation: no other arm was shown to be non-inferior to full, and lora, head-only are undecided."
    ]


def test_a_void_arm_is_not_recommended(plain: Experiment, like: Measurement) -> None:
    results = priced(made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed)), "lora", 0.001)
    broken = Check(name="the head was saved", passed=False, seen="none of 2 tensors")
    for name, found in results.items():
        if found.trial.arm == "lora" and found.trial.seed == 1:
            results[name] = found.model_copy(update={"checks": (broken,)})
    comparison = compare(plain, results)
    assert comparison.recommendation.arm != "lora"
    assert any("lora is void: it isn't true that the head was saved" in line for line in limits.caveats(comparison))
    assert "lora is void" in answer.sentence(comparison)
    # Nothing else is said of it.
    assert "lora" not in {row[0] for row in content.other_differences(comparison).rows}
    assert "lora" not in {row[0] for row in content.by_seed(comparison).rows}
    figure = tradeoffs.tradeoff(comparison)
    assert figure is not None
    fronts = [{point["arm"] for point in chart.layer[0].data.values} for chart in figure.panels.values()]
    assert fronts
    assert not any("lora" in front for front in fronts)
    for told in (comparison._repr_html_(), " ".join(beside.meaning({"here": comparison}))):
        assert "lora is void: it isn&#x27;t true" in told or "lora is void: it isn't true" in told


def test_after_one_seed_or_before_the_end_nothing_is_recommended(plain: Experiment, like: Measurement) -> None:
    results = priced(made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed)), "lora", 0.001)
    assert compare(plain, results).recommendation.arm == "lora"
    early = {name: found for name, found in results.items() if found.trial.seed == 0}
    assert compare(plain, early).recommendation.reason is NoReason.UNFINISHED
    single = compare(plain.model_copy(update={"seeds": (0,)}), early)
    assert single.recommendation.reason is NoReason.ONE_SEED
    assert "another would change" in " ".join(advice.recommendation(single))


def test_after_one_seed_not_even_the_baseline_is_recommended(plain: Experiment, like: Measurement) -> None:
    single = plain.model_copy(update={"seeds": (0,)})
    of_arm = shares(lora=0.5, head_only=0.5)
    comparison = compare(single, made_up(like, single, lambda arm, seed: answers(of_arm, arm, seed)))
    assert {verdict.margin_answer for verdict in comparison.verdicts.values()} == {MarginAnswer.INFERIOR}
    assert comparison.recommendation.reason is NoReason.ONE_SEED


def test_an_unfair_comparison_recommends_nothing(plain: Experiment, like: Measurement) -> None:
    results = made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed))
    for name, found in results.items():
        if found.trial.arm == "lora":
            machine = found.environment.model_copy(update={"threads": 64})
            results[name] = found.model_copy(update={"environment": machine})
    comparison = compare(plain, results)
    assert comparison.recommendation.reason is NoReason.NOT_FAIR
    assert any("not a fair comparison: the arms differ in threads" in line for line in limits.caveats(comparison))


def test_adapters_beside_one_base_model_need_less_disk_from_some_number_of_tasks_on(
    plain: Experiment, like: Measurement
) -> None:
    by_storage = plain.model_copy(update={"prefer": "storage"})
    results = made_up(like, by_storage, lambda arm, seed: answers(shares(), arm, seed))
    assert like.saved is not None
    for name, found in results.items():
        size = {"full": 1_000, "lora": 400, "head-only": 1_000}.get(found.trial.arm, 0)
        counted = found.parameters.model_copy(update={"total": 350, "trainable": 100})  # a base of 1,000 bytes
        saved = like.saved.model_copy(update={"bytes": size})
        results[name] = found.model_copy(update={"saved": saved, "parameters": counted})
    found_ = compare(by_storage, results).recommendation
    assert found_.arm == "lora"
    # 400 n + 1,000 < 1,000 n from n = 2 on.
    assert [even.count for even in found_.break_evens if even.turn is Turn.STORAGE] == [2]


def test_plain_lora_is_never_said_to_score_slower_since_it_is_scored_merged(
    make_experiment: MakeExperiment, like: Measurement
) -> None:
    """What DoRA's adapter costs in use is told."""
    found = {}
    for dora in (False, True):
        method = {"kind": "lora", "rank": 2, "alpha": 4, "dora": dora}
        methods = {"full": {"kind": "full"}, "lora": method}
        arms = {name: {"method": one, "learning_rates": [1e-3]} for name, one in methods.items()}
        experiment = make_experiment(arms=arms, seeds=3)
        results = made_up(like, experiment, lambda arm, seed: answers(shares(), arm, seed))
        for name, one in results.items():
            evaluation, training = (2.0 + one.trial.seed / 100, 1.0) if one.trial.arm == "lora" else (1.0, 9.0)
            seconds = one.seconds.model_copy(update={"evaluation": evaluation, "training": training})
            results[name] = one.model_copy(update={"seconds": seconds})
        comparison = compare(experiment, results)
        assert comparison.recommendation.arm == "lora"
        found[dora] = [even for even in comparison.recommendation.break_evens if even.turn is Turn.SERVING]
    assert (len(found[False]), len(found[True])) == (0, 1)
    assert found[True][0].count == pytest.approx(8 / (1.01 / 2000), abs=1)  # seconds saved, by those that a text costs
    assert "merging the adapter avoids it" in advice.recommendation(comparison)[-1]
    unmerged = {name: one.model_copy(update={"checks": ()}) for name, one in results.items()}
    told = advice.recommendation(compare(experiment, unmerged))[-1]
    assert "scores slower" in told
    assert "merging" not in told


def test_what_went_on_from_a_checkpoint_is_told(plain: Experiment, like: Measurement) -> None:
    results = made_up(like, plain, lambda arm, seed: answers(shares(), arm, seed))
    for name, one in results.items():
        if (one.trial.arm, one.trial.seed) == ("lora", 1):
            results[name] = one.model_copy(update={"course": one.course.model_copy(update={"resumed": (12,)})})
    told = [line for line in limits.caveats(compare(plain, results)) if "went on from a checkpoint" in line]
    assert len(told) == 1
    assert told[0].startswith("lora: seed 1 ")


def looking(make_experiment: MakeExperiment, **changes: object) -> Experiment:
    return untuned(make_experiment(seeds="auto", margin={"accuracy": 0.02}, **changes))


def test_seeds_end_at_the_first_look_that_decides(make_experiment: MakeExperiment, like: Measurement) -> None:
    experiment = looking(make_experiment)
    results = made_up(like, experiment, lambda arm, seed: answers(shares(lora=0.8), arm, seed))
    comparison = compare(experiment, results)
    assert comparison.seeds == (0, 1, 2)
    assert not comparison.missing
    assert experiment.level == pytest.approx(0.05 / 4)
    assert any("Seeds ended after 3" in line for line in limits.caveats(comparison))


def test_an_undecided_look_asks_for_the_seeds_of_the_next(make_experiment: MakeExperiment, like: Measurement) -> None:
    experiment = looking(make_experiment)
    moody = made_up(like, experiment, lambda arm, seed: hits(0.9 + 0.02 * (seed % 3 - 1) * (arm == "lora"), 20_000))
    first = {name: found for name, found in moody.items() if found.trial.seed < 3}
    asked = compare(experiment, first)
    assert asked.seeds == (0, 1, 2, 3, 4)
    assert {trial.seed for trial in asked.missing} == {3, 4}
    assert "Still to be carried out: at least 6 trials" in " ".join(limits.caveats(asked))
    assert compare(experiment, moody).seeds == tuple(range(8))


def test_seeds_end_where_too_few_items_keep_the_margin_open(make_experiment: MakeExperiment, like: Measurement) -> None:
    experiment = looking(make_experiment)
    few = made_up(like, experiment, lambda arm, seed: np.roll(hits(0.8, 60), 5 if arm == "full" else 0))
    comparison = compare(experiment, few)
    assert comparison.verdicts["lora"].margin_answer is MarginAnswer.UNDECIDED
    assert comparison.seeds == (0, 1, 2)
    assert any("no number of seeds on these" in line for line in limits.caveats(comparison))


class MadeUpPlace:
    """Carries out trials by looking up what was made up for them."""

    def __init__(self, results: Mapping[str, Measurement]) -> None:
        self.results = results
        self.asked: list[Trial] = []

    def run(self, trials: Sequence[Trial], folder: Path, watcher: Watcher) -> Iterator[Measurement]:
        for trial in trials:
            self.asked.append(trial)
            yield self.results[trial.id]


def test_a_run_stops_at_the_look_that_decides_and_its_folder_says_the_same(
    make_experiment: MakeExperiment, like: Measurement, tmp_path: Path
) -> None:
    experiment = looking(make_experiment)
    place = MadeUpPlace(made_up(like, experiment, lambda arm, seed: answers(shares(lora=0.8), arm, seed)))
    ended = api.run(experiment, tmp_path, place=place)
    assert {trial.seed for trial in place.asked} == {0, 1, 2}
    assert api.load(tmp_path).verdicts == ended.verdicts


def test_a_run_goes_on_to_the_next_look_where_the_first_leaves_the_margin_open(
    make_experiment: MakeExperiment, like: Measurement, tmp_path: Path
) -> None:
    experiment = looking(make_experiment)
    unsure = made_up(like, experiment, lambda arm, seed: hits(0.9 + 0.02 * (seed % 3 - 1) * (arm == "lora"), 20_000))
    place = MadeUpPlace(unsure)
    assert api.run(experiment, tmp_path, place=place).seeds[:5] == (0, 1, 2, 3, 4)
    assert len(place.asked) == len({trial.id for trial in place.asked})
