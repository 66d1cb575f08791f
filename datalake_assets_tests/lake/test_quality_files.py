"""A wrong `quality` of a dataset file is refused with its file, its line, and what to write instead."""

from pathlib import Path

import pytest

from datalake_assets.lake.spec.dataset_files import load_dataset
from datalake_assets.lake.spec.event_stream import EventStream
from datalake_assets_tests.lake.dataset_texts import EVENTS, TABLE, refusal

QUALITY = """\
quality:
  rows:
    paid: {expect: "amount > 0", severity: error}
  partitions:
    payments: {share_of: "amount IS NOT NULL", minimum: 0.1}
  volume: {days: 7}
  score: {completeness: 1, validity: 1, timeliness: 1, timely_within: PT1H}
"""


def test_what_is_left_out_is_as_usual(tmp_path: Path) -> None:
    file = tmp_path / "1.yaml"
    file.write_text(EVENTS)
    plain = load_dataset(file)
    file.write_text(EVENTS + "quality: {}\n")
    assert load_dataset(file) == plain
    assert isinstance(plain, EventStream)
    assert (plain.quality.volume is not None, plain.quality.score.completeness) == (True, 1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "severity: error",
            "severity: fatal",
            "17: `quality.rows.paid.severity`: should be 'reject', 'error' or 'warn', not 'fatal'",
        ),
        ("expect:", "expects:", "17: `quality.rows.paid.expect` is missing; add it"),
        ("severity: error", "sevrity: error", "17: unknown key `quality.rows.paid.sevrity`; did you mean `severity`?"),
        (
            '{expect: "amount > 0", severity: error}',
            "amount > 0",
            "17: `quality.rows.paid` is 'amount > 0'; write a mapping with the keys expect, severity",
        ),
        (
            "amount > 0",
            "amnt > 0",
            "17: clicks: `quality.rows.paid.expect`: column 'amnt' is not declared; did you mean 'amount'?",
        ),
        ("amount > 0", "SUM(amount) > 0", "17: clicks: `quality.rows.paid.expect`: an aggregate can't stand"),
        ("paid:", "volume:", "17: there is another rule called 'volume'; rename this one"),
        ("payments:", "paid:", "19: there is another rule called 'paid'; rename this one"),
        ("payments:", "P-ments:", "19: `quality.partitions.P-ments.[key]` is 'P-ments'; write lower-case"),
        ("minimum: 0.1", "maximum: 1", "19: `quality.partitions.payments`: every share lies"),
        ("minimum: 0.1", "minimum: 0.2, maximum: 0.1", "19: `quality.partitions.payments`: minimum 0.2 is more"),
        ("days: 7", "days: 1", "20: `quality.volume.days`: should be greater than or equal to 3, not 1"),
        ("days: 7", "dayz: 7", "20: unknown key `quality.volume.dayz`; did you mean `days`?"),
        (", timely_within: PT1H", "", "21: timeliness has a weight, and"),
        ("PT1H", "1 hour", "21: `quality.score.timely_within`: '1 hour' is no length of time"),
        ("PT1H", "PT0S", "21: `timely_within` is no time at all; write a length of time such as PT1H"),
        ("{completeness: 1, validity: 1, timeliness: 1", "{completeness: 0", "21: all weights are 0"),
        ("severity: error", "severity: reject", "21: validity has a weight, and no row rule of"),
    ],
)  # fmt: skip
def test_a_wrong_quality_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in QUALITY
    lines = refusal(tmp_path, EVENTS + QUALITY.replace(old, new, 1))
    assert any(line.startswith(f"1.yaml:{told}") for line in lines), lines


def test_a_replicated_table_has_no_quality(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, TABLE + QUALITY)
    assert line.startswith("1.yaml:12: unknown key `quality`; known here: name, ")
