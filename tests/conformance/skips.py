"""Every test of the library that doesn't run to its end here, with the reason.

Names are regular expressions for the whole name of a test. `_DEVIATIONS` are tests that run and must end in the stated
error, since our contract differs on purpose. `SKIPS` are skipped by the library itself. Both are exact:
`test_library_conformance.py` fails for a skip that isn't listed and for an entry without a skip.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.conformance.model_cases import CASES


@dataclass(frozen=True)
class Deviation:
    """A test that we fail on purpose.

    Args:
        reason: Why.
        error: Regular expression for `ErrorClass: message` of the error that the test must end in.
    """

    reason: str
    error: str


_MODEL_DEVIATIONS = {
    r"test_eager_matches_sdpa_inference_\d\d_\w+_pad_left(_sdpa_kernels|_output_attentions)?": Deviation(
        "the batch contract puts padding at the end", "InputError: valid steps must form a prefix"
    ),
}
_CYIN_DEVIATIONS = {
    r"test_num_layers_is_small": Deviation("three encoders of one layer each are recorded", "AssertionError: $"),
}
# Name of a test class, or `model` for every model's → name of a test → deviation.
_DEVIATIONS: Mapping[str, Mapping[str, Deviation]] = {"model": _MODEL_DEVIATIONS, "CyinModelTest": _CYIN_DEVIATIONS}

_NO_ACCELERATOR = "needs an accelerator; these tests run on the CPU, so that they give the same everywhere"
_NOT_INSTALLED = "needs a package that this project doesn't depend on"
_FLASH = "needs Flash Attention; the models support eager and sdpa"
_NO_TP_PLAN = "the models are small; they declare no tensor-parallel plan"
_NO_ROPE = "no model here has rotary positions"
_NO_EXPERTS = "no model here has sparse experts"
_NO_CONVERSION = "weights have one layout; nothing is renamed at loading"
_NO_LM = "no model here generates text"

_MODEL_SKIPS = {
    r"test_can_load_with_(device_context_manager|global_device_set)": _NO_ACCELERATOR,
    r"test_(cpu_offload|disk_offload_bin|disk_offload_safetensors|model_parallelism)": _NO_ACCELERATOR,
    r"test_(flex_attention_with_grads|sdpa_can_compile_dynamic|sdpa_can_dispatch_on_flash)": _NO_ACCELERATOR,
    r"test_flash_attn_[234]_\w+": _FLASH,
    r"test_flash_attn_kernels_(mps_)?inference_equivalence": _FLASH,
    r"test_kernels_can_load_without_crashing": _NOT_INSTALLED,
    r"test_resize_(embeddings_untied|tokens_embeddings)_with_deepspeed(_multi_gpu)?": _NOT_INSTALLED,
    r"test_torch_compile_for_training": "slow; tests/models compiles every model",
    r"test_(can_load_from_already_mapped_keys|reverse_loading_mapping)": _NO_CONVERSION,
    r"test_(causal_lm_loss_honors_shift_labels|encoder_decoder_loss_no_double_shift)": _NO_LM,
    r"test_eager_matches_batched_and_grouped_inference_\d_\w+": _NO_EXPERTS,
    r"test_(moe_models_record_router_logits|output_router_logits_from_config)": _NO_EXPERTS,
    r"test_model_rope_(scaling_frequencies|scaling_from_config_\d_\w+|with_partial_rotation)": _NO_ROPE,
    r"test_vision_axial_rope": _NO_ROPE,
    r"test_(tied_head_has_a_tp_plan_entry|tp_plan_matches_params)": _NO_TP_PLAN,
    r"test_inputs_embeds": "text comes as token ids, or as cached text_states",
    r"test_resize_position_vector_embeddings": "a text encoder's positions keep the number it was trained with",
    r"test_sdpa_can_dispatch_composite_models": "audio and vision are encoded without attention, so there is no tower",
    r"test_sdpa_can_dispatch_non_composite_models": "the models are composite: they hold a text encoder",
    r"test_sliding_window_mask": "attention sees whole sequences",
}

_NO_CHAT = "the processor takes utterances, not chats"
_NO_PICTURES = "pictures come as `vision` frames, not through an image or video processor"
_NO_TOKENS = "audio and vision have no place-holder tokens in the text"

_PROCESSOR_SKIPS = {
    r"test_apply_chat_template_\w+": _NO_CHAT,
    r"test_chat_template_\w+": _NO_CHAT,
    r"test_args_overlap_kwargs": _NO_PICTURES,
    r"test_(doubly_passed_kwargs|kwargs_overrides_default_subprocessor_kwargs)_\d_(images|videos)": _NO_PICTURES,
    r"test_overlapping_text_image_kwargs_handling_\d_(images|videos)": _NO_PICTURES,
    r"test_structured_kwargs_nested_from_dict_\d_(images|videos)": _NO_PICTURES,
    r"test_subprocessor_defaults(_preserved_by_kwargs)?_\d_(images|videos)": _NO_PICTURES,
    r"test_unstructured_kwargs(_batched)?_\d_(images|videos)": _NO_PICTURES,
    r"test_processor_text_has_no_visual": _NO_PICTURES,
    r"test_get_num_multimodal_tokens_matches_processor_call(_audio|_video)?": _NO_TOKENS,
    r"test_replacement_offsets": _NO_TOKENS,
}

# Test class → name of a test → reason.
SKIPS: Mapping[str, Mapping[str, str]] = {
    **{f"{case.name}ModelTest": {**_MODEL_SKIPS, **case.skips} for case in CASES},
    "ProcessorTest": _PROCESSOR_SKIPS,
}


def deviations_of(class_name: str) -> dict[str, Deviation]:
    """Gives name pattern → deviation of one test class."""
    every = _DEVIATIONS["model"] if class_name.endswith("ModelTest") else {}
    return dict(every) | dict(_DEVIATIONS.get(class_name, {}))


def stated_reasons(class_name: str) -> dict[str, str]:
    """Gives name pattern → reason of one test class, deviations included."""
    deviations = {name: deviation.reason for name, deviation in deviations_of(class_name).items()}
    return deviations | dict(SKIPS.get(class_name, {}))
