from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loralab.comparison import Comparison, compare
from loralab.experiment import Experiment
from loralab.fairness import SHARED
from loralab.plan import choose, extra_trials, final_trials, tuning_trials
from loralab.report import limits
from loralab.results import Failure, Measurement
from made_up import hits, made_up, template, untuned

DRAWN = ["data order", "head initialisation", "steps", "planned steps", "tokens"]  # follow from the seed


@pytest.fixture(scope="module")
def like(finished: Path) -> Measurement:
    return template(finished)


@pytest.fixture(scope="module")
def plain(toy_experiment: Experiment) -> Experiment:
    return untuned(toy_experiment)


def conditions(**changes: Any) -> Callable[[Measurement], Measurement]:
    def spoil(found: Measurement) -> Measurement:
        changed = found.trial.conditions.model_copy(update=changes)
        return found.model_copy(update={"trial": found.trial.model_copy(update={"conditions": changed})})

    return spoil


def part(name: str, **changes: Any) -> Callable[[Measurement], Measurement]:
    def spoil(found: Measurement) -> Measurement:
        return found.model_copy(update={name: getattr(found, name).model_copy(update=changes)})

    return spoil


def with_task(found: Measurement) -> Measurement:
    task = found.trial.conditions.task.model_copy(update={"label_smoothing": 0.1})
    return conditions(task=task)(found)


SPOILERS: dict[str, Callable[[Measurement], Measurement]] = {
    "model revision": part("sameness", model_revision="abc"),
    "data": part("data", sha256="abc"),
    "data order": part("sameness", order_sha256="abc"),
    "head initialisation": part("sameness", head_sha256="abc"),
    "steps": part("sameness", steps=1),
    "planned steps": part("course", planned_steps=1),
    "tokens": part("sameness", tokens=1),
    "batch": conditions(batch_size=3),
    "schedule": conditions(schedule="cosine"),
    "weight decay": conditions(weight_decay=0.5),
    "gradient clipping": conditions(max_grad_norm=9.0),
    "task": with_task,
    "early stopping": conditions(early_stopping=1),
    "precision": part("environment", precision="bfloat16"),
    "threads": part("environment", threads=64),
    "machine": part("environment", device_name="another"),
    "library versions": part("environment", versions={"torch": "1"}),
}


def spoiled(
    plain: Experiment, like: Measurement, spoil: Callable[[Measurement], Measurement], arm: str = "lora"
) -> Comparison:
    results = made_up(like, plain, lambda arm, seed: hits(0.9, 200))
    return compare(plain, {name: spoil(one) if one.trial.arm == arm else one for name, one in results.items()})


def test_arms_trained_alike_are_fair(plain: Experiment, like: Measurement) -> None:
    fairness = spoiled(plain, like, lambda found: found).fairness
    assert fairness.is_fair
    assert not fairness.exempt


def test_the_number_of_steps_may_follow_from_the_seed(plain: Experiment, like: Measurement) -> None:
    """Where `batch_tokens` limits batches, as many are cut as the order makes them."""
    of_seed = {
        seed: [part("sameness", steps=90 + seed), part("course", planned_steps=90 + seed)] for seed in plain.seeds
    }
    results = made_up(like, plain, lambda arm, seed: hits(0.9, 200))
    for name, one in results.items():
        for change in of_seed[one.trial.seed]:
            results[name] = change(results[name])
    assert compare(plain, results).fairness.is_fair


def test_a_real_run_is_fair(finished: Path) -> None:
    from loralab import api

    assert api.load(finished).fairness.deviations == ()


@pytest.mark.parametrize("name", [shared.name for shared in SHARED])
def test_a_deviation_is_named(name: str, plain: Experiment, like: Measurement) -> None:
    comparison = spoiled(plain, like, SPOILERS[name])
    assert [deviation.name for deviation in comparison.fairness.deviations] == [name]
    assert "lora" in comparison.fairness.deviations[0].seen


def test_unequal_tuning_budgets_are_named(plain: Experiment, toy_experiment: Experiment, like: Measurement) -> None:
    arms = dict(plain.arms) | {"lora": toy_experiment.arms["lora"]}
    uneven = plain.model_copy(update={"arms": arms})
    results = made_up(like, plain, lambda arm, seed: hits(0.9, 200))
    for trial in tuning_trials(uneven):
        results[trial.id] = like.model_copy(update={"trial": trial, "scores": {"log_loss": trial.learning_rate}})
    for trial in extra_trials(uneven, results):
        results[trial.id] = like.model_copy(update={"trial": trial, "scores": {"log_loss": 1.0}})
    assert choose(uneven, results)["lora"].rate == plain.arms["lora"].learning_rates[0]
    [deviation] = compare(uneven, results).fairness.deviations
    assert deviation.name == "number of learning rates tried"
    assert deviation.seen == "full 1; lora 3; head-only 1"


@pytest.mark.parametrize(("reason", "is_fair"), [("crashed", False), ("killed", False), ("diverged", True)])
def test_a_learning_rate_whose_trial_crashed_was_not_tried(
    reason: Any, is_fair: bool, toy_experiment: Experiment, like: Measurement
) -> None:
    """That a rate diverges is an answer about it; that its process was killed is none."""
    results = dict[str, Measurement | Failure]()
    for trial in tuning_trials(toy_experiment):
        results[trial.id] = like.model_copy(update={"trial": trial, "scores": {"log_loss": 1.0}})
    lost = next(trial for trial in tuning_trials(toy_experiment) if trial.arm == "lora")
    results[lost.id] = Failure(trial=lost, reason=reason, message="")
    for trial in extra_trials(toy_experiment, results):
        results[trial.id] = like.model_copy(update={"trial": trial, "scores": {"log_loss": 2.0}})
    finals = final_trials(toy_experiment, choose(toy_experiment, results), toy_experiment.seeds)
    results |= {trial.id: like.model_copy(update={"trial": trial}) for trial in finals}
    fairness = compare(toy_experiment, results).fairness
    assert ("number of learning rates tried" not in {one.name for one in fairness.deviations}) == is_fair


def test_an_arm_with_other_seeds_is_exempt_from_what_seeds_draw(plain: Experiment, like: Measurement) -> None:
    arms = dict(plain.arms)
    arms["lora"] = arms["lora"].model_copy(update={"seed_offset": 100})
    other = plain.model_copy(update={"arms": arms})
    comparison = compare(other, made_up(like, other, lambda arm, seed: hits(0.9, 200)))
    assert comparison.fairness.is_fair
    assert [it.name for it in comparison.fairness.exempt] == [
        "data order",
        "head initialisation",
        "steps",
        "planned steps",
        "tokens",
    ]
    assert comparison.verdicts["lora"].gain.seeds == len(plain.seeds)
    (told,) = (line for line in limits.caveats(comparison) if line.startswith("Fair: "))
    assert "data order" not in told


def test_what_is_exempt_for_two_reasons_counts_once(plain: Experiment, like: Measurement) -> None:
    """A language model has no new head, and an arm with other seeds would have another one."""
    arms = plain.arms | {"lora": plain.arms["lora"].model_copy(update={"seed_offset": 100})}
    other = plain.model_copy(update={"arms": arms})
    made = made_up(like, other, lambda arm, seed: hits(0.9, 200))
    headless = {
        name: one.model_copy(update={"sameness": one.sameness.model_copy(update={"head_sha256": None})})
        for name, one in made.items()
    }
    exempt = compare(other, headless).fairness.exempt
    assert [it.name for it in exempt] == DRAWN
    assert exempt[1].seen == "no weight is new"
