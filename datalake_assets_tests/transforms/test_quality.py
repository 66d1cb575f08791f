"""The quality score: the share of the declared columns that have a value."""

from datetime import date

from datalake_assets.lake.transforms.quality import millionths, score
from datalake_assets_tests.frames import Constructor, Rows, assert_equal_rows

TYPES = {"id": "int64", "name": "string", "born": "date", "_unknown": "string"}


def test_the_score_is_the_share_of_declared_columns_with_a_value(frame: Constructor) -> None:
    rows: Rows = [{"id": 1, "name": "a", "born": date(2026, 1, 1)}, {"id": 2}, {"_unknown": "{}"}]
    scored = score(frame(rows, TYPES), columns=["id", "name", "born"])
    assert_equal_rows(
        scored.select("id", "quality_score"),
        [{"id": 1, "quality_score": 1.0}, {"id": 2, "quality_score": 1 / 3}, {"id": None, "quality_score": 0.0}],
    )


def test_the_score_of_a_row_does_not_depend_on_the_rows_beside_it(frame: Constructor) -> None:
    names = [f"c{n}" for n in range(10)]
    for width in (5, 10):
        columns = names[:width]
        rows: Rows = [dict.fromkeys(columns[:n], 1) for n in range(width + 1)]
        expected = [{"quality_score": n / width} for n in range(width + 1)]
        types = dict.fromkeys(columns, "int64")
        assert_equal_rows(score(frame(rows, types), columns=columns).select("quality_score"), expected)
        assert_equal_rows(score(frame(rows[3:4], types), columns=columns).select("quality_score"), expected[3:4])


def test_halves_of_a_millionth_go_up_on_every_engine(frame: Constructor) -> None:
    """One engine took them to the even number, and gold had other figures by it."""
    rows: Rows = [{"quality_score": n / 2_000_000} for n in range(7)]
    counted = frame(rows, {"quality_score": "double"}).select(millionths().alias("n"))
    assert_equal_rows(counted, [{"n": n} for n in (0, 1, 1, 2, 2, 3, 3)])
