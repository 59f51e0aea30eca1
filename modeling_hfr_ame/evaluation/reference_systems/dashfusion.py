# Copyright 2026 The HFR-AME contributors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""DashFusion as released by its authors (repository ultramarineX/DashFusion): names, sizes and peculiarities."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from modeling_hfr_ame.configuration_dashfusion import DashFusionConfig
from modeling_hfr_ame.data.companions import NO_ROW, rank_rows, ranked_companions
from modeling_hfr_ame.evaluation.reference_systems.reference_system import ReferenceSystem, Replay, Tensors
from modeling_hfr_ame.evaluation.reference_systems.value_capture import ValueCapture, gradients_of
from modeling_hfr_ame.modeling_dashfusion import DashFusionForSentiment, nonzero_frames

# The bottleneck fusion is called with audio and vision in exchanged places; its names follow the place.
_SLOT = {"t": "text", "a": "vision", "v": "audio"}
_ENCODER = {
    "encoder.pos_encoder.cls_token": "token",
    "encoder.pos_encoder.position_embeddings": "position_embedding",
    "encoder.pos_encoder.proj": "projection",
    "layernorm": "norm",
}
_ENCODER_LAYER = {
    "linear1": "ffn_in",
    "linear2": "ffn_out",
    "norm1": "attention_norm",
    "norm2": "ffn_norm",
    "self_attn.out_proj": "attention.output",
}
_STREAM_LAYER = {
    "0.fn.to_query": "attention.query",
    "0.fn.to_key": "attention.key",
    "0.fn.to_value": "attention.value",
    "0.norm": "attention_norm",
    "1.fn.net.0": "ffn_in",
    "1.fn.net.3": "ffn_out",
    "1.norm": "ffn_norm",
}
_COLLECTION = {
    "to_q": "collection.query",
    "norm1": "collection_norm",
    "norm2": "ffn_norm",
    "ffn.net.0": "ffn_in",
    "ffn.net.3": "ffn_out",
    **{f"to_k_{slot}": f"collection.key.{name}" for slot, name in _SLOT.items()},
    **{f"to_v_{slot}": f"collection.value.{name}" for slot, name in _SLOT.items()},
}
_ALIGNMENT = {
    "to_q": "query",
    "to_k_ta": "key.audio",
    "to_k_tv": "key.vision",
    "to_v_ta": "value.audio",
    "to_v_tv": "value.vision",
    "to_out.0": "output",
}
_PROJECTOR = {"proj.0": "0", "proj.2": "2", "layernorm": "4"}
# Text states are averaged over this many steps in the ranking of raw features, whatever their number.
_TEXT_STEPS = 50
_SHORT_LIST = -1000


def our_names(name: str) -> tuple[str, ...]:
    """Our parameter for one of the reference's; none for those that no output depends on, and for second names."""
    module, _, kind = name.rpartition(".")
    first, _, rest = module.partition(".")
    if first == "text_encoder":
        return _text_names(name.removeprefix("text_encoder."))
    if first in ("audio_encoder", "vision_encoder"):
        return _encoder_names(name.removeprefix(f"{first}."), f"encoders.{first.removesuffix('_encoder')}")
    if first == "temporal_alignment":
        return (f"alignment.{_ALIGNMENT[rest]}.{kind}",) if rest in _ALIGNMENT else ()
    if first == "HBF":
        return (_fusion_name(rest, kind),)
    return (name.replace("classifier.MLP.", "head."),)


def _text_names(name: str) -> tuple[str, ...]:
    if name.startswith("projector."):
        module, _, kind = name.removeprefix("projector.").rpartition(".")
        # The same two layers also go by the name of the list that they are in.
        return (f"text_projector.{_PROJECTOR[module]}.{kind}",) if module in _PROJECTOR else ()
    name = name.removeprefix("extractor.")
    return () if name.startswith("pooler.") or name.endswith("position_ids") else (f"text_model.{name}",)


def _encoder_names(name: str, place: str) -> tuple[str, ...]:
    layer = re.match(r"encoder\.transformer_encoder\.(layers\.\d+)\.(.+)[._](weight|bias)$", name)
    if layer:
        if layer[2] == "self_attn.in_proj":
            return tuple(f"{place}.{layer[1]}.attention.{part}.{layer[3]}" for part in ("query", "key", "value"))
        return (f"{place}.{layer[1]}.{_ENCODER_LAYER[layer[2]]}.{layer[3]}",)
    if name in _ENCODER:
        return (f"{place}.{_ENCODER[name]}",)
    module, _, kind = name.rpartition(".")
    return (f"{place}.{_ENCODER[module]}.{kind}",) if module in _ENCODER else ()


def _fusion_name(module: str, kind: str) -> str:
    part, level, rest = module.split(".", 2)
    if part == "encoder_q2tav":
        return f"levels.{level}.{_COLLECTION[rest]}.{kind}"
    slot = part.removeprefix("encoder_")
    layer = "bottleneck_layer" if slot == "q" else f"stream_layers.{_SLOT[slot]}"
    return f"levels.{level}.{layer}.{_STREAM_LAYER[rest.removeprefix('layers.0.')]}.{kind}"


def config_of(settings: Mapping[str, Any], reference: Tensors) -> DashFusionConfig:
    """Reads the reference's configuration."""
    sizes = settings["hyperparameters"]
    pairs = sizes["pairs_per_anchor"]
    return DashFusionConfig(
        variant="reference",
        text_config={"model_type": "bert", **settings["bert"]},
        audio_config={"feature_size": sizes["audio_fea_dim"]},
        vision_config={"feature_size": sizes["vision_fea_dim"]},
        # Wide enough for any labels: this comparison is about arithmetic.
        label_range=(-1e6, 1e6),
        dropout=0.0,
        hidden_size=sizes["d_model"],
        max_audio_length=sizes["audio_seq_len"],
        max_vision_length=sizes["vision_seq_len"],
        num_audio_layers=sizes["audio_layers"],
        num_vision_layers=sizes["vision_layers"],
        num_audio_heads=sizes["audio_heads"],
        num_vision_heads=sizes["vision_heads"],
        encoder_ffn_size=sizes["encoder_ff_dim"],
        num_alignment_heads=sizes["temporal_alignment_heads"],
        alignment_head_size=sizes["temporal_alignment_head_dim"],
        num_fusion_levels=sizes["fusion_depth"],
        num_bottleneck_tokens=sizes["initial_query_len"],
        num_attention_heads=sizes["fusion_heads"],
        fusion_ffn_size=sizes["fusion_ff_dim"],
        head_sizes=list(sizes["classifier_hidden"]),
        contrastive_weight=sizes["contrastive_weight"],
        contrast_temperature=sizes["temperature"],
        num_positives=pairs["same_label_similar"],
        num_similar_negatives=pairs["different_label_similar"],
        num_dissimilar_negatives=pairs["different_label_dissimilar"],
    )


def _batch(inputs: Tensors, prefix: str = "") -> Tensors:
    """The batch contract; which frames count follows from their values."""
    return {
        "input_ids": inputs[f"{prefix}input_ids"],
        "attention_mask": inputs[f"{prefix}attention_mask"],
        "token_type_ids": inputs[f"{prefix}token_type_ids"],
        "audio_values": inputs[f"{prefix}audio"],
        "vision_values": inputs[f"{prefix}vision"],
        "labels": inputs[f"{prefix}regression_labels"],
    }


def replay(model: DashFusionForSentiment, inputs: Tensors, settings: Mapping[str, Any]) -> Replay:
    """Runs a training step of the reference, which has no dropout here, and its retrieval of companions."""
    found = Replay()
    out = found.outputs
    batch, companions = _batch(inputs), _batch(inputs, "pairs.")
    model.set_attn_implementation("eager")

    model.eval()
    watched = {name: module for name, module in model.named_modules() if name}
    with ValueCapture(watched) as values, torch.no_grad():
        evaluated = model(**batch)
    out["out.pred"], out["loss.eval.mse"] = evaluated.logits.squeeze(-1), evaluated.loss
    out["out.bert_hidden"] = values.of("text_model").last_hidden_state
    _read_fusion(out, values, model)
    _read_encoders(out, model, batch, companions)

    model.train()
    step = model(**batch, companions=companions, output_losses=True)
    step.loss.backward()
    found.gradients[""] = gradients_of(model)
    out["loss.total"], out["loss.mse"] = step.loss, step.losses["task"]
    out["loss.contrastive"] = step.losses["contrastive"]
    _replay_retrieval(out, inputs)
    return found


@torch.no_grad()
def _read_encoders(out: Tensors, model: DashFusionForSentiment, batch: Tensors, companions: Tensors) -> None:
    states = model.encode(model.reader.read(batch), batch["token_type_ids"])
    others = model.encode(model.reader.read(companions), companions["token_type_ids"])
    for name in ("text", "audio", "vision"):
        out[f"out.{name}.sequence"] = states.streams[name]
        out[f"out.{name}.pooled"] = out[f"out.embedding_only.{name}"] = states.pooled[name]
        out[f"out.pairs.{name}.pooled"] = others.pooled[name]
    out["out.temporal_alignment"] = states.aligned
    out["out.pairs.temporal_alignment_first"] = others.aligned[:, 0]
    for name in ("audio", "vision"):
        embed: Any = model.encoders[name].embed
        out[f"out.{name}.embedded"] = embed(batch[f"{name}_values"])
    terms = model.contrast(states, batch["labels"], companions)
    out["loss.ntxent_per_anchor"] = terms.row_means(model.num_empty_pairs)


def _read_fusion(out: Tensors, values: ValueCapture, model: DashFusionForSentiment) -> None:
    slots = {"text" if slot == "t" else f"slot_{slot}": name for slot, name in _SLOT.items()}
    for name, weights in values.of("alignment")[1].items():
        out[f"out.attn_text_{name}"] = weights
    for index in range(len(model.levels)):
        out[f"out.hbf.{index}.query_self"] = values.of(f"levels.{index}.bottleneck_layer")
        bottleneck, streams = values.of(f"levels.{index}")
        weights = values.of(f"levels.{index}.collection")[1]
        out[f"out.hbf.{index}.query"] = bottleneck
        for slot, name in slots.items():
            out[f"out.hbf.{index}.{slot}"] = streams[name]
            out[f"out.hbf.{index}.attn_{slot}"] = weights[name]
    firsts = [bottleneck[:, 0], *(streams[name][:, 0] for name in ("text", "vision", "audio"))]
    out["out.fused"] = torch.cat(firsts, dim=-1)


def _replay_retrieval(out: Tensors, inputs: Tensors) -> None:
    """The companion lists that the reference makes of a training set's raw features."""
    features = [inputs["retrieval.text"].sum(1) / _TEXT_STEPS]
    for name in ("vision", "audio"):
        frames = inputs[f"retrieval.{name}"]
        valid = nonzero_frames(frames)
        out[f"out.retrieval.{name}_padding_mask"] = torch.cat([~valid[:, :1], ~valid], dim=1)
        low, high = frames.amin((0, 1)), frames.amax((0, 1))
        scaled = 2 * (frames - low) / (high - low) - 1
        features.append(scaled.sum(1) / inputs[f"retrieval.{name}_lengths"].unsqueeze(-1))
    rows = torch.cat(features, dim=1)
    similarity = torch.cosine_similarity(rows.unsqueeze(1), rows, dim=-1, eps=1e-6)
    rank = rank_rows(similarity.numpy())
    out["out.retrieval.similarity"], out["out.retrieval.rank"] = similarity, torch.from_numpy(rank)
    classes = np.round(inputs["retrieval.regression_labels"].double().numpy())
    lists = ranked_companions(rank, np.arange(len(rank)), classes, as_published=True)
    for short, entries in (
        ("ss", lists.similar_same),
        ("sd", lists.similar_different),
        ("ds", lists.dissimilar_same),
        ("dd", lists.dissimilar_different),
    ):
        out[f"out.retrieval.{short}"] = torch.from_numpy(np.where(entries == NO_ROW, _SHORT_LIST, entries))


SYSTEM = ReferenceSystem(config_of=config_of, model_class=DashFusionForSentiment, our_names=our_names, replay=replay)
