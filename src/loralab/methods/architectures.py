"""How each architecture of transformers names the linear layers of its blocks."""

from __future__ import annotations

from collections.abc import Mapping

Patterns = tuple[str, ...]  # for the end of a layer's full name, as regular expressions
Roles = Mapping[str, Patterns]


def _roles(query: str, key: str, value: str, projection: str, feed_forward: Patterns) -> Roles:
    return {
        "query": (query,),
        "key": (key,),
        "value": (value,),
        "projection": (projection,),
        "feed-forward": feed_forward,
    }


def _fused(query_key_value: str, projection: str, feed_forward: Patterns) -> Roles:
    """One layer computes query, key and value together; each of the three roles means that layer."""
    return _roles(query_key_value, query_key_value, query_key_value, projection, feed_forward)


_BERT_FEED_FORWARD = (r"intermediate\.dense", r"layer\.\d+\.output\.dense")

_BERT = _roles(
    query=r"attention\.self\.query",
    key=r"attention\.self\.key",
    value=r"attention\.self\.value",
    projection=r"attention\.output\.dense",
    feed_forward=_BERT_FEED_FORWARD,
)
_LLAMA = _roles(
    query=r"self_attn\.q_proj",
    key=r"self_attn\.k_proj",
    value=r"self_attn\.v_proj",
    projection=r"self_attn\.o_proj",
    feed_forward=(r"mlp\.gate_proj", r"mlp\.up_proj", r"mlp\.down_proj"),
)

# By `model_type`. A descendant that renames nothing shares its ancestor's row.
ARCHITECTURES: Mapping[str, Roles] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": _roles(
        query=r"attention\.q_lin",
        key=r"attention\.k_lin",
        value=r"attention\.v_lin",
        projection=r"attention\.out_lin",
        feed_forward=(r"ffn\.lin1", r"ffn\.lin2"),
    ),
    "deberta": _fused(r"attention\.self\.in_proj", r"attention\.output\.dense", _BERT_FEED_FORWARD),
    "deberta-v2": _roles(  # and v3
        query=r"attention\.self\.query_proj",
        key=r"attention\.self\.key_proj",
        value=r"attention\.self\.value_proj",
        projection=r"attention\.output\.dense",
        feed_forward=_BERT_FEED_FORWARD,
    ),
    "albert": _roles(
        query=r"attention\.query",
        key=r"attention\.key",
        value=r"attention\.value",
        projection=r"attention\.dense",
        feed_forward=(r"albert_layers\.\d+\.ffn", r"albert_layers\.\d+\.ffn_output"),
    ),
    "mpnet": _roles(
        query=r"attention\.attn\.q",
        key=r"attention\.attn\.k",
        value=r"attention\.attn\.v",
        projection=r"attention\.attn\.o",
        feed_forward=_BERT_FEED_FORWARD,
    ),
    "modernbert": _fused(r"attn\.Wqkv", r"attn\.Wo", (r"mlp\.Wi", r"mlp\.Wo")),
    "gpt2": _fused(r"attn\.c_attn", r"attn\.c_proj", (r"mlp\.c_fc", r"mlp\.c_proj")),
    "gpt_neox": _fused(
        r"attention\.query_key_value", r"attention\.dense", (r"mlp\.dense_h_to_4h", r"mlp\.dense_4h_to_h")
    ),
    "opt": _roles(
        query=r"self_attn\.q_proj",
        key=r"self_attn\.k_proj",
        value=r"self_attn\.v_proj",
        projection=r"self_attn\.out_proj",
        feed_forward=(r"layers\.\d+\.fc1", r"layers\.\d+\.fc2"),
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "olmo2": _LLAMA,
    "smollm3": _LLAMA,
    "phi": _roles(
        query=r"self_attn\.q_proj",
        key=r"self_attn\.k_proj",
        value=r"self_attn\.v_proj",
        projection=r"self_attn\.dense",
        feed_forward=(r"mlp\.fc1", r"mlp\.fc2"),
    ),
    "phi3": _fused(r"self_attn\.qkv_proj", r"self_attn\.o_proj", (r"mlp\.gate_up_proj", r"mlp\.down_proj")),
}
