"""Attention in pieces is attention: the same outputs and gradients as torch's, on every mask, and no other."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import GPT2Config, GPT2Model

from loralab.engine import attention
from loralab.engine.attention import attend, pays
from loralab.engine.dropout import Drops

Tensor = torch.Tensor
WIDTH = 8
CPU = torch.device("cpu")


def drawn(batch: int, heads: int, tokens: int, kept_heads: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    counts = (heads, kept_heads or heads, kept_heads or heads)
    query, key, value = (torch.randn(batch, count, tokens, WIDTH, requires_grad=True) for count in counts)
    return query, key, value


def module(causal: bool, groups: int = 1) -> Any:
    return SimpleNamespace(is_causal=causal, num_key_value_groups=groups)


def padded(lengths: list[int], causal: bool) -> Tensor:
    """Return (batch, 1, tokens, tokens): who attends to whom, as transformers tells it."""
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    mask = real[:, None, None, :].expand(len(lengths), 1, max(lengths), max(lengths))
    return mask.tril() if causal else mask.contiguous()


def reference(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    causal = causal and mask is None
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal).transpose(1, 2)


def gradients(found: Tensor, inputs: tuple[Tensor, ...], real: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of a sum in which every real token counts otherwise."""
    torch.manual_seed(1)
    counted = torch.randn(found.shape) * real[:, :, None, None]
    return torch.autograd.grad((found * counted).sum(), inputs)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attend in pieces even where PyTorch's attention is faster."""
    monkeypatch.setattr(attention, "pays", lambda *_: True)


@pytest.fixture(params=["one piece", "many pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is attended to be computed whole, or in pieces as small as can be."""
    if request.param == "many pieces":
        monkeypatch.setattr(attention, "SCORES", 1)
        monkeypatch.setattr(attention, "QUERIES", 3)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [[7, 7], [7, 4, 1], None])
@pytest.mark.parametrize("kept_heads", [4, 2])
def test_outputs_and_gradients_are_those_of_torch(causal: bool, lengths: list[int] | None, kept_heads: int) -> None:
    inputs = drawn(len(lengths) if lengths else 2, 4, 7, kept_heads)
    mask = padded(lengths, causal) if lengths else None
    found, weights = attend(module(causal, 4 // kept_heads), *inputs, mask)
    expected = reference(*inputs, mask, causal)
    real = torch.arange(7) < torch.tensor(lengths or [7, 7])[:, None]
    assert weights is None
    torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=1e-6)
    own, others = gradients(found, inputs, real), gradients(expected, inputs, real)
    torch.testing.assert_close(own, others, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("pieces")
def test_any_other_mask_is_followed_token_by_token() -> None:
    inputs = drawn(2, 2, 7)
    torch.manual_seed(2)
    mask = (torch.rand(2, 1, 7, 7) < 0.5) | torch.eye(7, dtype=torch.bool)
    found, _ = attend(module(causal=True), *inputs, mask)
    expected = reference(*inputs, mask, causal=False)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    every = torch.ones(2, 7, dtype=torch.bool)
    torch.testing.assert_close(
        gradients(found, inputs, every), gradients(expected, inputs, every), rtol=1e-5, atol=1e-6
    )


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("told", ["by the module", "by an argument", "by a mask"])
def test_no_token_sees_what_comes_after_it(told: str) -> None:
    query, key, value = drawn(2, 2, 7)
    mask = padded([7, 7], causal=True) if told == "by a mask" else None
    argument = True if told == "by an argument" else None
    who = module(causal=told == "by the module")
    before, _ = attend(who, query, key, value, mask, is_causal=argument)
    with torch.no_grad():
        key[:, :, 5] += 1
        value[:, :, 5] += 1
    after, _ = attend(who, query, key, value, mask, is_causal=argument)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("causal", [False, True])
def test_dropout_drops_the_same_on_the_way_back(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drops, "draw", lambda rate: Drops(rate, seed=3))
    query, key, value = (part.double().detach().requires_grad_() for part in drawn(2, 2, 5))
    mask = padded([5, 3], causal)
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).double()

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attend(module(causal), query, key, value, mask, dropout=0.4)[0] * real[:, :, None, None]

    assert torch.autograd.gradcheck(run, (query, key, value))
    assert not torch.equal(run(query, key, value), attend(module(causal), query, key, value, mask)[0])


def test_dropout_leaves_the_mean_as_it_is() -> None:
    query, key, value = drawn(8, 16, 16)
    value = torch.ones_like(value)
    torch.manual_seed(3)
    found = torch.stack([attend(module(causal=False), query, key, value, None, dropout=0.1)[0] for _ in range(20)])
    assert found.std() > 0.01
    assert abs(found.mean() - 1) < 0.002


@pytest.mark.usefixtures("pieces")
def test_weights_are_dropped_at_the_rate_and_apart_from_other_layers_and_steps() -> None:
    query, key, _ = drawn(16, 4, WIDTH)
    value = torch.eye(WIDTH).expand(16, 4, WIDTH, WIDTH)  # what is found are the weights themselves
    torch.manual_seed(3)
    kept = [attend(module(causal=False), query, key, value, None, dropout=0.5)[0] > 0 for _ in range(4)]
    noise = 4 * (0.25 / kept[0].numel()) ** 0.5
    assert all(abs(float(one.float().mean()) - 0.5) < noise + 1 / 512 for one in kept)
    for i, one in enumerate(kept):
        assert all(abs(float((one & other).float().mean()) - 0.25) < noise for other in kept[:i])


OTHER_SHAPES: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor | None]]] = {
    "kept tokens": lambda query, key, value: (query[:, :, -1:], key, value, None),
    "fewer queries than keys": lambda query, key, value: (query[:, :, -2:], key, value, None),
    "values of another width": lambda query, key, value: (query, key, value[..., :2], None),
    "a mask that is added": lambda query, key, value: (query, key, value, torch.zeros(1, 1, 4, 4)),
}


@pytest.mark.parametrize("option", ["softcap", "s_aux", "position_bias", "cache", *OTHER_SHAPES])
def test_what_is_not_supported_is_left_to_torch(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *_, **__: asked.append(option))
    query, key, value = drawn(1, 2, 4)
    if option in OTHER_SHAPES:
        attend(module(causal=True), *OTHER_SHAPES[option](query, key, value))
    else:
        attend(module(causal=True), query, key, value, None, **cast(Any, {option: torch.ones(2)}))
    assert asked == [option]


@pytest.mark.parametrize(
    ("dtype", "dropout", "is_ours"),
    [(torch.float32, 0.0, False), (torch.float32, 0.1, True), (torch.bfloat16, 0.0, True), (torch.bfloat16, 0.1, True)],
)
def test_in_float32_without_dropout_the_flash_attention_of_torch_is_taken(
    dtype: torch.dtype, dropout: float, is_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(attention, "pays", pays)
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *_, **__: asked.append(dropout))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        attend(module(causal=True), *drawn(1, 2, 4), None, dropout=dropout)
    assert bool(asked) is not is_ours


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.booleans(), st.integers(1, 4), st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_every_score_that_counts_is_in_exactly_one_piece(
    lengths: list[int], causal: bool, heads: int, scores: int
) -> None:
    from loralab.engine.reach import reach

    tokens = max(lengths)
    mask = padded(lengths, causal)
    who = reach(mask, causal, torch.float32)
    times = torch.zeros(len(lengths) * heads, tokens, tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "SCORES", scores)
        patch.setattr(attention, "QUERIES", 16)
        for piece in attention._pieces(who, len(lengths), heads, tokens, torch.float32):
            one = torch.ones(piece.rows.stop - piece.rows.start, piece.queries.stop - piece.queries.start, piece.keys)
            if piece.bias is not None:
                by_text = one.view(piece.texts, -1, *one.shape[1:])
                by_text[..., -piece.bias.shape[-1] :] *= piece.bias == 0
            times[piece.rows, piece.queries, : piece.keys] += one
    wanted = mask.expand(-1, heads, -1, -1).reshape(times.shape)
    real = (torch.arange(tokens) < torch.tensor(lengths)[:, None]).repeat_interleave(heads, dim=0)
    assert torch.equal(times[real], wanted[real].float())


def test_bfloat16_under_autocast_stays_near_float32() -> None:
    inputs = drawn(2, 2, 7)
    exact, _ = attend(module(causal=False), *inputs, None)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = attend(module(causal=False), *inputs, None)
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).abs().max() < 0.03


@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_what_the_keys_have_in_common_costs_no_precision(offset: float) -> None:
    """As a bias of the keys; without one, the outputs are about as near as PyTorch's own in bfloat16."""
    query, key, value = (part.detach().bfloat16() for part in drawn(2, 2, 64))
    query, key = 4 * query, key + offset
    exact = scaled_dot_product_attention(query.double(), key.double(), value.double()).transpose(1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = attend(module(causal=False), query, key, value, None)
    assert (found.double() - exact).abs().max() < 0.1


def test_what_is_not_of_transformers_is_left_alone() -> None:
    network = nn.Linear(2, 2)
    with attention.attention_in_pieces(network, CPU):
        assert vars(network).keys() == vars(nn.Linear(2, 2)).keys()


def gpt2(implementation: str = "sdpa") -> GPT2Model:
    return GPT2Model(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2, attn_implementation=implementation))


@pytest.mark.parametrize(
    ("network", "device", "expected"),
    [
        (gpt2(), "cpu", attention.NAME),
        (gpt2(), "cuda", "sdpa"),  # GPUs have kernels of their own
        (gpt2(), "mps", "sdpa"),
        (gpt2("eager"), "cpu", "eager"),  # which was asked for, or is all that a model can do
    ],
)
def test_on_a_processor_models_attend_in_pieces_inside_and_as_before_afterwards(
    network: GPT2Model, device: str, expected: str
) -> None:
    before = network.config._attn_implementation
    with attention.attention_in_pieces(network, torch.device(device)):
        assert network.config._attn_implementation == expected
    assert network.config._attn_implementation == before


def test_a_model_that_looks_for_the_name_of_pytorchs_attention_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspect.getsource", lambda _: 'if self.config._attn_implementation == "sdpa" and x:\n')
    network = gpt2()
    with attention.attention_in_pieces(network, CPU):
        assert network.config._attn_implementation == "sdpa"
