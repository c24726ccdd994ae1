"""Text classification: one label for each text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, PositiveInt

from loralab import pretrained
from loralab.data import AnyData, AnyRows, LabelledData, Rows
from loralab.data.rows import Text
from loralab.data.sources import Data
from loralab.errors import UserError, unknown_name
from loralab.settings import Settings
from loralab.tasks.batch_loss import BatchLoss
from loralab.tasks.encoding import as_tokens, encoded, joined
from loralab.tasks.examples import Examples, Texts
from loralab.tasks.items import Items, LabelScores
from loralab.tasks.metrics import (
    CLASSIFICATION,
    Metric,
    classification_scores,
    confusion,
    contributions,
    log_losses,
    score_of_means,
)
from loralab.tasks.saved_lines import quoted, tokenizer_line, whole_model_lines

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from loralab.pretrained import Loaded

AUTO_CLASS = "AutoModelForSequenceClassification"
PEFT_AUTO_CLASS = "AutoPeftModelForSequenceClassification"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # the last for pairs alone


class Classification(Settings):
    """One label for each text or pair of texts, chosen by a linear head on a pretrained encoder or decoder."""

    kind: Literal["classification"] = "classification"
    item: ClassVar[str] = "text"  # what is scored,
    example: ClassVar[str] = "text"  # what a batch is made of,
    length_setting: ClassVar[str] = "max_length"

    data: Data
    max_length: PositiveInt = 256  # tokens; longer texts are cut, and their share is recorded
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the training loss (Szegedy et al. 2016)
    # How much a text of each label counts in the training loss: as named, or all labels alike.
    class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """How this task is scored; the first metric is the primary one."""
        return CLASSIFICATION

    @property
    def tuning_metric(self) -> str:
        """The metric, the lower the better, by which learning rates are chosen: finer than accuracy on few rows."""
        return "log_loss"

    @property
    def final_sets(self) -> tuple[str, ...]:
        """What a final trial is scored on."""
        return ("test",)

    @property
    def longest(self) -> int:
        """The most tokens that are read at once."""
        return self.max_length

    def read(self) -> LabelledData:
        """Read the rows. Raises UserError with all mistakes of the source."""
        return self.data.read()

    def is_on_hub(self) -> bool:
        """Tell whether reading needs the hub."""
        return self.data.is_on_hub()

    def count_examples(self, data: AnyData) -> int:
        """Return how many texts an epoch trains on."""
        return len(data.train)

    def examples(self, data: AnyData, tokenizer: PreTrainedTokenizerBase) -> dict[str, Examples]:
        """Tokenise every split."""
        assert isinstance(data, LabelledData)
        rows = {"train": data.train, "validation": data.validation, "test": data.test}
        return {name: self.tokenise(split, tokenizer) for name, split in rows.items()}

    def tokenise(self, rows: AnyRows, tokenizer: PreTrainedTokenizerBase) -> Texts:
        """Turn texts into token ids, cut at `max_length`; of a pair, the longer text is cut first."""
        assert isinstance(rows, Rows)
        if self.max_length > tokenizer.model_max_length:
            raise UserError(
                f"task.max_length: this model reads at most {tokenizer.model_max_length} tokens, not {self.max_length}"
            )
        input_ids, types = [], []
        for some in _encode(rows.texts, tokenizer, truncation=True, max_length=self.max_length):
            # Nothing may be left of a text that the tokenizer doesn't know; a network needs a token all the same.
            input_ids += [as_tokens(tokens or [_stand_in(tokenizer)]) for tokens in some["input_ids"]]
            types += [as_tokens(one) for one in some.get("token_type_ids", [])]
        # Only a text that fills the limit can have been cut; its whole length tells.
        full = [text for text, tokens in zip(rows.texts, input_ids, strict=True) if len(tokens) == self.max_length]
        whole = (len(tokens) for some in _encode(full, tokenizer, verbose=False) for tokens in some["input_ids"])
        lengths = np.array([len(tokens) for tokens in input_ids], dtype=np.int64)
        return Texts(
            ids=rows.ids,
            stream=joined(input_ids),
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            labels=np.array(rows.labels, dtype=np.int64),
            truncated=sum(length > self.max_length for length in whole),
            # Zero is what a model takes where it is given none, and DistilBERT takes none at all.
            types=joined(types) if any(one.any() for one in types) else None,
        )

    def load(self, model: str, tokenizer: PreTrainedTokenizerBase, data: AnyData) -> Loaded:
        """Load the pretrained model with a head for the labels, in float32. The head is drawn at random: seed first."""
        import transformers

        assert isinstance(data, LabelledData)
        loaded = pretrained.load_model(
            getattr(transformers, AUTO_CLASS),
            model,
            peft_task="SEQ_CLS",
            num_labels=len(data.label_names),
            id2label=dict(enumerate(data.label_names)),
            label2id={name: index for index, name in enumerate(data.label_names)},
        )
        is_decoder = pretrained.reads_last_token(loaded.network)  # an encoder's relative positions know no end
        most = (pretrained.context_length if is_decoder else pretrained.most_positions)(loaded.network)
        if most is not None and self.max_length > most:
            raise UserError(f"task.max_length: this model reads at most {most} tokens, not {self.max_length}")
        config = loaded.network.config.get_text_config()  # one inside, where a model reads more than texts
        if config.pad_token_id is None or is_decoder:
            # The padding that the batches hold, whatever the checkpoint says.
            config.pad_token_id = loaded.network.config.pad_token_id = tokenizer.pad_token_id
        return loaded

    def collate(
        self, examples: Examples, indices: Sequence[int] | npt.NDArray[np.int64], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        """Return a batch padded to its longest text.

        `input_ids`, `attention_mask` and, for pairs, `token_type_ids`: (batch, tokens); `labels`: (batch).
        """
        import torch

        assert isinstance(examples, Texts)
        chosen = examples.take(np.asarray(indices))
        within = np.arange(chosen.lengths.max())
        real = within < chosen.lengths[:, None]
        places = np.where(real, chosen.starts[:, None] + within, 0)
        batch = {
            "input_ids": np.where(real, chosen.stream[places], tokenizer.pad_token_id),
            "attention_mask": real,
            "labels": chosen.labels,
        }
        if chosen.types is not None:
            batch["token_type_ids"] = np.where(real, chosen.types[places], 0)
        return {name: torch.from_numpy(column.astype(np.int64)) for name, column in batch.items()}

    def outputs(self, network: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits, (batch, labels), in float32."""
        output = network(**{name: batch[name] for name in INPUTS if name in batch})
        logits: torch.Tensor = output.logits.float()
        return logits

    def weights(self, data: AnyData) -> tuple[float, ...] | None:
        """Return how much a text of each label counts in the training loss, or None where all count one.

        'balanced' is rows / (labels * rows of the label), with which the mean over the rows is one. Raises UserError
        for a label that there isn't.
        """
        assert isinstance(data, LabelledData)
        rows, label_names = data.train, data.label_names
        if self.class_weights is None:
            return None
        if self.class_weights == "balanced":
            counts = np.bincount(rows.labels, minlength=len(label_names))
            return tuple(float(weight) for weight in len(rows) / (len(label_names) * np.maximum(counts, 1)))
        for name in self.class_weights:
            if name not in label_names:
                raise UserError(f"task.class_weights: {unknown_name('label', name, label_names)}")
        return tuple(self.class_weights.get(name, 1.0) for name in label_names)

    def loss(
        self, network: Any, batch: Mapping[str, torch.Tensor], weights: tuple[float, ...] | None = None
    ) -> BatchLoss:
        """Return the batch's training loss and right answers, both summed; `weights` are those of the labels."""
        import torch
        from torch.nn.functional import cross_entropy

        logits = self.outputs(network, batch)
        weighted = None if weights is None else torch.tensor(weights, device=logits.device)
        return BatchLoss(
            loss=cross_entropy(
                logits, batch["labels"], weight=weighted, label_smoothing=self.label_smoothing, reduction="sum"
            ),
            correct=(logits.argmax(dim=-1) == batch["labels"]).sum().detach(),
        )

    def comparable(self, outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what two copies of a model must agree in: the logits."""
        return outputs

    def items(self, scored: Mapping[str, tuple[Examples, npt.NDArray[np.float32]]]) -> LabelScores:
        """Judge the logits, (rows, labels), of the only set there is, text by text."""
        ((examples, logits),) = scored.values()
        assert isinstance(examples, Texts)
        return LabelScores(
            label_count=logits.shape[1],
            ids=examples.ids,
            labels=tuple(examples.labels.tolist()),
            predictions=tuple(int(label) for label in logits.argmax(axis=1)),
            log_losses=tuple(float(loss) for loss in log_losses(logits, examples.labels)),
        )

    def scores(self, items: Items) -> dict[str, float]:
        """Return every metric by name."""
        assert isinstance(items, LabelScores)
        return classification_scores(items)

    def sums_of(self, metric: str) -> str:
        """Return which sums the metric is made from: metrics of the same ones have the same contributions."""
        return metric if metric in ("accuracy", "log_loss") else "counts of labels"

    def contributions(self, metric: str, items: Items) -> npt.NDArray[np.float32]:
        """Return (items, columns): what each item adds to the sums from which `score_of_means` makes the metric."""
        assert isinstance(items, LabelScores)
        return contributions(metric, items)

    def score_of_means(self, metric: str, means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the metric, (...), from the means over items of its contributions, (..., columns)."""
        return score_of_means(metric, means)

    def right(self, items: Items) -> list[bool]:
        """Tell of every item whether it was answered right."""
        assert isinstance(items, LabelScores)
        return [label == predicted for label, predicted in zip(items.labels, items.predictions, strict=True)]

    def confusion(self, items: Items) -> tuple[tuple[int, ...], ...]:
        """Return the confusion matrix: rows are true labels, columns predicted ones."""
        assert isinstance(items, LabelScores)
        return confusion(items)

    def loading_lines(self, network: Any, folder: str, *, adapter: bool) -> str:
        """Return the Python lines that load what was saved in `folder`, with the arguments without which it fails.

        PEFT builds the base model anew from the checkpoint's own configuration, which knows neither the labels nor, in
        a decoder, the padding token.
        """
        if not adapter:
            return whole_model_lines(AUTO_CLASS, folder)
        config = network.config
        labels = {"id2label": config.id2label, "label2id": config.label2id}
        arguments = {"num_labels": config.num_labels, **labels, "dtype": "float32"}
        if config.pad_token_id is not None:
            arguments["pad_token_id"] = config.pad_token_id
        listed = "".join(f",\n    {name}={value!r}" for name, value in arguments.items())
        return (
            f"from peft import {PEFT_AUTO_CLASS}\nfrom transformers import AutoTokenizer\n"
            f"model = {PEFT_AUTO_CLASS}.from_pretrained(\n    {quoted(folder)}{listed},\n)\n{tokenizer_line(folder)}"
        )


def _encode(texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, **settings: Any) -> Iterator[Mapping[str, Any]]:
    """Tokenise texts or pairs; a tokenizer that has no sign between two texts gets a line break between them."""
    pairs = [text for text in texts if isinstance(text, tuple)]
    columns: Sequence[list[Any]] = [list(texts)]
    if pairs and tokenizer.sep_token is None:
        columns = [["\n".join(pair) for pair in pairs]]
    elif pairs:
        columns = [[first for first, _ in pairs], [second for _, second in pairs]]
    return encoded(tokenizer, *columns, **settings)


def _stand_in(tokenizer: PreTrainedTokenizerBase) -> int:
    known: tuple[int | None, ...] = (tokenizer.unk_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next(token for token in known if token is not None)
