import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.corruption import (
    LITERATURE_KINDS,
    PROTOCOL_VERSION,
    CorruptionRecipe,
    LiteratureRecipe,
    SampleKey,
    draw_missing_patterns,
    emt_dlfr_masks,
    fixed_modality_masks,
    lnln_masks,
    read_recipe,
    tfr_net_masks,
)
from modeling_hfr_ame.corruption.protocol import KINDS
from modeling_hfr_ame.errors import ConfigError, DataError
from tests.corruption.literature_fingerprint import NAMES, SPLIT_ROWS, hash_literature

IDS = [f"row {index}" for index in range(60)]
WHERE = {"dataset": "tiny", "split": "test"}


@pytest.fixture
def lengths() -> np.ndarray:
    made = np.random.default_rng(0).integers(2, 9, (len(IDS), 3))
    made[:6, 1:] = 0  # text only
    made[6] = (0, 4, 6)
    return made


@pytest.mark.parametrize(
    "name", ["lnln-0.3", "tfr_net-0.25", "emt_dlfr-1.0", "imder_mr-0.7", "lnln_fixed-text", "lnln_fixed-audio-vision"]
)
def test_recipe_name_and_recipe_turn_into_each_other(name):
    recipe = read_recipe(name)
    assert isinstance(recipe, LiteratureRecipe)
    assert recipe.name == name
    assert LiteratureRecipe.from_name(recipe.name) == recipe
    assert not recipe.needs_vocabulary


def test_recipe_modalities_in_any_order_are_the_same_recipe():
    assert read_recipe("lnln_fixed-vision-text") == read_recipe("lnln_fixed-text-vision")


def test_read_recipe_knows_both_sorts_and_their_names_differ():
    assert read_recipe("drop-0.3") == CorruptionRecipe.from_name("drop-0.3")
    assert not set(LITERATURE_KINDS) & {*KINDS, "clean"}
    with pytest.raises(
        ConfigError, match=r"a recipe name is 'clean' or starts with a corruption kind, found 'drip-0.3'"
    ):
        read_recipe("drip-0.3")


@pytest.mark.parametrize("name", ["lnln", "lnln-3", "lnln-0.3-text", "emt_dlfr-text", "imder_mr-.5"])
def test_recipe_name_without_one_rate_raises(name):
    with pytest.raises(ConfigError, match=f"takes one rate written with a decimal point, found '{name}'; write for"):
        LiteratureRecipe.from_name(name)


@pytest.mark.parametrize(
    "name", ["lnln_fixed", "lnln_fixed-smell", "lnln_fixed-text-text", "lnln_fixed-text-audio-vision"]
)
def test_recipe_name_without_one_or_two_modalities_raises(name):
    with pytest.raises(
        ConfigError, match=r"erases one or two different modalities .* write for example 'lnln_fixed-text'"
    ):
        LiteratureRecipe.from_name(name)


def test_recipe_of_values_that_do_not_fit_raises():
    with pytest.raises(ConfigError, match=r"must be one of lnln, .*, found 'gcnet'"):
        LiteratureRecipe("gcnet", 0.5)
    with pytest.raises(ConfigError, match=r"takes a rate in \[0, 1\], found 1.5; pass the share"):
        LiteratureRecipe.from_name("lnln-1.5")
    with pytest.raises(ConfigError, match=r"must be in \[0, 0.7\], found 0.8"):
        LiteratureRecipe.from_name("imder_mr-0.8")
    with pytest.raises(ConfigError, match=r"takes a rate written with a decimal point and no modalities, found 1 and"):
        LiteratureRecipe("lnln", 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"padded lengths are three numbers of at least 1.*found \(50, 0, 500\)"):
        LiteratureRecipe("lnln", 0.5, padded_lengths=(50, 0, 500))


def test_nominal_rate_of_the_highest_missing_rate_is_two_thirds():
    assert [read_recipe(f"imder_mr-{rate}").nominal_rate for rate in (0.6, 0.7)] == [0.6, 2 / 3]
    assert read_recipe("lnln-0.7").nominal_rate == 0.7
    assert read_recipe("lnln_fixed-text").nominal_rate is None


@pytest.mark.parametrize("name", ["lnln-0.4", "lnln_fixed-audio", "tfr_net-0.2", "emt_dlfr-0.4", "imder_mr-0.5"])
def test_bound_recipe_gives_a_row_the_same_masks_in_any_part_of_the_split(name, lengths):
    recipe = read_recipe(name).over(split_ids=IDS, padded_lengths=(10, 11, 12))
    whole = recipe.bind(IDS, lengths, **WHERE, seed=3)
    chosen = [41, 7, 0, 59]
    part = recipe.bind([IDS[row] for row in chosen], lengths[chosen], **WHERE, seed=3)
    np.testing.assert_array_equal(part.removed, whole.removed[chosen])
    np.testing.assert_array_equal(part.severity, whole.severity[chosen])
    if whole.keep is not None:
        for a, b in zip(part.keep, whole.keep, strict=True):
            np.testing.assert_array_equal(a, b[chosen])
        assert whole.padded_lengths == (10, 11, 12)


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("lnln-0.4", partial(lnln_masks, rates=0.4)),
        ("tfr_net-0.4", partial(tfr_net_masks, rates=0.4)),
        ("emt_dlfr-0.4", partial(emt_dlfr_masks, rate=0.4)),
        ("lnln_fixed-text-vision", partial(fixed_modality_masks, erased=("text", "vision"))),
    ],
)
def test_bound_recipe_holds_the_masks_of_its_name(name, draw, lengths):
    masks = read_recipe(name).over(padded_lengths=(10, 11, 12)).bind(IDS, lengths, **WHERE, seed=0)
    for found, expected in zip(masks.keep, draw(lengths, (10, 11, 12)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_bound_recipe_default_padding_is_the_longest_row(lengths):
    masks = read_recipe("lnln-0.4").bind(IDS, lengths, **WHERE, seed=0)
    assert masks.padded_lengths == tuple(lengths.max(axis=0))
    assert [mask.shape for mask in masks.keep] == [(60, longest) for longest in lengths.max(axis=0)]


def test_bound_recipe_seed_matters_only_where_the_draws_are_ours(lengths):
    def bound(name, seed):
        return read_recipe(name).bind(IDS, lengths, **WHERE, seed=seed)

    np.testing.assert_array_equal(bound("lnln-0.4", 0).keep[0], bound("lnln-0.4", 1).keep[0])
    assert (bound("imder_mr-0.4", 0).removed != bound("imder_mr-0.4", 1).removed).any()


def test_bound_recipe_severity_is_the_nominal_rate_where_a_modality_is_present(lengths):
    drop = read_recipe("emt_dlfr-0.4").bind(IDS, lengths, **WHERE, seed=0)
    np.testing.assert_allclose(drop.severity, np.where(lengths > 0, 0.4, 0.0), rtol=1e-6)
    fixed = read_recipe("lnln_fixed-text-vision").bind(IDS, lengths, **WHERE, seed=0)
    np.testing.assert_array_equal(fixed.severity, (lengths > 0) * np.array([1.0, 0.0, 1.0]))
    assert not fixed.removed.any()
    random = read_recipe("imder_mr-0.5").bind(IDS, lengths, **WHERE, seed=0)
    np.testing.assert_array_equal(random.severity, random.removed)


def test_bound_imder_removes_the_drawn_patterns_but_never_the_last_modality(lengths):
    masks = read_recipe("imder_mr-0.7").bind(IDS, lengths, **WHERE, seed=0)
    drawn = ~draw_missing_patterns([SampleKey("tiny", "test", row, 0) for row in IDS], 0.7)
    present = lengths > 0
    loses_all = (present & ~drawn).sum(axis=1) == 0
    np.testing.assert_array_equal(masks.removed[~loses_all], (present & drawn)[~loses_all])
    assert loses_all.any()
    assert ((present & ~masks.removed).sum(axis=1) == 1).all()
    row = int(np.flatnonzero(loses_all)[0])
    values = [np.ones((3, 2), np.float32) if there else None for there in present[row]]
    found = masks.apply(row, *values, unknown_id=1)
    assert sum(value is not None for value in found) == 1


def test_apply_drops_tokens_and_frames_of_its_row_and_leaves_the_input(lengths):
    masks = read_recipe("lnln-0.6").bind(IDS, lengths, **WHERE, seed=0)
    for row in (2, 17):
        num_tokens, num_audio, num_vision = lengths[row]
        ids = np.arange(50, 50 + num_tokens)
        audio, vision = np.ones((num_audio, 2), np.float32), np.ones((num_vision, 3), np.float32)
        found = masks.apply(row, ids, audio, vision, unknown_id=1)
        text_keep, audio_keep, vision_keep = (mask[row] for mask in masks.keep)
        np.testing.assert_array_equal(found.input_ids == 1, ~text_keep[:num_tokens])
        np.testing.assert_array_equal(found.audio.all(axis=1), audio_keep[:num_audio])
        np.testing.assert_array_equal(found.vision.all(axis=1), vision_keep[:num_vision])
        assert ids.min() == 50
        assert audio.all()


def test_bound_recipe_row_outside_the_split_raises(lengths):
    recipe = read_recipe("lnln-0.4").over(split_ids=IDS[:59])
    with pytest.raises(DataError, match=r"found 'row 59' \(1 such rows\) outside its 59; pass split_ids of all rows"):
        recipe.bind(IDS, lengths, **WHERE, seed=0)


def test_masks_of_each_protocol_config_and_split_are_pinned():
    pinned = json.loads(Path(__file__).with_name("pinned_literature.json").read_text(encoding="utf-8"))
    assert pinned["protocol_version"] == PROTOCOL_VERSION
    assert hash_literature() == pinned["sha256"]
    assert {name.partition("-")[0] for name in NAMES} == set(LITERATURE_KINDS)
    assert all(set(hashes) == set(SPLIT_ROWS) for hashes in pinned["sha256"].values())
