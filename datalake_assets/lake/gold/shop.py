"""The shop's own tables: sales by day and product, and orders with their customers."""

from collections.abc import Mapping

import narwhals as nw

from datalake_assets.lake.gold.table import Frame, GoldTable, Lookup, column, rows_of
from datalake_assets.lake.spec.columns import EVENT_DATE
from datalake_assets.lake.spec.dataset import CdcTable, Dataset
from datalake_assets.lake.spec.parts import Column
from datalake_assets.lake.spec.types import LakeType
from datalake_assets.lake.spec.widening import join
from datalake_assets.lake.transforms.quality import SCALE, millionths

_ORDERS, _CUSTOMERS = "silver/orders", "silver/customers"
_EXACT_IN_DOUBLES = 2.0**53
_ORDERS_COUNTED = nw.len().cast(nw.Int64).alias("orders")
_SUMMED = {
    "decimal": "decimal(38,{scale})",
    **dict.fromkeys(("int8", "int16", "int32"), "int64"),
    "int64": "decimal(38,0)",
    **dict.fromkeys(("float", "double"), "double"),
}
"""The types of prices that can be summed, with the type of the sum."""
_BUYER = "_buyer"
_CUSTOMER_COLUMNS = {"name": "customer_name", "country": "customer_country"}


def daily_sales(datasets: Mapping[str, Dataset]) -> GoldTable | None:
    """Orders, revenue and average order by day and product; None where `orders` lacks what it takes."""
    orders = _table(datasets, "orders", needs=("product_name", "price"))
    if orders is None or not orders.event_time or orders.columns["price"].lake_type.name not in _SUMMED:
        return None
    price = orders.columns["price"].lake_type
    revenue = _SUMMED[price.name].format(scale=price.scale)

    def compute(frames: Mapping[str, Frame]) -> Frame:
        placed = frames[_ORDERS].filter(~nw.col(EVENT_DATE).is_null())
        if revenue == "double":
            sold = _sum_of_doubles(placed)
        else:
            summed = nw.Decimal(38, 0) if price.name == "int64" else nw.Int64()
            exact = nw.col("price") if price.name == "decimal" else nw.col("price").cast(summed)
            sold = placed.group_by(EVENT_DATE, "product_name").agg(_ORDERS_COUNTED, exact.sum().alias("revenue"))
        average = nw.col("revenue").cast(nw.Float64) / nw.col("orders").cast(nw.Float64)
        return sold.with_columns(average.alias("average_order"))

    return GoldTable(
        name="daily_sales",
        description="The shop's live orders by the day they were placed and by product.",
        sources=(rows_of(orders),),
        columns={
            EVENT_DATE: column("date", "The day the orders were placed"),
            "product_name": column("string", "The product"),
            "orders": column("int64", "How many orders"),
            "revenue": column(revenue, "The sum of their prices, exact"),
            "average_order": column("double", "Revenue by order"),
        },
        key=(EVENT_DATE, "product_name"),
        compute=compute,
        monthly=True,
    )


def orders_enriched(datasets: Mapping[str, Dataset]) -> GoldTable | None:
    """Orders beside their customers; None where `orders` and `customers` can't be joined."""
    orders = _table(datasets, "orders", needs=("customer_id",))
    customers = _table(datasets, "customers", needs=())
    if orders is None or customers is None or not orders.event_time or len(customers.key) != 1:
        return None
    (customer_key,) = customers.key
    joint = join(orders.columns["customer_id"].lake_type, customers.columns[customer_key].lake_type)
    if joint is None or orders.declared.columns["customer_id"].type != customers.declared.columns[customer_key].type:
        return None
    shown = {source: name for source, name in _CUSTOMER_COLUMNS.items() if source in customers.columns}
    known = {source: name for source, name in shown.items() if name not in orders.columns}

    def compute(frames: Mapping[str, Frame]) -> Frame:
        placed = frames[_ORDERS].filter(~nw.col(EVENT_DATE).is_null()).select(*orders.columns, EVENT_DATE)
        if _CUSTOMERS not in frames:
            return placed.with_columns(nw.lit(None).cast(nw.String).alias(name) for name in known.values())
        shown_beside = (nw.col(source).alias(name) for source, name in known.items())
        buyers = frames[_CUSTOMERS].select(_as(joint, customer_key).alias(_BUYER), *shown_beside)
        return placed.with_columns(_as(joint, "customer_id").alias(_BUYER)).join(buyers, on=_BUYER, how="left")

    copied: dict[str, Column] = {n: column(c.type, c.description) for n, c in orders.columns.items()}
    return GoldTable(
        name="orders_enriched",
        description="Live orders by the day they were placed, with the customer's name and country.",
        sources=(rows_of(orders),),
        lookups=(Lookup(_CUSTOMERS, key=customer_key, column="customer_id", shows=tuple(known)),) if known else (),
        columns=copied
        | {EVENT_DATE: column("date", "The day the order was placed")}
        | {name: column("string", f"The customer's {source}") for source, name in known.items()},
        key=orders.key,
        compute=compute,
        monthly=True,
        row_by_row=True,
    )


def _as(kind: LakeType, name: str) -> nw.Expr:
    """A number in a type that may be wider than its own: of two tables one may have grown alone."""
    value = nw.col(name)
    if kind.name == "decimal":
        return value.cast(nw.Decimal(kind.precision, kind.scale))
    return value.cast(nw.Int64()) if kind.name.startswith("int") else value


def _sum_of_doubles(placed: Frame) -> Frame:
    """Orders and revenue, summed in whole units and whole millionths: the same in whatever order the rows are."""
    price = nw.col("price")
    finite = nw.when(price.abs() < _EXACT_IN_DOUBLES).then(price)
    whole = finite.floor()
    parts = placed.with_columns(whole.cast(nw.Int64).alias("_whole"), millionths(finite - whole).alias("_rest"))
    summed = parts.group_by(EVENT_DATE, "product_name").agg(
        _ORDERS_COUNTED, nw.col("_whole").sum(), nw.col("_rest").sum()
    )
    total = nw.col("_whole").cast(nw.Float64) + nw.col("_rest").cast(nw.Float64) / SCALE
    return summed.with_columns(total.alias("revenue")).drop("_whole", "_rest")


def _table(datasets: Mapping[str, Dataset], name: str, *, needs: tuple[str, ...]) -> CdcTable | None:
    dataset = datasets.get(name)
    fits = isinstance(dataset, CdcTable) and set(needs) <= dataset.columns.keys()
    return dataset if fits and isinstance(dataset, CdcTable) else None
