"""The local language model's reader, on a folder without one; the model itself is heavy and runs in the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from systems.language.decomp.local_lm import LocalModel
from systems.language.decomp.prompts import one_line
from systems.parts.errors import UserError


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no GGUF file"):
        LocalModel(tmp_path)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [(' "a b"\nWhat', '"a b"'), ("QS: [EOQ]", "[EOQ]"), ("\n  \n", ""), ("[split] A: x", "[split] A: x")],
)
def test_one_line_is_read_of_what_a_model_says(answer: str, wanted: str) -> None:
    assert one_line(answer, "QC: q\nQS: ") == wanted
