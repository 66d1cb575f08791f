"""What is wrong with a landed record, by name. How a record is spoilt is told where the record is made."""

from enum import StrEnum


class Fault(StrEnum):
    """A flaw that real landings have; `is_rejected` tells the ones that the contracts refuse."""

    DUPLICATE = "duplicate"
    LATE = "late"
    UNKNOWN_FIELD = "unknown_field"
    TRUNCATED = "truncated_json"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    PATTERN = "pattern_violation"
    NEGATIVE = "negative_number"
    OUT_OF_RANGE = "out_of_range"
    NULL_KEY = "null_key"

    @property
    def is_rejected(self) -> bool:
        """Whether a record with this flaw belongs in quarantine."""
        return self not in {Fault.DUPLICATE, Fault.LATE, Fault.UNKNOWN_FIELD}
