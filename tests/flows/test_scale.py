"""Scales: written over params.yaml with its comments kept, taken back whole, and never over a person's own change."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows import scale
from systems.parts.errors import UserError
from tests.flows import toy

LEAVES = st.integers() | st.booleans() | st.lists(st.integers(), max_size=3)
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1), max_leaves=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A toy project with two scales beside the small one."""
    made = toy.make(tmp_path / "project")
    (made / "scales/big.yaml").write_text("toy: {change: {a: [1, 2]}}\n")
    return made


def values(folder: Path) -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((folder / "params.yaml").read_text())
    return loaded


def test_a_scale_changes_only_its_keys_and_keeps_comments(folder: Path) -> None:
    said = scale.apply(folder, "tiny")
    assert said == "params.yaml now holds scale 'tiny' (1 values set)"
    assert values(folder) == {"scale": "tiny", "toy": {"word": "hi", "change": {"a": "one", "b": "two"}}}
    text = (folder / "params.yaml").read_text()
    assert "# A comment that stays." in text
    assert "# another" in text


def test_one_scale_leaves_nothing_of_the_last_and_small_is_the_committed_file(folder: Path) -> None:
    before = values(folder)
    scale.apply(folder, "tiny")
    scale.apply(folder, "big")
    assert values(folder) == {"scale": "big", "toy": {"word": "hello", "change": {"a": [1, 2], "b": "two"}}}
    scale.apply(folder, "small")
    assert values(folder) == before


def test_a_change_of_ones_own_elsewhere_stays(folder: Path) -> None:
    toy.choose(folder, "b: two", "b: mine")
    scale.apply(folder, "tiny")
    scale.apply(folder, "small")
    assert values(folder)["toy"] == {"word": "hello", "change": {"a": "one", "b": "mine"}}


@pytest.mark.parametrize("first", ["small", "tiny"])
def test_a_change_of_ones_own_is_not_overwritten(folder: Path, first: str) -> None:
    scale.apply(folder, first)
    toy.choose(folder, "word: h", "word: ah")
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(UserError, match=r"toy\.word = ah\w+ is a change of yours"):
        scale.apply(folder, "tiny")
    assert (folder / "params.yaml").read_bytes() == before


def test_an_unknown_key_is_refused_and_nothing_written(folder: Path) -> None:
    (folder / "scales/tiny.yaml").write_text("toy: {wrod: hi}\n")
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(UserError, match=r"no key toy\.wrod"):
        scale.apply(folder, "tiny")
    assert (folder / "params.yaml").read_bytes() == before


def test_an_unknown_scale_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="scale 'huge' is unknown; there are small, big, tiny"):
        scale.apply(folder, "huge")


def test_a_file_that_git_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("toy: 1\n")
    with pytest.raises(UserError, match=r"params\.yaml: is not committed"):
        scale.apply(tmp_path, "small")


@given(st.dictionaries(st.sampled_from("abc"), TREES, min_size=1), st.data())
def test_merging_sets_the_named_leaves_and_no_other(tree: dict[str, object], data: st.DataObject) -> None:
    leaves = dict(scale.leaves(tree))
    changed = dict.fromkeys(data.draw(st.sets(st.sampled_from(sorted(leaves)))), "new")
    assert dict(scale.leaves(scale.merged(tree, changed))) == leaves | changed
