"""What `loralab predict` says is what the saved model says: probabilities as scored, continuations token by token."""

import dataclasses
import json
import math
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from architectures import save_language_model
from conftest import WORDS, fails, save_tokenizer, sentences, toy_file, write_jsonl
from loralab import SavedModel, api, use
from loralab.cli import app
from loralab.data.rows import Text
from loralab.errors import UserError
from loralab.experiment import Experiment
from loralab.files import parse_experiment
from loralab.folder import ResultsFolder
from loralab.loading import load_saved
from loralab.prediction import Continuation, LabelProbabilities, measurements_of
from loralab.prediction.continuing import continuation
from loralab.results import Check, Failure, Measurement
from loralab.tasks.items import LabelScores

RUNNER = CliRunner()
TEXT = "the cat was seen near"
POSITIONS = 64  # of the toy language model


@pytest.fixture(scope="session")
def language_file(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An experiment on a tiny GPT-2 whose own settings say to draw tokens at random and not to repeat any."""
    folder = tmp_path_factory.mktemp("language")
    model = save_language_model(folder / "model", "gpt2")
    save_tokenizer(model, decoder=True)
    drawing = {"do_sample": True, "temperature": 2.0, "top_k": 3, "repetition_penalty": 50.0}
    (model / "generation_config.json").write_text(json.dumps(drawing), encoding="utf-8")
    texts = [{"text": row["text"]} for row in sentences(list(WORDS), 36, seed=1)]
    for split, rows in (("train", texts[:24]), ("validation", texts[24:30]), ("test", texts[30:])):
        write_jsonl(folder / "data" / f"{split}.jsonl", rows)
    return toy_file(model, folder / "data") | {
        "seeds": [0],
        "margin": {},
        "conditions": {
            "model": str(model),
            "task": {"kind": "causal-lm", "data": str(folder / "data"), "block_size": 16},
            "steps": 2,
            "batch_size": 4,
            "precision": "float32",
        },
        "arms": {
            "full": {"method": {"kind": "full"}, "learning_rates": [1e-3]},
            "lora": {
                "method": {"kind": "lora", "rank": 2, "alpha": 4, "targets": ["attention", "feed-forward", "output"]},
                "learning_rates": [1e-2],
            },
            "prefix": {
                "method": {"kind": "peft", "peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3},
                "learning_rates": [1e-2],
            },
        },
    }


@pytest.fixture(scope="session")
def language(tmp_path_factory: pytest.TempPathFactory, language_file: dict[str, Any]) -> Path:
    """The results folder of the language experiment."""
    folder = tmp_path_factory.mktemp("language-run")
    api.run(parse_experiment(language_file, "language.yaml"), folder)
    return folder


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A finished classification that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "out")


def measurement(folder: Path, arm: str, seed: int = 0) -> Measurement:
    return api.load(folder).arms[arm].measurements[seed]


def judged(folder: Path, arm: str, texts: list[Any], **asked: Any) -> list[LabelProbabilities]:
    found = use.predict(folder, arm, texts, **asked)
    assert all(isinstance(one, LabelProbabilities) for one in found)
    return [one for one in found if isinstance(one, LabelProbabilities)]


# Classifiers


@pytest.mark.parametrize(("arm", "seed"), [("full", 0), ("lora", 0), ("lora", 1)])
def test_a_label_has_the_probability_that_its_test_item_was_scored_with(
    finished: Path, toy_experiment: Experiment, arm: str, seed: int
) -> None:
    test = toy_experiment.conditions.task.read().test
    scored = measurement(finished, arm, seed)
    assert isinstance(scored.items, LabelScores)
    names = scored.data.label_names
    for row, found in enumerate(judged(finished, arm, list(test.texts), seed=seed)):
        assert found.text == test.texts[row]
        assert sum(found.probabilities.values()) == pytest.approx(1)
        loss = -math.log(found.probabilities[names[scored.items.labels[row]]])
        assert loss == pytest.approx(scored.items.log_losses[row], abs=1e-4)
        assert next(iter(found.probabilities)) == names[scored.items.predictions[row]]


def test_labels_come_with_the_most_likely_one_first(finished: Path) -> None:
    (found,) = judged(finished, "lora", [TEXT])
    assert list(found.probabilities.values()) == sorted(found.probabilities.values(), reverse=True)
    assert set(found.probabilities) == set(WORDS)


def test_a_text_that_is_too_long_is_cut_as_in_training(finished: Path) -> None:
    cut, whole = judged(finished, "full", ["the cat " * 7, "the cat " * 7 + "rain " * 50])  # 16 tokens with two signs
    assert whole.probabilities == pytest.approx(cut.probabilities)


def test_without_a_seed_the_first_one_that_is_there_answers(out: Path) -> None:
    first, second = (judged(out, "lora", [TEXT], seed=seed) for seed in (0, 1))
    assert judged(out, "lora", [TEXT]) == first != second
    (out / "trials" / f"{measurement(out, 'lora').trial.id}.json").unlink()
    assert judged(out, "lora", [TEXT]) == second


def test_seeds_are_those_of_the_design(finished: Path) -> None:
    found = measurement(finished, "lora")
    experiment = api.load(finished).experiment
    moved = found.model_copy(update={"trial": found.trial.model_copy(update={"seed": 7})})
    arm = experiment.arms["lora"].model_copy(update={"seed_offset": 7})
    offset = experiment.model_copy(update={"arms": experiment.arms | {"lora": arm}})
    assert measurements_of("lora", offset, {moved.trial.id: moved}) == {0: moved}


def test_a_text_is_one_text_and_none_is_no_answer(finished: Path) -> None:
    assert use.predict(finished, "lora", TEXT) == use.predict(finished, "lora", [TEXT])
    assert use.predict(finished, "lora", []) == []


def test_half_a_character_and_an_empty_text_are_answered(finished: Path) -> None:
    found = judged(finished, "lora", ["cat \udcff", ""])
    assert [one.text for one in found] == ["cat �", ""]


def changed(folder: Path, **data: Any) -> None:
    """Say that the experiment in `folder` was about other data, of which only the reading matters here."""
    files = [folder / "experiment.json", *(folder / "trials").glob("*.json")]
    for file in files:
        content = json.loads(file.read_text(encoding="utf-8"))
        trial = content["result"]["trial"] if "result" in content else content
        trial["conditions"]["task"]["data"].update(data)
        file.write_text(json.dumps(content), encoding="utf-8")


def test_markup_is_cleaned_where_it_was_in_training(out: Path) -> None:
    plain, marked = judged(out, "full", ["the <cat>", "the <b>cat</b>"])
    assert plain.probabilities != pytest.approx(marked.probabilities)
    changed(out, clean_markup=True)
    plain, marked = judged(out, "full", ["the cat", "the <b>cat</b>"])
    assert plain.probabilities == pytest.approx(marked.probabilities)
    assert marked.text == "the <b>cat</b>"


def test_a_pair_is_two_texts(out: Path) -> None:
    changed(out, text=["premise", "hypothesis"])
    pair = ("the cat", "a dog")
    assert judged(out, "full", ["the cat", "a dog"]) == judged(out, "full", [pair])
    assert [one.text for one in judged(out, "full", [pair, ("rain", "snow")])] == [pair, ("rain", "snow")]
    wrong: list[list[Text]] = [["the cat"], ["the cat", "a dog", "rain"], [pair, "rain"]]
    for texts in wrong:
        with pytest.raises(UserError, match=r"trained on pairs \(premise and hypothesis\): give exactly two"):
            use.predict(out, "full", texts)


def test_a_model_of_single_texts_takes_no_pair(finished: Path) -> None:
    with pytest.raises(UserError, match="trained on single texts"):
        use.predict(finished, "full", [("the cat", "a dog")])


# Language models


def likeliest(folder: Path, arm: str, text: str, count: int) -> str:
    """What a plain loop appends, one token at a time, without a cache or `generate`."""
    model, tokenizer = load_saved(measurement(folder, arm), folder)
    prefix = 3 if arm == "prefix" else 0
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"][-(POSITIONS - prefix - count) :]
    begun = tokens = tokens or [tokenizer.eos_token_id]
    for _ in range(count):
        with torch.inference_mode():
            token = int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        tokens = [*tokens, token]
    return str(tokenizer.decode(tokens[len(begun) :]))


@pytest.mark.parametrize("arm", ["full", "lora", "prefix"])
def test_a_continuation_is_the_likeliest_token_each_time(language: Path, arm: str) -> None:
    texts = [TEXT, "", "once", "the of red winter " * 40 + "whale dog two"]
    found = use.predict(language, arm, texts, tokens=20)
    expected = [likeliest(language, arm, text, 20) for text in texts]
    assert all(isinstance(one, Continuation) for one in found)
    assert [one.continuation.strip() for one in found if isinstance(one, Continuation)] == expected
    assert len(set(expected)) > 1


def test_only_as_many_tokens_as_are_asked_for_are_added(language: Path) -> None:
    (few,), (more,) = (use.predict(language, "lora", [TEXT], tokens=count) for count in (3, 9))
    assert isinstance(few, Continuation)
    assert isinstance(more, Continuation)
    assert few.text == TEXT
    assert len(few.continuation.split()) == 3
    assert more.continuation.startswith(few.continuation)
    assert few.continuation.startswith(" ")


def test_a_text_ends_where_the_model_ends_it(language: Path) -> None:
    model, tokenizer = load_saved(measurement(language, "lora"), language)
    words = continuation(model, tokenizer, TEXT, 20).split()
    tokenizer.eos_token = next(word for word in words if word != words[0])
    ended = continuation(model, tokenizer, TEXT, 20).split()
    assert ended == words[: words.index(str(tokenizer.eos_token))] != []


@pytest.mark.parametrize(
    ("arm", "tokens", "expected"),
    [
        ("full", 64, "this model has 64 positions, text and all; ask for at most 63"),
        ("prefix", 61, "this model has 61 positions"),
        ("full", 0, "tokens: 0 is not a positive number"),
    ],
)
def test_a_text_needs_a_place_among_the_positions(language: Path, arm: str, tokens: int, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        use.predict(language, arm, [TEXT], tokens=tokens)


def test_a_start_token_takes_a_place_among_the_positions(language: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = load_saved(measurement(language, "full"), language)
    read: list[int] = []
    monkeypatch.setattr("loralab.prediction.continuing.text_start", lambda _: 2)

    def nothing(model: Any, tokenizer: Any, context: list[int], tokens: int) -> list[int]:
        read.extend(context)
        return []

    monkeypatch.setattr("loralab.prediction.continuing._likeliest", nothing)
    continuation(model, tokenizer, TEXT, POSITIONS - 2)
    assert read == [2, tokenizer(TEXT)["input_ids"][-1]]
    with pytest.raises(UserError, match=f"{POSITIONS} positions, text and all; ask for at most {POSITIONS - 2}"):
        continuation(model, tokenizer, TEXT, POSITIONS - 1)


# What can go wrong


def removed(part: str) -> Callable[[Path], None]:
    """Remove what `part` matches in the results folder."""

    def spoil(folder: Path) -> None:
        for path in folder.glob(part):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def failed(reason: str, stage: str = "final") -> Callable[[Path], None]:
    """Let every trial of lora fail, or at one stage."""

    def spoil(folder: Path) -> None:
        kept = ResultsFolder(folder)
        for file in (folder / "trials").glob(f"{stage}-lora-*.json"):
            result = json.loads(file.read_text(encoding="utf-8"))["result"]
            trial = Measurement.model_validate(result, strict=False).trial
            kept.keep(Failure.model_validate({"trial": trial, "reason": reason, "message": "so it went"}))

    return spoil


def moved_base(folder: Path) -> None:
    for file in folder.glob("models/lora/*/adapter_config.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps(content | {"base_model_name_or_path": "/gone/toy-model"}), encoding="utf-8")


def garbled(part: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for file in folder.glob(part):
            file.write_bytes(b"{ not what it was")

    return spoil


def nothing(_: Path) -> None:
    pass


FINAL = r"trials/final-lora-lr\S+-seed0.json"
CASES: list[tuple[str, Callable[[Path], None], list[str], str]] = [
    ("no experiment", removed("experiment.json"), [], "no experiment.json"),
    ("no such arm", nothing, ["--arm", "lroa"], "no arm is called 'lroa'; did you mean 'lora'"),
    ("untouched", nothing, ["--arm", "untouched"], "nothing is saved; name one of full, lora, head-only"),
    ("no such seed", nothing, ["--seed", "5"], "there is no model of seed 5; there are those of 0, 1"),
    ("not yet run", removed("trials/final-lora-*.json"), [], "no model of lora is finished yet; 'loralab run' goes on"),
    ("out of memory", failed("out of memory"), [], "failed, out of memory: so it went name another arm"),
    ("crashed", failed("crashed"), [], "crashed: so it went 'loralab run' carries it out again"),
    ("no rate led to a model", failed("diverged", "*"), [], "there is no model of lora, since"),
    ("model removed", removed("models/lora/*"), [], rf"the model is no longer there; remove {FINAL}"),
    ("base model moved", moved_base, [], "/gone/toy-model: the base model of lora is no longer there; put it back"),
    ("weights garbled", garbled("models/lora/*/adapter_model.safetensors"), [], f"can't be loaded: .* remove {FINAL}"),
    ("adapter garbled", garbled("models/lora/*/adapter_config.json"), [], rf"can't be read: .* remove {FINAL}"),
]


@pytest.mark.parametrize(("name", "spoil", "words", "expected"), CASES, ids=[case[0] for case in CASES])
def test_a_mistake_is_one_message_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: Path,
    name: str,
    spoil: Callable[[Path], None],
    words: list[str],
    expected: str,
) -> None:
    spoil(out)
    told = " ".join(fails(monkeypatch, capsys, "predict", str(out), "--arm", "lora", *words, TEXT).split())
    assert re.search(expected, told)
    assert "Traceback" not in told


HARMFUL = [
    "__import__('pathlib').Path('harm').touch()",
    "import os",
    "from os import system",
    "from transformers import pipeline",
    "from peft import AutoPeftModel\nmodel = AutoPeftModel.from_pretrained('x', trust_remote_code=True)",
    "from peft import AutoPeftModel\nmodel = AutoPeftModel.from_pretrained('x', dtype=open('harm', 'w').name)",
    "from peft import AutoPeftModel\nmodel = AutoPeftModel.from_pretrained('x', **{'trust_remote_code': True})",
    "from peft import AutoPeftModel\n{}[open('harm', 'w')] = AutoPeftModel.from_pretrained('x')",
    "model = open('harm', 'w').from_pretrained('x')",
    "not Python",
]


@pytest.mark.parametrize("lines", HARMFUL)
def test_lines_that_do_more_than_load_are_not_carried_out(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = measurement(finished, "lora")
    assert found.saved is not None
    harmful = found.model_copy(update={"saved": found.saved.model_copy(update={"loading": lines})})
    with pytest.raises(UserError, match="its lines do more than load a model"):
        load_saved(harmful, finished)
    assert not (tmp_path / "harm").exists()


def test_code_of_the_models_own_is_declined_without_asking(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in out.glob("models/full/*/config.json"):
        own = {"model_type": "unheard-of", "auto_map": {"AutoConfig": "own.Own"}}
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | own), encoding="utf-8")
        (file.parent / "own.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')", encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    with pytest.raises(UserError, match="can't be loaded"):
        use.predict(out, "full", [TEXT])
    assert not (tmp_path / "harm").exists()


def test_a_void_arm_answers_with_a_warning(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = measurement(out, "lora", seed=1)
    check = Check(name="the saved model gives the same logits", passed=False, seen="far apart")
    ResultsFolder(out).keep(result.model_copy(update={"checks": (check,)}))
    shown = RUNNER.invoke(app, ["predict", str(out), "--arm", "lora", "--json", TEXT])
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 1
    told = " ".join(shown.stderr.split())
    assert "lora is void: with seed 1 it isn't true that the saved model gives the same logits (far apart)" in told
    with pytest.warns(UserWarning, match="lora is void"):
        use.predict(out, "lora", [TEXT])


def test_a_base_model_that_was_changed_is_told(out: Path, toy_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(toy_model, tmp_path / "model")
    for file in out.glob("models/lora/*/adapter_config.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps(content | {"base_model_name_or_path": str(other)}), encoding="utf-8")
    shown = RUNNER.invoke(app, ["predict", str(out), "--arm", "lora", TEXT])
    assert (shown.exit_code, shown.stderr) == (0, "")  # it was moved, and is the same
    weights = load_file(other / "model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, other / "model.safetensors", {"format": "pt"})
    shown = RUNNER.invoke(app, ["predict", str(out), "--arm", "lora", TEXT])
    assert "has changed since the training" in shown.stderr


# The command


@pytest.mark.parametrize(("name", "arm"), [("finished", "full"), ("finished", "lora"), ("language", "lora")])
def test_nothing_but_answers_is_printed(
    request: pytest.FixtureRequest,
    name: str,
    arm: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from loralab.cli import main

    folder = request.getfixturevalue(name)
    capfd.readouterr()  # what making the folder printed
    monkeypatch.setattr(sys, "argv", ["loralab", "predict", str(folder), "--arm", arm, "--json", TEXT, "once"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    asked = [json.loads(line)["text"] for line in shown.out.splitlines()]
    assert asked == [TEXT, "once"]


def test_json_lines_hold_what_the_api_returns(finished: Path, language: Path) -> None:
    for folder in (finished, language):
        shown = RUNNER.invoke(app, ["predict", str(folder), "--arm", "lora", "--json", "--tokens", "4", TEXT])
        (expected,) = use.predict(folder, "lora", [TEXT], tokens=4)
        assert json.loads(shown.stdout) == dataclasses.asdict(expected)


def test_a_dash_reads_texts_from_standard_input_one_a_line(finished: Path) -> None:
    given = "the cat \r\n\nthe straße\u2028once"
    shown = RUNNER.invoke(app, ["predict", str(finished), "--arm", "lora", "--json", "-"], input=given.encode())
    texts = [json.loads(line)["text"] for line in shown.stdout.splitlines()]
    assert texts == ["the cat ", "", "the straße\u2028once"]


def test_on_a_terminal_labels_follow_the_text_with_their_probabilities(finished: Path) -> None:
    shown = RUNNER.invoke(app, ["predict", str(finished), "--arm", "full", TEXT]).stdout.splitlines()
    (found,) = judged(finished, "full", [TEXT])
    assert shown[0] == TEXT
    expected = [[label, f"{100 * share:.1f}", "%"] for label, share in found.probabilities.items()]
    assert [line.split() for line in shown[2:]] == expected


def test_of_many_texts_the_first_are_answered_before_the_last_are_asked(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(_: SavedModel, texts: list[str], tokens: int) -> list[LabelProbabilities]:
        asked.append(texts)
        return [LabelProbabilities(text, {"b": 1.0}) for text in texts]

    monkeypatch.setattr("loralab.cli.outcomes.AT_ONCE", 2)
    monkeypatch.setattr(SavedModel, "ask", ask)
    shown = RUNNER.invoke(app, ["predict", str(finished), "--arm", "full", "-"], input="one\ntwo\nthree\n")
    assert asked == [["one", "two"], ["three"]]
    assert [json.loads(line)["text"] for line in shown.stdout.splitlines()] == ["one", "two", "three"]


def test_on_a_terminal_a_continuation_follows_its_text(language: Path) -> None:
    shown = RUNNER.invoke(app, ["predict", str(language), "--arm", "lora", "--tokens", "40", TEXT]).stdout
    (found,) = use.predict(language, "lora", [TEXT], tokens=40)
    assert isinstance(found, Continuation)
    assert shown == TEXT + found.continuation + "\n"  # in one line, however narrow the terminal


@pytest.mark.parametrize("text", ["[red]cat[/red] [/]", ":smile: cat", "a\x1b[31mb\x07", "[link=file:///x]y[/link]"])
def test_texts_and_labels_are_printed_as_they_are_but_for_control_characters(
    finished: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    answer = LabelProbabilities(text, {text: 0.75, "b": 0.25})
    monkeypatch.setattr(SavedModel, "ask", lambda *_: [answer])
    shown = RUNNER.invoke(app, ["predict", str(finished), "--arm", "full", text]).stdout
    assert shown.count(re.sub(r"[\x1b\x07]", "�", text)) == 2


def test_only_the_ten_most_likely_labels_are_shown(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = LabelProbabilities(TEXT, {f"label-{number}": 1 / 12 for number in range(12)})
    monkeypatch.setattr(SavedModel, "ask", lambda *_: [answer])
    shown = RUNNER.invoke(app, ["predict", str(finished), "--arm", "full", TEXT]).stdout
    assert shown.count("label-") == 10
    assert "and 2 more" in shown
    shown = RUNNER.invoke(app, ["predict", str(finished), "--arm", "full", "--json", TEXT]).stdout
    assert shown.count("label-") == 12
