"""LNLN (Haoyu-ha/LNLN): names, sizes and inputs of the published code."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from modeling_hfr_ame.configuration_lnln import LnlnConfig
from modeling_hfr_ame.evaluation.reference_systems.reference_system import ReferenceSystem, Replay, Tensors
from modeling_hfr_ame.evaluation.reference_systems.value_capture import ValueCapture, gradients_of
from modeling_hfr_ame.modeling_lnln import LnlnForSentiment

_MODALITY = {"l": "text", "a": "audio", "v": "vision"}
_RECONSTRUCTORS = ("audio", "vision", "text")
_LAYER = {
    "0.norm_q": "attention_norm",
    "0.norm_k": "key_norm",
    "0.norm_v": "value_norm",
    "0.fn.to_q": "attention.query",
    "0.fn.to_k": "attention.key",
    "0.fn.to_v": "attention.value",
    "0.fn.to_out.0": "attention.output",
    "1.norm": "ffn_norm",
    "1.fn.net.0": "ffn_in",
    "1.fn.net.3": "ffn_out",
}
_HYPER = {
    "norm1": "norms.text",
    "norm2": "norms.audio",
    "norm3": "norms.vision",
    "norm4": "norms.hyper",
    "fn.to_q": "attention.query",
    "fn.to_k_ta": "attention.key.audio",
    "fn.to_k_tv": "attention.key.vision",
    "fn.to_v_ta": "attention.value.audio",
    "fn.to_v_tv": "attention.value.vision",
    "fn.to_out.0": "attention.output",
}
_PLACES = (
    (r"proj_([lav])\.0\.", lambda m: f"projections.{_MODALITY[m[1]]}."),
    (r"proj_([lav])\.1\.", lambda m: f"embedders.{_MODALITY[m[1]]}."),
    (r"completeness_check\.0\.", lambda m: "completeness_encoder."),
    (r"completeness_check\.1\.", lambda m: "completeness_head."),
    (r"proxy_dominate_modality_generator\.", lambda m: "proxy_generator."),
    (r"effective_discriminator\.", lambda m: "discriminator."),
    (r"reconstructor\.(\d)\.", lambda m: f"reconstructors.{_RECONSTRUCTORS[int(m[1])]}."),
    (r"dmml\.0\.", lambda m: "language_encoder."),
    (r"dmml\.1\.layers\.(\d+)\.0\.", lambda m: f"hyper_layers.{m[1]}."),
    (r"dmml\.2\.", lambda m: "fusion."),
    (r"dmml\.3\.", lambda m: "head."),
)
_BARE = {
    "pos_embedding": "position_embedding",
    "pos_embedding_s": "source_position_embedding",
    "pos_embedding_t": "target_position_embedding",
    "extra_token": "token",
}
# Blocks that read a fixed number of steps, however long the reference makes their position tables.
_FIXED_LENGTH = ("completeness_check.", "proxy_dominate_modality_generator.", "reconstructor.", "dmml.")


def has_idle_rows(name: str) -> bool:
    """Whether one of the reference's parameters is a position table that may be longer than what is read."""
    return name.startswith(_FIXED_LENGTH) and ".pos_embedding" in name


def our_names(name: str) -> tuple[str, ...]:
    """Our parameter for one of the reference's; none for BERT's pooler, which nothing reads."""
    if name in ("h_p", "h_hyper"):
        return ("proxy_token" if name == "h_p" else "hyper_token",)
    if name.startswith("bertmodel.model."):
        rest = name.removeprefix("bertmodel.model.")
        return () if rest.startswith("pooler.") or rest.endswith("position_ids") else (f"text_model.{rest}",)
    for pattern, place in _PLACES:
        match = re.match(pattern, name)
        if match:
            return (place(match) + _inner_name(name[match.end() :]),)
    return (name,)


def _inner_name(name: str) -> str:
    if name in _BARE:
        return _BARE[name]
    layer = re.match(r"(?:encoder|CrossTransformerEncoder)\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
    if layer:
        return f"layers.{layer[1]}.{_LAYER[layer[2]]}.{layer[3]}"
    module, _, kind = name.rpartition(".")
    return f"{_HYPER[module]}.{kind}" if module in _HYPER else name


def config_of(settings: Mapping[str, Any], reference: Tensors) -> LnlnConfig:
    """Reads the reference's configuration; hidden widths that it leaves open come from the weights' shapes."""
    base, model = settings["reference_config"]["base"], settings["reference_config"]["model"]
    embedder, dmc, dmml = model["feature_extractor"], model["dmc"], model["dmml"]
    text, vision, audio = range(3)
    lengths, sizes = embedder["input_length"], embedder["input_dims"]
    # The published configuration misspells the name of its fusion.
    fusion = dmml.get("fuison_transformer") or dmml["fusion_transformer"]
    blocks = {
        "completeness": dmc["completeness_check"],
        "proxy": dmc["proxy_dominant_feature_generator"],
        "reconstruction": model["reconstructor"],
        "language": dmml["language_encoder"],
        "fusion": fusion,
    }
    block_sizes = {
        name: {
            "num_layers": embedder["depth"],
            "num_attention_heads": embedder["heads"],
            "ffn_size": embedder["hidden_dims"][index],
            "num_tokens": embedder["token_length"][index],
        }
        for name, index in (("text", text), ("audio", audio), ("vision", vision))
    }
    for name, block in blocks.items():
        block_sizes[name] = {
            "num_layers": block["depth"],
            "num_attention_heads": block["heads"],
            "ffn_size": block["hidden_dim"],
        }
    for name in ("completeness", "proxy"):
        block_sizes[name]["num_tokens"] = blocks[name]["token_length"]
    first_query = reference["dmml.0.encoder.layers.0.0.fn.to_q.weight"]
    return LnlnConfig(
        variant="reference",
        text_config={"model_type": "bert", **settings["bert"]},
        audio_config={"feature_size": sizes[audio]},
        vision_config={"feature_size": sizes[vision]},
        # Wide enough for any labels: this comparison is about arithmetic.
        label_range=(-1e6, 1e6),
        hidden_size=first_query.shape[1],
        head_size=first_query.shape[0] // blocks["language"]["heads"],
        num_tokens=reference["h_p"].shape[1],
        max_text_length=lengths[text],
        max_audio_length=lengths[audio],
        max_vision_length=lengths[vision],
        block_sizes=block_sizes,
        num_hyper_layers=dmml["hyper_modality_learning"]["depth"],
        num_hyper_heads=dmml["hyper_modality_learning"]["heads"],
        completeness_size=reference["completeness_check.1.0.weight"].shape[0],
        discriminator_size=reference["effective_discriminator.0.weight"].shape[0],
        completeness_weight=base["alpha"],
        adversarial_weight=base["beta"],
        reconstruction_weight=base["gamma"],
        task_weight=base["sigma"],
    )


def _batch(inputs: Tensors, *, clean: bool) -> Tensors:
    """The batch contract; the reference masks no frames, so none are masked here."""
    mark = "" if clean else "_m"
    ids, mask, segments = inputs[f"text{mark}"].long().unbind(1)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": segments,
        "audio_values": inputs[f"audio{mark}"],
        "vision_values": inputs[f"vision{mark}"],
    }


def replay(model: LnlnForSentiment, inputs: Tensors, settings: Mapping[str, Any]) -> Replay:
    """Runs the training step of the reference on its inputs."""
    found = Replay()
    out = found.outputs
    batch = _batch(inputs, clean=False)
    twin = {f"clean_{name}": value for name, value in _batch(inputs, clean=True).items() if name != "token_type_ids"}
    training = batch | twin | {"severity": inputs["missing_rate"], "labels": inputs["sentiment_labels"].squeeze(-1)}
    model.set_attn_implementation("eager")
    # The reference's loader pads, not its model: inputs shorter than the position tables stay so.
    for name, part in (("text", "input_ids"), ("audio", "audio_values"), ("vision", "vision_values")):
        setattr(model.config, f"max_{name}_length", batch[part].shape[1])

    model.train()
    watched = {name: module for name, module in model.named_modules() if name}
    with ValueCapture(watched) as values:
        step = model(**training, output_losses=True)
    _read_tokens(out, values)
    _read_correction(out, values)
    _read_fusion(out, values, model)
    out["out.sentiment_preds"] = step.logits
    terms = {"l_cc": "completeness", "l_adv": "adversarial", "l_rec": "reconstruction", "l_sp": "task"}
    for name, term in terms.items():
        out[f"loss.{name}"] = step.losses[term]
    out["loss.loss"] = step.loss
    step.loss.backward()
    found.gradients[""] = gradients_of(model)

    model.eval()
    with ValueCapture({"completeness_head": model.completeness_head}) as values, torch.no_grad():
        single = model(**{name: value[:1] for name, value in batch.items()}).logits
    out["out.single.sentiment_preds"] = single
    out["out.single.w"] = values.of("completeness_head").squeeze(-1)
    _replay_optimiser_step(out, model, batch, training, settings)
    return found


def _read_tokens(out: Tensors, values: ValueCapture) -> None:
    # First call: what was received; second call: the clean twin.
    for call, mark in enumerate(("m", "clean")):
        for letter, name in _MODALITY.items():
            out[f"out.h_{letter}_{mark}"] = values.of(f"embedders.{name}", call)[-1]
    out["out.bert_hidden_m"] = values.of("text_model").last_hidden_state
    out["out.bert_hidden"] = values.of("text_model", 1).last_hidden_state
    rebuilt = [values.of(f"reconstructors.{name}")[-1] for name in _RECONSTRUCTORS]
    out["out.rec_feats"] = torch.cat(rebuilt, dim=1)
    out["out.complete_feats"] = torch.cat([values.of(f"embedders.{name}", 1)[-1] for name in _RECONSTRUCTORS], dim=1)


def _read_correction(out: Tensors, values: ValueCapture) -> None:
    out["out.completeness_token"] = values.of("completeness_encoder")[-1][:, 0]
    out["out.w"] = values.of("completeness_head")
    out["out.h_p"] = values.of("proxy_generator")[-1]
    trust = out["out.w"].unsqueeze(-1)
    out["out.h_d"] = trust * out["out.h_l_m"] + (1 - trust) * out["out.h_p"]
    out["out.effectiveness_discriminator_out"] = values.of("discriminator")
    if len(out["out.w"]) == 1:
        # The reference drops the batch axis of a single row.
        out["out.w"] = out["out.w"].squeeze(0)
    for index, states in enumerate(values.of("language_encoder")):
        out[f"out.h_d_list.{index}"] = states


def _read_fusion(out: Tensors, values: ValueCapture, model: LnlnForSentiment) -> None:
    for index in range(len(model.hyper_layers)):
        hyper, weights = values.of(f"hyper_layers.{index}")
        for name, attention in weights.items():
            out[f"out.attn_hyper.{index}.{name}"] = attention
        out["out.h_hyper"] = hyper
    for index in range(len(model.fusion.layers)):
        out[f"out.attn_fusion.{index}"] = values.of(f"fusion.layers.{index}.attention")[1]
    out["out.fusion_tokens"] = values.of("fusion")
    out["out.fusion_mean"] = out["out.fusion_tokens"][:, 1:].mean(1)


def _replay_optimiser_step(
    out: Tensors, model: LnlnForSentiment, batch: Tensors, training: Tensors, settings: Mapping[str, Any]
) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), **settings["reference_config"]["base"]["adamw_step"])
    optimiser.step()
    with torch.no_grad():
        out["out.after_adamw_step.sentiment_preds"] = model(**batch).logits
        out["loss.after_adamw_step"] = model.train()(**training).loss


SYSTEM = ReferenceSystem(
    config_of=config_of,
    model_class=LnlnForSentiment,
    our_names=our_names,
    replay=replay,
    has_idle_rows=has_idle_rows,
    # An optimiser step divides by the root of tiny squared gradients.
    tolerances={
        "out.after_adamw_step.sentiment_preds": (1e-3, 1e-3),
        "loss.after_adamw_step": (1e-3, 1e-3),
    },
)
