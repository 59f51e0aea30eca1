"""The models that the library's tests run on: one `ModelCase` each, nothing else to do for a new model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from modeling_hfr_ame import (
    CyinConfig,
    CyinForSentiment,
    DashFusionConfig,
    DashFusionForSentiment,
    HfrAmeAudioConfig,
    HfrAmeConfig,
    HfrAmeForSentiment,
    HfrAmeVisionConfig,
    HmeConfig,
    HmeForSentiment,
    LnlnConfig,
    LnlnForSentiment,
    MidgConfig,
    MidgForSentiment,
    MmslfConfig,
    MmslfForSentiment,
)
from tests.models.model_fixtures import (
    AUDIO_SIZE,
    VISION_SIZE,
    VOCABULARY,
    tiny_config,
    tiny_cyin_config,
    tiny_dashfusion_config,
    tiny_hme_config,
    tiny_lnln_config,
    tiny_midg_config,
    tiny_mmslf_config,
)

BATCH_SIZE = 3
SEQUENCE_LENGTH = 7
# The text without its two special tokens, audio and vision.
NUM_CONTENT_STEPS = (SEQUENCE_LENGTH - 2) + SEQUENCE_LENGTH + SEQUENCE_LENGTH


@dataclass(frozen=True)
class ModelCase:
    """What the library's tests must know of a model.

    Args:
        name: CapWords, the first part of the test class' name.
        config_class: Its configuration.
        model_class: The class that `AutoModel` returns.
        build_config: Fields that a test overrides, as keywords → a small configuration.
        make_inputs: Builds a batch without padding.
        make_targets: What training reads beside it.
        num_recorded_steps: Length of the recorded hidden states.
        num_recorded_layers: Number of recorded layers.
        recorded_size: Width of the recorded hidden states. None: `hidden_size` of the configuration.
        part_configs: Nested configurations of our own, with the field that says their size.
        config_of_test: Test → configuration fields that it needs otherwise.
        skips: What this model skips beside the skips of every model; see `skips.py`.
    """

    name: str
    config_class: type
    model_class: type
    build_config: Callable[..., Any]
    make_inputs: Callable[[], dict[str, torch.Tensor]]
    make_targets: Callable[[], dict[str, torch.Tensor]]
    num_recorded_steps: int
    num_recorded_layers: int
    recorded_size: int | None = None
    part_configs: Mapping[type, str] = field(default_factory=dict)
    config_of_test: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skips: Mapping[str, str] = field(default_factory=dict)


def make_batch() -> dict[str, torch.Tensor]:
    """Draws a batch with all three modalities and without padding."""
    shape = (BATCH_SIZE, SEQUENCE_LENGTH)
    return {
        "input_ids": torch.randint(5, VOCABULARY, shape),
        "attention_mask": torch.ones(shape, dtype=torch.long),
        "audio_values": torch.randn(*shape, AUDIO_SIZE),
        "audio_mask": torch.ones(shape, dtype=torch.bool),
        "vision_values": torch.randn(*shape, VISION_SIZE),
        "vision_mask": torch.ones(shape, dtype=torch.bool),
    }


def make_targets() -> dict[str, torch.Tensor]:
    """Gives labels and severities, the same at each call, as some tests ask twice and compare losses.

    No clean twin: tests that count how often a checkpointed layer runs expect once per forward.
    """
    return {
        "labels": torch.linspace(-2.0, 2.5, BATCH_SIZE),
        "severity": torch.linspace(0.1, 0.9, 3 * BATCH_SIZE).view(BATCH_SIZE, 3),
    }


def make_prompted_batch() -> dict[str, torch.Tensor]:
    """Draws such a batch with a prompt per row."""
    shape = (BATCH_SIZE, 2 * SEQUENCE_LENGTH)
    # A test that cuts the vocabulary adapts `input_ids` alone.
    prompts = {"prompt_input_ids": torch.randint(5, VOCABULARY // 2, shape)}
    return make_batch() | prompts | {"prompt_attention_mask": torch.ones(shape, dtype=torch.long)}


def _midg_config(**fields: Any) -> MidgConfig:
    # The simulated view is drawn anew in each forward, and some tests compare two losses.
    return tiny_midg_config(**{"use_ood_view": False} | fields)


def _mmslf_config(**fields: Any) -> MmslfConfig:
    return tiny_mmslf_config(**{"num_aligner_layers": 1} | fields)


def _mmslf_teacher_config(**fields: Any) -> MmslfConfig:
    # A frozen encoder has no gradients, and a thinned out input no two equal losses.
    return _mmslf_config(**{"role": "teacher", "prompt_encoder": "shared", "min_keep_rate": 1.0} | fields)


def _hfr_ame_config(**fields: Any) -> HfrAmeConfig:
    # Anchors are trained by the clean twin, which these batches lack.
    return tiny_config(**{"anchor_weight": 0.0} | fields)


def _lnln_config(**fields: Any) -> LnlnConfig:
    # So are discriminator and reconstruction.
    return tiny_lnln_config(**{"adversarial_weight": 0.0, "reconstruction_weight": 0.0} | fields)


CASES = (
    ModelCase(
        name="Cyin",
        config_class=CyinConfig,
        model_class=CyinForSentiment,
        build_config=tiny_cyin_config,
        make_inputs=make_batch,
        make_targets=make_targets,
        num_recorded_steps=4,  # aligned_length 6 behind a convolution of 3 steps
        num_recorded_layers=3,  # one memory per modality
        recorded_size=32,  # a memory reads two sources side by side
    ),
    ModelCase(
        name="DashFusion",
        config_class=DashFusionConfig,
        model_class=DashFusionForSentiment,
        build_config=tiny_dashfusion_config,
        make_inputs=make_batch,
        make_targets=make_targets,
        num_recorded_steps=SEQUENCE_LENGTH,  # the bottleneck starts as the text
        num_recorded_layers=2,
    ),
    ModelCase(
        name="HfrAme",
        config_class=HfrAmeConfig,
        model_class=HfrAmeForSentiment,
        build_config=_hfr_ame_config,
        make_inputs=make_batch,
        make_targets=make_targets,
        num_recorded_steps=1 + NUM_CONTENT_STEPS,  # the fusion's query comes first
        num_recorded_layers=2,
        part_configs={HfrAmeAudioConfig: "feature_size", HfrAmeVisionConfig: "feature_size"},
        config_of_test={"test_keep_in_fp32_modules_exist": {"anchor_weight": 0.1}},
    ),
    ModelCase(
        name="Hme",
        config_class=HmeConfig,
        model_class=HmeForSentiment,
        build_config=tiny_hme_config,
        make_inputs=make_batch,
        make_targets=make_targets,
        num_recorded_steps=4,  # one token per modality and one for all hyper-modalities
        num_recorded_layers=1,
    ),
    ModelCase(
        name="Lnln",
        config_class=LnlnConfig,
        model_class=LnlnForSentiment,
        build_config=_lnln_config,
        make_inputs=make_batch,
        make_targets=make_targets,
        num_recorded_steps=1 + 3,  # the fusion's token and three language tokens
        num_recorded_layers=2,
        config_of_test={"test_keep_in_fp32_modules_exist": {"adversarial_weight": 0.1, "reconstruction_weight": 0.1}},
    ),
    ModelCase(
        name="Midg",
        config_class=MidgConfig,
        model_class=MidgForSentiment,
        build_config=_midg_config,
        make_inputs=make_batch,
        make_targets=make_targets,
        num_recorded_steps=SEQUENCE_LENGTH,  # the text
        num_recorded_layers=1,
    ),
    ModelCase(
        name="Mmslf",
        config_class=MmslfConfig,
        model_class=MmslfForSentiment,
        build_config=_mmslf_config,
        make_inputs=make_batch,
        make_targets=make_targets,
        num_recorded_steps=SEQUENCE_LENGTH,  # the text
        num_recorded_layers=2,  # one aligner per source
        config_of_test={"test_keep_in_fp32_modules_exist": {"role": "teacher"}},
    ),
    ModelCase(
        name="MmslfTeacher",
        config_class=MmslfConfig,
        model_class=MmslfForSentiment,
        build_config=_mmslf_teacher_config,
        make_inputs=make_prompted_batch,
        make_targets=make_targets,
        num_recorded_steps=SEQUENCE_LENGTH,
        num_recorded_layers=2,
    ),
)
