"""What is synthesized beside the three environments: one with every switch on, and two datasets more."""

import shutil
from dataclasses import replace
from pathlib import Path

from infra.settings import ENVIRONMENTS, Settings

_INVOICES = """\
name: invoices
kind: cdc_table
description: What customers were billed.
owner: team:shop
landing: {prefix: dms/billing/invoices, cadence: hourly}
key: [id]
order_by: [ar_h_change_seq]
timestamp_column: dms_timestamp
columns:
  id: {type: int64, required: true}
  total: {type: "decimal(10,2)"}
  is_paid: {type: boolean}
"""
_CLICKS = """\
name: clicks
kind: event_stream
description: Clicks on the pages of partners.
owner: team:web
landing: {prefix: firehose/clicks, cadence: hourly}
key: [click_id]
event_time: {column: clicked_at, unit: ms}
schema:
  type: object
  required: [click_id, clicked_at]
  properties:
    click_id: {type: string, minLength: 1}
    clicked_at: {type: integer, minimum: 0}
    tags: {type: array, items: {type: string}}
"""


def settings_of_variant(name: str, folder: Path) -> Settings:
    """An environment; dev with Dagster and databases; or `extended`: staging with all there is, and more datasets."""
    if name == "dev with dagster":
        return replace(ENVIRONMENTS["dev"], dagster="ecs", interface_endpoints=True, source="aurora", kinesis=True)
    if name != "extended":
        return ENVIRONMENTS[name]
    staging = ENVIRONMENTS["staging"]
    datasets = folder / "datasets"
    shutil.copytree(staging.datasets, datasets)
    (datasets / "invoices.yaml").write_text(_INVOICES)
    (datasets / "clicks.yaml").write_text(_CLICKS)
    return replace(
        staging,
        datasets=datasets,
        archive=True,
        archive_region="us-west-2",
        mysql_replica=True,
        mysql_certificate="arn:aws:dms:us-east-1:222222222222:cert:RDS",
        ingest_origins="https://shop.example.com",
        fallback=True,
        peer_account="444444444444",
        peer_region="eu-west-1",
        peer_vpc="vpc-0123456789abcdef0",
        peer_cidr="10.99.0.0/16",
        peer_route_tables="rtb-0123456789abcdef0",
        peer_security_group="sg-0123456789abcdef0",
        peering="pcx-0123456789abcdef0",
        zones="a,b,c",
        redshift=True,
        quicksight_user="admin/jane",
        dagster="hybrid",
        dagster_organization="octo",
        alarm_email="lake@example.com",
        slack_workspace="T0123456789",
        slack_channel="C0123456789",
        github="octo/lake",
    )
