import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modeling_hfr_ame.corruption import KINDS, MODALITIES, Corruption, CorruptionRecipe, SampleKey, TrainingMix
from modeling_hfr_ame.corruption.plans import keep_one_modality
from modeling_hfr_ame.errors import ConfigError

NUM_DRAWS = 2000


@st.composite
def recipes(draw: st.DrawFn) -> CorruptionRecipe:
    kind = draw(st.sampled_from(sorted(KINDS)))
    rule = KINDS[kind]
    chosen = draw(st.permutations(rule.modalities).flatmap(lambda order: st.sampled_from([order[:1], order[:2]])))
    if kind == "missing":
        return CorruptionRecipe(Corruption(kind, 1), tuple(chosen))
    level = draw(st.integers(1, 5) if rule.scale == "ladder" else st.floats(0, 1))
    return CorruptionRecipe(Corruption(kind, level), tuple(chosen) if draw(st.booleans()) else ())


@settings(deadline=None)
@given(recipes())
def test_recipe_any_name_round_trips(recipe: CorruptionRecipe) -> None:
    again = CorruptionRecipe.from_name(recipe.name)
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.name == recipe.name


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("clean", "clean"),
        ("drop-0.50", "drop-0.5"),
        ("drop-0.0", "drop-0.0"),
        ("block-1.0-vision-text", "block-1.0-text-vision"),
        ("noise-3-vision-audio", "noise-3"),
        ("typo-0.3-text", "typo-0.3"),
        ("missing-audio-text", "missing-text-audio"),
        ("drop-0.00001", "drop-0.00001"),
    ],
)
def test_recipe_equivalent_names_share_one(name: str, canonical: str) -> None:
    recipe = CorruptionRecipe.from_name(name)
    assert recipe.name == canonical
    assert recipe == CorruptionRecipe.from_name(canonical)


def test_recipe_different_names_differ() -> None:
    names = ["clean", "drop-0.5", "drop-0.3", "drop-0.5-text", "noise-3", "noise-3-audio", "missing-text"]
    assert len({CorruptionRecipe.from_name(name) for name in names}) == len(names)


def test_recipe_draw_touches_modalities_that_have_the_kind(key: SampleKey) -> None:
    noise, typo = Corruption("noise", 3), Corruption("typo", 0.3)
    assert CorruptionRecipe.from_name("noise-3").draw(key) == {"text": None, "audio": noise, "vision": noise}
    assert CorruptionRecipe.from_name("noise-3-audio").draw(key) == {"text": None, "audio": noise, "vision": None}
    assert CorruptionRecipe.from_name("typo-0.3").draw(key) == {"text": typo, "audio": None, "vision": None}
    assert CorruptionRecipe.from_name("clean").draw(key) == dict.fromkeys(MODALITIES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("drop-3", r"'drop' takes a rate in \[0, 1\] written with a decimal point, found '3' in 'drop-3'.*'drop-0.3'"),
        ("drop-.5", "written with a decimal point, found '.5'"),
        ("drop", "written with a decimal point, found ''"),
        ("drop-1.5", r"'drop' takes a rate in \[0, 1\], found 1.5"),
        ("noise-0.5", "'noise' takes a ladder level written as an integer from 1 to 5, found '0.5'.*'noise-3'"),
        ("noise-6", "takes a ladder level from 0 to 5, found 6"),
        ("noise-0", "takes 'noise' at an integer level from 1 to 5, found 0; levels in between are for training"),
        ("noise-3-text", "'noise' is defined for audio, vision, not for text"),
        ("smear-3", "'clean' or starts with a corruption kind, found 'smear-3'; the kinds are drop, block"),
        ("clean-text", "'clean' or starts with a corruption kind, found 'clean-text'"),
        ("", "'clean' or starts with a corruption kind, found ''"),
        (
            "drop-0.5-video",
            "ends with modalities, found 'video' in 'drop-0.5-video'; append any of text, audio",
        ),
        ("missing-1", "ends with modalities, found '1' in 'missing-1'"),
        ("drop-0.5-text-text", "names each modality once, found text, text; remove the repetition"),
        ("missing", "'missing' must leave at least one modality, found all three removed; name one or two"),
        ("missing-text-audio-vision", "'missing' must leave at least one modality"),
    ],
)
def test_recipe_wrong_name_raises(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CorruptionRecipe.from_name(name)


def test_recipe_clean_with_modalities_raises() -> None:
    with pytest.raises(ConfigError, match="a clean recipe touches no modality, found text; write just 'clean'"):
        CorruptionRecipe(None, ("text",))


def test_training_mix_unknown_name_raises() -> None:
    with pytest.raises(ConfigError, match="unknown training mix 'all'; choose one of mix, lnln, clean"):
        TrainingMix("all")


def test_plans_pickled_or_copied_stay_equal() -> None:
    for plan in (CorruptionRecipe.from_name("noise-3-audio"), TrainingMix("mix")):
        assert pickle.loads(pickle.dumps(plan)) == plan == copy.deepcopy(plan)  # noqa: S301 (our own bytes)


def test_needs_vocabulary_only_where_asr_can_come() -> None:
    assert [TrainingMix(name).needs_vocabulary for name in ("mix", "lnln", "clean")] == [True, False, False]
    names = ("asr-0.3", "typo-0.3", "clean")
    assert [CorruptionRecipe.from_name(name).needs_vocabulary for name in names] == [True, False, False]


def draw_many(name: str, key: SampleKey) -> list[dict]:
    mix = TrainingMix(name)
    return [mix.draw(dataclasses.replace(key, sample_id=str(index), epoch=0)) for index in range(NUM_DRAWS)]


@pytest.fixture(scope="module")
def mix_draws() -> list[dict]:
    return draw_many("mix", SampleKey("generated", "train", "", seed=0))


@pytest.mark.parametrize(
    ("modality", "weights"),
    [
        ("text", {"drop": 0.6, "block": 0.2, "asr": 0.15, "missing": 0.05}),
        ("audio", {"drop": 0.5, "block": 0.15, "noise": 0.15, "blur": 0.15, "missing": 0.05}),
        ("vision", {"drop": 0.5, "block": 0.15, "noise": 0.15, "blur": 0.15, "missing": 0.05}),
    ],
)
def test_training_mix_many_draws_follow_the_weights(mix_draws: list[dict], modality: str, weights: dict) -> None:
    drawn = [draws[modality] for draws in mix_draws if draws[modality] is not None]
    assert stats.binomtest(len(drawn), NUM_DRAWS, 0.5).pvalue > 1e-4
    counts = [sum(corruption.kind == kind for corruption in drawn) for kind in weights]
    assert sum(counts) == len(drawn)
    assert stats.chisquare(counts, np.array(list(weights.values())) * len(drawn)).pvalue > 1e-4
    severity = [corruption.severity for corruption in drawn if corruption.kind != "missing"]
    assert stats.kstest(severity, "uniform").pvalue > 1e-4


def test_training_mix_modalities_are_independent(mix_draws: list[dict]) -> None:
    # eight patterns of clean and corrupted, equally likely
    patterns = [tuple(draws[modality] is None for modality in MODALITIES) for draws in mix_draws]
    counts = [patterns.count(pattern) for pattern in set(patterns)]
    assert len(counts) == 8
    assert stats.chisquare(counts).pvalue > 1e-4


def test_training_mix_lnln_is_drop_at_uniform_rates_half_clean(key: SampleKey) -> None:
    drawn = [corruption for draws in draw_many("lnln", key) for corruption in draws.values()]
    rates = [corruption.level for corruption in drawn if corruption is not None]
    assert {corruption.kind for corruption in drawn if corruption is not None} == {"drop"}
    assert stats.binomtest(len(rates), len(drawn), 0.5).pvalue > 1e-4
    assert stats.kstest(rates, "uniform").pvalue > 1e-4


def test_training_mix_clean_draws_nothing(key: SampleKey) -> None:
    assert TrainingMix("clean").draw(key) == dict.fromkeys(MODALITIES)


def test_training_mix_next_epoch_draws_afresh(key: SampleKey) -> None:
    mix = TrainingMix("mix")
    epochs = [mix.draw(dataclasses.replace(key, epoch=epoch)) for epoch in range(8)]
    assert len({str(draws) for draws in epochs}) == 8
    assert epochs[3] == mix.draw(dataclasses.replace(key, epoch=3))


def test_keep_one_modality_all_removed_keeps_each_sometimes(key: SampleKey) -> None:
    removed = Corruption("missing", 1)
    kept = []
    for index in range(60):
        drawn = keep_one_modality(
            dict.fromkeys(MODALITIES, removed), dataclasses.replace(key, sample_id=str(index)), MODALITIES
        )
        kept += [modality for modality in MODALITIES if drawn[modality] is None]
    assert len(kept) == 60
    assert set(kept) == set(MODALITIES)


def test_keep_one_modality_something_remains_changes_nothing(key: SampleKey) -> None:
    removed, drop = Corruption("missing", 1), Corruption("drop", 1.0)
    drawn = {"text": removed, "audio": removed, "vision": drop}
    assert keep_one_modality(drawn, key, MODALITIES) == drawn
    assert keep_one_modality(drawn, key, ("text",)) == {**drawn, "text": None}
