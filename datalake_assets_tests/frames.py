"""Frames for the tests of transforms: rows as plain dicts in, on the engine that the test runs on, and rows out.

Each constructor takes rows and the lake types of their columns; a value that a row lacks is null.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest

from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.store.dtypes import dtype_of

Frame = nw.LazyFrame[Any]
Rows = Sequence[Mapping[str, Any]]
_ARROW = {
    "boolean": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "json": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


class Constructor(Protocol):
    """Makes a lazy frame of rows."""

    def __call__(self, rows: Rows, types: Mapping[str, str]) -> Frame:
        """The rows with columns of these lake types."""


def polars_frame(rows: Rows, types: Mapping[str, str]) -> Frame:
    """The rows as a Polars LazyFrame."""
    schema = {name: dtype_of(LakeType.parse(t)) for name, t in types.items()}
    complete = [{name: row.get(name) for name in types} for row in rows]
    return nw.from_native(pl.DataFrame(complete, schema=schema).lazy())


def spark_frame(rows: Rows, types: Mapping[str, str]) -> Frame:
    """The rows as a Spark DataFrame of the session that all tests of this process share."""
    columns = {n: pa.array([row.get(n) for row in rows], type=arrow_type(t)) for n, t in types.items()}
    made: Frame = nw.from_native(spark_session().createDataFrame(pa.table(columns)))
    return made


def rows_of(frame: Frame) -> list[dict[str, Any]]:
    """The rows of a frame of either engine, in no order."""
    native = frame.to_native()
    if isinstance(native, pl.LazyFrame):
        return native.collect().to_dicts()
    rows: list[dict[str, Any]] = native.toArrow().to_pylist()
    return rows


def assert_equal_rows(frame: Frame, expected: Rows) -> None:
    """The frame has exactly these rows, in any order, value for value: decimals, floats and times too."""
    found = rows_of(frame)
    assert _sorted(found) == _sorted(expected)


def _sorted(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted((dict(sorted(row.items())) for row in rows), key=lambda row: [_orderable(v) for v in row.values()])


def _orderable(value: Any) -> str:
    return str(value.normalize()) if isinstance(value, Decimal) else str(value)


def arrow_type(text: str) -> pa.DataType:
    """The Arrow type of a lake type."""
    lake_type = LakeType.parse(text)
    if lake_type.name == "decimal":
        return pa.decimal128(lake_type.precision, lake_type.scale)
    return _ARROW[lake_type.name]


_SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    # The frames are a few rows: planning and compiling them is all that takes time.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
_DELTA = {
    "spark.jars.packages": "io.delta:delta-spark_4.1_2.13:4.2.0",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "1",
}


def why_no_spark() -> str | None:
    """Why Spark can't be started here, in one line; None where it can."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed: pip install -e '.[spark]'"
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and shutil.which("java", path=f"{home}/bin")):
        return "no Java found: install a Java 17 runtime, or set JAVA_HOME"
    return None


def require_spark() -> None:
    """Skip the test where Spark can't be started; fail it there when DATALAKE_REQUIRE_SPARK=1."""
    reason = why_no_spark()
    if reason is not None and os.environ.get("DATALAKE_REQUIRE_SPARK") == "1":
        pytest.fail(f"DATALAKE_REQUIRE_SPARK=1, but {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(reason)


def require_spark_with_delta() -> None:
    """As `require_spark`, where Spark's jars for Delta are needed too."""
    require_spark()
    if not spark_session().conf.get("spark.sql.extensions", ""):
        told = pytest.fail if os.environ.get("DATALAKE_REQUIRE_SPARK") == "1" else pytest.skip
        told("Delta's jars for Spark could not be fetched from Maven Central")


@cache
def spark_session() -> Any:
    """The Spark session of this process, made when it is first asked for; with Delta where its jars can be fetched."""
    try:
        return _session(_SETTINGS | _DELTA)
    except Exception:  # noqa: BLE001 (Ivy's failure is a Java exception that ends the JVM)
        return _session(_SETTINGS)


def _session(settings: Mapping[str, str]) -> Any:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("datalake-assets-tests")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
