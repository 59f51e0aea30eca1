"""HME (YetZzzzzz/HME): names, sizes and inputs of the published code."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from modeling_hfr_ame.clean_twin import dropout_off
from modeling_hfr_ame.configuration_hme import HmeConfig
from modeling_hfr_ame.evaluation.reference_systems.reference_system import ReferenceSystem, Replay, Tensors
from modeling_hfr_ame.evaluation.reference_systems.value_capture import ValueCapture, gradients_of
from modeling_hfr_ame.modeling_hme import HmeForSentiment
from modeling_hfr_ame.neighbour_retrieval import batch_neighbours

_MODALITY = {"l": "text", "a": "audio", "v": "vision"}
_SUMMARY = {"text": "text", "audio": "audio", "video": "vision", "sample": "sample"}
_MIXTURE = {"T": "text", "A": "audio", "V": "vision", "hyper": "hyper"}
_PLACES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"bert\.", lambda m: "text_model."),
    (r"proj_([lav])_1\.", lambda m: f"projections.{_MODALITY[m[1]]}."),
    (r"([lav])2\1\.", lambda m: f"encoders.{_MODALITY[m[1]]}."),
    (r"latent_(text|audio|video|sample)\.", lambda m: f"summaries.{_SUMMARY[m[1]]}."),
    (r"([lav])2([lav])\.", lambda m: f"crossings.{_MODALITY[m[1]]}_{_MODALITY[m[2]]}."),
    (r"hyper_([lav])\.", lambda m: f"hyper_encoders.{_MODALITY[m[1]]}."),
    (r"VIB_estimate_([lav])_p\.", lambda m: f"bottlenecks.{_MODALITY[m[1]]}."),
    (r"ATTN_(T|A|V|hyper)\.", lambda m: f"mixtures.{_MIXTURE[m[1]]}."),
    (r"transformer_encoder_all\.layers\.", lambda m: "fusion_layers."),
    (r"fusion_all\.", lambda m: "head."),
)
# Within an encoder, a latent network or a crossing: a layer, its part, and the part's name with us.
_GATED = {
    "fn.to_q": ("attention.query",),
    "fn.to_kv": ("attention.key", "attention.value"),
    "fn.to_out": ("attention.output",),
    "norm_context": ("key_norm",),
    "fn.net.0": ("ffn_in",),
    "fn.net.2": ("ffn_out",),
}
_PLAIN = {
    "self_attn.in_proj": ("attention.query", "attention.key", "attention.value"),
    "self_attn.out_proj": ("attention.output",),
    "fc1": ("ffn_in",),
    "fc2": ("ffn_out",),
    "linear1": ("ffn_in",),
    "linear2": ("ffn_out",),
    "layer_norms.0": ("attention_norm",),
    "layer_norms.1": ("ffn_norm",),
    "norm1": ("attention_norm",),
    "norm2": ("ffn_norm",),
}
_OTHER = {
    "layer_norm": "norm",
    "to_embedds.1": "norm",
    "encode.0": "encoder.0",
    "encode.2": "encoder.2",
    "encode.4": "encoder.4",
    "decode.0": "head",
    "attention_mlp.attention_mlp": "hidden",
    "fc_att": "score",
    "fusion_layer_all": "0",
    "fusion_layer_all_all": "3",
}
# Counters and look-up stand-ins of the reference, which hold no weights.
_NO_WEIGHTS = ("version", "embed_positions._float_tensor", "position_ids")
# How near a random mask must come to its rate, and the rows that are drawn at least, as few can't come near any rate.
_RATE_TOLERANCE = 0.005
_MIN_DRAWN_ROWS = 32


def our_names(name: str) -> tuple[str, ...]:
    """Our parameters for one of the reference's; none for its counters."""
    if name.endswith(_NO_WEIGHTS):
        return ()
    for pattern, place in _PLACES:
        match = re.match(pattern, name)
        if match:
            rest, start = name[match.end() :], place(match)
            return (start + rest,) if start == "text_model." else tuple(start + own for own in _inner_names(rest))
    return (name,)


def _inner_names(name: str) -> tuple[str, ...]:
    nested = re.match(r"layers\.(\d+)\.(0|1|2\.0\.0|2\.0\.1)\.(.+)\.(weight|bias)$", name)
    if nested:
        layer, block, part, kind = nested.groups()
        place = "latent_layers" if block.startswith("2") else "source_layers"
        norm = ("attention_norm",) if block.endswith("0") else ("ffn_norm",)
        return tuple(f"{place}.{layer}.{own}.{kind}" for own in (norm if part == "norm" else _GATED[part]))
    plain = re.match(r"(?:layers\.)?(\d+)\.(.+?)[._](weight|bias)$", name)
    if plain and plain[2] in _PLAIN:
        layers = "layers." if name.startswith("layers.") else ""
        return tuple(f"{layers}{plain[1]}.{own}.{plain[3]}" for own in _PLAIN[plain[2]])
    module, _, kind = name.rpartition(".")
    return (f"{_OTHER[module]}.{kind}" if module in _OTHER else name,)


def config_of(settings: Mapping[str, Any], reference: Tensors) -> HmeConfig:
    """Reads the reference's options; the widths of feed-forward layers come from the weights' shapes."""
    options = settings["hyperparameters"]
    return HmeConfig(
        variant="reference",
        text_config={"model_type": "bert", **settings["bert"]},
        audio_config={"feature_size": options["acoustic_dim"]},
        vision_config={"feature_size": options["visual_dim"]},
        # Wide enough for any labels: this comparison is about arithmetic.
        label_range=(-1e6, 1e6),
        hidden_size=options["d_l"],
        num_attention_heads=options["num_heads"],
        num_layers=options["layers"],
        num_hyper_layers=options["hyper_depth"],
        num_latent_layers=options["latent_layers"],
        num_latents=options["num_latents"],
        latent_ffn_size=reference["latent_text.layers.0.1.fn.net.2.weight"].shape[1],
        num_fusion_layers=options["fusion_encoder_layers"],
        fusion_ffn_size=options["fusion_encoder_ff"],
        similarity_threshold=options["similarity_threshold"],
        min_certainty=options["uncertainty_LB"],
        max_certainty=options["uncertainty_UB"],
        max_text_length=options["sequence_length"],
        max_audio_length=options["sequence_length"],
        max_vision_length=options["sequence_length"],
        hyper_weight=options["weight_hyper_loss"],
        kl_weight=options["weight_kl"],
    )


def replay(model: HmeForSentiment, inputs: Tensors, settings: Mapping[str, Any]) -> Replay:
    """Runs the reference's forward and backward pass on its inputs and its noise."""
    found = Replay()
    out = found.outputs
    # The reference reads a row without any modality as zeros, ours refuses it: such a row gets an audio of zeros.
    present = inputs["modality_mask"].bool()
    silent = ~present.any(-1, keepdim=True)
    batch = {
        "input_ids": inputs["input_ids"],
        "attention_mask": inputs["attention_mask"],
        "token_type_ids": inputs["token_type_ids"],
        "audio_values": inputs["acoustic"].masked_fill(silent.unsqueeze(-1), 0.0),
        "vision_values": inputs["visual"],
        "modality_mask": present | (silent & torch.tensor([False, True, False])),
        "labels": inputs["labels"].squeeze(-1),
    }
    noise = {name: inputs[f"eps.{letter}"] for letter, name in _MODALITY.items()}
    model.set_attn_implementation("eager")
    watched = {name: module for name, module in model.named_modules() if name}
    with dropout_off(model):
        # The loss of training, but none of its dropout.
        model.training = True
        with ValueCapture(watched) as values, _given_noise(model, noise):
            step = model(**batch, output_losses=True)
        _read_encoders(out, values, model)
        _read_hyper_modalities(out, values, model)
        out["out.predictions"] = step.logits
        for name, term in (("task", "task"), ("hyper_modalities", "hyper"), ("kl", "kl")):
            out[f"loss.{name}"] = step.losses[term]
        out["out.info_losses"] = step.losses["kl"]
        out["loss.total"] = step.loss
        step.loss.backward()
    found.gradients[""] = gradients_of(model)

    model.eval()
    silence = {name: torch.zeros_like(value) for name, value in noise.items()}
    with torch.no_grad(), _given_noise(model, silence), ValueCapture(watched) as values:
        out["out.mean_path.predictions"] = model(**batch).logits
    for letter, name in _MODALITY.items():
        out[f"out.mean_path.logits_{letter}_p"] = values.of(f"bottlenecks.{name}").logits
    with torch.no_grad():
        # Our model encodes an absent text as one padding token, so the reference's states before removal are asked for.
        text = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        out["out.bert_hidden"] = model.text_model(**text).last_hidden_state
    for index, case in enumerate(settings.get("missing_matrices", ())):
        matrix = missing_matrix(case["rows"], case["missing_rate"], case["numpy_seed"])
        out[f"out.missing_matrix.{index}"] = matrix
    return found


@contextmanager
def _given_noise(model: HmeForSentiment, noise: Tensors) -> Iterator[None]:
    """Hands the bottlenecks this noise instead of what the model draws."""
    handles = [
        model.bottlenecks[name].register_forward_pre_hook(lambda module, args, value=value: (args[0], value))
        for name, value in noise.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _read_encoders(out: Tensors, values: ValueCapture, model: HmeForSentiment) -> None:
    for letter, name in _MODALITY.items():
        out[f"out.encoded_{letter}"] = values.of(f"encoders.{name}")
        pooled = out[f"out.encoded_{letter}"].max(1).values
        out[f"out.pooled_{letter}"] = pooled
        out[f"out.retrieved_{letter}"] = batch_neighbours(pooled, model.config.similarity_threshold)
        out[f"out.enhanced_{letter}"] = values.of(f"summaries.{name}")
    out["out.enhanced_sample"] = values.of("summaries.sample")


def _read_hyper_modalities(out: Tensors, values: ValueCapture, model: HmeForSentiment) -> None:
    for letter, name in _MODALITY.items():
        for other_letter, other in _MODALITY.items():
            if other != name:
                out[f"out.{letter}2{other_letter}"] = values.of(f"crossings.{name}_{other}")
        out[f"out.hyper_{letter}"] = values.of(f"hyper_encoders.{name}")
        state = values.of(f"bottlenecks.{name}")
        for field, part in (
            ("mu", state.mean),
            ("std", state.std),
            ("encoding", state.encoding),
            ("logits", state.logits),
            ("kl", state.divergence),
        ):
            out[f"out.vib_{letter}.{field}"] = part
        out[f"out.logits_{letter}_p"] = state.logits
        out[f"out.refined_{letter}"] = values.of(f"mixtures.{name}")
    out["out.hyper_all"] = values.of("mixtures.hyper")
    out["out.fusion_tokens"] = values.of(f"fusion_layers.{len(model.fusion_layers) - 1}")


def missing_matrix(num_rows: int, missing_rate: float, seed: int) -> torch.Tensor:
    """Random modality masks as the published code draws them: every sample keeps one, others by an overall rate.

    Args:
        num_rows: Number of samples.
        missing_rate: Share of all modalities that is removed; above 2/3 all but one per sample are.
        seed: Of NumPy's global stream, which the published code draws from; read here from a generator of its own.

    Returns:
        (num_rows, 3) int64, 1 = kept.
    """
    draws = np.random.RandomState(seed)
    num_modalities = len(_MODALITY)
    wanted = 1 - missing_rate
    if wanted == 1:
        return torch.ones(num_rows, num_modalities, dtype=torch.int64)
    if wanted <= 1 / num_modalities:
        return torch.from_numpy(_one_each(draws, num_rows).astype(np.int64))
    drawn_rows = max(num_rows, _MIN_DRAWN_ROWS)
    size, num_cells = (drawn_rows, num_modalities), num_modalities * drawn_rows
    while True:
        kept = _one_each(draws, drawn_rows)
        # In this order of operations: the thresholds are whole per cents, and rounding decides on some of them.
        more = num_cells * wanted - drawn_rows
        # A second draw makes up for what the first one hit in vain.
        in_vain = ((draws.randint(0, 100, size=size) < int(more / num_cells * 100)) & kept).sum()
        more /= 1 - in_vain / more
        kept |= draws.randint(0, 100, size=size) < int(more / num_cells * 100)
        if abs(wanted - kept.sum() / num_cells) < _RATE_TOLERANCE:
            return torch.from_numpy(kept[:num_rows].astype(np.int64))


def _one_each(draws: np.random.RandomState, num_rows: int) -> np.ndarray:
    """(num_rows, 3) bool with one modality in every row."""
    num_modalities = len(_MODALITY)
    return np.eye(num_modalities, dtype=bool)[draws.randint(0, num_modalities, size=(num_rows, 1))[:, 0]]


SYSTEM = ReferenceSystem(config_of=config_of, model_class=HmeForSentiment, our_names=our_names, replay=replay)
