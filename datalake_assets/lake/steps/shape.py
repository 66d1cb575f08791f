"""Whether silver has the form that is asked for: nothing is added to a table of another form."""

from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.spec.drift import grown_from
from datalake_assets.lake.spec.shape import shape_difference
from datalake_assets.lake.store.snapshot import Snapshot


class ShapeChangedError(RuntimeError):
    """A dataset file, or landed files, that ask for tables of another form: these must be rebuilt before any write."""


class ColumnsGrownError(RuntimeError):
    """A table that another step has given more columns, or wider ones, since this step asked for them: read again."""


def require_shape(silver: Snapshot, dataset: Dataset) -> None:
    """Raise `ShapeChangedError` when silver was written with another form of the dataset file.

    A replicated table that has less than was found in landed files by now is no such case: it grows as it is.
    """
    if not silver.exists or silver.shape in {None, dataset.shape_text}:
        return
    was = silver.shape or ""
    what = "its dataset file has changed"
    if isinstance(dataset, CdcTable):
        if grown_from(dataset, was) is not None:
            return
        what = "its dataset file has changed, or landed files have columns that its tables can't grow to"
    raise ShapeChangedError(
        f"{dataset.name}: {what} ({shape_difference(was, dataset.shape_text)}); new objects wait. "
        f"Run `datalake rebuild {dataset.name}`, or undo the change"
    )


def require_columns(seen: Snapshot, dataset: CdcTable) -> None:
    """Raise `ColumnsGrownError` when a table was written with other columns than a step has read."""
    if seen.exists and seen.shape not in {None, dataset.shape_text}:
        raise ColumnsGrownError(f"{seen.table.uri}: its columns have changed while its objects were read; run it again")
