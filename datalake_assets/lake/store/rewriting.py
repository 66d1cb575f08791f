"""Live files written anew with some rows less and others more, a part at a time.

Belongs here: which rows are in memory together. A change of some rows in each of a table's files would need room for
all of the table otherwise.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from datalake_assets.lake.store.table_files import TableFiles, in_lots

_ROWS_AT_A_TIME = 500_000
_END = "end"


def rewritten(
    seen: TableFiles, files: pl.DataFrame, *, remove: pl.DataFrame | None, on: Sequence[str], add: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """The rows of some live files without those that equal one of `remove` in the columns `on`, and those of `add`.

    About half a million rows of the files at a time, each with the added ones that lie among them.
    """
    by, files = _in_order(seen, files)
    lots = list(in_lots(files, _ROWS_AT_A_TIME))
    for lot in lots[:-1]:
        here = (pl.col(by) <= lot[_END].max()) if by else pl.lit(value=False)
        yield pl.concat([_kept(seen, lot, remove, on), add.filter(here)])
        add = add.filter(~here.fill_null(value=False))
    if lots:
        add = pl.concat([_kept(seen, lots[-1], remove, on), add])
    yield add


def _kept(seen: TableFiles, files: pl.DataFrame, remove: pl.DataFrame | None, on: Sequence[str]) -> pl.DataFrame:
    rows = seen.scan_files(files).drop("_file")
    if remove is not None:
        rows = rows.join(remove.lazy(), on=list(on), how="anti", nulls_equal=True)
    return rows.collect()


def _in_order(seen: TableFiles, files: pl.DataFrame) -> tuple[str | None, pl.DataFrame]:
    """The first column by which rows lie in files, where the log tells it, and the files in its order."""
    for name in (*seen.partition_by, *seen.table.spec.clustered_by):
        for first, last in ((f"partition.{name}",) * 2, (f"min.{name}", f"max.{name}")):
            if name in seen.table.dtypes and last in files.columns and not files[last].null_count():
                return name, files.sort(first, last).with_columns(pl.col(last).alias(_END))
    return None, files
