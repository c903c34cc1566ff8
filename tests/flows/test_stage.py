"""Reading the lines of a stage: none lost, progress bars thinned, bytes that are no text survived."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from flows.stage import lines

PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x85\xa0"), min_size=1)


@given(st.lists(PRINTABLE))
def test_every_printed_line_comes_through(printed: list[str]) -> None:
    assert list(lines(io.BytesIO("".join(f"{line}\n\n" for line in printed).encode()))) == printed


@given(st.integers(2, 40), PRINTABLE)
def test_a_progress_bar_is_thinned_and_its_end_is_kept(redrawn: int, last: str) -> None:
    bar = "".join(f"\r{step}%" for step in range(redrawn)) + f"\r{last}\nafter\n"
    assert list(lines(io.BytesIO(bar.encode()))) == ["0%", last, "after"]


def test_bytes_that_are_no_text_do_not_stop_the_log() -> None:
    assert list(lines(io.BytesIO(b"one\n\xff\xfe\ntwo"))) == ["one", "��", "two"]
