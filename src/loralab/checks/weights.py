"""Checks of weights: those in memory against the checkpoint's, those on disk against the ones in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from loralab.checks.claim import Seen, claim, first_of
from loralab.methods import Method, Untouched, weights_to_save

if TYPE_CHECKING:
    import torch
    from torch import nn

# What PEFT puts before a parameter's own name, in the network and on disk: with a prompt, and with an adapter.
PREFIXES = ("", "base_model.", "base_model.model.")


@claim("frozen weights are the checkpoint's")
def frozen_weights(network: nn.Module, anew: Callable[[], nn.Module]) -> Seen | None:
    """Compare every frozen weight bit by bit with what it was when the trial began, as `anew` builds it.

    PiSSA and OLoRA begin by taking B A out of the frozen weights: the network built anew has done so too.
    """
    frozen = {name: weight for name, weight in anew().named_parameters() if not weight.requires_grad}
    if not frozen:
        return None
    now = dict(network.named_parameters())
    moved = [name for name, weight in frozen.items() if not _same_bits(weight, now[name])]
    return not moved, f"{len(frozen)} tensors, of which {len(moved)} moved{first_of(moved)}"


@claim("trained weights moved")
def trained_weights(network: nn.Module, anew: Callable[[], nn.Module], head: frozenset[str]) -> Seen:
    """Ask that the head moved, and what is trained besides, and every B of LoRA: without it its layer isn't adapted.

    Other tensors may stand still: a bias of the keys in attention has no gradient, nor has a module that the forward
    pass doesn't use. `head`: its parameters' names before the network was adapted.
    """
    trained = {name: weight for name, weight in anew().named_parameters() if weight.requires_grad}
    now = dict(network.named_parameters())
    still = {name for name, weight in trained.items() if _same_bits(weight, now[name])}
    of_head = set(_in_head(trained, head).values())
    parts = [of_head, trained.keys() - of_head, *({name} for name in trained if ".lora_B." in name)]
    unmoved = sorted({min(part) for part in parts if part and part <= still})
    seen = f"{len(trained) - len(still)} of {len(trained)} tensors moved"
    return not unmoved, f"{seen}; of those that had to, {len(unmoved)} did not{first_of(unmoved)}" if unmoved else seen


@claim("tied weights are still tied")
def tied_weights(network: nn.Module, anew: Callable[[], nn.Module]) -> Seen | None:
    """Ask that names that stood for one weight, such as those of two embeddings, still do."""
    groups = _tied(anew())
    if not groups:
        return None
    now = _tied(network)
    untied = [" and ".join(sorted(group)) for group in groups if not any(group <= other for other in now)]
    return not untied, f"{len(groups)} tied weights, of which {len(untied)} came apart{first_of(untied)}"


@claim("the head was saved")
def saved_head(network: nn.Module, head: frozenset[str], folder: Path) -> Seen | None:
    """Look in the model's files for every weight of the head, with the bits that it has in the network."""
    from safetensors import safe_open

    if not head:
        return None
    stored: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            stored |= {name: opened.get_tensor(key) for name, key in _in_head(opened.keys(), head).items()}
    if lacking := sorted(head - stored.keys()):
        return False, f"{len(head)} tensors, of which {len(lacking)} are not on disk{first_of(lacking)}"
    weights = dict(network.named_parameters())
    now = {name: weights[place] for name, place in _in_head(weights, head).items()}
    other = sorted(name for name in head if not _same_bits(stored[name], now[name]))
    return not other, f"{len(head)} tensors, of which {len(other)} differ on disk{first_of(other)}"


@claim("the size on disk fits the weights saved")
def saved_size(size: int, method: Method | Untouched, network: nn.Module) -> Seen:
    """Allow 5 % and a megabyte above 4 bytes a weight, for headers and configuration, and 1 % below."""
    weights = weights_to_save(method, network)
    fits = 0.99 * 4 * weights <= size <= 1.05 * 4 * weights + 1_000_000
    return fits, f"{size:,} bytes, for {weights:,} weights of 4 bytes"


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Compare bytes, so that a NaN equals itself, and 0.0 not -0.0."""
    import torch

    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    first, second = (tensor.detach().cpu().contiguous().flatten().view(torch.uint8) for tensor in (one, other))
    return torch.equal(first, second)


def _in_head(names: Iterable[str], head: frozenset[str]) -> dict[str, str]:
    """Return the parameters of the head by their own names; `names` may be PEFT's. Its frozen copies are left out."""
    longer = {prefix + name: name for name in head for prefix in PREFIXES}
    plain = {name: name.replace(".modules_to_save.default", "") for name in names}
    return {longer[short]: name for name, short in plain.items() if short in longer}


def _tied(network: nn.Module) -> list[set[str]]:
    """Return the sets of names that stand for one piece of memory."""
    groups: dict[int, set[str]] = defaultdict(set)
    for name, weight in network.named_parameters(remove_duplicate=False):
        if weight.numel():
            groups[weight.data_ptr()].add(name)
    return [group for group in groups.values() if len(group) > 1]
