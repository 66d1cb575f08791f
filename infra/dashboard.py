"""The dashboard in QuickSight: which tables it reads, and what its sheets show. Plain data, no construct."""

from dataclasses import dataclass
from typing import Any

from datalake_assets.lake.spec.table_spec import TableSpec

_TYPES = {"string": "STRING", "boolean": "BIT", "date": "DATETIME", "timestamp": "DATETIME"}


@dataclass(frozen=True, slots=True)
class Chart:
    """A line for each value of `by`: `value` of a table, added up (or as `how` says) for each day of `over`."""

    title: str
    table: str
    over: str
    value: str
    by: str
    how: str = "SUM"


SHEETS: dict[str, tuple[Chart, ...]] = {
    "Ingestion": (
        Chart("Records accepted", "daily_summary", "event_date", "records", "source"),
        Chart("Objects read, by the day they landed", "ledger", "last_modified", "rows_in", "dataset"),
    ),
    "Quality": (
        Chart("Records rejected", "daily_summary", "event_date", "rejects", "source"),
        Chart("Mean quality score", "daily_summary", "event_date", "mean_quality", "source", how="AVERAGE"),
    ),
    "Sources": (
        Chart("Distinct keys", "daily_summary", "event_date", "unique_keys", "source"),
        Chart("Failed tries of objects", "ledger", "last_modified", "attempts", "dataset"),
    ),
    "Cost": (  # what is paid for follows the bytes that land and the rows that are read
        Chart("Bytes landed", "ledger", "last_modified", "size", "dataset"),
        Chart("Bytes that could not be used", "ledger", "last_modified", "bytes_rejected", "dataset"),
    ),
}
"""The sheets, by name."""


def tables() -> set[str]:
    """The names of the tables that the sheets read."""
    return {chart.table for charts in SHEETS.values() for chart in charts}


def input_columns(spec: TableSpec) -> list[dict[str, str]]:
    """A table's columns as QuickSight names and types them; those that it has no type for are left out."""
    kinds = {name: column.type for name, column in spec.columns.items()}
    return [{"Name": name, "Type": _type(kind)} for name, kind in kinds.items() if not kind.startswith("list<")]


def definition(data_sets: dict[str, str]) -> dict[str, Any]:
    """The dashboard over data sets, given by their ARNs, as CloudFormation writes it."""
    return {
        "DataSetIdentifierDeclarations": [
            {"Identifier": table, "DataSetArn": arn} for table, arn in sorted(data_sets.items())
        ],
        "Sheets": [
            {"SheetId": name.lower(), "Name": name, "Visuals": [_visual(name, n, c) for n, c in enumerate(charts)]}
            for name, charts in SHEETS.items()
        ],
    }


def _visual(sheet: str, number: int, chart: Chart) -> dict[str, Any]:
    key = f"{sheet.lower()}-{number}"

    def column(name: str) -> dict[str, Any]:
        return {"FieldId": f"{key}-{name}", "Column": {"DataSetIdentifier": chart.table, "ColumnName": name}}

    summed = {"AggregationFunction": {"SimpleNumericalAggregation": chart.how}}
    wells = {
        "Category": [{"DateDimensionField": {**column(chart.over), "DateGranularity": "DAY"}}],
        "Values": [{"NumericalMeasureField": {**column(chart.value), **summed}}],
        "Colors": [{"CategoricalDimensionField": column(chart.by)}],
    }
    return {
        "LineChartVisual": {
            "VisualId": key,
            "Title": {"Visibility": "VISIBLE", "FormatText": {"PlainText": chart.title}},
            "ChartConfiguration": {"FieldWells": {"LineChartAggregatedFieldWells": wells}, "Type": "LINE"},
        }
    }


def _type(kind: str) -> str:
    if kind.startswith("int"):
        return "INTEGER"
    return _TYPES.get(kind, "DECIMAL")
