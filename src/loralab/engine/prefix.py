"""What frozen layers make of a text can't change from one epoch to the next: it is computed once, and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryFile
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from loralab.data.rows import Indices
from loralab.engine.modules import computing

LEFT_FREE = 2**30  # bytes of the disk, for checkpoints and models
Tensor = torch.Tensor
Batch = Mapping[str, Tensor]


class FrozenPrefix:
    """The layers below the lowest trained one, and what they made of the texts so far.

    Where nothing trained or random reaches them, training begins at the cut: the last place behind these layers where a
    text is one vector, as before a classifier's head, if there is such a place, and else right behind them. What stands
    there is computed of each text alone, so that it depends on no other text of its batch: the same bits, kept or not.
    Of an encoder-decoder the larger half is skipped so; the other is computed each time.
    """

    def __init__(
        self, network: nn.Module, lengths: Indices, folder: Path, limit: int, *, texts_come_again: bool = True
    ) -> None:
        """`lengths`: tokens of each text; `folder`: where a file of at most `limit` bytes may be kept meanwhile.

        Of texts that come once nothing is worth keeping.
        """
        self._network: Any = network
        self._lengths = lengths
        self._kept = _Kept(folder, limit)
        self._layers = _frozen_layers(network)
        self._cut: _Cut | None = None
        # Of other devices' generators nobody tells here whether they were used.
        on_processor = next(network.parameters()).device.type == "cpu"
        self._is_sought = texts_come_again and bool(self._layers) and on_processor

    @property
    def keeps(self) -> bool:
        """Whether training begins at a cut."""
        return self._cut is not None

    @contextmanager
    def used_for(self, texts: Indices, batch: Batch) -> Iterator[Batch]:
        """Yield what the network is to be given for `texts` inside: `batch`, or less where the network begins later."""
        if self._is_sought:
            self._is_sought = False
            with _randomness_untouched():
                self._cut = _find_cut(self._network, self._layers, self._alone(0, int(texts[0]), batch))
        if self._cut is None:
            yield batch
            return
        values = [self._value(row, int(text), batch, self._cut) for row, text in enumerate(texts)]
        with self._cut.put(values, batch):
            # Where a vector stands at the cut, all that is still computed of tokens is thrown away: one a text is
            # enough, but for encoder-decoders, whose classifiers look for the text's end even so.
            is_cut_short = values[0].ndim == 1 and not self._network.config.is_encoder_decoder
            yield {name: part[:, :1] if is_cut_short and part.ndim == 2 else part for name, part in batch.items()}

    def _value(self, row: int, text: int, batch: Batch, cut: _Cut) -> Tensor:
        """Return what stands at the cut for a text, which is a row of the batch."""
        if text in self._kept:
            return self._kept.read(text)
        with torch.no_grad(), _randomness_untouched():
            value = cut.reached(self._network, self._alone(row, text, batch))
        self._kept.write(text, value)
        return value

    def _alone(self, row: int, text: int, batch: Batch) -> Batch:
        """Return a text of the batch without padding."""
        length = self._lengths[text]
        return {name: part[row : row + 1, :length] for name, part in batch.items() if part.ndim == 2}


@contextmanager
def _randomness_untouched() -> Iterator[None]:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def _frozen_layers(network: nn.Module) -> list[nn.Module]:
    """Return the lowest of the network's blocks, as far as nothing in them is trained."""
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module) > 0]
    alike = [blocks for blocks in lists if len({type(block) for block in blocks}) == 1]
    blocks = max(alike, key=lambda one: sum(weight.numel() for weight in one.parameters()), default=nn.ModuleList())
    frozen: list[nn.Module] = []
    for block in blocks:
        if any(weight.requires_grad for weight in block.parameters()):
            break
        frozen.append(block)
    return frozen


def _find_cut(network: nn.Module, layers: list[nn.Module], one: Batch) -> _Cut | None:
    """Return where training may begin, found by a pass of one text, or None where it can't."""
    seen = _Seen(layers)
    with ExitStack() as stack:
        for module in network.modules():
            stack.callback(module.register_forward_pre_hook(seen.before).remove)
            stack.callback(module.register_forward_hook(seen.after).remove)
        _call(network, one)
    return seen.result()


class _Seen:
    """One pass of one text through the whole network."""

    def __init__(self, layers: list[nn.Module]) -> None:
        self._layers = layers
        self._random = torch.get_rng_state()
        self._calls: Counter[nn.Module] = Counter()
        self._done: dict[nn.Module, int | None] = {}  # frozen layers, in order, with how many things each returned
        self._found: list[_Cut] = []  # places that nothing trained or random reached

    def before(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        """Note what a module reads."""
        if not self._calls[module] and given and self._is_vector(given[0]) and self._is_fixed(given[0]):
            self._found.append(_Cut(module, True, self._done))

    def after(self, module: nn.Module, _: object, output: Any) -> None:
        """Note what a module makes."""
        self._calls[module] += 1
        if module in self._layers and isinstance(_hidden(output), Tensor):
            self._done[module] = len(output) if isinstance(output, tuple) else None
        value = _hidden(output) if module is self._layers[-1] else output
        if (module is self._layers[-1] or self._is_vector(value)) and self._is_fixed(value):
            self._found.append(_Cut(module, False, self._done))

    def result(self) -> _Cut | None:
        """Return the last place that will do, where every frozen layer was called once and in order.

        What a module makes is put there by all of its calls, so it must have one; what it reads, by its first call.
        """
        if list(self._done) != self._layers or any(self._calls[layer] > 1 for layer in self._layers):
            return None
        return next((cut for cut in reversed(self._found) if cut.reads or self._calls[cut.module] == 1), None)

    def _is_vector(self, value: Any) -> bool:
        is_behind = self._layers[-1] in self._done
        # Numbers of tokens, which an encoder-decoder's second half reads, are of two dimensions, too.
        return is_behind and isinstance(value, Tensor) and value.ndim == 2 and value.is_floating_point()

    def _is_fixed(self, value: Any) -> bool:
        """Tell whether the next epoch would make the same of the text: nothing was drawn, nothing is trained."""
        is_plain = isinstance(value, Tensor) and len(value) == 1 and not value.requires_grad
        return is_plain and torch.equal(torch.get_rng_state(), self._random)


def _hidden(output: Any) -> Any:
    """Return the hidden states of what a layer returned, which may stand first in a tuple with nothing else in it."""
    is_wrapped = isinstance(output, tuple) and output and all(other is None for other in output[1:])
    return output[0] if is_wrapped else output


class _Reached(Exception):  # noqa: N818 - no error: it ends a pass
    """The cut was reached, with this value."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


@dataclass(frozen=True)
class _Cut:
    """Where training begins."""

    module: nn.Module
    reads: bool  # whether what its first call reads stands there, rather than what it makes
    layers: Mapping[nn.Module, int | None]  # frozen; how long a tuple each returns, or None for the tensor itself

    def reached(self, network: nn.Module, one: Batch) -> Tensor:
        """Return what stands here for one text, (width) or (tokens, width)."""

        def end(_: nn.Module, given: Any, output: Any = None) -> None:
            raise _Reached(given[0] if self.reads else _hidden(output))

        register = self.module.register_forward_pre_hook if self.reads else self.module.register_forward_hook
        hook = register(end)
        try:
            _call(network, one)
        except _Reached as found:
            return found.value[0]
        finally:
            hook.remove()
        raise AssertionError("the pass went by the cut")

    @contextmanager
    def put(self, values: list[Tensor], batch: Batch) -> Iterator[None]:
        """Let the network begin here with `values` inside."""
        if values[0].ndim > 1:
            tokens = max(part.shape[1] for part in batch.values() if part.ndim == 2)
            values = [pad(value, (0, 0, 0, tokens - len(value))) for value in values]
        kept = torch.stack(values)
        with ExitStack() as stack:
            for layer, length in self.layers.items():
                stack.enter_context(computing(layer, partial(_pass_through, length)))
            if self.reads:

                def give(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
                    hook.remove()
                    return (kept, *given[1:])

                hook = self.module.register_forward_pre_hook(give)
                stack.callback(hook.remove)
            else:
                returned = _as_returned(kept, self.layers.get(self.module))
                stack.enter_context(computing(self.module, lambda *_, **__: returned))
            yield


def _call(network: Any, one: Batch) -> None:
    network(**{name: part for name, part in one.items() if name != "labels"})


def _pass_through(length: int | None, *given: Any, **named: Any) -> Any:
    return _as_returned(given[0] if given else named["hidden_states"], length)


def _as_returned(hidden: Tensor, length: int | None) -> Any:
    return hidden if length is None else (hidden, *[None] * (length - 1))


class _Kept:
    """Tensors by the number of a text, in a file that is gone when the process ends."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit, self._size = folder, limit, 0
        self._file: Any = None  # a binary file
        self._places: dict[int, tuple[int, torch.dtype, tuple[int, ...]]] = {}

    def __contains__(self, text: object) -> bool:
        return text in self._places

    def write(self, text: int, value: Tensor) -> None:
        """Keep `value`, unless there is no room left."""
        size = value.numel() * value.element_size()
        if self._size + size > self._limit:
            return
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed with the training that needs it
        if disk_usage(self._folder).free < size + LEFT_FREE:
            self._limit = self._size  # the others are computed
            return
        self._file.seek(self._size)
        try:
            written = self._file.write(value.contiguous().view(torch.uint8).numpy().tobytes())
        except OSError:
            written = 0
        if written < size:  # the disk is full: the others are computed
            self._limit = self._size
            return
        self._places[text] = (self._size, value.dtype, tuple(value.shape))
        self._size += size

    def read(self, text: int) -> Tensor:
        """Return the value that is kept."""
        place, dtype, shape = self._places[text]
        raw = torch.empty(shape, dtype=dtype)
        self._file.seek(place)
        bits = raw.view(torch.uint8).numpy()
        if self._file.readinto(bits) < bits.nbytes:
            raise OSError(f"{self._folder}: what was kept of frozen layers can't be read back")
        return raw
