"""One trial: the same head, order and steps for every arm; float32 in what is scored and saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import MakeExperiment, save_model
from loralab import api, train
from loralab.engine.batches import Step
from loralab.engine.checkpoints import Standing
from loralab.engine.evaluation import predict
from loralab.engine.setup import set_up
from loralab.engine.stepping import Taken
from loralab.errors import DivergedError, UserError
from loralab.experiment import Experiment, Trial
from loralab.loading import load_saved
from loralab.measure import Meter, Spent
from loralab.plan import Choice, final_trials, tuning_trials
from loralab.progress import Progress
from loralab.results import Failure, Measurement
from loralab.tasks import Classification
from loralab.tasks.items import LabelScores
from loralab.tasks.metrics import log_losses
from loralab.train import attempt
from trouble import let_memory_run_out, stopped_after


def trial_of(experiment: Experiment, arm: str = "full", seed: int = 0, **changes: Any) -> Trial:
    rate = experiment.arms[arm].learning_rates[0]
    choices = {name: Choice(name, rate, {}) for name in experiment.arms}
    trials = final_trials(experiment, choices, experiment.seeds)
    found = next(trial for trial in trials if (trial.arm, trial.seed) == (arm, seed))
    return found.model_copy(update=changes)


def carry_out(trial: Trial, folder: Path, watch: Any) -> Measurement:
    return train.carry_out(trial, folder, watch, trial.conditions.batch_size)


def silent(_: Progress) -> None:
    pass


def with_conditions(make: MakeExperiment, **changes: Any) -> Experiment:
    conditions = make().conditions.model_dump() | changes
    return make(conditions=conditions)


def finals(folder: Path) -> dict[tuple[str, int], Measurement]:
    comparison = api.load(folder)
    arms = [*comparison.arms.values(), comparison.untouched]
    return {(arm.name, seed): found for arm in arms for seed, found in arm.measurements.items()}


def test_every_arm_of_a_seed_has_the_same_head_order_and_steps(finished: Path, toy_experiment: Experiment) -> None:
    found = finals(finished)
    for seed in toy_experiment.seeds:
        same = [found[arm, seed].sameness for arm in toy_experiment.arms]
        assert same[0] == same[1] == same[2]
    assert found["full", 0].sameness.head_sha256 != found["full", 1].sameness.head_sha256
    assert found["full", 0].sameness.order_sha256 != found["full", 1].sameness.order_sha256
    assert found["untouched", 0].sameness.head_sha256 == found["full", 0].sameness.head_sha256


def test_a_final_trial_keeps_what_every_test_item_was_taken_for(finished: Path) -> None:
    for found in finals(finished).values():
        assert isinstance(found.items, LabelScores)
        assert found.confusion is not None
        assert len(found.items.ids) == len(set(found.items.ids)) == 60
        assert all(row.startswith("test/") for row in found.items.ids)
        right = np.mean(np.array(found.items.predictions) == np.array(found.items.labels))
        assert found.scores["accuracy"] == pytest.approx(right)
        assert found.scores["log_loss"] == pytest.approx(np.mean(found.items.log_losses))
        assert sum(map(sum, found.confusion)) == 60


def test_a_measurement_tells_time_memory_parameters_and_size_apart(finished: Path) -> None:
    found = finals(finished)
    full, lora, head = (found[arm, 0] for arm in ("full", "lora", "head-only"))
    assert all(value > 0 for value in full.seconds.model_dump(exclude={"checkpointing"}).values())
    assert full.memory.training is not None
    assert full.parameters.trainable == full.parameters.total
    assert head.parameters.trainable < lora.parameters.trainable < full.parameters.trainable
    assert full.saved is not None
    assert lora.saved is not None
    assert lora.saved.bytes < full.saved.bytes
    files = (finished / full.saved.folder).iterdir()  # without what the tokenizer needs
    assert full.saved.bytes == sum(one.stat().st_size for one in files if "token" not in one.name)
    assert full.sameness.tokens == 2 * full.data.tokens["train"]  # in two epochs, padding not counted
    assert full.throughput is not None
    assert full.throughput.texts == pytest.approx(480 / full.seconds.training)
    assert found["untouched", 0].throughput is None
    assert found["untouched", 0].saved is None


def test_the_curves_hold_training_and_validation_of_each_epoch(finished: Path) -> None:
    curve = finals(finished)["full", 0].curve
    validated = [point.epoch for point in curve if point.validation]
    assert validated == [1.0, 2.0]
    assert curve[-1].training_loss < curve[0].training_loss
    assert curve[-1].validation is not None
    assert {"accuracy", "log_loss", "f1_macro"} <= curve[-1].validation.keys()


def test_toy_training_learns(finished: Path) -> None:
    found = finals(finished)
    assert found["full", 0].scores["accuracy"] > found["untouched", 0].scores["accuracy"] + 0.3


def test_the_same_trial_gives_the_same_numbers(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    trial = trial_of(make_experiment(), "lora")
    first, again = (carry_out(trial, tmp_path / name, silent) for name in "ab")
    assert first.items == again.items
    assert first.curve == again.curve


def test_accumulated_small_batches_take_the_step_of_one_large_batch(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same texts, eight at once or in parts of unlike size, with dropout off."""
    rows = [np.array([3, 1, 4, 15, 9, 2, 6, 5])]
    cuts = {"whole": rows, "parts": [rows[0][:3], rows[0][3:4], rows[0][4:]]}
    model = save_model(tmp_path / "model", dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)
    experiment = with_conditions(make_experiment, model=str(model), epochs=None, steps=1, warmup=0.0)
    losses = {}
    for name, batches in cuts.items():
        steps = [Step(tuple(batches), 1.0, validates=True)]
        monkeypatch.setattr("loralab.fitting.training_steps", lambda *_, steps=steps: steps)
        losses[name] = carry_out(trial_of(experiment), tmp_path / name, silent).items
    assert isinstance(losses["whole"], LabelScores)
    assert isinstance(losses["parts"], LabelScores)
    assert losses["whole"].log_losses == pytest.approx(losses["parts"].log_losses, rel=1e-4)


def test_tuning_is_scored_on_validation_and_keeps_no_model(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    found = carry_out(tuning_trials(make_experiment())[0], tmp_path, silent)
    assert found.items is None
    assert found.saved is None
    assert found.curve[-1].validation == pytest.approx(found.scores, rel=1e-4)


def test_tuning_scores_no_test_text(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, items = set[str](), Classification.items

    def noting(self: Classification, scored: Any) -> LabelScores:
        seen.update(name.partition("/")[0] for examples, _ in scored.values() for name in examples.ids)
        return items(self, scored)

    monkeypatch.setattr(Classification, "items", noting)
    carry_out(tuning_trials(make_experiment())[0], tmp_path, silent)
    assert seen == {"validation"}


def test_arms_begin_training_from_one_random_state(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    """Else they would train with other masks."""
    states = []
    for arm in ("full", "lora", "head-only"):
        set_up(trial_of(make_experiment(), arm), tmp_path / arm, Meter(torch.device("cpu")))
        states.append(torch.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_class_weights_reach_the_loop(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    task = make_experiment().conditions.task.model_dump()
    losses = []
    for weights in (None, {"animal": 50.0}):
        changed = task | {"class_weights": weights}
        trial = trial_of(with_conditions(make_experiment, epochs=None, steps=1, task=changed))
        losses.append(carry_out(trial, tmp_path / str(weights is None), silent).curve[0].training_loss)
    assert losses[0] != pytest.approx(losses[1], rel=0.1)


def test_a_loss_that_is_no_number_is_a_failure_that_names_the_step(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loralab.engine.optimise import Optimiser

    taken = []

    def broken(self: Optimiser, loss: torch.Tensor) -> None:
        taken.append(loss)
        original(self, loss * float("nan") if len(taken) == 3 else loss)

    original = Optimiser.backward
    monkeypatch.setattr(Optimiser, "backward", broken)
    result = attempt(trial_of(make_experiment()), tmp_path, silent)
    assert isinstance(result, Failure)
    assert (result.reason, result.message) == ("diverged", "the training loss was nan at step 3")
    assert result.is_answer


@pytest.mark.parametrize(
    ("error", "reason", "is_answer"),
    [
        (MemoryError("no"), "out of memory", True),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory", True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory", True),
        (RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)"), "out of memory", True),
        (OSError(12, "Cannot allocate memory"), "out of memory", True),
        (DivergedError(4, float("inf")), "diverged", True),
        (ValueError("a bug"), "crashed", False),
    ],
)
def test_what_goes_wrong_is_told_apart(
    make_experiment: MakeExperiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
    is_answer: bool,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("loralab.train.carry_out", fail)
    result = attempt(trial_of(make_experiment()), tmp_path, silent)
    assert isinstance(result, Failure)
    assert (result.reason, result.is_answer) == (reason, is_answer)
    assert (result.traceback is not None) == (reason == "crashed")


def test_more_tokens_than_the_model_reads_is_told(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    task = make_experiment().conditions.task.model_dump() | {"max_length": 65}
    with pytest.raises(UserError, match="this model reads at most 64 tokens, not 65"):
        attempt(trial_of(with_conditions(make_experiment, task=task)), tmp_path, silent)


def test_the_share_of_texts_that_were_cut_is_recorded(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    task = make_experiment().conditions.task.model_dump() | {"max_length": 12}
    experiment = with_conditions(make_experiment, task=task, epochs=None, steps=1)
    found = carry_out(trial_of(experiment), tmp_path, silent)
    texts = experiment.conditions.task.read().test.texts
    assert found.data.truncated["test"] == np.mean([len(str(text).split()) + 2 > 12 for text in texts])
    assert 0 < found.data.truncated["test"] < 1


@pytest.mark.usefixtures("accelerate_anew")
def test_half_precision_in_training_leaves_float32_in_scores_and_files(
    make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    experiment = with_conditions(make_experiment, precision="bfloat16")
    found = carry_out(trial_of(experiment), tmp_path, silent)
    assert found.environment.precision == "bfloat16"
    weights = load_file(tmp_path / "models" / "full" / "seed-0-lr0.003" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    task = found.trial.conditions.task
    test = task.read().test
    model, tokenizer = load_saved(found, tmp_path)
    logits = predict(model, task, task.tokenise(test, tokenizer), tokenizer, 8)
    assert isinstance(found.items, LabelScores)
    assert found.items.log_losses == pytest.approx(log_losses(logits, found.items.labels), abs=1e-5)


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_final_scores_are_rounded_only_where_that_was_asked_for(
    arm: str, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    found = {}
    for scoring in ("float32", "bfloat16"):
        experiment = with_conditions(make_experiment, epochs=None, steps=10, scoring=scoring)
        found[scoring] = carry_out(trial_of(experiment, arm), tmp_path / scoring, silent)
    exact, rounded = (found[scoring].items for scoring in ("float32", "bfloat16"))
    assert isinstance(exact, LabelScores)
    assert isinstance(rounded, LabelScores)
    assert found["float32"].probe == found["bfloat16"].probe  # the same model
    assert exact.log_losses != rounded.log_losses
    np.testing.assert_allclose(exact.log_losses, rounded.log_losses, atol=0.1)


def test_a_trial_goes_on_from_its_checkpoint_with_the_same_numbers_bit_for_bit(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, so that the generators' state matters, and with early stopping, so that the best weights do."""
    model = save_model(tmp_path / "model", dropout=0.1)
    experiment = with_conditions(
        make_experiment, model=str(model), accumulation=2, validations_per_epoch=3, early_stopping=20
    )
    trial = trial_of(experiment, "lora")
    whole = carry_out(trial, tmp_path / "whole", silent)
    spent, resume = list[Spent](), Meter.resume

    def noting(meter: Meter, before: Spent) -> None:
        spent.append(before)
        resume(meter, before)

    monkeypatch.setattr(Meter, "resume", noting)
    for stops in (4, 7):  # stopped twice, the second time after it had gone on
        with stopped_after(stops, monkeypatch):
            carry_out(trial, tmp_path / "stopped", silent)
    resumed = carry_out(trial, tmp_path / "stopped", silent)
    assert resumed.course.resumed == (4, 11)
    assert resumed.items == whole.items
    assert resumed.curve == whole.curve
    assert resumed.sameness == whole.sameness
    assert resumed.course.kept_step == whole.course.kept_step
    assert resumed.seconds.training > spent[-1].seconds["training"] > spent[0].seconds["training"] > 0


@pytest.mark.usefixtures("accelerate_anew")
@pytest.mark.parametrize(("arm", "precision"), [("head-only", "float32"), ("lora", "bfloat16")])
def test_it_does_so_with_what_is_kept_of_frozen_layers_and_with_light_weights(
    arm: str, precision: str, make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial_of(with_conditions(make_experiment, precision=precision), arm)
    whole = carry_out(trial, tmp_path / "whole", silent)
    with stopped_after(20, monkeypatch):
        carry_out(trial, tmp_path / "stopped", silent)
    resumed = carry_out(trial, tmp_path / "stopped", silent)
    assert resumed.course.resumed == (20,)
    assert resumed.items == whole.items
    assert resumed.curve == whole.curve


def test_a_trial_whose_data_changed_begins_anew(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial_of(make_experiment())
    with stopped_after(5, monkeypatch):
        carry_out(trial, tmp_path, silent)
    monkeypatch.setattr("loralab.data.rows.LabelledData.sha256", "of others")
    assert carry_out(trial, tmp_path, silent).course.resumed == ()


def test_a_point_of_the_curve_is_the_mean_since_the_last_one() -> None:
    standing = Standing().after(1, Taken(4.0, 2, 2)).with_point(0.5, None)
    standing = standing.after(1, Taken(2.0, 1, 2)).with_point(1.0, None)
    assert [(point.training_loss, point.training_accuracy) for point in standing.curve] == [(2.0, 1.0), (1.0, 0.5)]


def test_a_trial_in_smaller_parts_goes_on_in_these_parts(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial_of(make_experiment())
    for folder in (tmp_path / "a", tmp_path / "b"):
        with stopped_after(5, monkeypatch):
            train.carry_out(trial, folder, silent, micro_batch=3)
    assert train.carry_out(trial, tmp_path / "a", silent, micro_batch=8).course.resumed == ()
    found = attempt(trial, tmp_path / "b", silent)
    assert isinstance(found, Measurement)
    assert (found.course.micro_batch, found.course.resumed) == (3, (5,))


def test_a_trial_that_began_with_other_threads_begins_anew(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, threads = trial_of(make_experiment()), torch.get_num_threads()
    with stopped_after(5, monkeypatch):
        carry_out(trial, tmp_path, silent)
    with stopped_after(5, monkeypatch):
        train.carry_out(trial, tmp_path / "in parts", silent, micro_batch=3)
    try:
        torch.set_num_threads(threads + 1)
        assert carry_out(trial, tmp_path, silent).course.resumed == ()
        anew = train.carry_out(trial, tmp_path / "in parts", silent)  # memory may suffice there
        assert (anew.course.resumed, anew.course.micro_batch) == ((), trial.conditions.batch_size)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("damage", [b"", b"nonsense"], ids=["empty", "damaged"])
def test_a_damaged_checkpoint_is_passed_over(make_experiment: MakeExperiment, tmp_path: Path, damage: bytes) -> None:
    from loralab.folder import ResultsFolder

    trial = trial_of(make_experiment(), "head-only")
    file = ResultsFolder(tmp_path).checkpoint_file(trial)
    file.parent.mkdir(parents=True)
    file.write_bytes(damage)
    assert carry_out(trial, tmp_path, silent).course.resumed == ()


def test_where_memory_runs_out_smaller_parts_give_the_same_training(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loralab.tasks import Classification

    model = save_model(tmp_path / "model", dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)
    trial = trial_of(with_conditions(make_experiment, model=str(model)))
    whole = attempt(trial, tmp_path / "whole", silent)
    let_memory_run_out(Classification, "loss", 3, monkeypatch)
    parts = attempt(trial, tmp_path / "parts", silent)
    assert isinstance(whole, Measurement)
    assert isinstance(parts, Measurement)
    assert (whole.course.micro_batch, parts.course.micro_batch) == (8, 2)
    assert parts.sameness == whole.sameness
    assert [point.training_loss for point in parts.curve] == pytest.approx(
        [point.training_loss for point in whole.curve], rel=1e-2
    )


def test_where_memory_runs_out_in_evaluation_its_batches_alone_are_halved(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loralab.tasks import Classification

    trial = trial_of(make_experiment())
    whole = carry_out(trial, tmp_path / "whole", silent)
    let_memory_run_out(Classification, "outputs", 8, monkeypatch)
    parts = carry_out(trial, tmp_path / "parts", silent)
    assert parts.course.micro_batch == 8
    assert isinstance(whole.items, LabelScores)
    assert isinstance(parts.items, LabelScores)
    assert parts.items.log_losses == pytest.approx(whole.items.log_losses, rel=1e-4)


def test_where_one_text_is_too_much_the_trial_is_out_of_memory(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(*given: Any) -> None:
        asked.append(given[-1])
        raise MemoryError

    monkeypatch.setattr("loralab.train.fit", fail)
    result = attempt(trial_of(make_experiment()), tmp_path, silent)
    assert isinstance(result, Failure)
    assert (result.reason, asked) == ("out of memory", [8, 4, 2, 1])


def test_where_memory_runs_out_after_training_it_is_not_trained_again(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loralab.fitting import fit

    trained = []

    def counted(*given: Any) -> Any:
        trained.append(given[-1])
        return fit(*given)

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("loralab.train.fit", counted)
    monkeypatch.setattr("loralab.train.score", fail)
    result = attempt(trial_of(make_experiment()), tmp_path, silent)
    assert isinstance(result, Failure)
    assert (result.reason, trained) == ("out of memory", [8])


def test_training_stops_early_and_keeps_the_best_weights(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation score is best after the second of ten epochs, so with patience 3 it ends after the fifth."""
    losses = iter([0.9, 0.5, 0.6, 0.7, 0.8])
    scores = Classification.scores

    def judged(self: Classification, items: Any) -> dict[str, float]:
        found = scores(self, items)
        return found | {"log_loss": next(losses, found["log_loss"])}

    experiment = with_conditions(make_experiment, epochs=10, early_stopping=3)
    two = trial_of(with_conditions(make_experiment, epochs=10, early_stopping=1))
    with monkeypatch.context() as patch:
        patch.setattr(Classification, "scores", judged)
        found = carry_out(trial_of(experiment), tmp_path / "a", silent)
    losses = iter([0.9, 0.5, 0.6])
    with monkeypatch.context() as patch:
        patch.setattr(Classification, "scores", judged)
        shorter = carry_out(two, tmp_path / "b", silent)
    assert (found.sameness.steps, found.course.kept_step, found.course.planned_steps) == (150, 60, 300)
    assert shorter.sameness.steps == 90
    assert found.items == shorter.items  # both kept the weights of the second epoch
    losses = iter([0.9, 0.5, 0.6, 0.7, 0.8])
    with monkeypatch.context() as patch:
        patch.setattr(Classification, "scores", judged)
        tuned = carry_out(tuning_trials(experiment)[0], tmp_path / "c", silent)
    assert tuned.scores["log_loss"] == 0.5  # by which its learning rate is chosen


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [0.5, 1.0, 0.5, 0.0]), ("cosine", [0.5, 1.0, 0.5, 0.0]), ("constant", [0.5, 1.0, 1.0, 1.0])],
)
def test_the_learning_rate_rises_and_follows_its_schedule(
    make_experiment: MakeExperiment, schedule: str, expected: list[float]
) -> None:
    """At half the warm-up, at its end, half-way down and at the end."""
    from loralab.engine.optimise import Optimiser

    trial = trial_of(with_conditions(make_experiment, schedule=schedule, warmup=0.2), learning_rate=1.0)
    network = torch.nn.Linear(2, 2)
    optimiser = Optimiser(network, trial, 100, "float32")
    rates = []
    for _ in range(100):
        network(torch.ones(1, 2)).sum().backward()
        optimiser.step()
        rates.append(optimiser._optimizer.param_groups[0]["lr"])
    assert [rates[step - 1] for step in (10, 20, 60, 100)] == pytest.approx(expected)


def test_gradient_checkpointing_lets_no_frozen_layer_go_backward(make_experiment: MakeExperiment) -> None:
    from loralab.engine.setup import build
    from loralab.pretrained import load_tokenizer

    trial = trial_of(with_conditions(make_experiment, gradient_checkpointing=True), "lora")
    task = trial.conditions.task
    network = build(trial, load_tokenizer(trial.conditions.model), task.read()).network
    assert any(getattr(module, "gradient_checkpointing", False) for module in network.modules())
    assert not network.get_input_embeddings()(torch.ones(1, 3, dtype=torch.long)).requires_grad


def test_gradient_checkpointing_changes_no_number(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    plain, saving = (with_conditions(make_experiment, gradient_checkpointing=on) for on in (False, True))
    for arm in ("full", "lora"):
        first, again = (
            carry_out(trial_of(experiment, arm), tmp_path / name, silent)
            for name, experiment in (("plain", plain), ("saving", saving))
        )
        assert [point.training_loss for point in first.curve] == pytest.approx(
            [point.training_loss for point in again.curve], rel=1e-5
        )


def test_scores_that_are_no_numbers_are_a_failure(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss before the last step was finite; the step itself broke the weights."""
    from loralab.engine.optimise import Optimiser

    step = Optimiser.step

    def breaking(self: Optimiser) -> None:
        step(self)
        with torch.no_grad():
            next(self.network.parameters()).fill_(float("nan"))

    monkeypatch.setattr(Optimiser, "step", breaking)
    experiment = with_conditions(make_experiment, epochs=None, steps=1)
    result = attempt(trial_of(experiment), tmp_path, silent)
    assert isinstance(result, Failure)
    assert (result.reason, result.message) == ("diverged", "an output was nan at step 1")
