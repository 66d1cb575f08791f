"""The two engines that every transform is tested on."""

import pytest

from datalake_assets_tests.frames import Constructor, polars_frame, require_spark, spark_frame

_SPARK = pytest.param("spark", marks=[pytest.mark.spark, pytest.mark.xdist_group("spark")])


@pytest.fixture(params=["polars", _SPARK])
def frame(request: pytest.FixtureRequest) -> Constructor:
    """A constructor of frames: a Polars LazyFrame in one run of the test, a Spark DataFrame in the other."""
    if request.param == "polars":
        return polars_frame
    require_spark()
    return spark_frame
