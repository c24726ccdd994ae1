"""Causal language modelling: the next token, in and out of the domain that is trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from loralab import pretrained
from loralab.data import AnyData, AnyRows, CorpusData, Documents
from loralab.data.corpus import Corpus, EvaluationSet
from loralab.data.records import gather
from loralab.errors import UserError
from loralab.settings import Settings
from loralab.tasks.batch_loss import BatchLoss
from loralab.tasks.examples import Examples, Windows
from loralab.tasks.items import CorpusScores, DocumentScores, Items
from loralab.tasks.metrics import Metric
from loralab.tasks.perplexity import (
    LOG_PERPLEXITY,
    corpus_metrics,
    corpus_scores,
    document_contributions,
    ratio_of_means,
    set_of,
)
from loralab.tasks.saved_lines import quoted, tokenizer_line, whole_model_lines
from loralab.tasks.windows import make_stream, scoring_windows, training_blocks

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from loralab.pretrained import Loaded

AUTO_CLASS = "AutoModelForCausalLM"
PEFT_AUTO_CLASS = "AutoPeftModelForCausalLM"
SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class CausalLM(Settings):
    """Each token predicted from those before it: perplexity on the corpus, and on sets from elsewhere."""

    kind: Literal["causal-lm"] = "causal-lm"
    item: ClassVar[str] = "document"
    example: ClassVar[str] = "block"
    length_setting: ClassVar[str] = "block_size"

    data: Corpus
    block_size: Annotated[int, Field(ge=2)] = 256  # tokens that are read at once, in training and in scoring
    stride: PositiveInt | None = None  # tokens between two windows in scoring; half of `block_size`, if not given
    evaluate: dict[SetName, EvaluationSet] = Field(default_factory=dict)  # further sets, from elsewhere

    @model_validator(mode="after")
    def _fits_together(self) -> CausalLM:
        if self.stride is not None and self.stride > self.block_size:
            told = "{stride} is more than block_size, {size}: tokens between two windows would never be scored"
            raise PydanticCustomError("stride", told, {"stride": self.stride, "size": self.block_size})
        taken = next((name for name in ("train", "validation", "test") if name in self.evaluate), None)
        if taken is not None:
            raise PydanticCustomError("evaluate", "{name} is a split of the corpus; call it otherwise", {"name": taken})
        return self

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """How this task is scored; the first metric is the primary one."""
        return corpus_metrics({name: one.last_word for name, one in self.evaluate.items()})

    @property
    def tuning_metric(self) -> str:
        """The metric, the lower the better, by which learning rates are chosen."""
        return LOG_PERPLEXITY

    @property
    def final_sets(self) -> tuple[str, ...]:
        """What a final trial is scored on, the set first that the task is about."""
        return ("test", *self.evaluate)

    @property
    def longest(self) -> int:
        """The most tokens that are read at once."""
        return self.block_size

    @property
    def steps_of_scoring(self) -> int:
        """How many tokens the window moves on in scoring."""
        return self.stride or self.block_size // 2

    def read(self) -> CorpusData:
        """Read the documents. Raises UserError with all mistakes of the sources."""
        calls: list[Callable[[], Any]] = [self.data.read, *(one.read for one in self.evaluate.values())]
        data, *others = gather("the data", calls)
        assert isinstance(data, CorpusData)
        return replace(data, others=dict(zip(self.evaluate, others, strict=True)))

    def is_on_hub(self) -> bool:
        """Tell whether reading needs the hub."""
        return self.data.is_on_hub() or any(one.is_on_hub() for one in self.evaluate.values())

    def count_examples(self, data: AnyData) -> int:
        """Return about how many blocks an epoch trains on: English takes some 4 bytes a token."""
        assert isinstance(data, CorpusData)
        return sum(len(text) for text in data.train.texts) // (4 * self.block_size)

    def examples(self, data: AnyData, tokenizer: PreTrainedTokenizerBase) -> dict[str, Examples]:
        """Cut train into blocks and the other splits and sets into windows."""
        assert isinstance(data, CorpusData)
        self.check_tokenizer(tokenizer)
        blocks = training_blocks(make_stream(data.train, tokenizer), self.block_size)
        if not len(blocks):
            raise UserError(f"task.block_size: train has fewer than {self.block_size} tokens; take smaller blocks")
        return {
            "train": blocks,
            "validation": self._windows(data.validation, tokenizer, self.data),
            "test": self._windows(data.test, tokenizer, self.data),
            **{name: self._windows(data.others[name], tokenizer, one) for name, one in self.evaluate.items()},
        }

    def tokenise(self, documents: AnyRows, tokenizer: PreTrainedTokenizerBase) -> Windows:
        """Cut documents of the corpus into the windows in which they are scored."""
        assert isinstance(documents, Documents)
        self.check_tokenizer(tokenizer)
        return self._windows(documents, tokenizer, self.data)

    def _windows(
        self, documents: Documents, tokenizer: PreTrainedTokenizerBase, source: Corpus | EvaluationSet
    ) -> Windows:
        last_word = isinstance(source, EvaluationSet) and source.last_word
        stream = make_stream(documents, tokenizer, last_word=last_word)
        if not stream.owned_before[-1]:
            raise UserError(f"data: the model's tokenizer makes no token of what {source.source} is scored on")
        return scoring_windows(stream, self.block_size, self.steps_of_scoring, source.context)

    def check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise UserError where texts can't be cut into blocks with it."""
        if self.block_size > tokenizer.model_max_length:
            raise UserError(
                f"task.block_size: this model reads at most {tokenizer.model_max_length} tokens, not {self.block_size}"
            )
        if tokenizer.eos_token_id is None:
            raise UserError(
                "model: its tokenizer has no end-of-text token, which stands between documents\n"
                "  take a decoder, such as GPT-2 or Llama"
            )

    def load(self, model: str, tokenizer: PreTrainedTokenizerBase, data: AnyData) -> Loaded:  # noqa: ARG002 - as other tasks
        """Load the pretrained model in float32. Nothing of it is new."""
        import transformers

        loaded = pretrained.load_model(getattr(transformers, AUTO_CLASS), model, peft_task="CAUSAL_LM", has_head=False)
        most = pretrained.context_length(loaded.network)
        if most is not None and self.block_size > most:
            raise UserError(f"task.block_size: this model reads at most {most} tokens, not {self.block_size}")
        if loaded.network.config.pad_token_id is None:
            loaded.network.config.pad_token_id = tokenizer.pad_token_id
        return loaded

    def collate(
        self, examples: Examples, indices: npt.NDArray[np.int64], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        """Return a batch: `input_ids` and `labels`, the token after each, (batch, tokens); a label of -100 counts not.

        Windows of unequal length are padded, and `attention_mask` says where; training blocks are of one length. What
        the tokenizer puts before every text stands first in every window, in the middle of a document in place of the
        token there, as in llama.cpp's perplexity: without it a Gemma reads nothing well.
        """
        import torch

        from loralab.tasks.likelihood import NOT_COUNTED

        assert isinstance(examples, Windows)
        tokens = examples.stream.tokens
        chosen = examples.take(np.asarray(indices))
        places = chosen.starts[:, None] + np.arange(chosen.lengths.max())  # (batch, tokens)
        inside = places < chosen.ends[:, None]
        places = np.minimum(places, len(tokens) - 2)
        scored = inside & (places + 1 >= chosen.firsts[:, None]) & examples.count(places + 1)
        batch = {
            # Not the padding token: one that was added to the tokenizer alone has no embedding.
            "input_ids": np.where(inside, tokens[places], tokenizer.eos_token_id),
            "labels": np.where(scored, tokens[places + 1], NOT_COUNTED),
        }
        if examples.stream.start is not None:
            batch["input_ids"][:, 0] = examples.stream.start
        if not inside.all():
            batch["attention_mask"] = inside
        return {name: torch.from_numpy(column.astype(np.int64)) for name, column in batch.items()}

    def outputs(self, network: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (batch, tokens, 2), float32: each label's negative log-likelihood, and 1 where it is the likeliest."""
        from loralab.tasks.likelihood import token_losses

        return token_losses(network, batch)

    def weights(self, data: AnyData) -> None:
        """Return nothing: there are no labels to weigh."""

    def loss(self, network: Any, batch: Mapping[str, torch.Tensor], weights: object = None) -> BatchLoss:  # noqa: ARG002 - as other tasks
        """Return the batch's training loss, summed over its tokens."""
        from loralab.tasks.likelihood import summed_loss

        return BatchLoss(summed_loss(network, batch), None)

    def comparable(self, outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what two copies of a model must agree in: each token's likelihood, to which every logit adds."""
        return outputs[..., 0]

    def items(self, scored: Mapping[str, tuple[Examples, npt.NDArray[np.float32]]]) -> CorpusScores:
        """Add up `outputs`, (windows, tokens, 2), by document, for every set by name."""
        return CorpusScores(sets={name: _by_document(examples, found) for name, (examples, found) in scored.items()})

    def scores(self, items: Items) -> dict[str, float]:
        """Return every metric by name."""
        assert isinstance(items, CorpusScores)
        return corpus_scores(items)

    def sums_of(self, metric: str) -> str:
        """Return which sums the metric is made from: metrics of the same ones have the same contributions."""
        name, _, kind = metric.rpartition("/")
        return f"{name}/last words" if kind == "last_word" else f"{name}/nats, tokens and bytes"

    def contributions(self, metric: str, items: Items) -> npt.NDArray[np.float32]:
        """Return (documents, columns): what each document adds to the sums that a metric is made from."""
        assert isinstance(items, CorpusScores)
        return document_contributions(metric, set_of(metric, items)).astype(np.float32)

    def score_of_means(self, metric: str, means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the metric, (...), from the means over documents of its contributions, (..., columns)."""
        return ratio_of_means(metric, means)

    def right(self, items: Items) -> None:
        """Return nothing: no document is right or wrong."""

    def confusion(self, items: Items) -> None:
        """Return nothing: there are no labels to be confused."""

    def loading_lines(self, network: Any, folder: str, *, adapter: bool) -> str:  # noqa: ARG002 - as other tasks
        """Return the Python lines that load what was saved in `folder`."""
        if not adapter:
            return whole_model_lines(AUTO_CLASS, folder)
        return (
            f"from peft import {PEFT_AUTO_CLASS}\nfrom transformers import AutoTokenizer\n"
            f'model = {PEFT_AUTO_CLASS}.from_pretrained({quoted(folder)}, dtype="float32")\n{tokenizer_line(folder)}'
        )


def _by_document(examples: Examples, outputs: npt.NDArray[np.float32]) -> DocumentScores:
    """Add up (windows, tokens, 2) by the document that each label is of."""
    assert isinstance(examples, Windows)
    stream, count = examples.stream, len(examples.stream.ids)
    of_token = np.zeros((2, len(stream.tokens)))  # nats, and whether it was the likeliest
    scored = np.zeros(len(stream.tokens), dtype=bool)
    for start, first, end, found in zip(examples.starts, examples.firsts, examples.ends, outputs, strict=True):
        of_token[:, first : end + 1] = found[first - 1 - start : end - start].T
        scored[first : end + 1] = True
    counted = scored & examples.count(np.arange(len(scored)))
    owners = stream.owners[counted]
    last_words = None
    if stream.last_words is not None:
        last_words = tuple(bool(of_token[1, begin:end].all()) for begin, end in stream.last_words)
    return DocumentScores(
        ids=stream.ids,
        nats=tuple(float(nats) for nats in np.bincount(owners, of_token[0, counted], count)),
        tokens=tuple(int(tokens) for tokens in np.bincount(owners, minlength=count)),
        bytes=stream.bytes,
        last_words=last_words,
    )
