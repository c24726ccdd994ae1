"""The training loop's moving parts: optimizer, schedule, one step. The loop itself stands in `train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from loralab.errors import DivergedError
from loralab.experiment import Conditions

if TYPE_CHECKING:
    import torch
    from torch import nn


class Optimiser:
    """AdamW (Loshchilov and Hutter 2019) with warm-up, linear decay and clipping, on Accelerate."""

    def __init__(
        self,
        network: nn.Module,
        conditions: Conditions,
        rate: float,
        steps: int,
        precision: str,
        rate_factor: Callable[[str], float],  # of a parameter's name
    ) -> None:
        from accelerate import Accelerator
        from torch.optim import AdamW
        from transformers import get_scheduler

        self._accelerator = Accelerator(mixed_precision="bf16" if precision == "bfloat16" else "no")
        self._max_grad_norm = conditions.max_grad_norm
        trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        self._parameters = list(trained.values())
        rates = {name: rate * rate_factor(name) for name in trained}
        optimizer = AdamW(_groups(trained, rates, conditions.weight_decay), fused=True)
        self.network, self._optimizer = self._accelerator.prepare(network, optimizer)
        self._schedule = get_scheduler("linear", optimizer, round(conditions.warmup * steps), steps)
        self._steps = 0

    @property
    def device(self) -> torch.device:
        """Where batches belong."""
        device: torch.device = self._accelerator.device
        return device

    def backward(self, loss: torch.Tensor) -> None:
        """Add the loss's gradient. Raises DivergedError where the loss is not finite."""
        value = loss.item()
        if not abs(value) < float("inf"):
            raise DivergedError(self._steps + 1, value)
        self._accelerator.backward(loss)

    def step(self) -> None:
        """Take an optimizer step with the gradients added up since the last one."""
        self._accelerator.clip_grad_norm_(self._parameters, self._max_grad_norm)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()
        self._steps += 1

    def unwrap(self) -> Any:
        """Return the network as it was before Accelerate wrapped it, computing in float32 again."""
        return self._accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)


def _groups(
    parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float], weight_decay: float
) -> list[dict[str, Any]]:
    """Return a group for every learning rate and decay. Biases and the weights of norms are vectors: not decayed."""
    grouped: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        decay = weight_decay if parameter.ndim > 1 else 0.0
        grouped.setdefault((rates[name], decay), []).append(parameter)
    return [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in grouped.items()]
