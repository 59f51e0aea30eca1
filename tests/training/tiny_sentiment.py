"""A model and a dataset of the batch contract that are small enough to train in a second."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import BertConfig, BertModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput


@dataclass
class TinyOutput(ModelOutput):
    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None


class TinyConfig(PreTrainedConfig):
    model_type = "tiny_sentiment"
    dropout: float = 0.0


class TinyForSentiment(PreTrainedModel):
    """Mean of a two-layer BERT and of the audio frames, then a linear score."""

    config: TinyConfig
    base_model_prefix = "model"

    def __init__(self, config: TinyConfig) -> None:
        super().__init__(config)
        text_config = BertConfig(
            vocab_size=20,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        )
        self.text_model = BertModel(text_config, add_pooling_layer=False)
        self.audio = nn.Linear(3, 8)
        self.norm = nn.LayerNorm(8)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(8, 1)
        self.query_token = nn.Parameter(torch.zeros(1, 8))
        self.progress: list[float] = []
        self.seen_ids: list[list[int]] = []
        self.post_init()

    def set_training_progress(self, fraction: float) -> None:
        self.progress.append(fraction)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        audio_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        row_ids: torch.Tensor | None = None,
        output_losses: bool = False,
        **kwargs: Any,
    ) -> TinyOutput:
        if kwargs:
            raise TypeError(f"unexpected inputs {sorted(kwargs)}")
        if self.training and row_ids is not None:
            self.seen_ids.append(row_ids.tolist())
        text = self.text_model(input_ids, attention_mask=attention_mask).last_hidden_state.mean(1)
        audio = self.audio(audio_values).mean(1)
        hidden = self.norm(self.dropout(text + audio) + self.query_token)
        logits = self.head(hidden)
        if labels is None:
            return TinyOutput(logits=logits)
        task = (logits.squeeze(-1) - labels).pow(2).mean()
        size = logits.pow(2).mean()
        losses = {"task": task, "size": size} if output_losses else None
        return TinyOutput(loss=task + 0.01 * size if self.training else task, logits=logits, losses=losses)


class TinyRows(Dataset[dict[str, Any]]):
    """Learnable rows: the label follows the audio frames and the first word."""

    def __init__(self, num_rows: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.input_ids = torch.randint(1, 20, (num_rows, 6), generator=generator)
        self.audio_values = torch.randn(num_rows, 5, 3, generator=generator)
        self.labels = 2 * self.audio_values.mean((1, 2)) + (self.input_ids[:, 1] - 10) / 10

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        # A draw that depends on the epoch, as corruption does.
        noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(1000 * epoch + index)) * 0.01
        return {
            "input_ids": self.input_ids[index],
            "audio_values": self.audio_values[index] + noise,
            "labels": self.labels[index],
            "row_ids": torch.tensor(index),
            "sample_ids": f"row-{index}",
        }


def collate_rows(samples: list[dict[str, Any]]) -> dict[str, Any]:
    batch: dict[str, Any] = {
        name: torch.stack([sample[name] for sample in samples]) for name in samples[0] if name != "sample_ids"
    }
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    batch["sample_ids"] = [sample["sample_ids"] for sample in samples]
    return batch


def mean_absolute_error(prediction: Any) -> dict[str, float]:
    return {"mae": float(abs(prediction.predictions.squeeze(-1) - prediction.label_ids).mean())}
