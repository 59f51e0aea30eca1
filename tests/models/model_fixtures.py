"""Tiny models and batches for the contract suite; a peer model joins by one more entry in `MODEL_BUILDERS`."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from modeling_hfr_ame import (
    CyinConfig,
    CyinForSentiment,
    DashFusionConfig,
    DashFusionForSentiment,
    HfrAmeConfig,
    HfrAmeForSentiment,
    HmeConfig,
    HmeForSentiment,
    LnlnConfig,
    LnlnForSentiment,
    MidgConfig,
    MidgForSentiment,
    MmslfConfig,
    MmslfForSentiment,
)

AUDIO_SIZE, VISION_SIZE, VOCABULARY = 5, 7, 60
UNKNOWN_ID = 3


def tiny_inputs() -> dict[str, Any]:
    """Configuration fields that every model shares."""
    return {
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
        "unk_token_id": UNKNOWN_ID,
    }


def tiny_config(**overrides: Any) -> HfrAmeConfig:
    values: dict[str, Any] = tiny_inputs() | {
        "hidden_size": 16,
        "condition_size": 8,
        "unet_channels": (16, 24),
        "num_attention_heads": 2,
        "ame_hidden_size": 16,
        "ame_sequence_length": 8,
    }
    return HfrAmeConfig(**(values | overrides))


def build_hfr_ame(**overrides: Any) -> HfrAmeForSentiment:
    torch.manual_seed(0)
    return HfrAmeForSentiment(tiny_config(**overrides))


def tiny_lnln_config(**overrides: Any) -> LnlnConfig:
    values: dict[str, Any] = tiny_inputs() | {
        "hidden_size": 16,
        "num_tokens": 3,
        "max_text_length": 40,
        "max_audio_length": 40,
        "max_vision_length": 40,
        "num_attention_heads": 2,
        "head_size": 8,
        "ffn_size": 32,
        "num_hyper_heads": 2,
        "completeness_size": 8,
        "discriminator_size": 8,
    }
    return LnlnConfig(**(values | overrides))


def build_lnln(**overrides: Any) -> LnlnForSentiment:
    torch.manual_seed(0)
    return LnlnForSentiment(tiny_lnln_config(**overrides))


def tiny_dashfusion_config(**overrides: Any) -> DashFusionConfig:
    values: dict[str, Any] = tiny_inputs() | {
        "hidden_size": 16,
        "max_audio_length": 40,
        "max_vision_length": 40,
        "num_audio_layers": 1,
        "num_vision_layers": 2,
        "num_audio_heads": 2,
        "num_vision_heads": 4,
        "encoder_ffn_size": 24,
        "num_alignment_heads": 2,
        "alignment_head_size": 6,
        "num_bottleneck_tokens": 4,
        "num_attention_heads": 2,
        "fusion_ffn_size": 32,
        "head_sizes": (32, 16),
    }
    return DashFusionConfig(**(values | overrides))


def build_dashfusion(**overrides: Any) -> DashFusionForSentiment:
    torch.manual_seed(0)
    return DashFusionForSentiment(tiny_dashfusion_config(**overrides))


def tiny_hme_config(**overrides: Any) -> HmeConfig:
    values: dict[str, Any] = tiny_inputs() | {
        "fusion_dropout": 0.0,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "num_layers": 1,
        "num_hyper_layers": 1,
        "num_latent_layers": 1,
        "num_latents": 3,
        "num_fusion_layers": 1,
        "fusion_ffn_size": 32,
        "memory_size": 6,
    }
    return HmeConfig(**(values | overrides))


def build_hme(**overrides: Any) -> HmeForSentiment:
    """With a memory that training has filled, which eval mode retrieves from."""
    torch.manual_seed(0)
    model = HmeForSentiment(tiny_hme_config(**overrides)).train()
    with torch.no_grad():
        model(**random_batch([(6, 5, 4), (4, 3, 0), (0, 4, 3), (5, 0, 2)], seed=5))
    return model


def tiny_cyin_config(**overrides: Any) -> CyinConfig:
    values: dict[str, Any] = tiny_inputs() | {
        # Scores of one modality are compared on the rows that have it, an even number of which could cancel in L1.
        "task_loss": "huber",
        "aligned_length": 6,
        "max_text_length": 40,
        "max_audio_length": 40,
        "max_vision_length": 40,
        "bottleneck_size": 32,
        "bottleneck_hidden_size": 32,
        "translator_sizes": (6, 4),
        "num_translator_blocks": 2,
        "hidden_size": 16,
        "num_crossmodal_layers": 1,
        "num_memory_layers": 1,
        "num_attention_heads": 2,
    }
    return CyinConfig(**(values | overrides))


def build_cyin(**overrides: Any) -> CyinForSentiment:
    torch.manual_seed(0)
    return CyinForSentiment(tiny_cyin_config(**overrides))


def tiny_midg_config(**overrides: Any) -> MidgConfig:
    values: dict[str, Any] = tiny_inputs() | {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "ffn_size": 24,
        "adapter_size": 8,
        "num_adapter_heads": 2,
        # The suite asks every parameter for a gradient, so every expert is active.
        "num_experts": 3,
        "num_active_experts": 3,
        "expert_ffn_size": 24,
        "interaction_size": 8,
    }
    return MidgConfig(**(values | overrides))


def build_midg(**overrides: Any) -> MidgForSentiment:
    torch.manual_seed(0)
    return MidgForSentiment(tiny_midg_config(**overrides))


ERM = {"use_adapters": False, "use_disentanglement": False, "use_ood_view": False, "use_experts": False}


def build_midg_erm(**overrides: Any) -> MidgForSentiment:
    return build_midg(**(ERM | overrides))


def tiny_mmslf_config(**overrides: Any) -> MmslfConfig:
    values: dict[str, Any] = tiny_inputs() | {
        "dropout": 0.1,
        "hidden_size": 16,
        "head_size": 8,
        "max_text_length": 40,
        "max_audio_length": 40,
        "max_vision_length": 40,
        "max_prompt_length": 40,
        "num_aligner_layers": 2,
        "num_aligner_heads": 2,
        "aligner_ffn_size": 24,
        "num_fusion_layers": 1,
        "num_attention_heads": 2,
        "fusion_ffn_size": 24,
        "num_fusion_tokens": 3,
        "num_prompt_layers": 1,
        "num_prompt_heads": 2,
        "prompt_ffn_size": 24,
    }
    return MmslfConfig(**(values | overrides))


def build_mmslf(**overrides: Any) -> MmslfForSentiment:
    torch.manual_seed(0)
    return MmslfForSentiment(tiny_mmslf_config(**overrides))


def build_mmslf_teacher(**overrides: Any) -> MmslfForSentiment:
    """Without a frozen part, as the suite asks every parameter for a gradient."""
    return build_mmslf(**({"role": "teacher", "prompt_encoder": "shared", "min_keep_rate": 1.0} | overrides))


MODEL_BUILDERS: dict[str, Callable[..., PreTrainedModel]] = {
    "cyin": build_cyin,
    "dashfusion": build_dashfusion,
    "hfr_ame": build_hfr_ame,
    "hme": build_hme,
    "lnln": build_lnln,
    "midg": build_midg,
    "midg_erm": build_midg_erm,
    "mmslf": build_mmslf,
    "mmslf_teacher": build_mmslf_teacher,
}


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


def prompted_batch(lengths: list[tuple[int, int, int]], **options: Any) -> dict[str, torch.Tensor]:
    """`random_batch` with prompts of several lengths; the last of several rows has none."""
    batch, longest = random_batch(lengths, **options), 9 + options.get("pad", 0)
    ids = torch.full((len(lengths), longest), 0)
    mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row in range(len(lengths)):
        length = 0 if 0 < row == len(lengths) - 1 else 5 + row % 5
        generator = torch.Generator().manual_seed(7000 + 1000 * options.get("seed", 0) + row)
        ids[row, :length] = torch.randint(5, VOCABULARY, (length,), generator=generator)
        mask[row, :length] = 1
    return batch | {"prompt_input_ids": ids, "prompt_attention_mask": mask}


# What a model reads beside the batch that all of them read.
BATCH_MAKERS: dict[str, Callable[..., dict[str, torch.Tensor]]] = {"mmslf_teacher": prompted_batch}


def row_of(batch: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    return {name: value[row : row + 1] for name, value in batch.items()}


def lose_frames(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Makes the second audio and vision frame of each row unobserved, as a drop does; the clean twin keeps them."""
    for name in ("audio_values", "vision_values"):
        batch[name][:, 1:2] = 0
    return batch
