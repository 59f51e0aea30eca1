import numpy as np
import pytest
from scipy import integrate

from modeling_hfr_ame.corruption import CorruptionRecipe, read_recipe
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation import auilc, mean_over_rates, protocol_recipes
from modeling_hfr_ame.evaluation.protocols import (
    PROTOCOL_NAMES,
    PROTOCOL_NOTES,
    RATE_PROTOCOLS,
    averaged_recipes,
    canonical_recipe,
    rates_of_recipes,
    removed_modalities,
)


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_protocol_recipes_every_name_parses_and_means_something_else(protocol):
    recipes = protocol_recipes(protocol)
    parsed = [read_recipe(recipe) for recipe in recipes]
    assert len(set(parsed)) == len(recipes)


def test_protocol_recipes_have_the_documented_sizes():
    sizes = {protocol: len(protocol_recipes(protocol)) for protocol in PROTOCOL_NAMES}
    own = {"P0": 1, "P1": 10, "P2": 6, "P3": 9, "P4": 75, "P5": 10}
    published = {"lnln": 10, "tfr_net": 1, "emt_dlfr": 11, "imder_mr": 8}
    published |= {"fixed_modalities": 7, "fixed_modalities_lnln": 7}
    assert sizes == own | published
    assert set(PROTOCOL_NOTES) == set(published)


def test_protocol_p1_covers_rates_from_zero_to_nine_tenths():
    np.testing.assert_allclose(rates_of_recipes(protocol_recipes("P1")), np.arange(10) / 10)


def test_protocol_p2_removes_every_set_of_one_or_two_modalities_once():
    removed = [removed_modalities(recipe) for recipe in protocol_recipes("P2")]
    assert sorted(map(len, removed)) == [1, 1, 1, 2, 2, 2]
    assert len(set(removed)) == 6


def test_protocol_p4_names_audio_vision_and_both():
    touched = [CorruptionRecipe.from_name(recipe).modalities for recipe in protocol_recipes("P4")]
    assert {names: touched.count(names) for names in set(touched)} == {
        ("audio",): 25,
        ("vision",): 25,
        ("audio", "vision"): 25,
    }


def test_protocol_recipes_result_may_be_changed_without_harm():
    protocol_recipes("P0").append("drop-0.5")
    assert protocol_recipes("P0") == ["clean"]


def test_protocol_recipes_unknown_protocol_raises():
    with pytest.raises(ConfigError, match=r"a protocol must be one of P0, P1, P2, P3, P4, P5, lnln, .*, found 'P6'"):
        protocol_recipes("P6")


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("clean", "clean"),
        ("drop-0.0", "clean"),
        ("block-0.0-audio", "clean"),
        ("drop-0.50", "drop-0.5"),
        ("lnln-0.0", "clean"),
        ("imder_mr-0.0", "clean"),
        ("emt_dlfr-1.00", "emt_dlfr-1.0"),
        ("lnln_fixed-vision-text", "lnln_fixed-text-vision"),
    ],
)
def test_canonical_recipe_same_effect_gets_same_name(recipe, expected):
    assert canonical_recipe(recipe) == expected


def test_removed_modalities_of_a_partial_corruption_is_empty():
    assert removed_modalities("drop-0.9") == frozenset()
    assert removed_modalities("clean") == frozenset()


def test_averaged_recipes_leave_the_complete_input_out_where_the_published_mean_does():
    assert averaged_recipes("imder_mr") == [f"imder_mr-0.{tenth}" for tenth in range(1, 8)]
    assert averaged_recipes("fixed_modalities") == protocol_recipes("P2")
    assert "clean" not in averaged_recipes("fixed_modalities_lnln")
    assert len(averaged_recipes("fixed_modalities_lnln")) == 6
    for protocol in ("P1", "P2", "lnln", "tfr_net", "emt_dlfr"):
        assert averaged_recipes(protocol) == protocol_recipes(protocol)


@pytest.mark.parametrize("protocol", RATE_PROTOCOLS)
def test_rate_protocols_have_increasing_rates_and_an_area(protocol):
    rates = rates_of_recipes(protocol_recipes(protocol))
    assert auilc(rates, rates) == pytest.approx((rates[-1] ** 2 - rates[0] ** 2) / 2)  # of the curve y = x


def test_rates_of_published_protocols_are_those_of_the_papers():
    np.testing.assert_allclose(rates_of_recipes(protocol_recipes("lnln")), np.arange(10) / 10)
    np.testing.assert_allclose(rates_of_recipes(protocol_recipes("emt_dlfr")), np.arange(11) / 10)
    np.testing.assert_allclose(rates_of_recipes(protocol_recipes("imder_mr")), [*np.arange(7) / 10, 2 / 3])


def test_auilc_random_curve_equals_scipy_trapezoid():
    generator = np.random.default_rng(0)
    rates, values = np.sort(generator.uniform(size=11)), generator.normal(size=11)
    assert auilc(values, rates) == pytest.approx(integrate.trapezoid(values, rates))


def test_auilc_of_a_constant_is_the_width_of_the_rates():
    assert auilc([2.0, 2.0, 2.0], [0.0, 0.1, 0.9]) == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("values", "rates", "message"),
    [
        ([1.0, 2.0], [0.0], "one value per rate"),
        ([1.0], [0.0], "at least two rates"),
        ([1.0, 2.0], [0.5, 0.5], r"strictly increasing rates in \[0, 1\], found \[0.5, 0.5\]"),
        ([1.0, 2.0], [0.0, 1.5], "strictly increasing rates"),
    ],
)
def test_auilc_bad_grid_raises(values, rates, message):
    with pytest.raises(DataError, match=message):
        auilc(values, rates)


def test_mean_over_rates_weighs_rates_equally_and_shows_undefined_values():
    assert mean_over_rates([1.0, 2.0, 6.0]) == 3.0
    assert np.isnan(mean_over_rates([1.0, float("nan")]))


def test_mean_over_rates_without_values_raises():
    with pytest.raises(DataError, match="at least one value, found none"):
        mean_over_rates([])
