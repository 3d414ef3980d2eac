"""Recipes: one grammar, and no name outside it."""

from __future__ import annotations

import re

import pytest

from edgecnn.errors import UnknownNameError
from edgecnn.quantize import passes
from edgecnn.quantize.recipe import FLOAT32, OTHERS_SAY, QUANTIZED, parse

GRAMMAR = re.compile(r"(?P<method>static|dynamic|weight)_w(?P<w>\d+)(a(?P<a>\d+))?|(?P<float>float)(?P<f>\d+)")


@pytest.mark.parametrize("recipe", [*QUANTIZED, FLOAT32], ids=lambda recipe: recipe.name)
def test_a_name_says_what_the_recipe_is(recipe):
    parts = GRAMMAR.fullmatch(recipe.name)
    assert parts is not None
    assert recipe.method == (parts["method"] or parts["float"])
    assert recipe.weight_bits == int(parts["w"] or parts["f"])
    assert recipe.activation_bits == int(parts["a"] or 32)
    assert recipe.calibrated == (recipe.method == "static")


def test_every_quantizing_recipe_is_found_by_its_name():
    names = ("static_w8a8", "static_w4a8", "static_w8a16", "dynamic_w8", "weight_w8", "float16")
    assert tuple(parse(name) for name in names) == QUANTIZED


def test_a_near_miss_is_told_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'static_w8a9'; did you mean 'static_w8a8'\?"):
        parse("static_w8a9")


@pytest.mark.parametrize(("name", "meant"), OTHERS_SAY.items())
def test_what_other_tools_say_is_told_what_it_is_here(name, meant):
    parse(meant)
    with pytest.raises(UnknownNameError, match=rf"unknown recipe '{name}'; did you mean '{meant}'\?"):
        parse(name)


@pytest.mark.parametrize("name", ["int8", "float32", "", "static_w2a8"])
def test_others_are_refused_with_the_list(name):
    with pytest.raises(
        UnknownNameError, match="valid: dynamic_w8, float16, static_w4a8, static_w8a16, static_w8a8, weight_w8"
    ):
        parse(name)


@pytest.mark.parametrize("recipe", [*QUANTIZED, FLOAT32], ids=lambda recipe: recipe.name)
def test_the_default_passes_exist(recipe):
    assert passes.check_names(passes.defaults(recipe))
