"""How a language model goes on, each token the likeliest one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loralab.errors import UserError
from loralab.pretrained import context_length, text_start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def continuation(model: Any, tokenizer: PreTrainedTokenizerBase, text: str, tokens: int) -> str:
    """Return what the model adds to the text: at most `tokens` tokens, fewer where it ends the text.

    It reads as much of the text's end as it has positions for. Raises UserError where there is none left for the text.
    """
    own = [] if (start := text_start(tokenizer)) is None else [start]
    positions = _positions(model)
    room = None if positions is None else positions - len(own)
    if tokens < 1:
        raise UserError(f"tokens: {tokens} is not a positive number")
    if room is not None and tokens >= room:
        raise UserError(f"tokens: this model has {positions} positions, text and all; ask for at most {room - 1}")
    read: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if room is not None:
        read = read[-(room - tokens) :]
    # As before a document in training; an end-of-text token only where there is nothing else to go on from.
    added = _likeliest(model, tokenizer, [*own, *read] or [tokenizer.eos_token_id], tokens)
    # Of the new tokens alone, some tokenizers would drop the space before the first word.
    before, after = (tokenizer.decode(piece, clean_up_tokenization_spaces=False) for piece in (read, read + added))
    return str(after[len(before) :])


def _likeliest(model: Any, tokenizer: PreTrainedTokenizerBase, context: list[int], tokens: int) -> list[int]:
    """Return the tokens that follow the context, the end-of-text token left out."""
    import torch
    from transformers import GenerationConfig

    # Instead of the checkpoint's own, which may draw at random or shun what was said before.
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    given = torch.tensor([context], device=next(model.parameters()).device)  # (1, tokens)
    with torch.inference_mode():
        found = model.generate(input_ids=given, attention_mask=torch.ones_like(given))[0]
    return [token for token in found[len(context) :].tolist() if token != tokenizer.eos_token_id]


def _positions(model: Any) -> int | None:
    """Return how many tokens the model can read, or None where nothing limits it."""
    most = context_length(model)
    if most is None:
        return None
    prefix = getattr(getattr(model, "active_peft_config", None), "num_virtual_tokens", None)
    return most - int(prefix or 0)
