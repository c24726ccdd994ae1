"""What was learnt against what was lost elsewhere, and verdicts on perplexity, from results that nobody trained for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from loralab import api
from loralab.comparison import compare
from loralab.differences import differences
from loralab.experiment import UNTOUCHED, Experiment
from loralab.files import parse_experiment
from loralab.forgetting import Forgetting, forgetting
from loralab.plan import choose, final_trials
from loralab.results import Measurement
from loralab.statistics.decisions import Direction, MarginAnswer
from loralab.tasks.items import CorpusScores, DocumentScores
from toy_language import language_task

DOCUMENTS = 400
LENGTHS = np.random.default_rng(0).integers(5, 500, size=DOCUMENTS)  # tokens
COMMON = np.random.default_rng(1).normal(3.0, 0.5, size=DOCUMENTS)  # nats a token that every model needs
TASK = language_task(evaluate={"elsewhere": "nothing is read", "far": "nothing is read"})

Nats = npt.NDArray[np.float64]
OfArm = Mapping[str, tuple[float | Nats, float, float]]  # nats a token more than COMMON on test, elsewhere and far


def documents(more: float | Nats) -> DocumentScores:
    return DocumentScores(
        ids=tuple(map(str, range(DOCUMENTS))),
        nats=tuple((COMMON + more) * LENGTHS),
        tokens=tuple(LENGTHS.tolist()),
        bytes=tuple((4 * LENGTHS).tolist()),
    )


@pytest.fixture(scope="module")
def like(finished_language: Path) -> Measurement:
    """A real measurement."""
    return api.load(finished_language).arms["lora"].measurements[0]


@pytest.fixture(scope="module")
def scored(like: Measurement) -> Callable[..., Measurement]:
    """Makes measurements with other items: nats a token more than COMMON on each of the sets."""

    def make(*more: float | Nats, **changes: Any) -> Measurement:
        items = CorpusScores(
            sets={name: documents(one) for name, one in zip(("test", "elsewhere", "far"), more, strict=False)}
        )
        data = like.data.model_copy(update={"rows": like.data.rows | dict.fromkeys(items.sets, DOCUMENTS)})
        return like.model_copy(update={"items": items, "scores": TASK.scores(items), "data": data, **changes})

    return make


def found_in(
    scored: Callable[..., Measurement], of_arm: OfArm, before: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Forgetting:
    arms = {name: {0: scored(*more), 1: scored(*more)} for name, more in of_arm.items()}
    found = forgetting(arms, scored(*before), TASK, draws=500)
    assert found is not None
    return found


# Learnt and lost


def test_changes_are_those_since_before_training(finished_language: Path) -> None:
    comparison = api.load(finished_language)
    found, before = comparison.forgetting, comparison.untouched.measurements[0].scores
    assert found is not None
    names = ["log_perplexity", "elsewhere/log_perplexity", "passages/log_perplexity"]
    assert [metric.name for metric in found.metrics] == names
    for arm in ("full", "lora"):
        of_seeds = {
            seed: tuple(own.scores[name] - before[name] for name in names)
            for seed, own in comparison.arms[arm].measurements.items()
        }
        assert found.of_seeds[arm] == of_seeds
        for place, name in enumerate(names):
            change = found.changes[name][arm]
            assert change.value == pytest.approx(np.mean([own[place] for own in of_seeds.values()]), abs=1e-5)
            assert change.seeds == 2
    learnt, lost = found.changes[names[0]]["full"], found.changes[names[1]]["full"]
    assert learnt.interval()[1] < 0 < lost.value


def test_an_arm_is_dominated_by_one_that_learnt_and_kept_as_much(scored: Callable[..., Measurement]) -> None:
    found = found_in(
        scored,
        {
            "learns": (-0.5, 0.2, 0.2),
            "keeps": (-0.2, 0.0, 0.0),
            "worse than learns": (-0.4, 0.2, 0.2),
            "worse than both": (-0.1, 0.3, 0.3),
            "keeps one set alone": (-0.1, 0.5, -0.1),
        },
    )
    assert found.dominated == {"worse than learns": "learns", "worse than both": "learns"}


def test_of_two_arms_alike_neither_dominates(scored: Callable[..., Measurement]) -> None:
    assert found_in(scored, {"one": (-0.5, 0.1, 0.1), "other": (-0.5, 0.1, 0.1)}).dominated == {}


def test_changes_are_told_by_set_with_their_sign(scored: Callable[..., Measurement]) -> None:
    found = found_in(scored, {"arm": (-0.5, 0.1, 0.3)}, before=(1.0, 0.0, 0.1))
    changes = [found.changes[metric.name]["arm"].value for metric in found.metrics]
    assert changes == pytest.approx([-1.5, 0.1, 0.2], abs=1e-5)
    assert found.of_seeds["arm"][1] == pytest.approx((-1.5, 0.1, 0.2))


def test_an_arm_may_have_any_name(scored: Callable[..., Measurement]) -> None:
    """'before' once stood for the model before training."""
    found = found_in(scored, {"before": (-0.5, 0.1, 0.1), "after": (-0.5, 0.1, 0.1)})
    assert found.changes["log_perplexity"]["before"].value == pytest.approx(-0.5, abs=1e-5)
    assert found.changes["log_perplexity"]["after"].value == pytest.approx(-0.5, abs=1e-5)


def test_an_arm_that_was_never_measured_is_left_out(scored: Callable[..., Measurement]) -> None:
    found = forgetting({"arm": {0: scored(-0.5, 0.1, 0.1)}, "failed": {}}, scored(0.0, 0.0, 0.0), TASK, 500)
    assert found is not None
    assert list(found.of_seeds) == ["arm"]


def test_it_says_nothing_without_a_set_from_elsewhere_or_a_model_to_forget(
    scored: Callable[..., Measurement],
) -> None:
    arms = {"arm": {0: scored(-0.5)}}
    assert forgetting(arms, scored(0.0), language_task(), 500) is None
    assert forgetting({"arm": {}}, scored(0.0, 0.0, 0.0), TASK, 500) is None
    assert forgetting(arms, None, TASK, 500) is None
    before = scored(0.0, 0.0, 0.0)
    drawn = before.sameness.model_copy(update={"head_sha256": "a head, drawn at random"})
    assert forgetting(arms, before.model_copy(update={"sameness": drawn}), TASK, 500) is None


# What can be said of a difference


def test_documents_weigh_by_their_tokens_in_differences_and_their_intervals(
    scored: Callable[..., Measurement],
) -> None:
    """The variance of a ratio of sums, linearised: that of the differences' residuals from it."""
    more = np.where(LENGTHS > 250, 0.2, 0.0)
    arms = {"full": {0: scored(0.0, 0.0, 0.0)}, "lora": {0: scored(more, 0.0, 0.0)}}
    found = differences(arms, "full", TASK.metrics, TASK, draws=10_000)["log_perplexity"]["lora"]
    expected = float((more * LENGTHS).sum() / LENGTHS.sum())
    assert abs(expected - more.mean()) > 0.03  # what documents that count alike would give
    residuals = (more - expected) * LENGTHS
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert (found.items, found.seeds) == (DOCUMENTS, 1)
    assert found.item_variance == pytest.approx(residuals.var(ddof=1) * DOCUMENTS / LENGTHS.sum() ** 2, rel=0.05)


def test_what_all_documents_need_drops_out_of_a_difference(scored: Callable[..., Measurement]) -> None:
    """Perplexity itself varies much with the documents; a difference that all of them share, not at all."""
    arms = {"full": {0: scored(0.0, 0.0, 0.0)}, "lora": {0: scored(0.05, 0.0, 0.0)}}
    found = differences(arms, "full", TASK.metrics, TASK, draws=1_000)
    assert found["log_perplexity"]["lora"].interval() == pytest.approx((0.05, 0.05), abs=1e-5)
    assert found["elsewhere/log_perplexity"]["lora"].value == pytest.approx(0, abs=1e-6)
    of_bytes = found["bits_per_byte"]["lora"].value
    assert of_bytes == pytest.approx(0.05 / 4 / np.log(2), rel=1e-3)


def test_documents_of_other_sets_are_other_items(scored: Callable[..., Measurement]) -> None:
    """An arm that was scored on fewer sets is not compared."""
    arms = {"full": {0: scored(0.0, 0.0, 0.0)}, "lora": {0: scored(0.05, 0.0)}}
    assert set(differences(arms, "full", TASK.metrics, TASK, 100)["log_perplexity"]) == {"full"}


@pytest.fixture(scope="module")
def experiment(language: dict[str, Any]) -> Experiment:
    """Three seeds, a margin of 0.1 in log perplexity, which is 11 % in perplexity."""
    raw = language | {"seeds": 3}
    raw["conditions"] = raw["conditions"] | {"task": TASK.model_dump()}
    return parse_experiment(raw, "language.yaml")


@pytest.mark.parametrize(
    ("more", "direction", "answer"),
    [
        (0.3, Direction.WORSE, MarginAnswer.INFERIOR),
        (0.05, Direction.WORSE, MarginAnswer.EQUIVALENT),
        (-0.3, Direction.BETTER, MarginAnswer.NON_INFERIOR),
        (0.0, Direction.NOT_SHOWN, MarginAnswer.EQUIVALENT),
    ],
)
def test_less_perplexity_is_better_and_the_margin_is_one_of_its_logarithm(
    experiment: Experiment,
    scored: Callable[..., Measurement],
    more: float,
    direction: Direction,
    answer: MarginAnswer,
) -> None:
    """Each seed moves some documents a little, and none of them the whole."""
    results = {}
    for trial in final_trials(experiment, choose(experiment, {}), experiment.seeds):
        noise = np.random.default_rng([trial.seed, trial.arm == "lora"]).normal(0, 0.02, size=DOCUMENTS)
        noise -= (noise * LENGTHS).sum() / LENGTHS.sum()
        own = {"full": -0.5, "lora": more - 0.5, UNTOUCHED: 0.0}[trial.arm] + noise
        results[trial.id] = scored(own, 0.1, 0.1, trial=trial)
    comparison = compare(experiment, results)
    verdict = comparison.verdicts["lora"]
    assert verdict.gain.value == pytest.approx(-more, abs=1e-5)
    assert (verdict.direction, verdict.margin_answer) == (direction, answer)
    assert comparison.forgetting is not None
    assert comparison.forgetting.changes["log_perplexity"]["full"].value == pytest.approx(-0.5, abs=1e-5)
