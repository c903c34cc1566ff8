"""Tables for people."""

from __future__ import annotations

import pyarrow as pa

from systems.parts.tables import counted


def test_rows_are_counted_by_several_columns_in_their_order() -> None:
    rows = pa.table({"kind": ["b", "a", "b", "b"], "more": [1, 2, 3, 4], "source": ["x", "y", "x", "w"]})
    assert counted(rows, ["kind", "source"], "assets").to_pydict() == {
        "kind": ["a", "b", "b"],
        "source": ["y", "w", "x"],
        "assets": [1, 1, 2],
    }


def test_no_rows_give_an_empty_table_with_its_columns() -> None:
    empty = pa.table({"kind": pa.array([], pa.string())})
    assert counted(empty, ["kind"], "assets").to_pydict() == {"kind": [], "assets": []}
