"""Whether silver has the form that the dataset file asks for: nothing is added to a table of another form."""

from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.spec.shape import shape_difference
from datalake_assets.lake.store.snapshot import Snapshot


class ShapeChangedError(RuntimeError):
    """A dataset file whose tables would have another form: they must be rebuilt before anything is added."""


def require_shape(silver: Snapshot, dataset: Dataset) -> None:
    """Raise `ShapeChangedError` when silver was written with another form of the dataset file."""
    if silver.exists and silver.shape not in {None, dataset.shape_text}:
        words = shape_difference(silver.shape or "", dataset.shape_text)
        raise ShapeChangedError(
            f"{dataset.name}: its dataset file has changed ({words}); new objects wait. "
            f"Run `datalake rebuild {dataset.name}`, or undo the change"
        )
