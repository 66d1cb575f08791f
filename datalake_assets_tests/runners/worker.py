"""A worker of Dagster: a process that executes one run over silver, of the lake that the environment describes."""

import sys

import dagster as dg

from datalake_assets.definitions import build_definitions
from datalake_assets.settings import Settings
from datalake_assets_tests.runners.lakes import PARTITION, SILVER


def assets_job() -> dg.JobDefinition:
    """The job that brings what lands in hours to silver."""
    return build_definitions(Settings()).resolve_job_def("landed_hourly")


def execute(instance: dg.DagsterInstance, parent: str | None = None) -> dg.JobExecutionResult:
    """One run over silver's first hour; with `parent` the run that takes that one up again."""
    again = dg.ReexecutionOptions(parent_run_id=parent) if parent else None
    return dg.execute_job(
        dg.reconstructable(assets_job),
        instance,
        asset_selection=[SILVER],
        tags={"dagster/partition": PARTITION},
        reexecution_options=again,
    )


if __name__ == "__main__":
    with dg.DagsterInstance.from_config(sys.argv[1]) as found:
        execute(found)
