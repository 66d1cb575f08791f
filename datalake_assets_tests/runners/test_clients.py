"""Where boto3 finds its region, and which of its errors a runner waits out."""

import pytest
from botocore import exceptions

from datalake_assets.resources.clients import client
from datalake_assets.resources.runners.patience import is_passing
from datalake_assets_tests.runners.conftest import LakeOf
from datalake_assets_tests.runners.fake_aws import FakeAws
from datalake_assets_tests.runners.steps import step

ENDPOINT = {"endpoint_url": "https://glue"}


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No region, from whatever boto3 asks for one."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


@pytest.mark.parametrize("service", ["glue", "emr", "emr-serverless", "logs"])
def test_the_region_of_the_stores_is_that_of_the_services_too(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 knows AWS_DEFAULT_REGION alone: the lake was found, and the runner was not."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert client(service).meta.region_name == "eu-central-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert client(service).meta.region_name == "eu-west-3"


def test_a_runner_without_a_region_fails_at_once(
    lake_of: LakeOf, jobs: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tried for five minutes."""
    settings = lake_of("glue")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(exceptions.NoRegionError):
        step(settings)
    assert jobs.jobs == {}


@pytest.mark.parametrize(
    "error",
    [
        exceptions.NoRegionError(),
        exceptions.NoCredentialsError(),
        exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        exceptions.ProfileNotFound(profile="mine"),
        exceptions.ParamValidationError(report="no job name"),
        exceptions.ClientError({"Error": {"Code": "AccessDeniedException"}}, "StartJobRun"),
        FileNotFoundError("no requirements.txt"),
        PermissionError("not yours"),
    ],
)
def test_what_is_set_up_wrong_does_not_pass(error: Exception) -> None:
    assert not is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.EndpointConnectionError(**ENDPOINT),
        exceptions.ConnectTimeoutError(**ENDPOINT),
        exceptions.ReadTimeoutError(**ENDPOINT),
        exceptions.ConnectionClosedError(**ENDPOINT),
        exceptions.ProxyConnectionError(proxy_url="http://proxy"),
        exceptions.ClientError({"Error": {"Code": "ThrottlingException"}}, "StartJobRun"),
        exceptions.ClientError({"ResponseMetadata": {"HTTPStatusCode": 503}}, "StartJobRun"),
        ConnectionResetError(),
    ],
)
def test_what_the_network_or_aws_itself_got_wrong_passes(error: Exception) -> None:
    assert is_passing(error)
