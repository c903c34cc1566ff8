"""Small tables for people, made of large ones."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa


def counted(table: pa.Table, columns: Sequence[str], what: str) -> pa.Table:
    """Rows of `table` counted by the values of `columns`, in the order of these; the count is the column `what`."""
    counts = table.select(columns).group_by(list(columns)).aggregate([([], "count_all")])
    return counts.rename_columns([*columns, what]).sort_by([(name, "ascending") for name in columns])
