"""What is shipped to AWS Lambda: it needs nothing but the standard library and boto3, and works on an emulated AWS."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import boto3
import pytest

import datalake_assets
from datalake_assets.ingest.sources import read_sources
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.ingest.requests import event
from datalake_assets_tests.sources import CLICKS, write_datasets
from shipping.lambdas import build_lambdas

_IMPORT = """
import sys
sys.path.insert(0, sys.argv[1])
import infra.lambdas.ingest.handler, infra.lambdas.validate.handler
print(sys.modules["datalake_assets"].__file__)
"""
_INVOKE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from importlib import import_module
class Context:
    def get_remaining_time_in_millis(self):
        return 10_000
module = import_module(sys.argv[2])
for line in sys.stdin:
    print(json.dumps(module.handler(json.loads(line), Context())))
"""
_PLAIN = CLICKS.replace("name: clicks", "name: plain").replace("firehose/clicks", "api/plain")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lambdas")
    datasets = write_datasets(folder / "datasets", CLICKS, _PLAIN)
    build_lambdas(folder / "asset", datasets=datasets, stream_prefix="dev-")
    return folder / "asset"


def test_it_is_imported_with_the_standard_library_alone(shipped: Path) -> None:
    program = [sys.executable, "-B", "-I", "-S", "-c", _IMPORT, str(shipped)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(shipped / "datalake_assets" / "__init__.py")


def test_equal_datasets_give_equal_files(shipped: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    (again / "old.py").touch()
    datasets = write_datasets(tmp_path / "datasets", _PLAIN, CLICKS)
    build_lambdas(again, datasets=datasets, stream_prefix="dev-")
    files = [{str(f.relative_to(at)): f.read_bytes() for f in at.rglob("*") if f.is_file()} for at in (shipped, again)]
    assert files[0] == files[1]


def test_a_source_has_the_stream_of_its_folder_by_the_accounts_name(shipped: Path) -> None:
    sources = read_sources(shipped / "contracts.json")
    assert {name: source.stream for name, source in sources.items()} == {"clicks": "dev-clicks", "plain": None}


def test_the_packaged_datasets_can_be_shipped(tmp_path: Path) -> None:
    build_lambdas(tmp_path / "asset", datasets=Path(datalake_assets.__file__).parent / "datasets")
    sources = read_sources(tmp_path / "asset" / "contracts.json")
    assert sources["web_events"].stream == "web_events"
    assert sources["device_readings"].prefix == "api/devices"


def _invoke(
    shipped: Path, module: str, events: Sequence[Mapping[str, object]], environment: dict[str, str]
) -> list[dict[str, object]]:
    path = str(Path(boto3.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-B", "-c", _INVOKE, str(shipped), module],
        input="\n".join(json.dumps(event) for event in events),
        env={**environment, "PYTHONPATH": path},
        cwd=shipped,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_posted_lands_and_what_lands_is_validated(shipped: Path, moto: Aws) -> None:
    bucket = moto.bucket()
    moto.client("firehose").create_delivery_stream(
        DeliveryStreamName="dev-clicks",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/x",
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "Prefix": "lake/firehose/clicks/",
        },
    )
    topic = moto.client("sns").create_topic(Name=bucket)["TopicArn"]
    environment = {**moto.environment, "BRONZE": f"s3://{bucket}/lake", "TOPIC_ARN": topic}
    posts = [event('{"id": "a", "at": 1}', path=f"/ingest/{name}") for name in ("clicks", "plain", "other")]
    answers = _invoke(shipped, "infra.lambdas.ingest.handler", posts, environment)
    assert [answer["statusCode"] for answer in answers] == [202, 202, 404]
    keys = moto.keys(bucket)
    assert [key.rpartition("/")[0].split("/")[:3] for key in keys] == [
        ["lake", "api", "plain"],
        ["lake", "firehose", "clicks"],
    ]
    moto.client("s3").put_object(Bucket=bucket, Key="lake/api/plain/bad.json", Body=b"{}")
    told = [
        {"source": "aws.s3", "detail": {"bucket": {"name": bucket}, "object": {"key": key}}}
        for key in [*keys, "lake/api/plain/bad.json"]
    ]
    tallies = _invoke(shipped, "infra.lambdas.validate.handler", told, environment)
    assert [(tally["looked_at"], tally["told"]) for tally in tallies] == [(1, 0), (1, 0), (1, 1)]
