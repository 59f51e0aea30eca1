"""What DashFusion repairs, what its reference variant keeps, and its contrastive loss."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from modeling_hfr_ame import ConfigError, DashFusionForSentiment, InputError
from modeling_hfr_ame.contrastive_companions import choose_companions, contrast_pairs
from modeling_hfr_ame.evaluation.reference_systems import find_reference_system
from modeling_hfr_ame.modeling_dashfusion import nonzero_frames
from tests.models.model_fixtures import (
    AUDIO_SIZE,
    build_dashfusion,
    random_batch,
    row_of,
    shake,
    tiny_dashfusion_config,
)

REPOSITORY = Path(__file__).resolve().parents[2]
LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5), (3, 1, 2), (5, 8, 4), (6, 2, 9)]
COUNTS = {"num_positives": 2, "num_similar_negatives": 2, "num_dissimilar_negatives": 2}


def _without_dropout(**overrides: Any) -> DashFusionForSentiment:
    text = tiny_dashfusion_config().text_config.to_dict()
    text |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return shake(build_dashfusion(dropout=0.0, text_config=text, **overrides)).train()


def _rows_of(batch: dict[str, torch.Tensor], rows: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: value[rows] for name, value in batch.items() if not name.startswith(("clean_", "severity"))}


@pytest.mark.parametrize(("variant", "depends"), [("repaired", False), ("reference", True)])
def test_prediction_depends_on_batch_mates_only_in_the_reference(variant: str, depends: bool) -> None:
    model = shake(build_dashfusion(variant=variant)).eval()
    batch = random_batch(LENGTHS)
    short = row_of(batch, 3)
    short |= {name: short[name][:, : LENGTHS[3][0]] for name in ("input_ids", "attention_mask")}
    alone = model(**short).logits
    shift = (model(**batch).logits[3:4] - alone).abs().max()
    assert bool(shift > 1e-3) == depends


@pytest.mark.parametrize(("variant", "differs"), [("repaired", True), ("reference", False)])
def test_zero_frame_inside_a_clip_is_a_frame_only_in_the_repaired_variant(variant: str, differs: bool) -> None:
    model = shake(build_dashfusion(variant=variant)).eval()
    batch = random_batch([(9, 12, 6)])
    batch["audio_values"][:, 5:] = 0.0
    short = batch | {name: batch[name][:, :5] for name in ("audio_values", "audio_mask")}
    change = (model(**batch).logits - model(**short).logits).abs().max()
    assert bool(change > 1e-4) == differs


def test_frame_whose_features_cancel_counts_as_padding_but_the_first_never() -> None:
    frames = torch.tensor([[[0.0, 0.0], [1.0, -1.0], [1.0, 2.0]]])
    assert nonzero_frames(frames).tolist() == [[True, False, True]]


def test_drawn_companions_share_the_class_exactly_where_they_should() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(32, 12), torch.empty(32).uniform_(-3, 3)
    classes = build_dashfusion().label_classes(labels)
    chosen = choose_companions(features, classes, **COUNTS)
    same = classes[chosen.index] == classes.unsqueeze(1)
    assert chosen.valid.float().mean() > 0.9
    assert same[:, :2][chosen.valid[:, :2]].all()
    assert not same[:, 2:][chosen.valid[:, 2:]].any()
    own = torch.arange(32).unsqueeze(1)
    assert not (chosen.index == own)[chosen.valid].any()
    negatives = torch.where(chosen.valid[:, 2:], chosen.index[:, 2:], -1 - torch.arange(4))
    assert all(len(set(row)) == 4 for row in negatives.tolist())


def test_similar_companions_are_nearer_than_all_others_of_their_kind() -> None:
    torch.manual_seed(0)
    features, classes = torch.randn(20, 6), torch.arange(20) % 4
    chosen = choose_companions(features, classes, **COUNTS)
    cosine = torch.nn.functional.cosine_similarity(features[:1], features, dim=-1)
    others = [index for index in range(1, 20) if classes[index] == 0]
    assert set(chosen.index[0, :2].tolist()) == set(sorted(others, key=lambda index: -cosine[index])[:2])
    strangers = sorted((index for index in range(20) if classes[index]), key=lambda index: -cosine[index])
    assert chosen.index[0, 2:4].tolist() == strangers[:2]
    assert chosen.index[0, 4:].tolist() == strangers[:-3:-1]


@pytest.mark.parametrize(("scheme", "labels"), [("mosi", [2.6, 3.0, -1.2]), ("sims", [0.59, 0.61, 0.4])])
def test_labels_of_one_class_are_those_that_round_alike(scheme: str, labels: list[float]) -> None:
    model = build_dashfusion(metric_scheme=scheme)
    first, second, other = model.label_classes(torch.tensor(labels)).tolist()
    assert first == second != other


def test_contrast_of_a_pair_is_the_cross_entropy_against_its_negatives() -> None:
    torch.manual_seed(0)
    views = torch.randn(4, 3, 7, 5)
    terms = contrast_pairs(views, torch.ones(4, 3, 7, dtype=torch.bool), 2, temperature=0.5)
    assert terms.losses.shape == (3, 10)
    assert terms.counted.all()

    def entropy(view: int, row: int, positive: torch.Tensor) -> torch.Tensor:
        candidates = torch.stack([positive, *views[view, row, 3:]])
        cosine = torch.nn.functional.cosine_similarity(views[view, row, :1], candidates, dim=-1)
        return torch.nn.functional.cross_entropy(cosine / 0.5, torch.tensor(0))

    for row in range(3):
        pairs = [(0, views[1, row, 0]), (0, views[2, row, 0])]
        pairs += [(view, views[view, row, member]) for view in range(4) for member in (1, 2)]
        expected = torch.stack([entropy(view, row, positive) for view, positive in pairs])
        torch.testing.assert_close(terms.losses[row], expected)


def test_contrast_leaves_out_pairs_with_an_absent_member_or_without_negatives() -> None:
    torch.manual_seed(0)
    views, present = torch.randn(4, 3, 7, 5), torch.ones(4, 3, 7, dtype=torch.bool)
    present[1, 0, 0] = False  # row 0 has no audio
    present[:, 1, 3:] = False  # row 1 has no negatives
    present[:, 2, 2] = False  # row 2 has one positive
    terms = contrast_pairs(views, present, 2, temperature=0.5)
    assert terms.counted.sum(1).tolist() == [10 - 1 - 2, 0, 10 - 4]
    assert not terms.losses[~terms.counted].any()
    torch.testing.assert_close(terms.mean(), terms.losses[terms.counted].mean())


def test_contrast_of_a_batch_equals_that_of_the_same_rows_given_as_companions() -> None:
    model = _without_dropout()
    batch = random_batch([*LENGTHS, (4, 0, 7), (0, 5, 3)], training=True)
    # Each row has enough companions of either kind.
    batch["labels"] = torch.tensor([1.0, 1.2, -2.0, -1.9, 0.9, -2.1, 1.1, -2.0])
    states = model.encode(model.reader.read(batch))
    chosen = choose_companions(states.features(), model.label_classes(batch["labels"]), **COUNTS)
    inside = model(**batch, output_losses=True)
    given = model(**batch, companions=_rows_of(batch, chosen.index.flatten()), output_losses=True)
    assert inside.losses["contrastive"] > 0.1
    torch.testing.assert_close(inside.losses["contrastive"], given.losses["contrastive"])
    torch.testing.assert_close(inside.loss, given.losses["task"] + 0.2 * given.losses["contrastive"])


@pytest.mark.slow
def test_step_with_companions_in_the_batch_costs_at_most_a_quarter_of_six_encoded_ones() -> None:
    # Processor time of both in turn, at the published sizes but for the text encoder's depth.
    words = ["--batch-size", "32", "--length", "20", "--text-layers", "2", "--repeats", "2"]
    script = REPOSITORY / "benchmarks" / "companions.py"
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["batch_size"] == 32
    assert report["ratio_max"] <= 0.25, report


def test_companion_whose_label_contradicts_its_place_counts_only_in_the_reference() -> None:
    batch = random_batch(LENGTHS, training=True)
    batch["labels"] = torch.zeros(len(LENGTHS))
    companions = _rows_of(batch, torch.arange(6).repeat_interleave(6))
    companions["labels"] = torch.tensor([0.0, 0.0, 2.0, 2.0, 2.0, 2.0]).repeat(6)
    wrong = companions | {"labels": torch.full((36,), 2.0)}
    for variant, differs in (("repaired", True), ("reference", False)):
        model = _without_dropout(variant=variant)
        right_loss, wrong_loss = (
            model(**batch, companions=given, output_losses=True).losses["contrastive"] for given in (companions, wrong)
        )
        assert bool((right_loss - wrong_loss).abs() > 1e-3) == differs


def test_reference_without_companions_has_no_contrastive_term() -> None:
    batch = random_batch(LENGTHS, training=True)
    assert set(_without_dropout(variant="reference")(**batch, output_losses=True).losses) == {"task"}
    assert set(_without_dropout(contrastive_weight=0.0)(**batch, output_losses=True).losses) == {"task"}


def test_contrast_with_a_weight_of_zero_is_computed_only_in_the_reference() -> None:
    batch = random_batch(LENGTHS, training=True)
    companions = _rows_of(batch, torch.arange(6).repeat_interleave(6))
    for variant, kept in (("repaired", False), ("reference", True)):
        model = _without_dropout(variant=variant, contrastive_weight=0.0)
        step = model(**batch, companions=companions, output_losses=True)
        assert ("contrastive" in step.losses) is kept
        assert torch.equal(step.loss, step.losses["task"])


def test_companions_in_eval_are_never_read() -> None:
    model = _without_dropout().eval()
    batch = random_batch(LENGTHS, training=True)
    companions = {name: torch.full_like(value, -1) for name, value in batch.items()}
    assert torch.equal(model(**batch, companions=companions).loss, model(**batch).loss)


def test_wrong_number_of_companions_raises() -> None:
    batch = random_batch(LENGTHS, training=True)
    with pytest.raises(InputError, match=r"each of the 6 rows needs 6 companions.*found 6 rows"):
        _without_dropout()(**batch, companions=_rows_of(batch, torch.arange(6)))


@pytest.mark.parametrize(("variant", "projected"), [("repaired", True), ("reference", False)])
def test_text_and_alignment_of_the_model_width_are_projected_only_in_the_repaired_variant(
    variant: str, projected: bool
) -> None:
    text = tiny_dashfusion_config().text_config.to_dict() | {"hidden_size": 16}
    model = build_dashfusion(variant=variant, text_config=text, num_alignment_heads=2, alignment_head_size=8)
    assert model.config.hidden_size == 16
    names = model.state_dict()
    assert ("text_projector.0.weight" in names) == projected
    assert ("alignment.output.weight" in names) == projected


def test_reference_with_more_levels_than_tokens_to_halve_goes_on_with_one() -> None:
    config = tiny_dashfusion_config(variant="reference", num_bottleneck_tokens=4, num_fusion_levels=5)
    assert [config.bottleneck_size(level) for level in range(5)] == [4, 2, 1, 1, 1]


def test_audio_longer_than_the_position_table_raises() -> None:
    with pytest.raises(InputError, match=r"audio has at most 40 steps .*; found 41"):
        build_dashfusion()(audio_values=torch.zeros(1, 41, AUDIO_SIZE))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_audio_layers": 0}, "num_audio_layers must be at least 1; found 0"),
        ({"num_vision_heads": 3}, r"num_vision_heads must divide hidden_size \(16\); found 3"),
        ({"head_sizes": [8, 0]}, "each of head_sizes must be at least 1; found 0"),
        ({"num_fusion_levels": 4}, r"halved at all of the 4 levels .*found 4"),
        ({"contrastive_weight": -1.0}, r"contrastive_weight must not be negative; found -1\.0"),
        ({"num_similar_negatives": -1}, "num_similar_negatives must not be negative; found -1"),
        (
            {"num_similar_negatives": 0, "num_dissimilar_negatives": 0},
            "number of negatives must be at least 1; found 0",
        ),
        ({"contrast_temperature": 0.0}, r"contrast_temperature and class_width must be positive; found 0\.0"),
    ],
)
def test_configuration_out_of_range_raises(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_dashfusion_config(**fields)


@pytest.mark.parametrize(
    ("reference", "ours"),
    [
        ("HBF.encoder_a.2.layers.0.0.fn.to_key.bias", ("levels.2.stream_layers.vision.attention.key.bias",)),
        ("HBF.encoder_q.0.layers.0.1.norm.weight", ("levels.0.bottleneck_layer.ffn_norm.weight",)),
        ("HBF.encoder_q2tav.3.to_v_v.weight", ("levels.3.collection.value.audio.weight",)),
        (
            "audio_encoder.encoder.transformer_encoder.layers.3.self_attn.in_proj_bias",
            tuple(f"encoders.audio.layers.3.attention.{part}.bias" for part in ("query", "key", "value")),
        ),
        ("vision_encoder.encoder.pos_encoder.cls_token", ("encoders.vision.token",)),
        ("text_encoder.projector.proj.2.weight", ("text_projector.2.weight",)),
        ("text_encoder.projector.MLP.2.weight", ()),
        ("temporal_alignment.ffn.net.0.weight", ()),
        ("temporal_alignment.to_k_tv.weight", ("alignment.key.vision.weight",)),
        ("audio_encoder.fc.weight", ()),
        ("classifier.MLP.4.bias", ("head.4.bias",)),
    ],
)
def test_reference_name_leads_to_our_parameter(reference: str, ours: tuple[str, ...]) -> None:
    assert find_reference_system("DashFusion").our_names(reference) == ours
