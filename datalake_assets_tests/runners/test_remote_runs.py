"""Steps as jobs of each service: what a run shows, and that the lake is the one that would be made in process."""

import dagster as dg
import pytest

from datalake_assets_tests.aws import Aws
from datalake_assets_tests.runners.conftest import LakeOf
from datalake_assets_tests.runners.fake_aws import FakeAws
from datalake_assets_tests.runners.lakes import SILVER, admit, clicks, land, logged, materialize, metadata

REMOTE = ["glue", "emr_serverless", "emr"]
COSTS = {
    "glue": {"cost_dpu_seconds": 120.0},
    "emr_serverless": {"cost_vcpu_hours": 0.25, "cost_memory_gb_hours": 1.0, "cost_storage_gb_hours": 5.0},
    "emr": {"cost_cluster_seconds": 30.0},
}


@pytest.mark.parametrize("runner", REMOTE)
def test_a_step_runs_as_a_job_and_the_run_tells_where_and_at_what_cost(
    runner: str, lake_of: LakeOf, jobs: FakeAws, aws: Aws, instance: dg.DagsterInstance
) -> None:
    settings = lake_of(runner)
    land(settings, "one", [*clicks(40), "not json"])
    admit(settings, instance)
    result = materialize(settings, instance, SILVER)
    told = metadata(instance, SILVER)
    assert (told["rows_in"], told["rows_out"], told["rows_rejected"]) == (41, 40, 1)
    assert (told["runner"], told["runner_reason"]) == (runner, f"DATALAKE_RUNNER is {runner}")
    job = jobs.the_job()
    assert told["job"] == job.id
    assert job.id in told["job_link"]
    assert COSTS[runner].items() <= told.items()
    assert "silver/clicks on polars" in logged(instance, result.run_id)
    bucket, _, prefix = settings.pipes_place.removeprefix("s3://").partition("/")
    assert aws.keys(bucket, prefix) == []
