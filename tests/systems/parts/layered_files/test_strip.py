"""A sample in one picture and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from systems.parts.layered_files.stack import Layer, Stack, flatten
from systems.parts.layered_files.strip import strip, thinned, unstrip
from tests.systems.parts.layered_files.stacks import pixels, stacks


@given(stacks())
def test_a_sample_comes_back_to_the_last_bit(whole: Stack) -> None:
    picture = flatten(whole)[..., :3]
    found = unstrip(*strip(picture, whole, "Whät it shows."))
    assert (found.picture[..., :3] == picture).all()
    assert found.caption == "Whät it shows."
    assert found.stack.size == whole.size
    for one, other in zip(found.stack.layers, whole.layers, strict=True):
        assert (one.rgba == other.rgba).all()
        rest = [(la.name, la.offset, la.opacity, la.blend, la.visible) for la in (one, other)]
        assert rest[0] == rest[1]


@given(stacks(), st.integers(1, 5))
def test_every_pixel_that_is_kept_of_a_large_picture_is_blended_as_before(whole: Stack, step: int) -> None:
    assert (flatten(thinned(whole, step)) == flatten(whole)[::step, ::step]).all()


def test_a_sample_is_never_large() -> None:
    whole = Stack((700, 300), (Layer("ground", pixels(0, 300, 700)), Layer("above", pixels(1, 90, 90), (13, 101))))
    found = unstrip(*strip(flatten(whole), whole, ""))
    assert found.stack.size == (234, 100)
    assert (found.picture == flatten(whole)[::3, ::3]).all()
    assert (flatten(found.stack) == found.picture).all()
