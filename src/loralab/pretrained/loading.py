"""Loading models and tokenizers. Everything that is peculiar to loading with transformers stands here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loralab.errors import UserError
from loralab.memory import is_out_of_memory
from loralab.pretrained.locating import HOW_TO_CONVERT, locate
from loralab.pretrained.networks import Loaded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_WHAT_TO_GIVE = "give a folder with a saved model (--model DIR), or a hub id while the hub can be reached"


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """Return the model's tokenizer, padding on the right.

    A decoder's tokenizer without a padding token pads with its end-of-text token, as is the custom; the attention mask
    hides the padding either way. It pads on the right since transformers counts a decoder's positions from the left,
    padding or not, so that GPT-2 would place a text padded on the left otherwise than the text alone.
    """
    from transformers import AutoTokenizer

    tokenizer = _from_pretrained(AutoTokenizer, model)
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        # transformers 5 makes an empty tokenizer where it finds no file of one.
        raise UserError(f"model: {model!r} has no tokenizer files; save its tokenizer beside it, with save_pretrained")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(
                f"model: the tokenizer of {model!r} has neither a padding nor an end-of-text token\n"
                "  name one that its vocabulary has: tokenizer.pad_token = '...'; tokenizer.save_pretrained(DIR)"
            )
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def text_start(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the token that the tokenizer itself puts before every text, as those of Llama and Gemma do, or None."""
    first = tokenizer("", verbose=False)["input_ids"][:1]
    return tokenizer.bos_token_id if first == [tokenizer.bos_token_id] else None


def load_model(auto_class: Any, model: str, peft_task: str, *, has_head: bool = True, **settings: Any) -> Loaded:
    """Load `model` in float32, and find its head, which the network of a language model hasn't (`has_head`).

    The head is everything outside the base model, and what the checkpoint lacked within it, such as a pooler. What the
    checkpoint lacked, or held in another shape, was drawn at random just now, so the seed must have been set before.
    Raises UserError where the checkpoint doesn't fill the base model, or without
    a head not the whole network, and where a network without a head is no language model.

    `dtype` is always given: transformers 5 would otherwise load a bfloat16 checkpoint in bfloat16.
    """
    import torch

    network, report = _from_pretrained(
        auto_class,
        model,
        dtype=torch.float32,
        use_safetensors=True,  # a pickled checkpoint could run any code
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **settings,
    )
    names = [name for name, _ in network.named_parameters()]
    missing = set(report["missing_keys"]) & set(names)
    mismatched = {key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]} & set(names)
    if not has_head:
        _check_language_model(model, network, sorted(missing | mismatched))
        return Loaded(network, frozenset(), peft_task)
    base = {name for name in names if name.startswith(f"{network.base_model_prefix}.")}
    _check_base(model, network.config.model_type, base, missing, mismatched)
    drawn = missing | mismatched
    # Where a part of the head fits, it is trained with what was drawn: PEFT (0.21) would wrap the one inside the other.
    head = drawn | (set(names) - base)
    return Loaded(network, frozenset(head), peft_task, is_head_drawn=bool(drawn))


def _check_base(model: str, model_type: str, base: set[str], missing: set[str], mismatched: set[str]) -> None:
    """Raise UserError for pretrained weights that would have been drawn at random without a word.

    A pooler alone may be missing: it is trained with the head, and checkpoints of language models have none.
    """
    if base and base <= missing:
        raise UserError(f"model: the checkpoint of {model!r} holds no weights for its architecture, {model_type}")
    lacking = sorted(name for name in base & missing if "pooler" not in name)
    for names, problem in ((base & mismatched, "holds in other shapes than"), (lacking, "lacks, though")):
        if names:
            raise UserError(
                f"model: the checkpoint of {model!r} {problem} its config.json says, {_some(sorted(names))}\n"
                "  config.json belongs to another model; save the model again with `save_pretrained`"
            )


def _check_language_model(model: str, network: PreTrainedModel, lacking: Sequence[str]) -> None:
    """Raise UserError for weights that would have been drawn at random, and for a network that sees the next token."""
    if lacking:
        raise UserError(
            f"model: {model!r} is no language model's checkpoint: it lacks, or holds in another shape, "
            f"{_some(lacking)}\n  take a model that was saved as one, by AutoModelForCausalLM"
        )
    if _sees_next_token(network):
        raise UserError(
            f"model: {model!r} is no language model's checkpoint: its network, a {network.config.model_type}, reads "
            "the very tokens that it is to predict\n  take a decoder, such as GPT-2 or Llama"
        )


def _sees_next_token(network: PreTrainedModel) -> bool:
    """Tell whether the logits of the first token depend on the second, as those of BERT do."""
    import torch

    with torch.inference_mode():
        first, other = network(input_ids=torch.tensor([[0, 1], [0, 2]])).logits[:, 0]
    return not torch.allclose(first, other, rtol=1e-3, atol=1e-4)


def _from_pretrained(auto_class: Any, model: str, **settings: Any) -> Any:
    source = locate(model)
    try:
        # The loading report warns of the new head on every trial; what is new is read from the report itself instead.
        with transformers_quiet():
            # Without a word on remote code, transformers would ask on standard input.
            return auto_class.from_pretrained(source, trust_remote_code=False, **settings)
    except Exception as error:  # whatever the reader of a damaged file stumbles over: no list of types is complete
        if is_out_of_memory(error):
            raise  # an answer about the model, which is no mistake
        raise UserError(_refusal(model, auto_class.__name__, error)) from error


@contextmanager
def transformers_quiet() -> Iterator[None]:
    """Keep transformers' remarks and progress bars to itself; afterwards they are as they were."""
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


# Errors for which transformers (5.23) has no type of its own, by a part of its words.
_REFUSALS = {
    "trust_remote_code": "asks to run code of its own, which loralab doesn't do (trust_remote_code is off)\n"
    "  take a model of an architecture that transformers has",
    "does not recognize this architecture": "is of an architecture that this transformers doesn't know\n"
    "  update transformers, or take another model",
    "Unrecognized configuration class": "is of an architecture that has no {auto_class} in transformers\n"
    "  take a model of another one",
}


def _refusal(model: str, auto_class: str, error: Exception) -> str:
    if isinstance(error, OSError):
        only_pickled = "thus cannot be loaded with `safetensors`" in str(error)
        return f"model: {model!r} can't be loaded: {error}\n  {HOW_TO_CONVERT if only_pickled else _WHAT_TO_GIVE}"
    for words, told in _REFUSALS.items():
        if words in str(error):
            return f"model: {model!r} {told.format(auto_class=auto_class)}"
    return (
        f"model: {model!r} can't be loaded by {auto_class}: {type(error).__name__}: {error}\n"
        "  one of its files is damaged or missing; fetch or save it again"
    )


def _some(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
