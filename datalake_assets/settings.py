"""The one place that reads the lake's own variables; AWS' are read by whoever asks AWS."""

import re
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.readable import check_readable
from datalake_assets.lake.spec.dataset import Dataset
from datalake_assets.lake.spec.dataset_files import load_datasets
from datalake_assets.lake.spec.parts import RunnerChoice
from datalake_assets.lake.store.layout import Layout

_ESCAPED_IN_URLS = re.compile(r"""[^\x21-\x7e]|["#<>?`{}%]""")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:/)|s3(?=:)")
_BUCKET = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]*(/.*)?")
_NAMESPACE = re.compile(r"[A-Za-z0-9._\-/#:]{1,255}")
_QUEUE_URL = re.compile(r"https?://[^/\s]+/\S+")
_LEAST_MEMORY = 256 * 1024**2
_FIRST_DAY = date(1900, 1, 1)
_PACKAGED_DATASETS = Path(__file__).parent / "datasets"

RemoteRunnerName = Literal["glue", "emr_serverless", "emr"]
_NEEDED: dict[str, tuple[str, ...]] = {
    "glue": ("glue_job",),
    "emr_serverless": ("emr_application", "emr_role", "code"),
    "emr": ("emr_cluster", "code"),
}
"""What a remote runner can't do without."""


class UnusableRunnerError(ValueError):
    """A runner is chosen that can't run any step: says what to set, to install, or to put where."""


class Settings(BaseSettings):
    """Where the lake is and how it runs, from `DATALAKE_…` variables.

    Zones left out lie under `root`. `start` is when the first landing partition begins, `first_event_date` is gold's
    first partition (left out: as `assets.beginnings` finds them); what is older belongs to these first ones.
    `lookback_hours` is how far back each sensor tick looks at once, and `sweep_objects` how many older objects it looks
    through besides. `sensor` is how ticks find what landed: by listing, or from the SQS queue `queue_url`, beside a
    listing that begins every `reconcile_minutes`. `object_bytes` is what one object may unpack to and `record_bytes`
    how long a record may be; more is quarantined by reference. `memory_limit` is how many bytes of memory a step may
    take. `retention_hours` is how long the files of a table's older state are kept for its readers. `metrics` is the
    CloudWatch namespace in which a sensor tells how old each dataset's newest data are; left out: nobody is told.

    `runner` is where steps run whose dataset names no runner of its own; `auto` runs those that read at most
    `auto_bytes` in process and others on `remote_runner`, with `remote_engine`. `glue_job` is a Glue job's name,
    `emr_application` an EMR Serverless application's id, with the ARN of its `emr_role`, `emr_cluster` a cluster's id;
    `code` is where what `make wheel` builds lies, and `pipes` where runs and jobs talk to each other (default
    `<root>/_pipes`). A job has `workers_min` to `workers_max` workers. It may wait `job_start_seconds` for its turn and
    take `job_seconds`; it is looked at every `poll_seconds` at most.

    `source_url` is the Postgres that `datalake replicate` reads, and that silver is compared with. `settle_seconds` is
    how long silver may take to follow it, `reconcile_severity` what a difference is to Dagster's check.

    Building one raises `pydantic.ValidationError`, which names the variable that is wrong.
    """

    model_config = SettingsConfigDict(env_prefix="DATALAKE_", env_ignore_empty=True, frozen=True, extra="ignore")

    root: str = ".lake"
    bronze: str | None = None
    silver: str | None = None
    gold: str | None = None
    quarantine: str | None = None
    datasets: Path = _PACKAGED_DATASETS
    runner: RunnerChoice = "in_process"
    remote_runner: RemoteRunnerName | None = None
    remote_engine: Literal["spark", "polars"] = "spark"
    auto_bytes: ByteSize = ByteSize(3 * 1024**3)
    glue_job: str | None = None
    emr_application: str | None = None
    emr_role: str | None = None
    emr_cluster: str | None = None
    code: str | None = None
    pipes: str | None = None
    workers_min: Annotated[int, Field(ge=1)] = 2
    workers_max: Annotated[int, Field(ge=1)] = 20
    poll_seconds: Annotated[float, Field(gt=0)] = 20
    job_start_seconds: Annotated[float, Field(gt=0)] = 1_800
    job_seconds: Annotated[float, Field(ge=60)] = 21_600
    source_url: SecretStr | None = None
    settle_seconds: Annotated[float, Field(ge=0)] = 60
    reconcile_severity: Literal["warn", "error"] = "error"
    start: date | None = None
    first_event_date: date | None = None
    lookback_hours: Annotated[int, Field(ge=1)] = 24
    sweep_objects: Annotated[int, Field(ge=1)] = 250
    sensor: Literal["list", "sqs"] = "list"
    queue_url: Annotated[str | None, Field(validate_default=True)] = None
    reconcile_minutes: Annotated[int, Field(ge=1)] = 60
    sensor_seconds: Annotated[int, Field(ge=5)] = 10
    partitions_per_run: Annotated[int, Field(ge=1)] = 168
    object_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(Limits().object_bytes)
    record_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(Limits().record_bytes)
    memory_limit: ByteSize = ByteSize(Limits().memory_bytes)
    retention_hours: Annotated[int, Field(ge=0, le=87_600)] = 24
    metrics: str | None = None

    @field_validator("root", "bronze", "silver", "gold", "quarantine", "code", "pipes")
    @classmethod
    def _a_folder_or_on_s3(cls, place: str | None) -> str | None:
        """Refuse other URLs, and what was meant as one: it would be taken for a folder's name."""
        scheme = _SCHEME.match(place or "")
        if scheme and scheme[0] != "s3":
            raise ValueError(f"{place!r} is neither a folder nor s3://BUCKET/PREFIX, and only these are supported")
        if scheme and not _BUCKET.fullmatch(place or ""):
            raise ValueError(f"{place!r} names no bucket; write s3://BUCKET/PREFIX")
        return place

    @field_validator("root", "bronze", "silver", "gold", "quarantine")
    @classmethod
    def _readable_by_polars(cls, place: str | None) -> str | None:
        """Refuse a folder whose name a URL would escape: Polars does not find the files of a Delta table there."""
        if place and "://" not in place and (odd := _ESCAPED_IN_URLS.search(str(Path(place).absolute()))):
            raise ValueError(f"{place!r} has {odd[0]!r} in its path, where Delta tables can't be read; choose another")
        return place

    @field_validator("queue_url")
    @classmethod
    def _of_a_bucket(cls, url: str | None, info: ValidationInfo) -> str | None:
        """Refuse a queue's sensor without a queue, or without a bucket that could tell one of anything."""
        if info.data.get("sensor") != "sqs":
            return url
        if not url:
            raise ValueError("DATALAKE_SENSOR=sqs needs the URL of the queue to which S3 tells what lands")
        if not _QUEUE_URL.fullmatch(url):
            raise ValueError(
                f"{url!r} is no queue's URL; write one such as https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE"
            )
        if "://" not in (info.data.get("bronze") or info.data.get("root") or ""):
            raise ValueError("DATALAKE_SENSOR=sqs needs a bronze zone in S3; a folder tells no queue of its files")
        return url

    @field_validator("start", "first_event_date", mode="before")
    @classmethod
    def _a_past_day(cls, day: object) -> object:
        """Refuse what is no day, or one on which no partition can begin."""
        try:
            given = date.fromisoformat(day) if isinstance(day, str) else day
        except ValueError:
            raise ValueError(f"{day!r} is no day; write one such as 2026-01-31") from None
        today = datetime.now(UTC).date()
        if isinstance(given, date) and not _FIRST_DAY <= given <= today:
            raise ValueError(f"{given} is not between {_FIRST_DAY} and today; partitions can't begin there")
        return given

    @field_validator("metrics")
    @classmethod
    def _a_namespace(cls, namespace: str | None) -> str | None:
        """Refuse what CloudWatch refuses as a namespace, each time anew and unseen."""
        if namespace is not None and (not _NAMESPACE.fullmatch(namespace) or namespace.startswith("AWS/")):
            raise ValueError(
                f"{namespace!r} is no CloudWatch namespace: up to 255 letters, digits and ._-/#: not beginning with "
                "AWS/; write one such as Datalake/prod"
            )
        return namespace

    @field_validator("memory_limit")
    @classmethod
    def _enough(cls, limit: ByteSize) -> ByteSize:
        """Refuse a limit in which Python and its libraries leave no room for data."""
        if limit < _LEAST_MEMORY:
            raise ValueError(f"{limit.human_readable()} is too little for a step; give at least 256MiB")
        return limit

    @property
    def retention(self) -> timedelta:
        """How long the files of an older state of a table are kept."""
        return timedelta(hours=self.retention_hours)

    @property
    def layout(self) -> Layout:
        """The places of the zones; relative folders are taken from the working directory."""
        root = _place(self.root)
        return Layout(
            root=root,
            bronze=_place(self.bronze) if self.bronze else f"{root}/bronze",
            silver=_place(self.silver) if self.silver else f"{root}/silver",
            gold=_place(self.gold) if self.gold else f"{root}/gold",
            quarantine=_place(self.quarantine) if self.quarantine else f"{root}/quarantine",
        )

    @model_validator(mode="after")
    def _usable_runners(self) -> "Settings":
        """Refuse a runner that lacks what it needs, and bounds that cross."""
        self.require_runner(self.runner, by="DATALAKE_RUNNER")
        if self.remote_runner is not None:
            self.require_runner(self.remote_runner, by="DATALAKE_REMOTE_RUNNER")
        if self.workers_min > self.workers_max:
            raise ValueError(
                f"DATALAKE_WORKERS_MIN is {self.workers_min}, more than DATALAKE_WORKERS_MAX, {self.workers_max}"
            )
        return self

    def require_runner(self, choice: RunnerChoice, *, by: str) -> None:
        """Raise `UnusableRunnerError` where a runner that is chosen lacks a setting; `by` names who chose it."""
        if choice == "auto" and self.remote_runner is None:
            raise UnusableRunnerError(
                f"{by} is auto, and DATALAKE_REMOTE_RUNNER does not say which runner takes what is large; set it to "
                f"one of {', '.join(_NEEDED)}"
            )
        if choice not in _NEEDED:
            return
        missing = [f"DATALAKE_{name.upper()}" for name in _NEEDED[choice] if not getattr(self, name)]
        if missing:
            raise UnusableRunnerError(f"{by} is {choice}, which needs {' and '.join(missing)}; set what is missing")
        by_name = {
            **{f"DATALAKE_{zone.upper()}": place for zone, place in asdict(self.layout).items()},
            "DATALAKE_PIPES": self.pipes_place,
            "DATALAKE_CODE": self.code_place,
        }
        local = [(name, place) for name, place in by_name.items() if place and "://" not in place]
        if local:
            name, place = local[0]
            raise UnusableRunnerError(
                f"{by} is {choice}, whose jobs can't see {place} ({name}); put the lake on S3, and its code, such as "
                f"{name}=s3://BUCKET/PREFIX"
            )

    def runner_of(self, dataset: Dataset | None) -> tuple[RunnerChoice, str]:
        """The runner that is chosen for a dataset's silver (None: for gold), and who chose it."""
        if dataset is not None and dataset.runner is not None:
            return dataset.runner, f"`runner` of {dataset.name} is {dataset.runner}"
        return self.runner, f"DATALAKE_RUNNER is {self.runner}"

    @property
    def pipes_place(self) -> str:
        """The place under which runs and remote jobs talk to each other."""
        return _place(self.pipes) if self.pipes else f"{self.layout.root}/_pipes"

    @property
    def code_place(self) -> str | None:
        """The place of what `make wheel` built, where it is told."""
        return _place(self.code) if self.code else None

    def lake(self) -> Lake:
        """The lake; reads the dataset files. Raises `DatasetError` where one of them is wrong."""
        return Lake(
            layout=self.layout,
            datasets=load_datasets(self.datasets, check=check_readable),
            limits=Limits(
                object_bytes=self.object_bytes, record_bytes=self.record_bytes, memory_bytes=self.memory_limit
            ),
        )


def _place(text: str) -> str:
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())
