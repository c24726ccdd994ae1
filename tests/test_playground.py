"""The playground puts a text to every arm, and is for this machine alone."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client.exceptions import AppError

from loralab import api, use
from loralab.errors import UserError
from loralab.playground import LOOPBACK, build, launch
from loralab.prediction import Continuation, LabelProbabilities
from loralab.progress import Silent

TEXT = "the cat was seen near a river"


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Path, Any]]:
    """A results folder, and a client of its playground."""
    from gradio_client import Client

    folder: Path = request.getfixturevalue(request.param)
    page = build(folder, None, Silent())
    _, url, _ = page.launch(server_name=LOOPBACK, prevent_thread_lock=True, quiet=True)
    assert url.startswith(f"http://{LOOPBACK}:")
    yield folder, Client(url, verbose=False)
    page.close()


@pytest.mark.parametrize("served", ["finished"], indirect=True)
def test_every_arm_gives_its_own_probabilities(served: tuple[Path, Any]) -> None:
    folder, client = served
    answers = client.predict(TEXT, api_name="/ask")
    arms = api.load(folder).arms
    assert len(answers) == len(arms)
    for arm, answer in zip(arms, answers, strict=True):
        (expected,) = use.predict(folder, arm, [TEXT])
        assert isinstance(expected, LabelProbabilities)
        assert answer["label"] == next(iter(expected.probabilities))
        found = {one["label"]: one["confidence"] for one in answer["confidences"]}
        assert found == pytest.approx({name: expected.probabilities[name] for name in found}, abs=1e-6)


def test_an_arm_that_is_alone_answers_too(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradio_client import Client

    lora = {("lora", 0): use.open_model(finished, "lora")}
    monkeypatch.setattr(use, "open_models", lambda folder, seed, watcher: lora)
    page = build(finished, None, Silent())
    _, url, _ = page.launch(server_name=LOOPBACK, prevent_thread_lock=True, quiet=True)
    answer = Client(url, verbose=False).predict(TEXT, api_name="/ask")
    page.close()
    (expected,) = use.predict(finished, "lora", [TEXT])
    assert isinstance(expected, LabelProbabilities)
    assert answer["label"] == next(iter(expected.probabilities))


def without(finished: Path, folder: Path, arm: str, seed: int) -> Path:
    """The results folder without what this trial came to."""
    shutil.copytree(finished, folder)
    (file,) = (folder / "trials").glob(f"final-{arm}-lr*-seed{seed}.json")
    file.unlink()
    return folder


def test_the_arms_are_asked_with_the_first_seed_that_all_have(finished: Path, tmp_path: Path) -> None:
    folder = without(finished, tmp_path / "run", "lora", 0)
    assert list(use.open_models(folder)) == [("full", 1), ("lora", 1), ("head-only", 1)]
    shown = [component["props"].get("label") for component in build(folder, None, Silent()).config["components"]]
    assert {"full, seed 1", "lora, seed 1", "head-only, seed 1"} <= set(shown)


def test_an_arm_without_the_seed_that_is_asked_for_is_left_out_by_name(finished: Path, tmp_path: Path) -> None:
    folder = without(finished, tmp_path / "run", "lora", 0)
    with pytest.warns(UserWarning, match="lora has no model of seed 0, and is left out"):
        opened = use.open_models(folder, 0)
    assert list(opened) == [("full", 0), ("head-only", 0)]
    with pytest.raises(UserError, match="there is no model of seed 7"):
        use.open_models(folder, 7)


def test_only_this_machine_can_ask(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    told: list[str] = []

    def served(_: object, **options: Any) -> tuple[None, str, None]:
        asked.update(options)
        return None, "http://127.0.0.1:7860/", None

    monkeypatch.setattr("gradio.Blocks.launch", served)
    monkeypatch.setattr("gradio.Blocks.block_thread", lambda _: None)
    launch(finished, None, None, Silent(), told.append, opens_browser=True)
    assert told == ["Running on http://127.0.0.1:7860/, until Ctrl-C"]
    assert (asked["server_name"], asked["share"], asked["inbrowser"]) == ("127.0.0.1", False, True)


def test_a_port_that_is_taken_is_told(finished: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: it is taken; choose another"):
            launch(finished, None, port, Silent(), print, opens_browser=False)


def test_without_a_finished_model_there_is_no_page(finished: Path, tmp_path: Path) -> None:
    shutil.copy(finished / "experiment.json", tmp_path)
    with pytest.raises(UserError, match="no model is finished yet"):
        build(tmp_path, None, Silent())


@pytest.mark.parametrize("served", ["finished_language"], indirect=True)
def test_what_a_model_cannot_take_is_told_on_the_page(served: tuple[Path, Any]) -> None:
    _, client = served
    with pytest.raises(AppError, match="positions"):
        client.predict(TEXT, 200, api_name="/ask")


@pytest.mark.parametrize("served", ["finished_language"], indirect=True)
def test_language_models_go_on_side_by_side(served: tuple[Path, Any]) -> None:
    folder, client = served
    answers = client.predict(TEXT, 5, api_name="/ask")
    for arm, answer in zip(api.load(folder).arms, answers, strict=True):
        (expected,) = use.predict(folder, arm, [TEXT], tokens=5)
        assert isinstance(expected, Continuation)
        assert answer == expected.continuation
