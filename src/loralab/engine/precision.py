"""In which number format to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16"]


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
        # Older releases of torch (2.13 has it) can't tell; the names of the instructions differ by architecture.
        found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return "bfloat16" if fast else "float32"
    return "float32"
