"""A lake on an emulated S3 whose steps run as jobs of emulated services."""

from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest

from datalake_assets.lake.store.landing import open_store
from datalake_assets.settings import Settings
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.runners import shipped
from datalake_assets_tests.runners.fake_aws import APPLICATION, CLUSTER, GLUE_JOB, ROLE, FakeAws
from datalake_assets_tests.runners.fake_http import serving
from datalake_assets_tests.sources import CLICKS, write_datasets

LakeOf = Callable[..., Settings]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The shipped packages and the wheel."""
    return shipped.build(tmp_path_factory.mktemp("shipped"))


@pytest.fixture
def jobs(aws: Aws, built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """The services that run jobs, which this process and those that it starts find by the usual variables."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    fake = FakeAws(folder, shipped.interpreter(folder), aws.environment, built[0])
    with serving(fake):
        for name, value in fake.endpoints.items():
            monkeypatch.setenv(name, value)
        yield fake


@pytest.fixture
def code(aws: Aws, built: tuple[Path, Path]) -> str:
    """What `make wheel` builds, on S3."""
    place = f"s3://{aws.bucket()}/code"
    wheel = built[1]
    obstore.put(open_store(place), wheel.name, wheel.read_bytes())
    obstore.put(open_store(place), "entry.py", b"from datalake_assets.remote import main\n\nmain()\n")
    obstore.put(open_store(place), "requirements.txt", f"{wheel.name}\npolars==2.1.0\n".encode())
    return place


@pytest.fixture
def lake_of(aws: Aws, jobs: FakeAws, code: str, tmp_path: Path) -> LakeOf:
    """Settings of a lake on S3 with a dataset of clicks; more of them by name."""
    bucket = aws.bucket()
    jobs.log_place = f"s3://{bucket}/logs"
    datasets = write_datasets(tmp_path / "datasets", CLICKS)

    def make(runner: str, **changes: object) -> Settings:
        return Settings(
            **{  # type: ignore[arg-type]
                "root": f"s3://{bucket}/lake",
                "datasets": datasets,
                "runner": runner,
                "remote_engine": "polars",
                "glue_job": GLUE_JOB,
                "emr_application": APPLICATION,
                "emr_role": ROLE,
                "emr_cluster": CLUSTER,
                "code": code,
                "poll_seconds": 1,
                **changes,
            }
        )

    return make
