"""Runs whose process is dead: Dagster's default launcher never looks, so they stay unfinished and hold pool slots.

A run is dead when none of the processes that its events name exists any more, or, where they name none yet, when no
process of Dagster's serves the instance: nobody is there to start it. A run that may be alive is left alone.
"""

import os
import socket
import time
from collections.abc import Iterator

import dagster as dg
from dagster import DagsterEventType
from dagster import DagsterRunStatus as Status

from datalake_assets.cli import processes
from datalake_assets.sensors.under_way import CUT_TAG, UNFINISHED

PROCESS_TAG = "datalake/process"
"""`host:pid` of the process that executes a run, on runs of `datalake run`."""
_HEARTBEAT_SECONDS = 90.0  # a daemon's heart beats every 30 seconds


def process_tag() -> dict[str, str]:
    """The tag of a run that this process executes."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}


def bury_dead_runs(
    instance: dg.DagsterInstance, *, reason: str = "its process was killed", since: float = 0.0
) -> list[str]:
    """End every dead run and free its pool slots; returns the ids of the runs.

    `since` is when Dagster's processes were stopped, where that is known (Unix time).
    """
    if not _is_of_this_machine(instance):
        return []
    records = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    if not records:
        free_slots(instance)
        return []
    served = _is_served(instance, since=since)
    dead = [r.dagster_run for r in records if _is_dead(instance, r, served=served)]
    for run in dead:
        end_run(instance, run.run_id, reason=reason)
    free_slots(instance)
    return [run.run_id for run in dead]


def end_run(instance: dg.DagsterInstance, run_id: str, *, reason: str) -> None:
    """End an unfinished run that nobody executes any more: failed if it had begun, else canceled."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    instance.add_run_tags(run_id, {CUT_TAG: reason})
    if run.status is Status.STARTED:
        instance.report_run_failed(run, f"The run was cut: {reason}. Its work is asked for again.")
    else:
        instance.report_run_canceled(run, f"The run never ended: {reason}. Its work is asked for again.")


def free_slots(instance: dg.DagsterInstance) -> None:
    """Free the pool slots of runs that are finished or deleted."""
    storage = instance.event_log_storage
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def processes_of(instance: dg.DagsterInstance, record: dg.RunRecord) -> Iterator[tuple[int, float]]:
    """The processes that execute a run, as far as it tells: their ids, and when they were seen (Unix time)."""
    _, _, pid = record.dagster_run.tags.get(PROCESS_TAG, "").rpartition(":")
    if pid:
        yield int(pid), record.create_timestamp.timestamp()
    for entry in instance.all_logs(record.dagster_run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        told = event.engine_event_data.metadata.get("pid") if event is not None else None
        if told is not None:
            yield int(str(told.value)), entry.timestamp


def _is_dead(instance: dg.DagsterInstance, record: dg.RunRecord, *, served: bool) -> bool:
    host, _, _ = record.dagster_run.tags.get(PROCESS_TAG, "").rpartition(":")
    if host and host != socket.gethostname():
        return False
    seen = list(processes_of(instance, record))
    if seen:
        return not any(processes.is_alive(pid, seen=at) for pid, at in seen)
    return not served


def _is_of_this_machine(instance: dg.DagsterInstance) -> bool:
    """Whether the instance keeps its runs in files, so that process ids in it are those of this machine."""
    from dagster._core.storage.runs import SqliteRunStorage

    return isinstance(instance.run_storage, SqliteRunStorage)


def _is_served(instance: dg.DagsterInstance, *, since: float) -> bool:
    """Whether a webserver, daemon or code server of the instance is alive."""
    if processes.can_list():
        return bool(processes.of_deployment(instance.root_directory))
    beats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
    return bool(beats) and max(beats) > max(since, time.time() - _HEARTBEAT_SECONDS)
