"""The datasets that the tests of gold use: a shop's orders and customers, and clicks on its pages."""

from datalake_assets.lake.spec.dataset import CdcTable, Dataset, EventStream
from datalake_assets.lake.spec.tables import silver_table

ORDERS = CdcTable.model_validate(
    {
        "name": "orders",
        "kind": "cdc_table",
        "description": "Orders.",
        "owner": "team:shop",
        "landing": {"prefix": "dms/public/orders"},
        "key": ["id"],
        "columns": {
            "id": {"type": "int64", "required": True},
            "customer_id": {"type": "int64"},
            "product_name": {"type": "string"},
            "price": {"type": "decimal(10,2)"},
            "created_at": {"type": "timestamp"},
        },
        "event_time": {"column": "created_at"},
    }
)
CUSTOMERS = CdcTable.model_validate(
    {
        "name": "customers",
        "kind": "cdc_table",
        "description": "Customers.",
        "owner": "team:shop",
        "landing": {"prefix": "dms/public/customers"},
        "key": ["id"],
        "columns": {"id": {"type": "int64"}, "name": {"type": "string"}, "country": {"type": "string"}},
    }
)
CLICKS = EventStream.model_validate(
    {
        "name": "clicks",
        "kind": "event_stream",
        "description": "Clicks.",
        "owner": "team:web",
        "landing": {"prefix": "firehose/clicks"},
        "key": ["device", "number"],
        "event_time": {"column": "at", "unit": "s"},
        "event_type": "kind",
        "schema": {
            "type": "object",
            "required": ["device", "number", "at"],
            "properties": {
                "device": {"type": "string"},
                "number": {"type": "integer"},
                "at": {"type": "integer"},
                "kind": {"type": "string"},
            },
        },
    }
)
PINGS = EventStream.model_validate(
    {
        "name": "pings",
        "kind": "event_stream",
        "description": "Signs of life: no key, no type.",
        "owner": "team:web",
        "landing": {"prefix": "firehose/pings"},
        "event_time": {"column": "at", "unit": "s"},
        "schema": {"type": "object", "required": ["at"], "properties": {"at": {"type": "integer"}}},
    }
)
SHOP: dict[str, Dataset] = {d.name: d for d in (CLICKS, CUSTOMERS, ORDERS, PINGS)}
QUARANTINE = {"dataset": "string", "partition": "string", "raw": "string"}


def silver_types(dataset: Dataset) -> dict[str, str]:
    """The columns of a dataset's silver table with their types."""
    return {name: column.type for name, column in silver_table(dataset).columns.items()}
