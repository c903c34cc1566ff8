"""Outputs appear whole or not at all, whatever goes wrong in between."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from systems.parts.errors import UserError
from systems.parts.whole import partial, place, remove, whole


def tree(folder: Path) -> dict[str, str]:
    """Words of every file below, by path; what is hidden too."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_partial_output_is_a_hidden_neighbour() -> None:
    assert partial(Path("a/b")) == Path("a/.b.partial")


def test_files_and_folders_take_their_places_together_and_what_stood_there_is_gone(tmp_path: Path) -> None:
    page, folder = tmp_path / "new" / "page.html", tmp_path / "layers"
    folder.mkdir()
    (folder / "old.png").touch()
    with whole(page, folder) as (text, grown):
        text.write_text("page")
        grown.mkdir()
        (grown / "a.png").write_text("a")
        assert not page.exists()
        assert (folder / "old.png").exists()
    assert tree(tmp_path) == {"new/page.html": "page", "layers/a.png": "a"}


def test_what_a_killed_run_left_does_not_reach_the_next_result(tmp_path: Path) -> None:
    partial(tmp_path / "layers").mkdir()
    (partial(tmp_path / "layers") / "half.png").touch()
    with whole(tmp_path / "layers") as (grown,):
        grown.mkdir()
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), KeyboardInterrupt(), UserError("theirs")])
def test_an_error_leaves_what_was_there_and_is_not_hidden(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "one").write_text("old")

    def write() -> None:
        with whole(tmp_path / "one", tmp_path / "two") as (one, two):
            one.write_text("half")
            two.mkdir()
            raise error

    with pytest.raises(type(error)) as caught:
        write()
    assert caught.value is error
    assert tree(tmp_path) == {"one": "old"}
    assert not partial(tmp_path / "two").exists()


def test_a_full_disk_is_one_line_with_the_name_of_the_output(tmp_path: Path) -> None:
    def write(*name: str) -> None:
        with whole(tmp_path / "layers") as (grown,):
            grown.mkdir()
            raise OSError(errno.ENOSPC, "No space left on device", *name)

    with pytest.raises(UserError, match=r"output .*/layers: cannot be written \(No space left on device\)"):
        write()
    with pytest.raises(UserError, match=r"output .*/layers/a\.png: cannot be written \(No space left on device\)"):
        write(str(partial(tmp_path / "layers") / "a.png"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_named_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"output .*file.*: cannot be written"), whole(tmp_path / "file" / "layers"):
        pytest.fail("there is nowhere to write to")
    with pytest.raises(UserError, match=r"output .*file/x: cannot be written"):
        place(tmp_path / "file", tmp_path / "file" / "x")
    assert tree(tmp_path) == {"file": "mine"}


def test_removing_takes_files_folders_links_and_nothing_behind_them(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a").write_text("a")
    folder, file, link = tmp_path / "folder", tmp_path / "file", tmp_path / "link"
    folder.mkdir()
    (folder / "b").touch()
    file.touch()
    link.symlink_to(kept)
    for path in (folder, file, link, tmp_path / "nowhere"):
        remove(path)
    assert tree(tmp_path) == {"kept/a": "a"}
    assert list(tmp_path.iterdir()) == [kept]
