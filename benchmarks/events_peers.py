"""The peers of the events benchmark: the same objects read by DuckDB and by PySpark."""

import json
import shutil
import time
from pathlib import Path

import duckdb

VERDICTS = "verdicts.json"

_OBJECTS = "firehose/web_events/*/*/*/*/*.gz"
_FIELDS = ("event_id", "event_name", "created_at", "user_id", "page", "amount", "payload")
_TYPES = ("VARCHAR", "VARCHAR", "BIGINT", "BIGINT", "VARCHAR", "DECIMAL(12,2)", "VARCHAR")
_PATHS = "[" + ", ".join(f"'$.{name}'" for name in _FIELDS) + "]"
_ZSTD = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
_INT = "('UBIGINT', 'BIGINT')"
_VERDICT = f"""
    types[1] = 'VARCHAR' AND texts[1] <> ''
    AND types[2] = 'VARCHAR' AND regexp_matches(texts[2], '^[a-z]+(:[a-z]+)+$')
    AND types[3] IN {_INT} AND TRY_CAST(texts[3] AS BIGINT) >= 0
    AND (types[4] IS NULL OR types[4] IN {_INT} AND TRY_CAST(texts[4] AS BIGINT) >= 1)
    AND (types[5] IS NULL OR types[5] = 'VARCHAR')
    AND (types[6] IS NULL OR types[6] IN ('UBIGINT', 'BIGINT', 'DOUBLE') AND TRY_CAST(texts[6] AS DOUBLE) >= 0)
    AND (types[7] IS NULL OR types[7] = 'OBJECT')
"""


def duckdb_strict(bronze: Path, out: Path) -> float:
    """The contract's verdicts in SQL: a JSON type for each field, the pattern and the minima."""
    with _connect(out) as connection:
        began = time.perf_counter()
        connection.execute(f"""
            CREATE TEMP TABLE judged AS
            SELECT *, coalesce({_VERDICT}, false) AS good
            FROM (
                SELECT line, filename,
                    CASE WHEN json_valid(line) THEN json_type(line, {_PATHS}) END AS types,
                    CASE WHEN json_valid(line) THEN json_extract_string(line, {_PATHS}) END AS texts
                FROM read_csv('{bronze}/{_OBJECTS}', columns = {{'line': 'VARCHAR'}}, auto_detect = false,
                    header = false, delim = '\x01', quote = '', escape = '', filename = true, compression = 'gzip')
            )
        """)
        typed = ", ".join(
            f"TRY_CAST(texts[{n}] AS {t}) AS {name}" for n, (name, t) in enumerate(zip(_FIELDS, _TYPES, strict=True), 1)
        )
        connection.execute(f"""
            COPY (
                SELECT DISTINCT ON (event_date, event_id)
                    {typed}, sha256(line) AS record_hash,
                    to_timestamp(TRY_CAST(texts[3] AS BIGINT))::DATE AS event_date,
                    filename
                FROM judged WHERE good
            ) TO '{out}/good.parquet' {_ZSTD}
        """)
        connection.execute(f"COPY (SELECT line, filename FROM judged WHERE NOT good) TO '{out}/bad.parquet' {_ZSTD}")
        seconds = time.perf_counter() - began
        good, bad = (
            connection.execute(f"SELECT count(*) FROM '{out}/{name}.parquet'").fetchall()[0][0]
            for name in ("good", "bad")
        )
    check(bronze, good=good, bad=bad)
    return seconds


def duckdb_lenient(bronze: Path, out: Path) -> float:
    """The shortest way to a table: what does not fit its type is NULL, what is no JSON is skipped."""
    columns = ", ".join(f"'{name}': '{t}'" for name, t in zip(_FIELDS, _TYPES, strict=True))
    with _connect(out) as connection:
        began = time.perf_counter()
        connection.execute(f"""
            COPY (
                SELECT DISTINCT ON (event_date, event_id) *, to_timestamp(created_at)::DATE AS event_date
                FROM read_json('{bronze}/{_OBJECTS}', format = 'newline_delimited', columns = {{{columns}}},
                    ignore_errors = true, filename = true, compression = 'gzip')
            ) TO '{out}/lenient.parquet' {_ZSTD}
        """)
        return time.perf_counter() - began


def spark(bronze: Path, out: Path) -> float:
    """Spark's own reader with a schema; rows that do not fit it are dropped."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g")
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "4",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    session.range(10).count()
    schema = ", ".join(f"{name} {'STRING' if t == 'VARCHAR' else t}" for name, t in zip(_FIELDS, _TYPES, strict=True))
    began = time.perf_counter()
    read = session.read.schema(schema).option("mode", "DROPMALFORMED").json(f"{bronze}/{_OBJECTS}")
    dated = read.withColumn("event_date", f.to_date(f.timestamp_seconds("created_at")))
    hashed = dated.withColumn("record_hash", f.sha2(f.to_json(f.struct(*_FIELDS)), 256))
    once = hashed.dropDuplicates(["event_date", "event_id"])
    once.write.option("compression", "zstd").parquet(f"{out}/spark")
    return time.perf_counter() - began


def no_spark() -> str | None:
    """Why PySpark can't run here, or None."""
    try:
        import pyspark  # noqa: F401
    except ImportError:
        return "pyspark is not installed; make bench installs it"
    return None if shutil.which("java") else "no Java on PATH; install a Java 17 runtime"


def check(bronze: Path, *, good: int, bad: int) -> None:
    """Raises `AssertionError` where a run came to other numbers than the one before it."""
    file = bronze / VERDICTS
    found = {"good": good, "bad": bad}
    expected = json.loads(file.read_text()) if file.exists() else found
    if found != expected:
        raise AssertionError(f"{found} here, {expected} in the run before: the verdicts differ")
    file.write_text(json.dumps(found))


def _connect(out: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    settings = {"threads": 2, "preserve_insertion_order": False, "TimeZone": "UTC", "enable_progress_bar": False}
    for name, value in settings.items():
        connection.execute(f"SET {name} = '{value}'")
    connection.execute(f"SET temp_directory = '{out}/spilled'")
    return connection
