"""Training is in bfloat16 where the hardware multiplies it and the architecture can be computed in it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conftest import MakeExperiment
from loralab.engine import precision
from loralab.engine.precision import check_precision, choose_precision, precision_of
from loralab.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize(("model_type", "expected"), [("bert", "bfloat16"), ("deberta", "float32")])
def test_what_cannot_be_computed_in_bfloat16_is_trained_in_float32(
    model_type: str, expected: str, make_experiment: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "choose_precision", lambda asked, device: "bfloat16")
    conditions = make_experiment().conditions.model_copy(update={"precision": "auto"})
    assert precision_of(conditions, CPU, model_type) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (SimpleNamespace(get_capabilities=lambda: {"architecture": "x86_64", "avx512_bf16": True}), "bfloat16"),
        (SimpleNamespace(get_capabilities=lambda: {"architecture": "x86_64", "amx_bf16": True}), "bfloat16"),
        (SimpleNamespace(get_capabilities=lambda: {"architecture": "aarch64", "bf16": True}), "bfloat16"),
        (SimpleNamespace(get_capabilities=lambda: {"architecture": "x86_64", "avx512_bf16": False}), "float32"),
        (SimpleNamespace(get_capabilities=lambda: {"architecture": "x86_64"}), "float32"),
        (SimpleNamespace(_is_avx512_bf16_supported=lambda: True), "bfloat16"),
        (SimpleNamespace(_is_avx512_bf16_supported=lambda: False), "float32"),
    ],
)
def test_a_processor_trains_in_bfloat16_where_it_has_instructions_for_it(
    told: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "cpu", told)
    assert choose_precision("auto", CPU) == expected
    assert choose_precision("float32", CPU) == "float32"


@pytest.mark.parametrize("asked", [{"precision": "bfloat16"}, {"scoring": "bfloat16"}])
def test_asking_for_bfloat16_where_it_cannot_be_had_is_refused(
    asked: dict[str, Any], make_experiment: MakeExperiment
) -> None:
    conditions = make_experiment().conditions.model_copy(update=asked)
    with pytest.raises(UserError, match=f"conditions.{next(iter(asked))}: deberta can't be computed in bfloat16"):
        check_precision(conditions, "deberta")
    check_precision(conditions, "bert")
