"""The training loop's moving parts: optimizer, schedule, one step. The loop itself stands in `fitting`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from loralab.errors import DivergedError
from loralab.experiment import Trial
from loralab.methods import rate_factor
from loralab.results import Held

if TYPE_CHECKING:
    import torch
    from torch import nn

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}  # transformers' names


class Optimiser:
    """AdamW (Loshchilov and Hutter 2019) with warm-up, a schedule and clipping, on Accelerate."""

    def __init__(self, network: nn.Module, trial: Trial, steps: int, precision: str) -> None:
        from accelerate import Accelerator
        from torch.optim import AdamW
        from transformers import get_scheduler

        conditions, rate = trial.conditions, trial.learning_rate
        assert rate is not None
        self._accelerator = Accelerator(mixed_precision="bf16" if precision == "bfloat16" else "no")
        self._max_grad_norm = conditions.max_grad_norm
        trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        self._parameters = list(trained.values())
        rates = {name: rate * rate_factor(trial.method, name) for name in trained}
        optimizer = AdamW(_groups(trained, rates, conditions.weight_decay), fused=True)
        self.network, self._optimizer = self._accelerator.prepare(network, optimizer)
        schedule = get_scheduler(SCHEDULES[conditions.schedule], optimizer, round(conditions.warmup * steps), steps)
        # The rate depends on the number of steps alone, so that training can go on from any step.
        self._share_of_rate = schedule.lr_lambdas[0]
        self._steps = 0

    @property
    def device(self) -> torch.device:
        """Where batches belong."""
        device: torch.device = self._accelerator.device
        return device

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the precision of training; needed where not the whole network is called, but its parts."""
        context: AbstractContextManager[None] = self._accelerator.autocast()
        return context

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
        self._optimizer.zero_grad()
        self._come_to(self._steps + 1)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the optimizer's own tensors, by the parameter's number and their name: 'NUMBER/exp_avg'."""
        state = self._optimizer.state_dict()["state"]
        return {f"{number}/{name}": tensor for number, kept in state.items() for name, tensor in kept.items()}

    def held(self) -> Held:
        """Return the bytes of what is held from step to step. A gradient has the form of its weight."""
        return Held(
            weights=_bytes([*self.network.parameters(), *self.network.buffers()]),
            gradients=_bytes(self._parameters),
            optimizer=_bytes(self.state().values()),
        )

    def resume(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        """Go on from the `state` that stood after so many `steps`."""
        numbered: dict[int, dict[str, torch.Tensor]] = {}
        for place, tensor in state.items():
            number, _, name = place.partition("/")
            numbered.setdefault(int(number), {})[name] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": numbered, "param_groups": groups})
        self._come_to(steps)

    def _come_to(self, steps: int) -> None:
        self._steps = steps
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._share_of_rate(steps)

    def unwrap(self) -> None:
        """Take Accelerate's wrapper off the network, which computes in float32 again."""
        self._accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _groups(
    parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float], weight_decay: float
) -> list[dict[str, Any]]:
    """Return a group for every learning rate and decay.

    Biases and the weights of norms are vectors: not decayed. Nor are the factors of IA3, whose neutral value is one.
    """
    grouped: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        is_factor = "ia3_l." in name  # of the form (1, n) or (n, 1), as matrices of rank 1 are
        decay = weight_decay if parameter.ndim > 1 and not is_factor else 0.0
        grouped.setdefault((rates[name], decay), []).append(parameter)
    return [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in grouped.items()]
