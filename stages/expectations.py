"""Great Expectations behind `Run.expect`: every expectation is tried, failing rows are named, Data Docs are written.

`reports/data_docs/<system>/<table>/index.html` shows all results; `<table>-failing.csv` beside it lists failing rows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stages.run import StageRun
from systems.parts.errors import UserError
from systems.parts.run import Expectation

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import Checkpoint
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context.store.store import DataDocsSiteConfigTypedDict

ID_COLUMNS = ("id", "asset_id")
SHOWN = 5
"""Failing rows named in the message; the CSV has them all."""


def expect(run: StageRun[Any], name: str, table: pa.Table, expectations: Sequence[Expectation]) -> None:
    """Try every expectation on `table`, then raise `UserError` in one line if any is violated."""
    frame = plain(table, expectations).to_pandas()
    docs = run.reports.parent.parent / "data_docs" / run.name
    results = outcomes(frame, name, expectations, docs / name)
    for page in sorted((docs / name).rglob("*.html")):
        run.tracker.artifact(page, str("data_docs" / page.parent.relative_to(docs)))
    failing = docs / f"{name}-failing.csv"
    failing.unlink(missing_ok=True)
    violated = [(asked, got) for asked, got in zip(expectations, results, strict=True) if not got.success]
    if violated:
        write_failing(frame, violated, failing)
        (asked, got), others = violated[0], len(violated) - 1
        more = f"; {others} other expectations are violated too" if others else ""
        raise UserError(
            f"table {name} violates {call(asked)}: {asked.why}; {what_failed(frame, got)}{more}; "
            f"failing rows in {failing}, Data Docs in {docs / name / 'index.html'}"
        )
    run.metric(f"{name}/expectations", len(expectations))
    run.metric(f"{name}/rows", table.num_rows)


def plain(table: pa.Table, expectations: Sequence[Expectation]) -> pa.Table:
    """The table without pictures, and without lists and structs that no expectation names."""
    named = {str(value) for expectation in expectations for value in expectation.kwargs.values()}
    nested = [field.name for field in table.schema if pa.types.is_nested(field.type) and field.name not in named]
    return table.drop_columns(nested)


def outcomes(
    frame: pd.DataFrame, name: str, expectations: Sequence[Expectation], docs: Path
) -> list[ExpectationValidationResult]:
    """Result of each expectation, in their order; an unknown type is our fault and keeps its traceback."""
    shutil.rmtree(docs, ignore_errors=True)
    ran = checkpoint(name, expectations, docs).run(batch_parameters={"dataframe": frame})
    (validation,) = ran.run_results.values()
    return sorted(validation.results, key=_position)


def _position(result: ExpectationValidationResult) -> int:
    config = result.expectation_config
    return int(config.meta["position"]) if config and config.meta else -1


def checkpoint(name: str, expectations: Sequence[Expectation], docs: Path) -> Checkpoint:
    """A checkpoint over one pandas table that writes its Data Docs to `docs`, in a context that lives in memory."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import; would call home
    import great_expectations as gx
    from great_expectations.checkpoint.actions import UpdateDataDocsAction
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.add_data_docs_site("docs", site(docs))
    asset = context.data_sources.add_pandas("tables").add_dataframe_asset(name)
    suite = gx.ExpectationSuite(
        name=name,
        expectations=[
            ExpectationConfiguration(
                type=asked.type, kwargs=dict(asked.kwargs), notes=asked.why, meta={"position": i}
            ).to_domain_obj()
            for i, asked in enumerate(expectations)
        ],
    )
    batch = asset.add_batch_definition_whole_dataframe("whole")
    definition = gx.ValidationDefinition(name=name, data=batch, suite=context.suites.add(suite))
    return context.checkpoints.add(
        gx.Checkpoint(
            name=name,
            validation_definitions=[context.validation_definitions.add(definition)],
            actions=[UpdateDataDocsAction(name="docs", site_names=["docs"])],
            result_format={"result_format": "COMPLETE"},
        )
    )


def site(docs: Path) -> DataDocsSiteConfigTypedDict:
    """Configuration of the Data Docs in folder `docs`."""
    return {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def call(asked: Expectation) -> str:
    """An expectation as one would call it: type and arguments."""
    return f"{asked.type}({', '.join(f'{key}={value!r}' for key, value in asked.kwargs.items())})"


def failing_rows(got: ExpectationValidationResult) -> list[int]:
    """Row numbers that violate an expectation; none where it is about the table as a whole."""
    return sorted(got.result.get("unexpected_index_list") or [])


def what_failed(frame: pd.DataFrame, got: ExpectationValidationResult) -> str:
    """How many rows failed and which are the first, or what was observed of the whole table."""
    rows = failing_rows(got)
    if rows:
        column = next((name for name in ID_COLUMNS if name in frame), frame.columns[0])
        first = ", ".join(str(frame[column].iloc[row]) for row in rows[:SHOWN])
        return f"{len(rows)} of {len(frame)} rows, first by {column}: {first}"
    problem = next((message for message in _messages(got.exception_info) if message), None)
    return problem or f"observed {got.result.get('observed_value')!r} in {len(frame)} rows"


def _messages(info: Mapping[str, Any]) -> list[str | None]:
    """Exception messages of a result: Great Expectations nests them by metric where a metric failed."""
    parts = [info] if "exception_message" in info else list(info.values())
    return [part["exception_message"] for part in parts]


def write_failing(
    frame: pd.DataFrame, violated: Sequence[tuple[Expectation, ExpectationValidationResult]], path: Path
) -> None:
    """Every failing row under the expectation it violates; a table-wide violation has a line without a row."""
    import pandas as pd

    parts = []
    for asked, got in violated:
        rows = frame.iloc[failing_rows(got)] if failing_rows(got) else frame.head(0).reindex([0])
        parts.append(rows.assign(**{"violated expectation": call(asked), "why": asked.why}))
    pd.concat(parts).to_csv(path, index=False)
