"""CyIN (RH-Lin/CyIN): names, sizes and inputs of the published code."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from modeling_hfr_ame.configuration_cyin import CyinConfig
from modeling_hfr_ame.crossmodal_encoder import CrossmodalEncoder
from modeling_hfr_ame.evaluation.reference_systems.reference_system import ReferenceSystem, Replay, Tensors
from modeling_hfr_ame.evaluation.reference_systems.value_capture import ValueCapture, gradients_of
from modeling_hfr_ame.modeling_cyin import SOURCES, CyinForSentiment, translator_name

_MODALITY = {"l": "text", "a": "audio", "v": "vision"}
_LETTER = {name: letter for letter, name in _MODALITY.items()}
_TRANSLATOR = {"LA": "text_audio", "LV": "text_vision", "AV": "audio_vision"}
_WHOLE = {"out_layer": "head", "proj1": "fusion_in", "proj2": "fusion_out"}
_PART = {"net.0": "hidden", "net.2": "output"}
_LAYER = {
    "layer_norms.0": ("attention_norm",),
    "layer_norms.1": ("ffn_norm",),
    "fc1": ("ffn_in",),
    "fc2": ("ffn_out",),
    "self_attn.out_proj": ("attention.output",),
    "self_attn.in_proj": ("attention.query", "attention.key", "attention.value"),
}


def our_names(name: str) -> tuple[str, ...]:
    """Our parameters for one of the reference's; none for BERT's pooler and for counters, which nothing reads."""
    place, _, kind = name.rpartition(".")
    if name.startswith("text_model."):
        is_unused = name.startswith("text_model.pooler.") or kind == "position_ids"
        return () if is_unused else (name,)
    if kind in ("version", "_float_tensor"):
        return ()
    if place in _WHOLE:
        return (f"{_WHOLE[place]}.{kind}",)
    if match := re.fullmatch(r"(proj|out_layer)_([lav])", place):
        ours = "projections" if match[1] == "proj" else "unimodal_heads"
        return (f"{ours}.{_MODALITY[match[2]]}.{kind}",)
    if match := re.fullmatch(r"(encoder|mlp)_([lav])\.(net\.[02])", place):
        ours = "bottlenecks" if match[1] == "encoder" else "decoders"
        return (f"{ours}.{_MODALITY[match[2]]}.{_PART[match[3]]}.{kind}",)
    if match := re.fullmatch(r"netRAE_(LA|LV|AV)\.(.+)", place):
        return (f"translators.{_TRANSLATOR[match[1]]}.{_translator_part(match[2])}.{kind}",)
    if match := re.fullmatch(r"trans_([lav])_(mem|with_[lav])\.(.+)", name):
        target = _MODALITY[match[1]]
        where = f"memories.{target}" if match[2] == "mem" else f"crossmodal.{target}_with_{_MODALITY[match[2][-1]]}"
        return tuple(f"{where}.{own}" for own in _encoder_parts(match[3]))
    return (name,)


def _translator_part(place: str) -> str:
    if place.startswith("transition."):
        return "transition_in" if place.endswith(".0") else "transition_out"
    stack, block, layer = re.fullmatch(r"(encoder|decoder)_(\d+)\.(\d+)", place).groups()  # type: ignore[union-attr]
    return f"blocks.{block}.{stack}.{int(layer) // 2}"


def _encoder_parts(rest: str) -> tuple[str, ...]:
    if rest.startswith("layer_norm."):
        return (rest.replace("layer_norm", "norm"),)
    match = re.fullmatch(r"layers\.(\d+)\.(.+?)[._](weight|bias)", rest)
    if match is None:
        return (rest,)
    return tuple(f"layers.{match[1]}.{own}.{match[3]}" for own in _LAYER[match[2]])


def config_of(settings: Mapping[str, Any], reference: Tensors) -> CyinConfig:
    """Reads the reference's configuration; how many layers its memories have, which has a minimum, from the weights."""
    sizes = settings["hyperparameters"]
    encoder = settings.get("reference_of_cross_modal_encoder", {})
    return CyinConfig(
        variant="reference",
        text_config={"model_type": "bert", **settings["bert"]},
        audio_config={"feature_size": sizes["audio_dim"]},
        vision_config={"feature_size": sizes["vision_dim"]},
        # Wide enough for any labels: this comparison is about arithmetic.
        label_range=(-1e6, 1e6),
        dropout=sizes["dropout"],
        aligned_length=sizes["aligned_length"],
        max_text_length=sizes["text_length"],
        max_audio_length=sizes["audio_length"],
        max_vision_length=sizes["vision_length"],
        bottleneck_size=sizes["bottleneck_dim"],
        bottleneck_hidden_size=sizes["ib_hidden_dim"],
        translator_sizes=sizes["translator_layers"],
        num_translator_blocks=sizes["translator_blocks"],
        translator_kernel_size=sizes["translator_kernel"],
        hidden_size=sizes["common_dim"],
        num_crossmodal_layers=sizes["cross_modal_layers"],
        num_memory_layers=sum(
            re.fullmatch(r"trans_l_mem\.layers\.\d+\.fc1\.weight", name) is not None for name in reference
        ),
        ffn_ratio=sizes["encoder_ff_multiple"],
        num_attention_heads=sizes["num_heads"],
        projection_kernel_size=sizes["conv1d_kernel_size"],
        projection_padding=sizes["conv1d_padding"],
        causal=sizes["causal_mask"],
        use_positions=encoder.get("positional_signal", True),
        ib_beta=sizes["beta"],
        translation_weight=sizes["gamma"],
    )


@contextmanager
def _answering(module: nn.Module, answer: Callable[[tuple[Any, ...]], torch.Tensor]) -> Iterator[None]:
    """Puts recorded values in the place of what a module draws."""
    handle = module.register_forward_hook(lambda _, args, __: answer(args))
    try:
        yield
    finally:
        handle.remove()


def _recorded_noise(inputs: Tensors, case: str, args: tuple[Any, ...]) -> torch.Tensor:
    name = "_to_".join(_LETTER[part] for part in args[1].split("_to_"))
    return inputs[f"eps.{case}.{name}"].transpose(1, 2)


def _zero_noise(args: tuple[Any, ...]) -> torch.Tensor:
    return torch.zeros_like(args[0])


def replay(model: CyinForSentiment, inputs: Tensors, settings: Mapping[str, Any]) -> Replay:
    """Runs evaluation and every training case of the reference on its inputs."""
    found = Replay()
    batch = {
        "input_ids": inputs["input_ids"].long(),
        "attention_mask": inputs["attention_mask"],
        "token_type_ids": inputs["token_type_ids"].long(),
        # The reference masks no frames.
        "audio_values": inputs["audio"],
        "vision_values": inputs["vision"],
    }
    present = inputs["modality_mask"].bool()
    # The reference reads a row without any modality as one with all of them, ours refuses it.
    masked = batch | {"modality_mask": present | ~present.any(-1, keepdim=True)}
    model.eval()
    with torch.no_grad(), _answering(model.noise, partial(_recorded_noise, inputs, "eval")):
        _read_latents(found.outputs, model, batch)
        _read_fusion(found.outputs, model, masked)
        found.outputs["out.eval.preds_complete"] = model(**batch).logits
        with _answering(model.noise, _zero_noise):
            found.outputs["out.eval.preds_mean_path"] = model(**masked).logits
        _read_without_positions(found.outputs, model, masked)
    model.train()
    for case, picks in settings["train_picks_per_modality_text_audio_vision"].items():
        _replay_case(found, model, batch, inputs, case, picks)
    return found


def _read_latents(out: Tensors, model: CyinForSentiment, batch: Tensors) -> None:
    with ValueCapture({"text_model": model.text_model}) as values:
        prediction = model.predict(model.reader.read(batch), batch["token_type_ids"])
    out["out.bert_hidden"] = values.of("text_model").last_hidden_state
    for name, letter in _LETTER.items():
        out[f"out.aligned_{letter}"] = prediction.aligned[name]
        out[f"out.mu_{letter}"] = prediction.means[name].transpose(1, 2)
        out[f"out.logvar_{letter}"] = prediction.log_variances[name].transpose(1, 2)
    for target, sources in SOURCES.items():
        for source in sources:
            label = f"{_LETTER[source]}_to_{_LETTER[target]}"
            translator: Any = model.translators[translator_name(source, target)]
            blocks = dict(translator.blocks.named_children())
            with ValueCapture(blocks) as values:
                translated = model.translate(source, target, prediction.latents[source])
            out[f"out.translated.{label}"] = translated.transpose(1, 2)
            out[f"out.translator_latent.{label}"] = torch.cat([values.of(name)[1] for name in blocks], dim=-1)


def _read_fusion(out: Tensors, model: CyinForSentiment, masked: Tensors) -> None:
    watched = {name: module for name, module in model.named_modules() if name}
    with ValueCapture(watched) as values:
        out["out.eval.preds"] = model(**masked).logits
    for target, letter in _LETTER.items():
        out[f"out.proj_{letter}"] = values.of(f"projections.{target}")
        out[f"out.trans_{letter}_mem"] = values.of(f"memories.{target}")
        for source in SOURCES[target]:
            out[f"out.trans_{letter}_with_{_LETTER[source]}"] = values.of(f"crossmodal.{target}_with_{source}")
    out["out.fused"] = torch.cat([values.of(f"memories.{name}").mean(1) for name in ("text", "vision", "audio")], -1)


def _read_without_positions(out: Tensors, model: CyinForSentiment, masked: Tensors) -> None:
    encoders = [module for module in model.modules() if isinstance(module, CrossmodalEncoder)]
    for encoder in encoders:
        encoder.use_positions = False
    out["out.eval.preds_no_positions"] = model(**masked).logits
    for encoder in encoders:
        encoder.use_positions = model.config.use_positions


def _replay_case(
    found: Replay, model: CyinForSentiment, batch: Tensors, inputs: Tensors, case: str, picks: list[int] | None
) -> None:
    model.set_training_progress(0.0 if picks is None else 1.0)
    model.zero_grad()
    with (
        _answering(model.noise, partial(_recorded_noise, inputs, "train")),
        _answering(model.mixing_choice, lambda args: torch.tensor(picks).expand_as(args[0])),
        ValueCapture(dict(model.unimodal_heads.named_children())) as values,
    ):
        step = model(**batch, labels=inputs["labels"].squeeze(-1), output_losses=True)
    out, losses = found.outputs, step.losses
    out[f"out.train.{case}.preds"] = step.logits
    for name, letter in _LETTER.items():
        out[f"out.train.{case}.preds_{letter}"] = values.of(name)
    out[f"loss.{case}.main"] = losses["task"]
    out[f"loss.{case}.task"] = losses["task"] + losses["unimodal"]
    out[f"loss.{case}.ib"] = losses["bottleneck"]
    out[f"loss.{case}.translation"] = losses.get("translation", torch.zeros(()))
    out[f"loss.{case}.total"] = step.loss
    step.loss.backward()
    found.gradients[case] = gradients_of(model)


SYSTEM = ReferenceSystem(config_of=config_of, model_class=CyinForSentiment, our_names=our_names, replay=replay)
