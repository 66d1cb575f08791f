"""The lake's side of a comparison: aggregates, keys and rows of a silver table, batch by batch.

Belongs here: reading silver. Of each file only the columns that are compared are read, some ten thousand rows at once.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import polars as pl
import polars_hash  # noqa: F401  (registers the `chash` namespace)

from datalake_assets.lake.store.snapshot import Snapshot
from datalake_assets.reconcile.canonical import Canonical
from datalake_assets.reconcile.plan import Key, Plan, Range

_BATCH = 50_000
_HASH, _MARK, _BUCKET, _ROWS = "_hash", "_mark", "_bucket", "_rows"
_HASH_DIGITS = 15  # of the 64 hex digits: 60 bits


class SilverSide:
    """A silver table as it was at one version."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        """Take a state of the table; nothing is read."""
        self._snapshot = snapshot
        self._plan = plan
        dtypes = snapshot.table.dtypes
        self._order = {
            f"_key_{n}": (pl.col(c.name), dtypes[c.name]) if c.number else (c.in_silver, pl.String())
            for n, c in enumerate(plan.key)
        }
        self._key = [c.in_silver.alias(f"_text_{n}") for n, c in enumerate(plan.key)]
        fields = [(pl.lit("=") + _escaped(c)).fill_null("~") for c in plan.columns]
        digits = pl.concat_str(fields, separator="|").chash.sha2_256().str.slice(0, _HASH_DIGITS)  # type: ignore[attr-defined]  # a namespace that polars_hash registers
        self._hash = digits.str.to_integer(base=16, dtype=pl.Int64).alias(_HASH)

    @property
    def row_count(self) -> int:
        """The number of rows, from the log alone."""
        return self._snapshot.row_count

    @property
    def version(self) -> int:
        """The table's version; -1 where there is no table."""
        return self._snapshot.version

    def aggregates(self, within: Sequence[Range], bounds: Sequence[Key]) -> dict[int, tuple[int, int]]:
        """By how many of the bounds (in order) a key has reached: the number of rows and the sum of their hashes."""
        order = [place.alias(name) for name, (place, _) in self._order.items()]
        marks = self._typed(bounds, ordered=True).with_columns(
            pl.lit(None, pl.Int64).alias(_HASH), pl.lit(1, pl.UInt32).alias(_MARK)
        )
        rows: Counter[int] = Counter()
        totals: Counter[int] = Counter()
        for batch in self._batches(self._scan(within).select(*order, self._hash)):
            # A bound is reached by its own key: it comes first.
            marked = pl.concat([marks, batch.with_columns(pl.lit(0, pl.UInt32).alias(_MARK))])
            placed = marked.sort(*self._order, _MARK, descending=[False] * len(self._order) + [True])
            found = (
                placed.select(pl.col(_MARK).cum_sum().alias(_BUCKET), _HASH, _MARK)
                .filter(pl.col(_MARK) == 0)
                .group_by(_BUCKET)
                .agg(pl.len().alias(_ROWS), pl.col(_HASH).cast(pl.Int128).sum())
            )
            for bucket, count, total in found.select(_BUCKET, _ROWS, _HASH).iter_rows():
                rows[bucket] += count
                totals[bucket] += total
        return {bucket: (count, totals[bucket]) for bucket, count in rows.items()}

    def sample(self, within: Sequence[Range], *, every: int) -> list[Key]:
        """Every n-th key of some ranges, in whatever order the files have them."""
        keys = self._scan(within).select(self._key)
        chosen = keys.with_row_index(_ROWS).filter(pl.col(_ROWS) % every == every - 1).drop(_ROWS)
        return chosen.collect(engine="streaming").rows()

    def rows(self, within: Sequence[Range]) -> Iterator[tuple[Key, int]]:
        """The keys of some ranges with the hashes of their rows."""
        for batch in self._batches(self._scan(within).select(*self._key, self._hash)):
            for *key, hashed in batch.iter_rows():
                yield tuple(key), hashed

    def hashes(self, keys: Collection[Key]) -> dict[Key, int]:
        """The hashes of the rows with these keys, as far as there are any."""
        rows = self._of_keys(keys).select(*self._key, self._hash).collect(engine="streaming")
        return {tuple(key): hashed for *key, hashed in rows.iter_rows()}

    def values(self, keys: Collection[Key]) -> dict[Key, tuple[str | None, ...]]:
        """The canonical texts of all that is compared, for the rows with these keys."""
        texts = [c.in_silver.alias(f"_{n}") for n, c in enumerate(self._plan.columns)]
        rows = self._of_keys(keys).select(*texts).collect(engine="streaming").rows()
        return {row[: len(self._key)]: row for row in rows}

    def _of_keys(self, keys: Collection[Key]) -> pl.LazyFrame:
        names = [column.name for column in self._plan.columns]
        if all(column.is_raw for column in self._plan.key):
            wanted = self._typed(keys, ordered=False)
            wanted.columns = [column.name for column in self._plan.key]
            return self._snapshot.scan_keys(wanted.unique(), columns=names)
        texts = [f"_text_{n}" for n in range(len(self._key))]
        wanted = pl.DataFrame(list(keys), schema=dict.fromkeys(texts, pl.String), orient="row")
        found = self._snapshot.scan().select(names).with_columns(self._key)
        return found.join(wanted.lazy(), on=texts, how="semi", nulls_equal=True).select(names)

    def _typed(self, keys: Collection[Key], *, ordered: bool) -> pl.DataFrame:
        """Keys in the columns by which they are ordered, or (of raw columns) in their own."""
        texts = pl.DataFrame(list(keys), schema=dict.fromkeys(self._order, pl.String), orient="row")
        dtypes = self._snapshot.table.dtypes
        own = {name: dtypes[column.name] for name, column in zip(self._order, self._plan.key, strict=True)}
        wanted = {name: dtype for name, (_, dtype) in self._order.items()} if ordered else own
        return texts.select(pl.col(name).cast(dtype, strict=False) for name, dtype in wanted.items())

    def _scan(self, within: Sequence[Range]) -> pl.LazyFrame:
        rows = self._snapshot.scan().select(column.name for column in self._plan.columns)
        if all(one.first is None and one.end is None for one in within):
            return rows
        return rows.filter(pl.any_horizontal(self._inside(one) for one in within))

    def _inside(self, one: Range) -> pl.Expr:
        edges = [~self._below(one.first)] if one.first is not None else []
        edges += [self._below(one.end)] if one.end is not None else []
        return pl.all_horizontal(edges) if edges else pl.lit(True)

    def _below(self, key: Key) -> pl.Expr:
        """Whether a row's key comes before another, column by column."""
        before = pl.lit(False)
        for (place, dtype), text in reversed(list(zip(self._order.values(), key, strict=True))):
            bound = pl.lit(text).cast(dtype)
            before = (place < bound) | ((place == bound) & before)
        return before

    def _batches(self, frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        if not self._snapshot.files.is_empty():
            yield from frame.collect_batches(chunk_size=_BATCH, maintain_order=False, engine="streaming")


def _escaped(column: Canonical) -> pl.Expr:
    """As `source_side` has it: a text in which `|` stands for nothing."""
    if not column.has_any_text:
        return column.in_silver
    return column.in_silver.str.replace_all("^", "^^", literal=True).str.replace_all("|", "^p", literal=True)
