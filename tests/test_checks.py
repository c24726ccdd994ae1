"""Every check is proved by breaking what it guards, and all of them pass where nothing is broken."""

import json
import shutil
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from architectures import ARCHITECTURES, load, round_trip, save_base
from conftest import MakeExperiment
from loralab import api, checks
from loralab.checks import learning, reloading, weights
from loralab.checks.claim import claim
from loralab.experiment import Experiment, Trial
from loralab.measure import bytes_in
from loralab.methods import Full, Lora
from loralab.places import local
from loralab.places.fresh import ProcessEndedError
from loralab.plan import Choice, final_trials
from loralab.progress import Progress, Silent
from loralab.results import RELOADED, Check, Failure, Measurement, Point
from loralab.tasks.items import LabelScores
from loralab.train import carry_out

FROZEN = "frozen weights are the checkpoint's"
MOVED = "trained weights moved"
TIED = "tied weights are still tied"
HEAD = "the head was saved"
MERGED = "the merged model gives the adapter's logits"
SIZE = "the size on disk fits the weights saved"
FELL = "the loss fell"
LABELS = "predictions name more than one label"
ALWAYS = {MOVED, HEAD, RELOADED, SIZE, FELL, LABELS}


def silent(_: Progress) -> None:
    pass


def fails(check: Check | None, name: str, seen: str) -> None:
    assert check is not None
    assert (check.name, check.passed) == (name, False)
    assert seen in check.seen


def passes(check: Check | None, name: str) -> None:
    assert check is not None
    assert (check.name, check.passed) == (name, True)


def by_name(found: Iterable[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


# Weights in memory


@dataclass(frozen=True)
class Saved:
    """A model that was trained, as it is in memory and on disk, and as it began."""

    network: Any
    begun: Any
    head: frozenset[str]
    folder: Path

    def anew(self) -> Any:
        return self.begun

    def parameter(self, part: str, *, frozen: bool = False) -> tuple[str, torch.Tensor]:
        """The first trained or frozen parameter whose name holds `part`."""
        found = ((name, weight) for name, weight in self.network.named_parameters() if part in name)
        return next((name, weight.data) for name, weight in found if weight.requires_grad != frozen)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("bert"), "bert")


def made(method: Full | Lora, base: Path, folder: Path) -> Saved:
    network = round_trip(method, base, folder).network
    return Saved(network, method.adapt(load(base)), load(base).head, folder)


@pytest.fixture(scope="module")
def sound_lora(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return made(Lora(rank=2, alpha=4), bert, tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def sound_full(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return made(Full(), bert, tmp_path_factory.mktemp("full"))


def copied(saved: Saved, folder: Path) -> Saved:
    """One that a test may spoil."""
    shutil.copytree(saved.folder, folder)
    return Saved(deepcopy(saved.network), deepcopy(saved.begun), saved.head, folder)


@pytest.fixture
def lora(sound_lora: Saved, tmp_path: Path) -> Saved:
    return copied(sound_lora, tmp_path / "lora")


@pytest.fixture
def full(sound_full: Saved, tmp_path: Path) -> Saved:
    return copied(sound_full, tmp_path / "full")


def test_a_frozen_weight_that_moved_by_its_last_bit_is_caught(lora: Saved) -> None:
    passes(weights.frozen_weights(lora.network, lora.anew), FROZEN)
    name, weight = lora.parameter("word_embeddings", frozen=True)
    weight[5, 3] = torch.nextafter(weight[5, 3], torch.tensor(9.0))
    fails(weights.frozen_weights(lora.network, lora.anew), FROZEN, f"1 moved, the first of them {name}")


def test_the_frozen_copy_of_the_head_is_compared_too(lora: Saved) -> None:
    name, weight = lora.parameter("original_module", frozen=True)
    weight += 1
    fails(weights.frozen_weights(lora.network, lora.anew), FROZEN, name)


@pytest.mark.parametrize(
    ("begun", "now", "equal"), [(float("nan"), float("nan"), True), (0.0, -0.0, False), (1.0, float("nan"), False)]
)
def test_frozen_weights_are_compared_by_their_bits(begun: float, now: float, equal: bool) -> None:
    networks = [nn.Linear(1, 1).requires_grad_(False) for _ in range(2)]
    for network, value in zip(networks, (begun, now), strict=True):
        network.weight.data.fill_(value)
        network.bias.data.zero_()
    check = weights.frozen_weights(networks[1], lambda: networks[0])
    assert check is not None
    assert check.passed == equal


def test_full_fine_tuning_has_no_frozen_weights_to_check(full: Saved) -> None:
    assert weights.frozen_weights(full.network, full.anew) is None


@pytest.mark.parametrize("part", ["classifier", "lora_", "layer.1.attention.self.value.lora_B"])
def test_trained_weights_that_stood_still_are_caught(lora: Saved, part: str) -> None:
    """The head, all adapters, or the B of one: each of them is something that had to move."""
    passes(weights.trained_weights(lora.network, lora.anew, lora.head), MOVED)
    begun = dict(lora.begun.named_parameters())
    for name, weight in lora.network.named_parameters():
        if part in name:
            weight.data.copy_(begun[name])
    check = weights.trained_weights(lora.network, lora.anew, lora.head)
    fails(check, MOVED, "first of them base_model")
    assert check is not None
    assert part in check.seen


def test_pretrained_weights_that_all_stood_still_are_caught(full: Saved) -> None:
    begun = dict(full.begun.named_parameters())
    for name, weight in full.network.named_parameters():
        if name not in full.head:
            weight.data.copy_(begun[name])
    fails(weights.trained_weights(full.network, full.anew, full.head), MOVED, "2 of 41 tensors moved; of those")


def test_a_bias_without_a_gradient_may_stand_still(full: Saved) -> None:
    name, weight = full.parameter("key.bias")
    weight.copy_(dict(full.begun.named_parameters())[name])
    passes(weights.trained_weights(full.network, full.anew, full.head), MOVED)


def tied() -> nn.Sequential:
    embedding, output = nn.Embedding(5, 3), nn.Linear(3, 5)
    output.weight = embedding.weight
    return nn.Sequential(embedding, output, nn.Linear(5, 5))


def test_tied_weights_that_came_apart_are_caught() -> None:
    network = tied()
    passes(weights.tied_weights(network, tied), TIED)
    network[1].weight = nn.Parameter(next(network.parameters()).detach().clone())
    fails(weights.tied_weights(network, tied), TIED, "the first of them 0.weight and 1.weight")


def test_where_no_weights_are_tied_there_is_nothing_to_check(lora: Saved) -> None:
    assert weights.tied_weights(lora.network, lora.anew) is None


# Weights on disk


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of a saved model."""
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def without_head(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if "classifier" in name]:
        del tensors[name]


def with_another_head(tensors: dict[str, torch.Tensor]) -> None:
    next(weight for name, weight in tensors.items() if "classifier.bias" in name)[0] += 1e-6


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_head_that_was_not_saved_is_caught(request: pytest.FixtureRequest, kind: str) -> None:
    saved: Saved = request.getfixturevalue(kind)
    passes(weights.saved_head(saved.network, saved.head, saved.folder), HEAD)
    rewrite(saved.folder, with_another_head)
    fails(weights.saved_head(saved.network, saved.head, saved.folder), HEAD, "1 differ on disk")
    rewrite(saved.folder, without_head)
    fails(weights.saved_head(saved.network, saved.head, saved.folder), HEAD, "first of them classifier.bias")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_is_found_on_disk_under_every_architectures_names(architecture: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", architecture)
    for method in (Full(), Lora(rank=2, alpha=4)):
        network = method.adapt(load(base))
        method.save(network, tmp_path / method.kind)
        passes(weights.saved_head(network, load(base).head, tmp_path / method.kind), HEAD)


def halve(tensors: dict[str, torch.Tensor]) -> None:
    tensors.update({name: weight.bfloat16() for name, weight in tensors.items()})


def test_a_model_saved_in_half_precision_is_caught_by_its_size(bert: Path, full: Saved) -> None:
    # Large enough for weights to outweigh the configuration.
    network = nn.Linear(1000, 1000)
    save_file(dict(network.state_dict()), full.folder / "model.safetensors")
    passes(weights.saved_size(bytes_in(full.folder), Full(), network), SIZE)
    rewrite(full.folder, halve)
    fails(weights.saved_size(bytes_in(full.folder), Full(), network), SIZE, "for 1,001,000 weights of 4 bytes")


def test_base_weights_beside_an_adapter_are_caught_by_their_size(lora: Saved) -> None:
    method = Lora(rank=2, alpha=4)
    passes(weights.saved_size(bytes_in(lora.folder), method, lora.network), SIZE)
    save_file({"weight": torch.zeros(300_000)}, lora.folder / "model.safetensors")
    fails(weights.saved_size(bytes_in(lora.folder), method, lora.network), SIZE, "bytes, for")


# What training came to


def curve(losses: Iterable[float]) -> list[Point]:
    return [
        Point(step=step, epoch=step, training_loss=loss, training_accuracy=0.5) for step, loss in enumerate(losses, 1)
    ]


def noisy(begin: float, end: float, points: int = 25) -> list[float]:
    return list(np.linspace(begin, end, points) + np.random.default_rng(0).normal(0, 0.05, points))


@pytest.mark.parametrize(
    ("losses", "passed"),
    [
        (noisy(0.7, 0.4), True),
        (noisy(0.7, 1.0), False),
        ([0.7] * 25, False),
        ([0.7, 0.7, 0.7, 0.8, 1, 2, 5, 20, 100], False),
        (noisy(0.7, 0.71), None),
        ([0.7, 0.6], None),
        ([0.7, 0.6, 0.5], True),
        ([0.7, 0.8, 0.9], None),
        ([0.7], None),
        ([], None),
    ],
)
def test_a_loss_that_did_not_fall_is_caught_where_it_can_be_told(losses: list[float], passed: bool | None) -> None:
    check = learning.loss(curve(losses))
    assert (check and check.passed) == passed


def test_a_loss_that_only_wavers_is_hardly_ever_taken_for_one_that_rose() -> None:
    source = np.random.default_rng(0)
    found = [learning.loss(curve(source.normal(0.7, 0.1, points))) for points in (9, 15, 25) for _ in range(500)]
    assert sum(check is not None and not check.passed for check in found) < 0.02 * len(found)


def test_answers_that_are_all_one_label_are_caught() -> None:
    items = LabelScores(
        label_count=3, ids=("a", "b", "c"), labels=(0, 1, 2), predictions=(1, 1, 1), log_losses=(1, 1, 1)
    )
    fails(learning.predictions(items), LABELS, "labels predicted: 1; label 1 for 3 of 3 texts")
    passes(learning.predictions(items.model_copy(update={"predictions": (1, 1, 0)})), LABELS)


# The saved model, loaded again


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A results folder whose models a test may spoil."""
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def final(folder: Path, arm: str) -> Measurement:
    return api.load(folder).arms[arm].measurements[0]


def models(folder: Path, arm: str) -> Path:
    saved = final(folder, arm).saved
    assert saved is not None
    return folder / saved.folder


@pytest.mark.parametrize(("arm", "part"), [("full", "layer.0.ffn.lin1.weight"), ("lora", "lora_B")])
def test_one_value_that_changed_on_disk_is_caught(out: Path, arm: str, part: str) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        next(weight for name, weight in tensors.items() if part in name)[0, 0] += 0.05

    rewrite(models(out, arm), change)
    found = by_name(checks.of_saved(final(out, arm), out, silent))
    fails(found[RELOADED], RELOADED, "is allowed")
    if arm == "lora":
        passes(found[MERGED], MERGED)  # of the model as it is on disk


def test_a_tokenizer_that_changed_on_disk_is_caught(out: Path) -> None:
    file = models(out, "full") / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["the"], vocabulary["of"] = vocabulary["of"], vocabulary["the"]
    file.write_text(json.dumps(content), encoding="utf-8")
    found = by_name(checks.of_saved(final(out, "full"), out, silent))
    fails(found[RELOADED], RELOADED, "is allowed")


def test_a_model_that_cant_be_loaded_fails_its_checks_and_tells_the_error(out: Path) -> None:
    shutil.rmtree(models(out, "lora"))
    found = by_name(checks.of_saved(final(out, "lora"), out, silent))
    assert found.keys() == {RELOADED, MERGED}
    fails(found[RELOADED], RELOADED, "Error: ")


@pytest.mark.parametrize(("status", "is_told"), [(-11, True), (-9, False)])
def test_a_process_that_ends_while_it_loads_the_model_fails_the_check_unless_the_system_killed_it(
    status: int, is_told: bool, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A system that is short of memory kills: nothing is known of the model then."""
    result = final(finished, "full").model_copy(update={"checks": ()})
    answers = iter([result])

    def ends(work: object, log: Path, watch: object) -> Measurement:
        answer = next(answers, None)
        if answer is None:
            raise ProcessEndedError(status, log)
        return answer

    monkeypatch.setattr(local, "in_fresh_process", ends)
    (found,) = local.LocalProcesses().run([result.trial], tmp_path, Silent())
    assert isinstance(found, Measurement)
    assert bool(found.checks) == is_told
    if is_told:
        fails(found.checks[0], RELOADED, f"the process ended with status {status}")


def test_a_merge_that_goes_wrong_is_caught(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.tuners_utils import BaseTuner

    monkeypatch.setattr(BaseTuner, "merge_and_unload", BaseTuner.unload)  # forgets the adapter
    found = by_name(checks.of_saved(final(out, "lora"), out, silent))
    passes(found[RELOADED], RELOADED)
    fails(found[MERGED], MERGED, "is allowed")


@pytest.mark.parametrize("error", [NotImplementedError, ValueError])
def test_what_cant_be_merged_is_not_checked(out: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.tuners_utils import BaseTuner

    def refuse(_: object) -> None:
        raise error

    monkeypatch.setattr(BaseTuner, "merge_and_unload", refuse)
    assert by_name(checks.of_saved(final(out, "lora"), out, silent)).keys() == {RELOADED}


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        ([1.0, 2.0], True),
        ([1.0, 2.000019], True),  # the largest logit is 2
        ([1.0, 2.000021], False),
        ([1.0, float("nan")], False),
        ([1.0, 2.0, 3.0], False),
    ],
)
def test_reloaded_logits_may_differ_by_rounding_alone(found: list[float], passed: bool) -> None:
    again: Any = SimpleNamespace(model=None, logits=lambda _: np.array(found))
    check = reloading.reloaded_logits([1.0, 2.0], lambda: again)
    assert check is not None
    assert check.passed == passed


# All of them


@pytest.mark.parametrize(
    ("error", "passed"),
    [(KeyError("x"), False), (MemoryError(), None), (RuntimeError("DefaultCPUAllocator: not enough memory"), None)],
)
def test_a_check_that_stumbles_fails_and_one_without_memory_is_left_out(error: Exception, passed: bool | None) -> None:
    @claim("it holds")
    def broken() -> tuple[bool, str]:
        raise error

    check = broken()
    assert (check and check.passed) == passed
    if check is not None:
        assert check.seen == "KeyError: 'x'"


def test_every_final_trial_has_passed_its_checks(finished: Path, toy_experiment: Experiment) -> None:
    comparison = api.load(finished)
    expected = {"full": ALWAYS, "lora": ALWAYS | {FROZEN, MERGED}, "head-only": ALWAYS | {FROZEN}}
    for name, arm in comparison.arms.items():
        assert sorted(arm.measurements) == list(toy_experiment.seeds)
        for found in arm.measurements.values():
            assert by_name(found.checks).keys() == expected[name]
            assert [check for check in found.checks if not check.passed] == []
            assert np.array(found.probe).shape == (8 * 6,)  # logits of eight texts
    assert comparison.untouched.measurements[0].checks == ()
    assert all(found.checks == () for found in comparison.tuning if not isinstance(found, Failure))


def final_trial(make: MakeExperiment, method: dict[str, Any], rate: float, **changes: Any) -> Trial:
    conditions = make().conditions.model_dump() | changes
    experiment = make(conditions=conditions, arms={"full": {"method": method, "learning_rates": [rate]}})
    trials = final_trials(experiment, {"full": Choice("full", rate, {})}, experiment.seeds)
    return next(trial for trial in trials if trial.learning_rate is not None)


LORA = {"kind": "lora", "rank": 2, "alpha": 4}
METHODS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "bitfit": ({"kind": "bitfit"}, {FROZEN}),
    "dora": (LORA | {"dora": True}, {FROZEN, MERGED}),
    "rslora": (LORA | {"rslora": True, "targets": ["all-linear"]}, {FROZEN, MERGED}),
    "pissa": (LORA | {"init": "pissa"}, {FROZEN, MERGED}),
    "fast pissa": (LORA | {"init": "pissa_niter_4"}, {FROZEN, MERGED}),
    "olora with biases": (LORA | {"init": "olora", "bias": "all"}, {FROZEN, MERGED}),
    "IA3": ({"kind": "peft", "peft_type": "IA3", "targets": ["key", "value", "feed-forward"]}, {FROZEN, MERGED}),
    "VeRA": ({"kind": "peft", "peft_type": "VERA", "r": 4, "targets": ["attention"]}, {FROZEN, MERGED}),
    "prompt tuning": ({"kind": "peft", "peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}, {FROZEN, TIED}),
    "P-tuning": ({"kind": "peft", "peft_type": "P_TUNING", "num_virtual_tokens": 3}, {FROZEN, TIED}),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_passes_the_checks_that_apply_to_it(
    make_experiment: MakeExperiment, name: str, tmp_path: Path
) -> None:
    method, further = METHODS[name]
    found = carry_out(final_trial(make_experiment, method, 1e-2, epochs=None, steps=40), tmp_path, silent, 8)
    all_checks = by_name([*found.checks, *checks.of_saved(found, tmp_path, silent)])
    assert all_checks.keys() == ALWAYS | further
    assert [check for check in all_checks.values() if not check.passed] == []


def test_no_figure_holds_the_time_or_the_memory_of_the_checks(
    make_experiment: MakeExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks of 1,000 seconds by the clock, and 400 MB."""
    clock, late = time.perf_counter, [0.0]

    def spend(*_: object) -> tuple[Check, ...]:
        late[0] = 1000.0
        return (Check(name="large", passed=bool(torch.ones(100_000_000).all()), seen=""),)

    monkeypatch.setattr("loralab.clock.time.perf_counter", lambda: clock() + late[0])
    monkeypatch.setattr("loralab.train.of_trained", spend)
    found = carry_out(final_trial(make_experiment, {"kind": "full"}, 1e-2, epochs=None, steps=1), tmp_path, silent, 8)
    assert found.checks[0].passed
    assert max(found.seconds.model_dump().values()) < 1000
    assert found.memory.training is not None
    assert found.memory.evaluation is not None
    assert max(found.memory.training, found.memory.evaluation) < 300_000_000
