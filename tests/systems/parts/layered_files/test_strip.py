"""A sample in one picture and back."""

from __future__ import annotations

from hypothesis import given

from systems.parts.layered_files.stack import Stack, flatten
from systems.parts.layered_files.strip import strip, unstrip
from tests.systems.parts.layered_files.stacks import stacks


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
