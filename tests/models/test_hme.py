"""What is HME's own; the contract that it shares with the other models is in `test_contract.py`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from modeling_hfr_ame import ConfigError, HmeConfig, HmeForSentiment
from modeling_hfr_ame.attention import MultimodalAttention
from modeling_hfr_ame.evaluation.reference_systems.hme import missing_matrix, our_names
from modeling_hfr_ame.modeling_hme import Bottleneck, SingleKeyMap
from tests.models.model_fixtures import build_hme, random_batch, row_of, shake, tiny_hme_config

LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5), (5, 0, 4)]


def count_parameters(**fields: Any) -> int:
    with torch.device("meta"):
        model = HmeForSentiment(HmeConfig(**fields))
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("feature_sizes", "fields", "expected"),
    [
        ((5, 20), {}, 152_982_221),
        ((74, 35), {"num_layers": 2, "num_latent_layers": 3}, 145_587_533),
        (
            (5, 20),
            {"hidden_size": 96, "num_layers": 3, "num_hyper_layers": 2, "num_latent_layers": 2},
            116_346_317,
        ),
    ],
)
def test_reference_variant_has_the_parameters_of_the_released_code(
    feature_sizes: tuple[int, int], fields: dict[str, int], expected: int
) -> None:
    audio, vision = feature_sizes
    sizes = {"audio_config": {"feature_size": audio}, "vision_config": {"feature_size": vision}}
    assert count_parameters(variant="reference", **sizes, **fields) == expected


def test_repaired_variant_lacks_only_queries_and_keys_that_get_no_gradient() -> None:
    # Three latent networks of four layers and six crossings of three: two projections and one norm each.
    dead = (3 * 4 + 6 * 3) * (2 * 192 * 192 + 2 * 192)
    assert dead == 2_223_360
    assert count_parameters(variant="reference") - count_parameters() == dead


def test_single_key_map_equals_attention_over_one_key() -> None:
    attention = MultimodalAttention(tiny_hme_config(), 16, 16, input_bias=False)
    single = SingleKeyMap(16)
    single.value.load_state_dict(attention.value.state_dict())
    single.output.load_state_dict(attention.output.state_dict())
    queries, key = torch.randn(3, 4, 16), torch.randn(3, 1, 16)
    mask = torch.tensor([[True], [True], [False]])
    expected, _ = attention(queries, None, key, None, mask)
    found, _ = single(queries, None, key, None, mask, key)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert not found[2].any()


def test_bottleneck_divergence_is_that_of_normal_distributions() -> None:
    torch.manual_seed(0)
    state = Bottleneck(8)(torch.randn(5, 8), None)
    exact = kl_divergence(Normal(state.mean, state.std), Normal(torch.zeros(5, 8), torch.ones(5, 8))).mean()
    torch.testing.assert_close(state.divergence, exact)
    assert torch.equal(state.encoding, state.mean)


def test_repaired_in_training_draws_and_in_eval_does_not() -> None:
    model, batch = shake(build_hme(dropout=0.0)), random_batch(LENGTHS)
    assert not torch.equal(model(**batch).logits, model(**batch).logits)
    model.eval()
    assert torch.equal(model(**batch).logits, model(**batch).logits)


def test_repaired_in_eval_reads_the_memory() -> None:
    model, batch = shake(build_hme()).eval(), random_batch(LENGTHS)
    before = model(**batch).logits
    model.memory.vectors.add_(1.0)
    assert (before - model(**batch).logits).abs().max() > 1e-4


def test_eval_without_labels_leaves_the_memory_alone() -> None:
    model = build_hme().eval()
    before = {name: value.clone() for name, value in model.memory.state_dict().items()}
    model(**random_batch(LENGTHS))
    assert all(torch.equal(value, before[name]) for name, value in model.memory.state_dict().items())


def test_loading_in_half_precision_keeps_the_memory(tmp_path: Path) -> None:
    model, batch = shake(build_hme()).eval(), random_batch(LENGTHS)
    model.save_pretrained(tmp_path)
    loaded = HmeForSentiment.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert loaded.memory.vectors.dtype == torch.float32
    assert torch.equal(loaded.memory.filled, model.memory.filled)
    torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, atol=0.05, rtol=0)


def test_training_never_keeps_an_absent_modality() -> None:
    model = build_hme(memory_size=20).train()
    model.memory.filled.zero_()
    model(**random_batch(LENGTHS))
    assert model.memory.filled.sum(-1).tolist() == [4, 3, 4]


def test_certainties_at_the_start_lie_inside_their_limits() -> None:
    batch = random_batch(LENGTHS)
    for variant, is_saturated in (("reference", True), ("repaired", False)):
        model = build_hme(variant=variant, dropout=0.0).eval()
        bottlenecks = model.predict(model.reader.read(batch), None).bottlenecks
        within, between = model._certainties(bottlenecks)
        assert bool((within == model.config.max_certainty).all()) == is_saturated
        assert bool((within < 0.99 * model.config.max_certainty).all()) != is_saturated
        torch.testing.assert_close(between.sum(-1), torch.ones(len(LENGTHS)))
        assert bool((between.max() - between.min()) < 0.1) != is_saturated


def test_reference_depends_on_batch_mates_where_repaired_does_not() -> None:
    batch = random_batch([(7, 7, 7)] * 4)
    for variant, changes in (("reference", True), ("repaired", False)):
        model = shake(build_hme(variant=variant)).eval()
        for bottleneck in model.bottlenecks.values():
            # Without its noise, which would hide what the batch mates do.
            bottleneck.register_forward_pre_hook(lambda module, args: (args[0], None))
        together = model(**batch).logits[:2]
        apart = torch.cat([model(**{n: v[:2] for n, v in batch.items()}).logits])
        assert bool((together - apart).abs().max() > 1e-4) == changes


def test_reference_of_one_row_alone_gives_a_score() -> None:
    model = build_hme(variant="reference").eval()
    assert model(**row_of(random_batch(LENGTHS), 0)).logits.shape == (1, 1)


def test_reference_pads_so_that_padding_in_the_batch_changes_nothing() -> None:
    lengths = {f"max_{name}_length": 20 for name in ("text", "audio", "vision")}
    model = shake(build_hme(variant="reference", **lengths)).eval()
    for bottleneck in model.bottlenecks.values():
        bottleneck.register_forward_pre_hook(lambda module, args: (args[0], None))
    plain, padded = (model(**random_batch(LENGTHS, pad=pad)).logits for pad in (0, 5))
    torch.testing.assert_close(plain, padded, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_latents": 0}, "num_latents must be at least 1; found 0"),
        ({"latent_ffn_size": 0}, "latent_ffn_size must be at least 1; found 0"),
        ({"num_attention_heads": 3}, r"num_attention_heads must divide hidden_size \(16\); found 3"),
        ({"similarity_threshold": 1.5}, "similarity_threshold is a cosine.*found 1.5"),
        ({"similarity_temperature": 0.0}, "similarity_temperature is positive; found 0.6 and 0"),
        ({"min_certainty": 2.0}, "certainties must be ascending.*found 2.0 to 1.0"),
        ({"kl_weight": -1.0}, "kl_weight must not be negative; found -1.0"),
        ({"fusion_dropout": 1.0}, r"fusion_dropout must lie in \[0, 1\); found 1.0"),
        ({"modalities": "ta"}, "HmeConfig is defined for modalities 'tav'; found 'ta'"),
    ],
)
def test_configuration_with_a_bad_value_raises(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_hme_config(**fields)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "latent_video.layers.2.0.fn.to_kv.weight",
            (
                "summaries.vision.source_layers.2.attention.key.weight",
                "summaries.vision.source_layers.2.attention.value.weight",
            ),
        ),
        ("latent_text.layers.0.2.0.1.norm.bias", ("summaries.text.latent_layers.0.ffn_norm.bias",)),
        ("v2a.layers.1.1.fn.net.0.bias", ("crossings.vision_audio.source_layers.1.ffn_in.bias",)),
        (
            "a2a.layers.1.self_attn.in_proj_bias",
            tuple(f"encoders.audio.layers.1.attention.{part}.bias" for part in ("query", "key", "value")),
        ),
        ("transformer_encoder_all.layers.1.norm2.weight", ("fusion_layers.1.ffn_norm.weight",)),
        ("a2a.version", ()),
    ],
)
def test_names_of_the_released_code_map_to_ours(theirs: str, ours: tuple[str, ...]) -> None:
    assert our_names(theirs) == ours


@pytest.mark.parametrize("missing_rate", [0.0, 0.1, 0.5, 0.7])
def test_missing_matrix_keeps_a_modality_of_every_sample_and_the_rate_overall(missing_rate: float) -> None:
    kept = missing_matrix(200, missing_rate, 1)
    assert (kept.sum(1) >= 1).all()
    assert abs(kept.float().mean() - max(1 - missing_rate, 1 / 3)) < 0.005


def test_missing_matrix_of_few_rows_is_the_head_of_the_least_that_is_drawn() -> None:
    few, many = (missing_matrix(num_rows, 0.4, 3) for num_rows in (7, 32))
    assert torch.equal(few, many[:7])
    assert abs(many.float().mean() - 0.6) < 0.005


def test_threshold_above_all_cosines_leaves_the_reference_without_neighbours() -> None:
    model = shake(build_hme(variant="reference", similarity_threshold=1.5)).eval()
    assert torch.isfinite(model(**random_batch(LENGTHS)).logits).all()
