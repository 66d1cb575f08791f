"""Run requests: how sensors and schedules ask for work, and how a request that failed is asked again.

A request is named by the work it is for. While a run of that name is under way it is not asked again; after failures
it is, at growing intervals, so that a fault that lasts an hour heals by itself and costs few runs.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from datalake_assets.assets.partitions import range_tags

REQUEST_TAG = "datalake/request"
_LONGEST_WAIT = timedelta(hours=1)
_FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def request_name(parts: Iterable[object]) -> str:
    """A short name for a piece of work, the same for the same parts."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:24]


def run_request(
    assets: Sequence[dg.AssetKey], partitions: Sequence[str], *, job: str, name: str, tags: dict[str, str] | None = None
) -> dg.RunRequest:
    """Ask for one run over consecutive partitions of some assets (none: assets without partitions)."""
    single = len(partitions) == 1
    return dg.RunRequest(
        run_key=name,
        job_name=job,
        asset_selection=list(assets),
        partition_key=partitions[0] if single else None,
        tags={REQUEST_TAG: name, **(tags or {}), **(range_tags(partitions) if len(partitions) > 1 else {})},
    )


def still_wanted(
    request: dg.RunRequest, instance: dg.DagsterInstance, *, now: datetime, patient: bool
) -> dg.RunRequest | None:
    """The request with a run key for its next try, or None while it is under way or too early to try again.

    The wait after the n-th run is 2^n minutes, an hour at most; without `patient` there is none.
    """
    name = request.tags[REQUEST_TAG]
    records = instance.get_run_records(filters=dg.RunsFilter(tags={REQUEST_TAG: name}))
    if any(record.dagster_run.status not in _FINISHED for record in records):
        return None
    if records and patient:
        ended = max(datetime.fromtimestamp(r.end_time or r.update_timestamp.timestamp(), UTC) for r in records)
        if now < ended + min(timedelta(minutes=2 ** min(len(records), 10)), _LONGEST_WAIT):
            return None
    return request.with_replaced_attrs(run_key=f"{name}:{len(records)}")
