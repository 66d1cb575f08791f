"""What the templates deploy is what the lake reads: each checked with the lake's own code, in both directions."""

import gzip
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonata import Jsonata

from datalake_assets.lake.readers.event_text import event_texts
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.lake.store.landing import landing_time
from datalake_assets.resources.runners import glue as glue_runner
from datalake_assets.sensors.notifications import objects_named
from datalake_assets.settings import Settings as LakeSettings
from datalake_assets.unattended import ZONES
from datalake_assets_tests.infra.templates import Synthesized
from infra.declared import declared, glue_type

pytestmark = pytest.mark.xdist_group("infra")

_WHEN = datetime(2026, 3, 9, 14, 5, 6, tzinfo=UTC)
_UUID = "5d1b1b5e-8f0e-4b0e-9c53-0d8a1f0e7a11"


def test_the_lake_can_be_told_where_everything_is(anywhere: Synthesized) -> None:
    layout = anywhere.settings.layout
    told = LakeSettings(
        root=layout.root,
        bronze=layout.bronze,
        silver=layout.silver,
        gold=layout.gold,
        quarantine=layout.quarantine,
        runner="glue",
        glue_job=_job(anywhere, "entry.py")["Name"],
        code=anywhere.settings.code_place,
        pipes=anywhere.settings.pipes_place,
    )
    assert told.layout == layout
    buckets = {b["BucketName"] for b in anywhere.resources("AWS::S3::Bucket").values()}
    places = (*(getattr(layout, zone) for zone in ZONES), told.pipes_place, told.code_place)
    assert {str(place).removeprefix("s3://").partition("/")[0] for place in places} <= buckets


def test_firehose_writes_folders_that_the_lake_reads_back_by_the_hour(staging: Synthesized) -> None:
    streams = staging.resources("AWS::KinesisFirehose::DeliveryStream")
    assert len(streams) == 2
    for stream in streams.values():
        dataset, target = _landed_by(staging, stream), stream["ExtendedS3DestinationConfiguration"]
        name = f"{stream['DeliveryStreamName']}-1-{_WHEN:%Y-%m-%d-%H-%M-%S}-{_UUID}.gz"
        key = f"{_evaluated(target['Prefix'])}{name}"
        path = key.removeprefix(f"{dataset.landing.prefix}/")
        assert path != key
        assert landing_time(path, datetime.now(UTC)) == _WHEN.replace(minute=0, second=0)
        assert target["CompressionFormat"] == "GZIP"
        delimiter = target["ProcessingConfiguration"]["Processors"][0]["Parameters"][0]["ParameterValue"]
        record, end = b'{"event_id":"e-1"}', delimiter.encode().decode("unicode_escape").encode()
        (text,) = event_texts(path, gzip.compress(2 * (record + end)), dataset, limit=10_000).texts
        assert text.text.splitlines() == [record, record]


def test_what_firehose_could_not_convert_lies_where_the_lake_looks_for_it(staging: Synthesized) -> None:
    for stream in staging.resources("AWS::KinesisFirehose::DeliveryStream").values():
        dataset, target = _landed_by(staging, stream), stream["ExtendedS3DestinationConfiguration"]
        for kind in ("processing-failed", "format-conversion-failed"):
            folder = _evaluated(target["ErrorOutputPrefix"], kind)
            path = folder.removeprefix(f"{dataset.landing.prefix}/")
            assert path == f"{kind}/{_WHEN:%Y/%m/%d/%H}/"
            assert landing_time(f"{path}errors", datetime.now(UTC)) == _WHEN.replace(minute=0, second=0)
            entry = json.dumps({"errorCode": "Lambda.Failed", "errorMessage": "no", "rawData": "eyJhIjoxfQ=="})
            (text,) = event_texts(f"{path}errors", entry.encode(), dataset, limit=10_000).texts
            assert text.reason is not None
            assert "Lambda.Failed" in text.reason


def test_the_queue_is_told_of_all_that_lands_and_of_nothing_else(anywhere: Synthesized) -> None:
    (rule,) = (r for w, r in anywhere.resources("AWS::Events::Rule").items() if w.startswith("storage/"))
    pattern = rule["EventPattern"]["detail"]
    assert pattern["bucket"]["name"] == [anywhere.settings.bucket("bronze")]
    prefixes = {entry["prefix"] for entry in pattern["object"]["key"]}
    assert prefixes == {f"{d.landing.prefix}/" for d in declared(anywhere.settings).datasets.values()}
    key = f"{min(prefixes)}2026/03/09/14/a b.gz"
    event = {"source": "aws.s3", "detail": {"bucket": {"name": pattern["bucket"]["name"][0]}, "object": {"key": key}}}
    assert (anywhere.settings.bucket("bronze"), key) in objects_named(json.dumps(event))
    (queue,) = (q for q in anywhere.resources("AWS::SQS::Queue").values() if "RedrivePolicy" in q)
    assert queue["QueueName"] == f"{anywhere.settings.prefix}-landing"


def test_the_lambdas_run_what_the_dataset_files_say(staging: Synthesized) -> None:
    contracts = json.loads((staging.out / "lambdas" / "contracts.json").read_text())
    names = {s["DeliveryStreamName"] for s in staging.resources("AWS::KinesisFirehose::DeliveryStream").values()}
    assert {told["stream"] for told in contracts.values() if told["stream"]} <= names
    handlers = {f["Handler"] for f in staging.resources("AWS::Lambda::Function", stack="streams").values()}
    for handler in handlers:
        assert (staging.out / "lambdas" / (handler.rpartition(".")[0].replace(".", "/") + ".py")).is_file()
    ingest, validate = (_function(staging, name)["Environment"]["Variables"] for name in ("ingest", "validate"))
    assert set(ingest) == {"BRONZE"}
    assert set(validate) == {"BRONZE", "TOPIC_ARN"}
    assert ingest["BRONZE"] == staging.settings.layout.bronze


def test_glue_jobs_run_shipped_scripts_with_arguments_that_the_runner_leaves_alone(anywhere: Synthesized) -> None:
    for script in ("entry.py", "unattended.py"):
        job = _job(anywhere, script)
        assert job["Command"]["ScriptLocation"] == f"{anywhere.settings.code_place}/{script}"
        assert job["GlueVersion"] == "6.0"
        arguments = job["DefaultArguments"]
        assert arguments["--datalake-formats"] == "delta"
        sent = {
            "--dagster-pipes-context",
            "--dagster-pipes-messages",
            "--additional-python-modules",
            glue_runner.TOKEN,
        }
        assert not sent & set(arguments)
    layout = anywhere.settings.layout
    given = _job(anywhere, "unattended.py")["DefaultArguments"]
    assert {zone: given[f"--{zone}"] for zone in ZONES} == {zone: getattr(layout, zone) for zone in ZONES}


def test_jobs_may_do_what_a_step_does_and_no_more(anywhere: Synthesized) -> None:
    layout, settings = anywhere.settings.layout, anywhere.settings
    for role in ("processing/JobRole", *(["processing/EmrRole"] if settings.emr else [])):
        for zone in ("silver", "gold", "quarantine", "root"):
            for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
                assert _may(anywhere, role, action, f"{getattr(layout, zone)}/orders/_delta_log/0.json"), (zone, action)
        landed = f"{layout.bronze}/dms/public/orders/2026/a.parquet"
        assert _may(anywhere, role, "s3:GetObject", landed)
        assert not _may(anywhere, role, "s3:DeleteObject", landed)
        assert not _may(anywhere, role, "s3:PutObject", landed)
        assert not _may(anywhere, role, "s3:GetObject", f"{layout.bronze}/dms/public/orders_of_others/a.parquet")
        assert _may(anywhere, role, "s3:GetObject", f"{settings.code_place}/entry.py")
        assert not _may(anywhere, role, "s3:PutObject", f"{settings.code_place}/entry.py")
        for action in ("s3:GetObject", "s3:PutObject"):
            assert _may(anywhere, role, action, f"{settings.pipes_place}/silver/orders/0/context.json")


@pytest.mark.parametrize(
    ("role", "put"),
    [
        ("sources/LakeRole", {"dms"}),
        ("streams/Roledatalakestagingwebevents", {"firehose"}),
        ("streams/ingestRole", {"api"}),
        ("streams/validateRole", {"_invalid"}),
        ("processing/CrawlerRole", set[str]()),
        ("processing/FallbackRole", set[str]()),
    ],
)
def test_whoever_lands_something_puts_it_in_one_folder_alone(role: str, put: set[str], staging: Synthesized) -> None:
    keys = {
        "dms": "dms/public/orders/LOAD00000001.parquet",
        "firehose": "firehose/web_events/2026/03/09/14/a.gz",
        "api": "api/devices/year=2026/month=03/day=09/a.json",
        "_invalid": "_invalid/0.json",
        "other": "elsewhere/a",
    }
    bronze = staging.settings.layout.bronze
    assert {name for name, key in keys.items() if _may(staging, role, "s3:PutObject", f"{bronze}/{key}")} == put
    tables = (staging.settings.layout.silver, staging.settings.layout.gold, staging.settings.layout.root)
    assert not any(_may(staging, role, "s3:PutObject", f"{place}/orders/a") for place in tables)


def test_the_catalogue_has_each_table_as_the_lake_writes_it(anywhere: Synthesized) -> None:
    lake = declared(anywhere.settings)
    found = {
        (table["DatabaseName"], table["TableInput"]["Name"]): table["TableInput"]
        for table in anywhere.resources("AWS::Glue::Table").values()
    }
    specs = [spec for spec in lake.specs() if spec.zone != "lake" or spec.name in {"ledger", "verdicts"}]
    assert set(found) == {(anywhere.settings.database(spec.zone), spec.name) for spec in specs}
    for spec in specs:
        table = found[anywhere.settings.database(spec.zone), spec.name]
        storage = table["StorageDescriptor"]
        assert storage["Location"] == storage["SerdeInfo"]["Parameters"]["path"] == lake.layout.place_of(spec)
        assert table["Parameters"]["spark.sql.sources.provider"] == "delta"
        assert [(c["Name"], c["Type"]) for c in storage["Columns"]] == [
            (name, glue_type(column.type)) for name, column in spec.stored_columns.items()
        ]


@pytest.mark.parametrize(
    ("lake", "glue"),
    [
        ("int8", "tinyint"),
        ("int64", "bigint"),
        ("decimal(38,0)", "decimal(38,0)"),
        ("json", "string"),
        ("list<date>", "array<date>"),
        ("timestamp", "timestamp"),
    ],
)
def test_types_have_the_names_that_the_catalogue_knows(lake: str, glue: str) -> None:
    assert glue_type(lake) == glue


def test_the_fallback_starts_the_job_with_the_packages_that_were_shipped(anywhere: Synthesized) -> None:
    machine = json.loads(_text(next(iter(anywhere.resources("AWS::StepFunctions::StateMachine").values()))))
    states = machine["States"]
    code = anywhere.settings.code_place
    assert f"s3://{states['Packages']['Arguments']['Bucket']}" == code.rpartition("/")[0]
    assert states["Packages"]["Arguments"]["Key"] == f"{code.rpartition('/')[2]}/requirements.txt"
    shipped = "datalake_assets-0.1.0-py3-none-any.whl\ndeltalake==1.6.6\npolars==2.1.0\n"
    expression = states["Packages"]["Assign"]["modules"].removeprefix("{%").removesuffix("%}").strip()
    modules = Jsonata(expression.replace("$states", "states")).evaluate({"states": {"result": {"Body": shipped}}})
    assert modules == f"{code}/datalake_assets-0.1.0-py3-none-any.whl,deltalake==1.6.6,polars==2.1.0"
    assert states["CatchUp"]["Arguments"]["JobName"] == _job(anywhere, "unattended.py")["Name"]
    (crawler,) = anywhere.resources("AWS::Glue::Crawler").values()
    assert states["Crawl"]["Arguments"]["Name"] == crawler["Name"]
    (schedule,) = anywhere.resources("AWS::Scheduler::Schedule").values()
    assert schedule["State"] == ("ENABLED" if anywhere.settings.fallback else "DISABLED")


def _evaluated(prefix: str, kind: str = "") -> str:
    """A prefix of Firehose's as it makes it of the time at which the oldest record came."""
    told = prefix.replace("!{firehose:error-output-type}", kind).replace(
        "!{timestamp:yyyy/MM/dd/HH}", f"{_WHEN:%Y/%m/%d/%H}"
    )
    assert "!" not in told
    return told


def _landed_by(synthesized: Synthesized, stream: Mapping[str, Any]) -> EventStream:
    prefix = stream["ExtendedS3DestinationConfiguration"]["Prefix"]
    datasets = declared(synthesized.settings).datasets.values()
    (dataset,) = (d for d in datasets if prefix.startswith(f"{d.landing.prefix}/"))
    assert isinstance(dataset, EventStream)
    return dataset


def _job(synthesized: Synthesized, script: str) -> dict[str, Any]:
    jobs = synthesized.resources("AWS::Glue::Job").values()
    (job,) = (j for j in jobs if j["Command"]["ScriptLocation"].endswith(f"/{script}"))
    return job


def _function(synthesized: Synthesized, name: str) -> dict[str, Any]:
    return synthesized.named("AWS::Lambda::Function", "FunctionName", f"{synthesized.settings.prefix}-{name}")


def _may(synthesized: Synthesized, role: str, action: str, place: str) -> bool:
    """Whether a role may do something with an object."""
    arn = place.replace("s3://", "arn:aws:s3:::")
    for where, statement in synthesized.statements:
        if where.startswith(f"{role}DefaultPolicy") and action in statement["Action"]:
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            if any(isinstance(r, str) and re.fullmatch(re.escape(r).replace(r"\*", ".*"), arn) for r in resources):
                return True
    return False


def _text(machine: Mapping[str, Any]) -> str:
    told = machine["DefinitionString"]
    return str(told) if isinstance(told, str) else "".join(str(part) for part in told["Fn::Join"][1])
