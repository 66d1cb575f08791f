"""A store in which a lake would lose commits is refused; one that can't be used is told of in a line."""

import dagster as dg
import pytest
from typer.testing import CliRunner

from datalake_assets.cli.app import app
from datalake_assets.definitions import build_definitions, defs
from datalake_assets.lake.store.layout import Layout
from datalake_assets.lake.store.store_check import UnreachableStoreError, UnusableStoreError, check_stores
from datalake_assets.settings import Settings
from datalake_assets_tests.aws import Aws
from datalake_assets_tests.s3.proxy import PASSING, Fault, Proxy, random_faults

WORKING = [["run"], ["maintain"], ["rebuild", "orders"], ["simulate", "--hours", "1"]]
LOOKING = [["status"], ["query", "SELECT 1"], ["rejects", "orders"]]


def layout(root: str, **zones: str) -> Layout:
    return Settings(root=root, **zones).layout  # type: ignore[arg-type]  # places alone


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, place: str) -> CliRunner:
    return CliRunner(env={"DATALAKE_ROOT": place})


@pytest.mark.parametrize("arguments", WORKING)
def test_a_store_that_ignores_conditional_puts_is_refused_before_anything_is_written(
    arguments: list[str], command: CliRunner, place: str, proxy: Proxy, aws: Aws
) -> None:
    proxy.ignored_headers = frozenset({"if-none-match"})
    result = command.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr == (
        f"{place}: this store ignores If-None-Match (conditional puts), so that of two commits of a Delta table one "
        "would be lost without a word; use a store that honours it, such as Amazon S3 or MinIO\n"
    )
    bucket = place.split("/")[2]
    assert aws.keys(bucket) == ["lake/_conditional_puts"]


def test_a_store_that_ignores_them_gives_no_definitions(
    place: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATALAKE_ROOT", place)
    proxy.ignored_headers = frozenset({"if-none-match"})
    with pytest.raises(UnusableStoreError, match="ignores If-None-Match"):
        defs()


def test_a_store_is_tried_once_in_a_process_by_two_requests_and_later_by_one(place: str, proxy: Proxy) -> None:
    check_stores(layout(place), writes=True)
    check_stores(layout(place), writes=True)
    assert proxy.kinds == {"PUT": 2}
    check_stores(layout(place, silver=f"{place}/tables/silver"), writes=True)
    assert proxy.kinds == {"PUT": 2}


def test_zones_in_other_buckets_are_tried_too_and_bronze_need_not_be_writable(
    place: str, proxy: Proxy, aws: Aws
) -> None:
    silver, bronze = aws.bucket(), aws.bucket()
    check_stores(layout(place, silver=f"s3://{silver}", bronze=f"s3://{bronze}/landed"), writes=True)
    assert proxy.kinds == {"PUT": 4, "LIST": 1}
    assert (aws.keys(silver), aws.keys(bronze)) == (["_conditional_puts"], [])


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_no_reason_to_refuse(fault: Fault, place: str, proxy: Proxy) -> None:
    proxy.plan = lambda request: fault if request.number == 1 else None
    check_stores(layout(place), writes=True)


@pytest.mark.parametrize("arguments", [*WORKING, *LOOKING])
def test_a_missing_bucket_is_one_line_and_exit_2(arguments: list[str], proxy: Proxy) -> None:
    result = CliRunner(env={"DATALAKE_ROOT": "s3://no-such-bucket/lake"}).invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr == (
        "s3://no-such-bucket/lake: there is no bucket 'no-such-bucket' here; create it, or check the name, AWS_REGION "
        "and AWS_ENDPOINT_URL\n"
    )


@pytest.mark.parametrize("arguments", [*WORKING, *LOOKING])
def test_a_network_that_is_down_is_one_line_and_exit_2(
    arguments: list[str], command: CliRunner, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    result = command.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{place} can't be reached; check the network, AWS_REGION and AWS_ENDPOINT_URL: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000", "which is no URL; write one such as http://127.0.0.1:9000, or unset it"),
        ("AWS_ENDPOINT_URL", "", "which is no URL; write one such as http://127.0.0.1:9000, or unset it"),
        ("AWS_ENDPOINT_URL", "localhost", "which is no URL; write one such as http://127.0.0.1:9000, or unset it"),
        ("AWS_ALLOW_HTTP", "", None),
        ("AWS_ALLOW_HTTP", "maybe", None),
        ("AWS_SKIP_SIGNATURE", "", None),
    ],
)
@pytest.mark.parametrize("arguments", [["run"], ["status"]])
def test_a_variable_that_can_not_be_read_is_named_in_one_line_and_exit_2(
    arguments: list[str], variable: str, value: str, told: str | None, command: CliRunner
) -> None:
    """An endpoint without its scheme was a panic of obstore's, an empty switch a store that could not be reached."""
    result = command.invoke(app, arguments, env={variable: value})
    reason = f", {told}" if told else "; set it to true or false, or unset it"
    assert (result.exit_code, result.stderr) == (2, f"{variable} is {value!r}{reason}\n")


@pytest.mark.parametrize("switch", ["true", "TRUE", "1", "Yes", "on"])
def test_a_switch_may_be_written_in_every_way_that_the_store_reads(
    switch: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", switch)
    check_stores(layout(place), writes=True)


@pytest.mark.parametrize("arguments", [*WORKING, *LOOKING])
def test_denied_access_is_one_line_and_exit_2(
    arguments: list[str], command: CliRunner, place: str, proxy: Proxy
) -> None:
    proxy.plan = lambda _: Fault.ERROR_403
    result = command.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{place}: access is denied; the lake needs s3:ListBucket on the bucket, and ")
    assert result.stderr.count("\n") == 1


def test_whoever_may_not_write_looks_all_the_same(command: CliRunner, place: str, proxy: Proxy) -> None:
    assert command.invoke(app, ["simulate", "--hours", "1"]).exit_code == 0
    proxy.plan = lambda request: Fault.ERROR_403 if request.method not in {"GET", "HEAD"} else None
    for arguments in LOOKING:
        result = command.invoke(app, arguments)
        assert (result.exit_code, result.stderr) == (0, "")


def test_definitions_are_made_though_the_store_can_not_be_reached(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATALAKE_ROOT", place)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UnreachableStoreError):
        check_stores(Settings().layout, writes=True)
    assert isinstance(defs(), dg.Definitions)


def test_importing_and_building_try_no_store(place: str, proxy: Proxy) -> None:
    settings = Settings(root=place)
    build_definitions(settings, lake=settings.lake())
    assert proxy.kinds["PUT"] == 0


def test_many_faults_do_not_refuse_a_store(aws: Aws, proxy: Proxy) -> None:
    proxy.plan = random_faults(seed=8, share=0.2)
    for _ in range(10):
        check_stores(layout(f"s3://{aws.bucket()}"), writes=True)
