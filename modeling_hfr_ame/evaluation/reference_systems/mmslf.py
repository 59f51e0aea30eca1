"""MMSLF (LOGO-CUHKSZ/MMSLF), teacher and student: names, sizes and inputs of the published code."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from modeling_hfr_ame.clean_twin import dropout_off
from modeling_hfr_ame.configuration_mmslf import MmslfConfig
from modeling_hfr_ame.evaluation.reference_systems.reference_system import ReferenceSystem, Replay, Tensors
from modeling_hfr_ame.evaluation.reference_systems.value_capture import ValueCapture, gradients_of
from modeling_hfr_ame.modality_inputs import ModalityInput
from modeling_hfr_ame.modeling_mmslf import SOURCES, MmslfForSentiment

_LETTER = {"text": "l", "audio": "a", "vision": "v"}
_OWN_PROMPT_ENCODER = "bertmodel_prompt.model."
_PLACES = {
    "bertmodel.model": "text_model",
    "bertmodel_prompt.model": "prompts.text_model",
    "proj_l0": "projections.text",
    "proj_a0": "projections.audio",
    "proj_v0": "projections.vision",
    "proj_p0": "prompts.projection",
    "proj_p": "prompts.compression",
    "l_a_encoder": "aligners.audio",
    "l_v_encoder": "aligners.vision",
    "fusion_encoder": "fusion",
    "reg.0": "head",
}
_BARE = {
    "pos_embedding": "position_embedding",
    "extra_token": "token",
    "pos_embedding_s": "source_position_embedding",
    "pos_embedding_t": "target_position_embedding",
    "pos_embedding_p": "prompt_position_embedding",
}
_LAYER = {
    "0.norm_q": "attention_norm",
    "0.norm_k": "key_norm",
    "0.norm_v": "value_norm",
    "0.norm_qp": "prompt_norm",
    "0.fn.to_q": "attention.query",
    "0.fn.to_k": "attention.key",
    "0.fn.to_v": "attention.value",
    "0.fn.to_prompt_k": "prompt",
    "0.fn.to_out.0": "attention.output",
    "1.norm": "ffn_norm",
    "1.fn.net.0": "ffn_in",
    "1.fn.net.3": "ffn_out",
}
# What a released student holds and never reads.
_PROMPT_PARTS = re.compile(r"proj_p0\.|.*\.pos_embedding_p$|.*\.norm_qp\.|.*\.to_prompt_k\.")
# Steps of the fusion's output that are stored.
_NUM_FUSION_STEPS = 8


def teacher_names(name: str) -> tuple[str, ...]:
    """Our parameter for one of the released teacher's; none for those that no output depends on."""
    place = next((place for place in _PLACES if name.startswith(f"{place}.")), None)
    if place is None:
        return (name,)
    rest, ours = name.removeprefix(f"{place}."), _PLACES[place]
    if place.startswith("bertmodel"):
        return () if rest.startswith("pooler.") or rest.endswith("position_ids") else (f"{ours}.{rest}",)
    layer = re.fullmatch(r"(?:encoder|CrossTransformerEncoder)\.layers\.(\d+)\.(.+)\.(weight|bias)", rest)
    if layer and layer[2] in _LAYER:
        return (f"{ours}.layers.{layer[1]}.{_LAYER[layer[2]]}.{layer[3]}",)
    return (f"{ours}.{_BARE.get(rest, rest)}",)


def student_names(name: str) -> tuple[str, ...]:
    """Our parameter for one of the released student's; none for what reads a prompt, which it never gets."""
    return () if _PROMPT_PARTS.match(name) else teacher_names(name)


def _is_shared(settings: Mapping[str, Any]) -> bool:
    return bool(settings["hyperparameters"].get("shared_bert", False))


def _config_of(settings: Mapping[str, Any], reference: Tensors, role: str) -> MmslfConfig:
    sizes = settings["hyperparameters"]
    num_tokens = reference["fusion_encoder.extra_token"].shape[1]
    prompts = {}
    if role == "teacher":
        first = "proj_p.encoder.layers.0.1.fn.net.0.weight"
        table, tokens = reference["proj_p.pos_embedding"], reference["proj_p.extra_token"]
        prompts = {
            "max_prompt_length": table.shape[1] - tokens.shape[1],
            "num_prompt_layers": sizes["prompt_depth"],
            "num_prompt_heads": sizes["prompt_heads"],
            "prompt_ffn_size": sizes.get("prompt_ff", reference[first].shape[0]),
            "prompt_encoder": "shared" if _is_shared(settings) else "own",
        }
    else:
        prompts = {
            "task_weight": sizes["alpha"],
            "map_weight": sizes["beta"],
            "token_weight": sizes["gamma"],
        }
    low = min(sizes.get("augmentation_keep_rate", [1.0]))
    return MmslfConfig(
        variant="reference",
        role=role,
        text_config={"model_type": "bert", **settings["bert"]},
        audio_config={"feature_size": sizes["audio_dim"]},
        vision_config={"feature_size": sizes["vision_dim"]},
        # Wide enough for any labels: this comparison is about arithmetic.
        label_range=(-1e6, 1e6),
        dropout=0.0,
        hidden_size=sizes["model_width"],
        head_size=sizes["head_dim"],
        # The fusion's table knows no idle rows.
        max_text_length=(reference["fusion_encoder.pos_embedding"].shape[1] - num_tokens) // len(SOURCES),
        # The released tables hold one row more than is ever read.
        max_audio_length=reference["l_a_encoder.pos_embedding_s"].shape[1] - 1,
        max_vision_length=reference["l_v_encoder.pos_embedding_s"].shape[1] - 1,
        num_aligner_layers=sizes["encoder_depth"],
        num_aligner_heads=sizes["aligner_heads"],
        aligner_ffn_size=sizes["aligner_ff"],
        num_fusion_layers=sizes["fusion_depth"],
        num_attention_heads=sizes["fusion_heads"],
        fusion_ffn_size=sizes["fusion_ff"],
        num_fusion_tokens=num_tokens,
        min_keep_rate=low if role == "teacher" else 1.0,
        **prompts,
    )


def teacher_config(settings: Mapping[str, Any], reference: Tensors) -> MmslfConfig:
    """Reads the released teacher's sizes; lengths come from the shapes of its position tables."""
    return _config_of(settings, reference, "teacher")


def student_config(settings: Mapping[str, Any], reference: Tensors) -> MmslfConfig:
    """Reads the released student's sizes; lengths come from the shapes of its position tables."""
    return _config_of(settings, reference, "student")


@dataclass(frozen=True)
class MmslfSystem(ReferenceSystem):
    """A released system whose second text encoder may be the first one under another name."""

    def convert(self, reference: Tensors, model: PreTrainedModel) -> Tensors:
        """Leaves out the prompt encoder where the text encoder is used for prompts, too."""
        if getattr(model.config, "prompt_encoder", "own") == "shared":
            reference = {name: value for name, value in reference.items() if not name.startswith(_OWN_PROMPT_ENCODER)}
        return super().convert(reference, model)


def _has_idle_rows(name: str) -> bool:
    return ".pos_embedding" in name


def _batch(inputs: Tensors) -> Tensors:
    """The batch contract; the reference masks no frames, so none are masked here."""
    return {
        "input_ids": inputs["text.input_ids"],
        "attention_mask": inputs["text.attention_mask"],
        "token_type_ids": inputs["text.token_type_ids"],
        "audio_values": inputs["audio"],
        "vision_values": inputs["vision"],
        "labels": inputs["labels"].squeeze(-1),
    }


def _keep_lengths(model: MmslfForSentiment, batch: Tensors) -> None:
    # The reference's loader pads, not its model: inputs shorter than the position tables stay so.
    for name, part in (("audio", "audio_values"), ("vision", "vision_values")):
        setattr(model.config, f"max_{name}_length", batch[part].shape[1])


def _read_passes(out: Tensors, values: ValueCapture, model: MmslfForSentiment) -> None:
    out["out.bert_text"] = values.of("text_model").last_hidden_state
    for name, letter in _LETTER.items():
        out[f"out.x_{name}"] = values.of(f"projections.{name}")
        if name == "text":
            continue
        aligner = f"aligners.{name}"
        out[f"out.h_l{letter}"] = values.of(aligner).states
        for index in range(len(model.aligners[name].layers)):  # type: ignore[arg-type]
            _, plain, applied = values.of(f"{aligner}.layers.{index}")
            out[f"out.h_l{letter}_attn.{index}"] = plain
            if model.config.is_teacher:
                out[f"out.h_l{letter}_modulate_attn.{index}"] = applied
    states = values.of("fusion")
    out["out.h_reg"] = states[-1]
    # Our last layer gives the learned tokens alone.
    with torch.no_grad():
        whole = model.fusion.layers[-1](states[-2])
    out["out.fusion_all"] = whole[:, :_NUM_FUSION_STEPS]


def replay_teacher(model: MmslfForSentiment, inputs: Tensors, settings: Mapping[str, Any]) -> Replay:
    """Runs the released teacher's training step without dropout, and one prediction on thinned out inputs."""
    found = Replay()
    out = found.outputs
    batch = _batch(inputs)
    _keep_lengths(model, batch)
    model.set_attn_implementation("eager")
    model.eval()
    prompts = {
        "prompt_input_ids": inputs["prompt.input_ids"],
        "prompt_attention_mask": inputs["prompt.attention_mask"],
    }
    watched = {name: module for name, module in model.named_modules() if name}
    with ValueCapture(watched) as values:
        step = model(**batch, **prompts)
    _read_passes(out, values, model)
    is_own = model.config.prompt_encoder == "own"
    encoded = values.of("prompts.text_model") if is_own else values.of("text_model", 1)
    out["out.bert_prompt"] = encoded.last_hidden_state
    out["out.prompt_projected"] = values.of("prompts.projection")
    out["out.prompt_tokens"] = values.of("prompts")
    out["out.preds"], out["loss.l1"] = step.logits, step.loss
    step.loss.backward()
    found.gradients[""] = gradients = gradients_of(model)
    if not is_own:
        # Listed a second time under its second name, the encoder has the same gradients.
        alias = {name: value for name, value in gradients.items() if name.startswith("text_model.")}
        gradients |= {f"prompts.{name}": value for name, value in alias.items()}
    if "augmentation_seed" in settings["hyperparameters"]:
        _replay_augmentation(out, model, batch, prompts, settings["hyperparameters"])
    return found


@torch.no_grad()
def _replay_augmentation(
    out: Tensors, model: MmslfForSentiment, batch: Tensors, prompts: Tensors, sizes: Mapping[str, Any]
) -> None:
    rates = np.random.RandomState(sizes["augmentation_seed"])
    low, high = sizes["augmentation_keep_rate"]
    inputs = model.reader.read(batch)
    thinned = model.augment(
        inputs,
        draw_rates=lambda rows: torch.from_numpy(rates.uniform(low, high, size=rows)),
        generator=torch.Generator().manual_seed(sizes["augmentation_seed"]),
    )
    ids = thinned["text"].values
    out["out.augmented.text_input_ids"] = ids
    for name in SOURCES:
        out[f"out.augmented.{name}"] = thinned[name].values
    given: dict[str, ModalityInput] = thinned
    read = model.reader.read_prompts(len(ids), **prompts, prompt_states=None)
    out["out.augmented.preds"] = model.predict(given, batch["token_type_ids"], read).logits


def replay_student(model: MmslfForSentiment, inputs: Tensors, settings: Mapping[str, Any]) -> Replay:
    """Runs the released student's training step without dropout."""
    found = Replay()
    out = found.outputs
    batch = _batch(inputs)
    _keep_lengths(model, batch)
    model.set_attn_implementation("eager")
    teacher = {f"{name}_map": inputs[f"teacher.h_l{_LETTER[name]}_attn.last"] for name in SOURCES}
    teacher["tokens"] = inputs["teacher.h_reg"]
    watched = {name: module for name, module in model.named_modules() if name}
    with dropout_off(model):
        # The loss of training, but none of its dropout.
        model.training = True
        with ValueCapture(watched) as values:
            step = model(**batch, teacher=teacher, output_losses=True)
    _read_passes(out, values, model)
    out["out.preds"] = step.logits
    out["loss.loss"] = step.loss
    for name, term in (("reg", "task"), ("attn", "map"), ("fusion", "tokens")):
        out[f"loss.loss_{name}"] = step.losses[term]
    step.loss.backward()
    found.gradients[""] = gradients_of(model)
    return found


TEACHER = MmslfSystem(
    config_of=teacher_config,
    model_class=MmslfForSentiment,
    our_names=teacher_names,
    replay=replay_teacher,
    has_idle_rows=_has_idle_rows,
)
STUDENT = MmslfSystem(
    config_of=student_config,
    model_class=MmslfForSentiment,
    our_names=student_names,
    replay=replay_student,
    has_idle_rows=_has_idle_rows,
)
