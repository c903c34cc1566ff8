"""What the pipeline makes of right answers: the picture again, and nothing visible altered (checks 08.1 and 08.5)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from systems.image_layers.mulan.assembly import edge_band, mixed
from systems.image_layers.mulan.completion import Completed
from systems.image_layers.mulan.pipeline import Reach, Settings, take_apart
from systems.image_layers.mulan.scenes import Scene, flatten
from systems.image_layers.mulan.stack import Stack
from tests.systems.image_layers.mulan.made import knowing, scene

SOME = settings(max_examples=20, deadline=None)
LOOSE = Settings(reach=Reach(band=2))
FAITHFUL = 0.75
"""Least share of the band that mixes to the picture: elsewhere no colour in 0..255 would do."""
HARD = Settings(reach=Reach(band=0))
scenes = st.builds(scene, st.integers(0, 10_000), st.booleans(), st.sampled_from([0.0, 1.0, 2.0, 4.0]))
mutual_scenes = st.builds(scene, st.integers(0, 10_000), st.just(True), st.sampled_from([0.0, 2.0]))


def bands(stack: Stack) -> np.ndarray:
    """The feather bands of all layers."""
    layers = [Completed(layer.visible, layer.whole, layer.colour) for layer in stack.layers]
    owner = np.stack([layer.visible for layer in layers]).argmax(0)
    return np.any([edge_band(layer, owner < k, 2) for k, layer in enumerate(layers) if k], axis=0)


def error(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - other).max(2)


@SOME
@given(scenes)
def test_holds_08_1_the_stack_flattens_to_the_picture_outside_the_feather_band(made: Scene) -> None:
    stack = take_apart(made.image, knowing(made), LOOSE).stack
    assert [layer.label for layer in stack.layers] == list(made.labels)
    assert list(stack.mutual) == list(made.mutual)
    assert error(stack.flat(), made.image)[~bands(stack)].max() <= 1


@SOME
@given(mutual_scenes)
def test_holds_08_1_without_altered_alpha_a_mutual_pair_fails(made: Scene) -> None:
    stack = take_apart(made.image, knowing(made), LOOSE).stack
    unaltered = np.stack([np.dstack((layer.colour, layer.alpha)) for layer in stack.layers])
    switched = np.stack([layer.switched for layer in stack.layers])
    assert error(flatten(unaltered, switched), made.image)[~bands(stack)].max() <= 1
    assert error(flatten(unaltered), made.image)[~bands(stack)].max() > 1


@SOME
@given(scenes)
def test_in_the_feather_band_the_estimated_colours_mix_to_the_picture(made: Scene) -> None:
    stack = take_apart(made.image, knowing(made), LOOSE).stack
    away = error(stack.flat(), made.image)[bands(stack)]
    assert (away <= 2).mean() > FAITHFUL


@SOME
@given(scenes, st.sampled_from([LOOSE, HARD]))
def test_holds_08_5_nothing_visible_is_altered(made: Scene, how: Settings) -> None:
    stack = take_apart(made.image, knowing(made), how).stack
    soft = bands(stack) if how is LOOSE else np.zeros(made.image.shape[:2], bool)
    for layer in stack.layers:
        assert (layer.visible & ~soft <= layer.original).all()
        np.testing.assert_array_equal(layer.colour[layer.original], made.image[layer.original])
        assert layer.alpha[layer.original].min(initial=255) == 255


@SOME
@given(scenes)
def test_a_layer_is_whole_where_it_is_hidden_and_nowhere_else(made: Scene) -> None:
    stack = take_apart(made.image, knowing(made), LOOSE).stack
    for number, layer in enumerate(stack.layers):
        np.testing.assert_array_equal(layer.visible, made.visible[number])
        assert (layer.visible <= layer.whole).all()
        assert (layer.whole <= made.amodal[number]).all()


def test_the_edge_of_a_layer_gets_the_colour_that_was_mixed_there() -> None:
    made = scene(3, soft=4.0, count=1)
    stack = take_apart(made.image, knowing(made), LOOSE).stack
    edge = (stack.layers[1].alpha > 60) & (stack.layers[1].alpha < 250)
    truth = made.layers[1, edge, :3].astype(float)
    ours, mixture = (np.abs(colours[edge] - truth).mean() for colours in (stack.layers[1].colour, made.image))
    assert edge.any()
    assert ours < 0.5 * mixture


def test_a_picture_without_instances_is_its_own_background() -> None:
    made = scene(0, count=0)
    stack = take_apart(made.image, knowing(made), LOOSE).stack
    assert len(stack.layers) == 1
    np.testing.assert_array_equal(stack.flat(), made.image)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("inner", [False, True])
def test_colours_of_a_mixture_mix_to_it_again(alpha: float, inner: bool) -> None:
    rng = np.random.default_rng(0)
    image, painted = rng.uniform(90, 160, (2, 16, 16, 3)).astype(np.float32)
    cover = np.full((16, 16), alpha, np.float32)
    if alpha == 0:
        painted = image
    front, back = mixed(image, cover, painted, np.full((16, 16), inner))
    np.testing.assert_allclose(alpha * front + (1 - alpha) * back, image, atol=0.01)
    if inner:
        np.testing.assert_array_equal(back, painted)


def test_what_shows_in_front_of_a_mutual_partner_keeps_its_colours() -> None:
    for seed in range(10):
        made = scene(seed, mutual=True)
        stack = take_apart(made.image, knowing(made), LOOSE).stack
        shown = stack.layers[2].switched & (stack.layers[1].alpha == 255)
        assert shown.any()
        np.testing.assert_array_equal(stack.flat()[shown], made.image[shown])
