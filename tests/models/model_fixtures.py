"""Tiny models and batches for the contract suite; a peer model joins by one more entry in `MODEL_BUILDERS`."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from modeling_hfr_ame import HfrAmeConfig, HfrAmeForSentiment

AUDIO_SIZE, VISION_SIZE, VOCABULARY = 5, 7, 60
UNKNOWN_ID = 3


def tiny_config(**overrides: Any) -> HfrAmeConfig:
    values: dict[str, Any] = {
        "text_config": {
            "model_type": "bert",
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        },
        "audio_config": {"feature_size": AUDIO_SIZE},
        "vision_config": {"feature_size": VISION_SIZE},
        "hidden_size": 16,
        "condition_size": 8,
        "unet_channels": (16, 24),
        "num_attention_heads": 2,
        "ame_hidden_size": 16,
        "ame_sequence_length": 8,
        "unk_token_id": UNKNOWN_ID,
    }
    return HfrAmeConfig(**(values | overrides))


def build_hfr_ame(**overrides: Any) -> HfrAmeForSentiment:
    torch.manual_seed(0)
    return HfrAmeForSentiment(tiny_config(**overrides))


MODEL_BUILDERS: dict[str, Callable[..., PreTrainedModel]] = {"hfr_ame": build_hfr_ame}


def shake(model: PreTrainedModel) -> PreTrainedModel:
    """Moves every parameter, so that zero-initialised paths take part in what a test compares."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def random_batch(
    lengths: list[tuple[int, int, int]], seed: int = 0, training: bool = False, pad: int = 0
) -> dict[str, torch.Tensor]:
    """A batch with the given valid lengths of text tokens, audio and vision frames (0 = absent).

    Args:
        lengths: Per row; a text needs at least 2 tokens (its special tokens).
        seed: Of the values; row i depends on (seed, i) alone, not on its batch mates.
        training: Whether the clean twin, severity and labels are added.
        pad: Extra padding steps, filled with junk.
    """
    longest = [max(1, max(row[m] for row in lengths)) + pad for m in range(3)]
    size = len(lengths)
    batch = {
        "input_ids": torch.full((size, longest[0]), 0),
        "attention_mask": torch.zeros(size, longest[0], dtype=torch.long),
        "audio_values": torch.full((size, longest[1], AUDIO_SIZE), 9.0),
        "audio_mask": torch.zeros(size, longest[1], dtype=torch.bool),
        "vision_values": torch.full((size, longest[2], VISION_SIZE), 9.0),
        "vision_mask": torch.zeros(size, longest[2], dtype=torch.bool),
    }
    for row, (text, audio, vision) in enumerate(lengths):
        generator = torch.Generator().manual_seed(1000 * seed + row)
        batch["input_ids"][row, :text] = torch.randint(5, VOCABULARY, (text,), generator=generator)
        batch["attention_mask"][row, :text] = 1
        batch["audio_values"][row, :audio] = torch.randn(audio, AUDIO_SIZE, generator=generator)
        batch["audio_mask"][row, :audio] = True
        batch["vision_values"][row, :vision] = torch.randn(vision, VISION_SIZE, generator=generator)
        batch["vision_mask"][row, :vision] = True
    batch["modality_mask"] = torch.tensor([[length > 0 for length in row] for row in lengths])
    if training:
        generator = torch.Generator().manual_seed(seed)
        batch |= {
            f"clean_{name}": batch[name].clone()
            for name in (
                "input_ids",
                "attention_mask",
                "audio_values",
                "audio_mask",
                "vision_values",
                "vision_mask",
            )
        }
        batch["clean_text_index"] = torch.arange(longest[0]).expand(size, -1).clone()
        batch["severity"] = torch.rand(size, 3, generator=generator)
        batch["labels"] = (6 * torch.rand(size, generator=generator) - 3).clamp(-3, 3)
    return batch


def row_of(batch: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    return {name: value[row : row + 1] for name, value in batch.items()}
