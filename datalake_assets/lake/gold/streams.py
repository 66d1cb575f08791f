"""Figures of event streams: every event once, arranged by its type."""

from collections.abc import Mapping, Sequence

import narwhals as nw

from datalake_assets.lake.gold.table import Frame, GoldTable, column, rows_of
from datalake_assets.lake.spec.columns import EVENT_DATE, EVENT_TIME, QUALITY_SCORE, RECORD_HASH, SOURCE_FILENAME
from datalake_assets.lake.spec.dataset import Dataset, EventStream


def events_by_type(datasets: Mapping[str, Dataset]) -> GoldTable | None:
    """All events of all streams, by date and in the order of their types; None where no dataset is a stream.

    The type is the value of the dataset's `event_type` column; a stream without one is one type by its own name.
    """
    streams = {name: d for name, d in datasets.items() if isinstance(d, EventStream)}
    if not streams:
        return None

    def compute(frames: Mapping[str, Frame]) -> Frame:
        parts = []
        for name, dataset in streams.items():
            if (silver := frames.get(f"silver/{name}")) is not None:
                key = list(dataset.key) or [RECORD_HASH]
                kind = nw.col(dataset.type_column).fill_null(name) if dataset.type_column else nw.lit(name)
                parts.append(
                    silver.select(
                        kind.alias("event_type"),
                        EVENT_DATE,
                        nw.lit(name).alias("source"),
                        joined_key(key).alias("event_key"),
                        nw.col(EVENT_TIME).alias("event_time"),
                        RECORD_HASH,
                        QUALITY_SCORE,
                        SOURCE_FILENAME,
                    )
                )
        return nw.concat(parts, how="vertical")

    return GoldTable(
        name="events_by_type",
        description="Every event of every stream once, by type and day.",
        sources=tuple(rows_of(dataset) for dataset in streams.values()),
        columns={
            "event_type": column("string", "The value of the stream's type column, else the stream's name"),
            EVENT_DATE: column("date", "The day of the event"),
            "source": column("string", "The dataset"),
            "event_key": column("string", r"Its key; parts are joined by |, with \ before a | or \ of their own"),
            "event_time": column("timestamp", "When it happened, UTC"),
            RECORD_HASH: column("string", "SHA-256 of the record's bytes as landed"),
            QUALITY_SCORE: column("double", "0 to 1"),
            SOURCE_FILENAME: column("string", "The landed object it came with"),
        },
        key=("source", EVENT_DATE, "event_key"),
        compute=compute,
        by_source=True,
        row_by_row=True,
        ordered_by=("event_type", "event_time"),
    )


def joined_key(key: Sequence[str]) -> nw.Expr:
    """The values of a key's columns as one text, another one for each key."""
    texts = [nw.col(name).cast(nw.String) for name in key]
    if len(texts) == 1:
        return texts[0]
    escaped = [
        text.str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True) for text in texts
    ]
    return nw.concat_str(escaped, separator="|")
