"""An experiment with a language model from end to end: scores, items, checks, verdict, report, stops and failures."""

import copy
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from loralab import api
from loralab.comparison import Comparison
from loralab.data import CorpusData, Documents
from loralab.experiment import Trial
from loralab.files import parse_experiment
from loralab.plan import tuning_trials
from loralab.results import Failure, Measurement
from loralab.tasks import CausalLM
from loralab.tasks.items import CorpusScores
from loralab.train import attempt
from test_run import scores, wait_until
from test_train import carry_out, silent, trial_of
from toy_language import save_gpt2
from trouble import let_memory_run_out, stopped_after

MakeTrial = Callable[..., Trial]


@pytest.fixture(scope="module")
def comparison(finished_language: Path) -> Comparison:
    return api.load(finished_language)


@pytest.fixture
def make_trial(language: dict[str, Any]) -> MakeTrial:
    """Makes final trials of the experiment, an arm's, with other conditions."""

    def make(arm: str = "full", **conditions: Any) -> Trial:
        raw = copy.deepcopy(language)
        raw["conditions"] |= conditions
        return trial_of(parse_experiment(raw, "language.yaml"), arm)

    return make


def measured(comparison: Comparison) -> list[Measurement]:
    arms = [*comparison.arms.values(), comparison.untouched]
    return [found for arm in arms for found in arm.measurements.values()]


def corpus_of(found: Measurement) -> tuple[CorpusData, CorpusScores]:
    data = found.trial.conditions.task.read()
    assert isinstance(data, CorpusData)
    assert isinstance(found.items, CorpusScores)
    return data, found.items


# What a finished experiment holds


def test_every_trial_is_measured_on_every_set_before_and_after_training(comparison: Comparison) -> None:
    assert not comparison.failures
    assert not comparison.missing
    assert len(measured(comparison)) == 5
    of_set = {"log_perplexity", "bits_per_byte"}
    expected = of_set | {f"{name}/{one}" for name in ("elsewhere", "passages") for one in of_set}
    for found in measured(comparison):
        assert found.scores.keys() == expected | {"passages/last_word"}
        assert found.scores.keys() == {metric.name for metric in found.trial.conditions.task.metrics}
        assert all(math.isfinite(score) for score in found.scores.values())


def test_the_items_of_every_document_are_its_own_tokens_and_bytes(comparison: Comparison) -> None:
    """The tokenizer makes a token of every word, of words that it doesn't know too."""
    for found in measured(comparison):
        data, items = corpus_of(found)
        sets: dict[str, Documents] = {"test": data.test, **data.others}
        assert list(items.sets) == ["test", "elsewhere", "passages"]
        for name, documents in sets.items():
            own = items.sets[name]
            assert own.ids == documents.ids
            assert own.tokens == tuple(len(text.split()) for text in documents.texts)
            assert own.bytes == tuple(len(text.encode()) for text in documents.texts)
            assert found.data.tokens[name] == sum(own.tokens)
            assert (own.last_words is not None) == (name == "passages")
        assert sum(items.sets["test"].bytes) > sum(map(len, data.test.texts))  # some letters take two bytes
        assert found.scores["log_perplexity"] == pytest.approx(
            sum(items.sets["test"].nats) / sum(items.sets["test"].tokens)
        )


def test_validation_is_scored_each_epoch_and_training_learns(comparison: Comparison) -> None:
    before = comparison.untouched.measurements[0].scores["log_perplexity"]
    for arm in comparison.arms.values():
        for found in arm.measurements.values():
            validated = [point for point in found.curve if point.validation]
            assert [point.epoch for point in validated] == [1, 2, 3]
            losses = [point.validation["log_perplexity"] for point in validated if point.validation]
            assert losses == sorted(losses, reverse=True)
            assert found.curve[-1].training_accuracy is None
            assert found.scores["log_perplexity"] < before - 0.5


def test_every_trained_model_passes_its_checks(comparison: Comparison) -> None:
    for arm, also in (("full", set()), ("lora", {"frozen weights are the checkpoint's"})):
        for found in comparison.arms[arm].measurements.values():
            assert [check for check in found.checks if not check.passed] == []
            assert {check.name for check in found.checks} >= also | {
                "trained weights moved",
                "tied weights are still tied",
                "the loss fell",
                "the size on disk fits the weights saved",
                "the saved model gives the same logits",
            }
    merged = {check.name for check in comparison.arms["lora"].measurements[0].checks}
    assert "the merged model gives the adapter's logits" in merged


def test_arms_of_a_seed_read_the_same_blocks_in_the_same_order(comparison: Comparison) -> None:
    full, lora = (comparison.arms[name].measurements for name in ("full", "lora"))
    assert all(full[seed].sameness == lora[seed].sameness for seed in (0, 1))
    assert full[0].sameness.order_sha256 != full[1].sameness.order_sha256
    assert full[0].sameness.head_sha256 is None
    tokens = full[0].data.tokens["train"]
    assert (tokens % 32, full[0].sameness.tokens) == (0, 3 * tokens)
    assert comparison.fairness.is_fair


def test_the_verdict_is_about_log_perplexity(comparison: Comparison) -> None:
    verdict = comparison.verdicts["lora"]
    full, lora = (comparison.arms[name].measurements for name in ("full", "lora"))
    gains = [full[seed].scores["log_perplexity"] - lora[seed].scores["log_perplexity"] for seed in (0, 1)]
    assert verdict.gain.value == pytest.approx(sum(gains) / 2, abs=1e-5)
    assert (verdict.gain.seeds, verdict.gain.items) == (2, 12)


def test_the_report_speaks_of_perplexity_and_documents(finished_language: Path) -> None:
    report = (finished_language / "report.md").read_text(encoding="utf-8")
    assert re.search(r"Over 2 seeds and 12 test documents, full reached a perplexity of [\d.]+ ± [\d.]+;", report)
    for heading in ("Perplexity", "Bits per byte", "Perplexity, elsewhere", "Last word, passages"):
        assert f"| {heading} |" in report
    html = (finished_language / "report.html").read_text(encoding="utf-8")
    assert "12 test documents" in html
    assert "Perplexity, elsewhere" in html


def test_the_report_calls_no_document_a_text(finished_language: Path) -> None:
    report = (finished_language / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"(?i)\btexts?\b.*", report) == []


# The saved model

RELOAD = """
import json
import torch
{loading}
texts = {texts!r}
model.eval()
found = []
for text in texts:
    tokens = [tokenizer.eos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        likely = model(input_ids=torch.tensor([tokens])).logits[0].double().log_softmax(dim=-1)
    own = torch.tensor(tokens[1:])
    found.append([-float(likely[:-1].gather(1, own[:, None]).sum()), bool(likely[-2].argmax() == own[-1])])
print(json.dumps(found))
"""


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_a_model_loaded_by_the_printed_lines_gives_the_stored_likelihoods(
    comparison: Comparison, finished_language: Path, arm: str
) -> None:
    """Each document at once, in a fresh process; those of the other sets are shorter than a window."""
    found = comparison.arms[arm].measurements[0]
    data, items = corpus_of(found)
    assert found.saved is not None
    texts = [text for documents in data.others.values() for text in documents.texts]
    script = RELOAD.format(loading=found.saved.loading, texts=texts)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=finished_language, capture_output=True, text=True, check=True
    )
    nats, right = zip(*json.loads(done.stdout.splitlines()[-1]), strict=True)
    elsewhere, passages = (items.sets[name] for name in data.others)
    assert elsewhere.nats + passages.nats == pytest.approx(nats, rel=1e-5)
    assert passages.last_words == right[-len(passages.ids) :]


# Stopped, short of memory, gone wrong


def test_killed_in_the_middle_and_started_again_it_gives_the_same_numbers(
    language: dict[str, Any], comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORALAB_CHECKPOINT_SECONDS", "0")
    file, out = tmp_path / "language.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(language, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "loralab", "run", str(file), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: len(list(out.glob("trials/*.log"))) >= 3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path.name for path in out.glob("trials/*.json")}
    assert 0 < len(before) < 5
    subprocess.run(command, check=True, capture_output=True)
    assert before < {path.name for path in out.glob("trials/*.json")}
    assert scores(api.load(out)) == scores(comparison)


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_a_trial_goes_on_from_its_checkpoint_with_the_same_numbers_bit_for_bit(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    """With dropout, so that the generators' state matters, and with early stopping, so that the best weights do."""
    (tmp_path / "model").mkdir()
    model = save_gpt2(tmp_path / "model", resid_pdrop=0.1, attn_pdrop=0.1)
    trial = make_trial(arm, model=str(model), early_stopping=5, validations_per_epoch=2, epochs=1)
    whole = carry_out(trial, tmp_path / "whole", silent)
    with stopped_after(7, monkeypatch):
        carry_out(trial, tmp_path / "stopped", silent)
    resumed = carry_out(trial, tmp_path / "stopped", silent)
    assert resumed.course.resumed == (7,)
    assert (resumed.items, resumed.curve, resumed.sameness) == (whole.items, whole.curve, whole.sameness)
    assert resumed.course.kept_step == whole.course.kept_step


def test_where_memory_runs_out_smaller_parts_give_the_same_training(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(batch_size=5, accumulation=1, epochs=1)
    whole = attempt(trial, tmp_path / "whole", silent)
    let_memory_run_out(CausalLM, "loss", 2, monkeypatch)
    parts = attempt(trial, tmp_path / "parts", silent)
    assert isinstance(whole, Measurement)
    assert isinstance(parts, Measurement)
    assert (whole.course.micro_batch, parts.course.micro_batch) == (5, 2)
    assert parts.sameness == whole.sameness
    assert [point.training_loss for point in parts.curve] == pytest.approx(
        [point.training_loss for point in whole.curve], rel=1e-3
    )


def test_a_rate_that_is_much_too_high_is_a_failure_that_is_an_answer(make_trial: MakeTrial, tmp_path: Path) -> None:
    found = attempt(make_trial(warmup=0.0).model_copy(update={"learning_rate": 1e30}), tmp_path, silent)
    assert isinstance(found, Failure)
    assert (found.reason, found.is_answer) == ("diverged", True)


def test_tuning_is_scored_on_validation_alone(language: dict[str, Any], tmp_path: Path) -> None:
    raw = copy.deepcopy(language)
    raw["arms"]["full"]["learning_rates"] = [3e-3, 1e-2]
    found = carry_out(tuning_trials(parse_experiment(raw, "language.yaml"))[0], tmp_path, silent)
    assert found.scores.keys() == {"log_perplexity", "bits_per_byte"}
    assert found.curve[-1].validation == pytest.approx(found.scores, rel=1e-5)
    assert found.items is None


# Precision and memory of training


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_half_precision_in_training_leaves_float32_in_scores_and_files(
    make_trial: MakeTrial, tmp_path: Path, arm: str
) -> None:
    from accelerate.state import AcceleratorState
    from safetensors.torch import load_file

    full = carry_out(make_trial(arm), tmp_path / "float32", silent)
    AcceleratorState._reset_state(reset_partial_state=True)  # a process has one precision; the tests share theirs
    try:
        found = carry_out(make_trial(arm, precision="bfloat16"), tmp_path / "bfloat16", silent)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert found.environment.precision == "bfloat16"
    assert [point.training_loss for point in found.curve] != [point.training_loss for point in full.curve]
    assert found.scores["log_perplexity"] == pytest.approx(full.scores["log_perplexity"], rel=0.02)
    assert [check.name for check in found.checks if not check.passed] == []
    assert found.saved is not None
    for file in (tmp_path / "bfloat16" / found.saved.folder).glob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float32}


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_gradient_checkpointing_changes_no_number(make_trial: MakeTrial, tmp_path: Path, arm: str) -> None:
    plain, saving = (
        carry_out(make_trial(arm, gradient_checkpointing=on, epochs=1), tmp_path / str(on), silent)
        for on in (False, True)
    )
    assert [point.training_loss for point in plain.curve] == pytest.approx(
        [point.training_loss for point in saving.curve], rel=1e-5
    )
