"""Dataset files as text, and how they are refused: what the tests of dataset files share."""

from pathlib import Path

import pytest

from datalake_assets.lake.readers.readable import check_readable
from datalake_assets.lake.spec.dataset_files import DatasetError, load_datasets

EVENTS = """\
name: clicks
kind: event_stream
description: Clicks of a page.
owner: team:web
landing: {prefix: firehose/clicks, cadence: hourly}
key: [id]
event_time: {column: at, unit: s}
schema:
  type: object
  required: [id, at]
  properties:
    id: {type: string}
    at: {type: integer}
    amount: {type: number, x-lake-type: "decimal(12,2)"}
"""
TABLE = """\
name: orders
kind: cdc_table
description: Orders.
owner: team:shop
landing: {prefix: dms/public/orders}
key: [id]
columns:
  id: {type: int64, required: true}
  placed: {type: timestamp}
event_time: {column: placed}
history: true
"""


def refusal(folder: Path, *texts: str) -> list[str]:
    """The lines with which these files (`1.yaml`, `2.yaml`, …) are refused, without the folder."""
    for n, text in enumerate(texts, start=1):
        (folder / f"{n}.yaml").write_text(text)
    with pytest.raises(DatasetError) as refused:
        load_datasets(folder, check=check_readable)
    return str(refused.value).replace(f"{folder}/", "").splitlines()


def with_line(text: str, old: str, new: str) -> str:
    """A dataset file with one of its lines written otherwise."""
    assert old in text
    return text.replace(old, new)
