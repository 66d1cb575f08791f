"""The columns that the lake itself adds to tables: their names, and nothing else."""

EVENT_DATE = "event_date"
EVENT_MONTH = "event_month"
EVENT_TIME = "_event_time"
ETL_TIMESTAMP = "etl_timestamp"
SOURCE_FILENAME = "source_filename"
RECORD_HASH = "record_hash"
QUALITY_SCORE = "quality_score"
UNKNOWN = "_unknown"
IS_CHANGE, FILE_TIME = "_is_change", "_file_time"
"""What orders a change besides: whether it is one (or a row of a load), and the time that its file's name tells."""

ADDED_COLUMNS = frozenset({EVENT_DATE, EVENT_TIME, ETL_TIMESTAMP, SOURCE_FILENAME, RECORD_HASH, QUALITY_SCORE, UNKNOWN})
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

GENERATION = "_generation"
"""After how many reloads of its table a change comes; worked out from the known ones, and never stored."""

RELOADED = "reloaded"
"""Stands for the content of a delete that no change told, but a load that lacks the row."""

LEFT_OUT = "_left_out"
"""What an update did not tell of its row, of a table where that is kept: names in commas, such as `,notes,photo,`."""

BEFORE_IMAGE = "BI_"
"""How DMS's columns with a row's values before a change begin (rule action `add-before-image-columns`)."""

LOAD, INSERT, UPDATE, DELETE = "L", "I", "U", "D"
"""The operations: a row of a full load, and the three of AWS DMS."""
