"""The expectations that most tables are held to, as data; the rest of Great Expectations' list is named by its type."""

from __future__ import annotations

from systems.parts.run import Expectation


def column(check: str, name: str, why: str, **more: object) -> Expectation:
    """One on a column: `check` is the type without "expect_column_", as "values_to_be_unique"; `more` its arguments."""
    return Expectation(type=f"expect_column_{check}", kwargs={"column": name, **more}, why=why)


def equal(a: str, b: str, why: str) -> Expectation:
    """Two columns are equal row by row."""
    return Expectation(type="expect_column_pair_values_to_be_equal", kwargs={"column_A": a, "column_B": b}, why=why)
