"""What becomes of an object that can't be read: a failure of its own, which stops no other object.

Belongs here: which exceptions are whose fault, and what is told of them. A failure is final where another try would
read the same bytes with the same result; then one reject by reference stands for the object in quarantine, so that
nothing that landed is in neither place.
"""

from dataclasses import dataclass
from typing import Literal

from datalake_assets.lake.readers.rejects import Reject
from datalake_assets.lake.store.landing import LandedObject
from datalake_assets.lake.store.objects import MissingObjectError, SupersededObjectError, TooLargeObjectError
from datalake_assets.lake.store.outcome import ObjectOutcome

_SHOWN = 500


class UnreadableObjectError(ValueError):
    """An object whose bytes can't be read, however often: damaged, cut off, or unpacking to too much."""


class TooMuchTextError(UnreadableObjectError):
    """An object that unpacks to more than a limit."""

    def __init__(self, limit: int) -> None:
        """Name the limit in bytes."""
        super().__init__(
            f"unpacks to more than {limit:,} bytes; land it in smaller objects, or raise the limit of bytes per object "
            "(DATALAKE_OBJECT_BYTES) and run `datalake rebuild` of its dataset"
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an object could not be read, and whether that is the last word (see `ObjectOutcome`)."""

    state: Literal["failed", "missing", "superseded"]
    error: str
    final: bool = False

    def outcome(self, landed: LandedObject) -> ObjectOutcome:
        """What the ledger is told of the object."""
        lost = landed.size if self.final else 0
        return ObjectOutcome(
            key=landed.key,
            etag=landed.etag,
            size=landed.size,
            partition=landed.partition,
            state=self.state,
            bytes_read=lost,
            bytes_rejected=lost,
            error=self.error,
            final=self.final,
        )

    def rejects(self, landed: LandedObject) -> list[Reject]:
        """The reject that stands for the object; none where it is tried again."""
        return [Reject(0, "", (f"object: {self.error}",), size=landed.size)] if self.final else []


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception is for the object that was being read.

    A panic of a Rust library counts, although it derives from `BaseException`. Raises `error` itself where it is no
    object's fault: an interrupt, the end of the process or of a generator.
    """
    match error:
        case MissingObjectError():
            return Failure("missing", _text(error))
        case SupersededObjectError():
            return Failure("superseded", _text(error))
        case UnreadableObjectError() | TooLargeObjectError():
            return Failure("failed", _text(error), final=True)
        case _ if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return Failure("failed", f"{type(error).__name__}: {_text(error) or 'no message'}")
    raise error


def _text(error: BaseException) -> str:
    """The first line of what an exception says; a file's name in it may hold what is no text."""
    line = next(iter(str(error).splitlines()), "")[:_SHOWN]
    return line.encode(errors="backslashreplace").decode()
