"""In which number format to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loralab.errors import UserError
from loralab.experiment import Conditions

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16"]
# transformers (5.23) hides DeBERTa's masked scores behind the least number of float32, which bfloat16 can't hold.
FLOAT32_ALONE = ("deberta",)


def precision_of(conditions: Conditions, device: torch.device, model_type: str) -> Precision:
    """Return in which format a model of the architecture `model_type` is trained under `conditions`."""
    return "float32" if model_type in FLOAT32_ALONE else choose_precision(conditions.precision, device)


def check_precision(conditions: Conditions, model_type: str) -> None:
    """Raise UserError where bfloat16 is asked for and the architecture can't be computed in it."""
    if model_type not in FLOAT32_ALONE:
        return
    for setting, asked in (("precision", conditions.precision), ("scoring", conditions.scoring)):
        if asked == "bfloat16":
            raise UserError(f"conditions.{setting}: {model_type} can't be computed in bfloat16; leave the setting out")


def choose_precision(asked: Literal["auto", "float32", "bfloat16"], device: torch.device) -> Precision:
    """Return what was asked for, or for 'auto' bfloat16 where the hardware multiplies it fast.

    On a processor that means instructions of its own (AVX512-BF16, AMX, or those of Arm): without them PyTorch emulates
    bfloat16 and is slower than in float32.
    """
    if asked != "auto":
        return asked
    import torch

    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        return "bfloat16" if _processor_multiplies_bfloat16(torch.cpu) else "float32"
    return "float32"


def _processor_multiplies_bfloat16(told: Any) -> bool:
    """Ask what `torch.cpu` tells of the processor."""
    if not hasattr(told, "get_capabilities"):  # of older releases (2.13 has it), which know x86 alone
        return bool(told._is_avx512_bf16_supported())
    found = told.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # by architecture
