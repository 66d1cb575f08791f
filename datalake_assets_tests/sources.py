"""A small source of events for the tests of orchestration: its dataset file, and landing records for it."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CLICKS = """
name: clicks
kind: event_stream
description: Clicks of a test page.
owner: team:test
landing: {prefix: firehose/clicks}
key: [id]
event_time: {column: at, unit: s}
schema:
  type: object
  required: [id, at]
  properties:
    id: {type: string, minLength: 1}
    at: {type: integer}
    page: {type: string}
"""


def write_datasets(folder: Path, *texts: str) -> Path:
    """A folder with one dataset file for each text."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, text in enumerate(texts):
        (folder / f"dataset_{n}.yaml").unlink(missing_ok=True)  # a copy of the folder may share its bytes
        (folder / f"dataset_{n}.yaml").write_text(text)
    return folder


def land(bronze: Path, prefix: str, hour: str, name: str, records: Iterable[Mapping[str, Any] | str]) -> Path:
    """Land records as Firehose does; `hour` is `YYYY/MM/DD/HH`, a string among the records is a raw line."""
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    file = bronze / prefix / hour / f"{prefix.rpartition('/')[2]}-1-{hour.replace('/', '-')}-00-00-{name}.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    hidden = file.with_name(f".{file.name}")
    hidden.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    hidden.rename(file)
    return file
