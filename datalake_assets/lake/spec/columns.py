"""The columns that the lake itself adds to tables: their names, and nothing else."""

EVENT_DATE = "event_date"
EVENT_MONTH = "event_month"
EVENT_TIME = "_event_time"
ETL_TIMESTAMP = "etl_timestamp"
SOURCE_FILENAME = "source_filename"
RECORD_HASH = "record_hash"
QUALITY_SCORE = "quality_score"
UNKNOWN = "_unknown"
CHANGE_ORDER = "_change_order"

ADDED_COLUMNS = frozenset(
    {EVENT_DATE, EVENT_TIME, ETL_TIMESTAMP, SOURCE_FILENAME, RECORD_HASH, QUALITY_SCORE, UNKNOWN, CHANGE_ORDER}
)
"""The columns that the lake adds to silver tables; a dataset may not declare one of them.

`EVENT_MONTH` is not among them: only tables cut by month have it.
"""

HISTORY_COLUMNS = frozenset({"operation", "valid_from", "valid_to", "is_current"})
"""The columns that it adds to histories besides; a replicated table may not declare one of these."""

ROW_NUMBER = "_row_number"
OPERATION = "operation"
COMMITTED_AT = "_committed_at"
CONTENT_HASH = "_content_hash"
VALID_FROM, VALID_TO, IS_CURRENT = "valid_from", "valid_to", "is_current"

IS_LOAD, PATH = "_is_load", "_path"
"""What orders a change besides: whether it comes from a full load, and its file by the file's time."""

LOAD, INSERT, UPDATE, DELETE = "L", "I", "U", "D"
"""The operations: a row of a full load, and the three of AWS DMS."""
