"""Scenarios of events: folders of landed text, how each file is packed, and the tables that must come of them.

`events/<name>/landed/<step>/<path>.<packed>.txt` lands below the stream's prefix as `<path>`: its text as it is, or as
the dotted words after the name tell, from the left: `gz` and `zip` (of the text), `members` (gzip of each part of the
text; parts are separated by blank lines), `snappy` (a bare block), `parquet` (of JSON lines), `base64` (what stands in
`<` and `>` is written so), `glued` (line ends are left out), `crlf`, `bom`, `cut` (the last eight bytes are lost).

`events/<name>/control/` holds what silver and quarantine hold at the end, whatever the order of the steps. The stream
is that of `<name>/clicks.yaml` or else of the `clicks.yaml` beside. To write control files anew, call `write_control`
and read the difference.
"""

import base64
import gzip
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import polars as pl
import pyarrow as pa

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.settings import Settings
from datalake_assets_tests import lakes
from datalake_assets_tests.scenarios.scenario import written
from datalake_assets_tests.sources import write_datasets

HERE = Path(__file__).parent / "events"
STREAM = "clicks"
_PREFIX = "firehose/clicks"


@dataclass(frozen=True, slots=True)
class EventScenario:
    """A folder of landed text and its control output."""

    folder: Path

    @property
    def steps(self) -> list[Path]:
        """The folders whose files land together, in the order of their names."""
        return sorted(path for path in (self.folder / "landed").iterdir() if path.is_dir())

    def lake(self, root: Path) -> Lake:
        """An empty lake of the stream."""
        own = self.folder / f"{STREAM}.yaml"
        text = (own if own.exists() else HERE / f"{STREAM}.yaml").read_text()
        return Settings(root=str(root / "lake"), datasets=write_datasets(root / "datasets", text)).lake()

    def land(self, lake: Lake, steps: Iterable[Path], *, engine: Engine | None = None) -> None:
        """Land the files of some steps and bring them to silver."""
        for step in steps:
            for file in sorted(step.rglob("*.txt")):
                path, *packed = str(file.relative_to(step)).removesuffix(".txt").split(".")
                data = file.read_bytes().removesuffix(b"\n")
                for word in packed:
                    data = _PACKED[word](data)
                target = Path(lake.layout.bronze, _PREFIX, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        while waiting := list(lakes.landing(lake, STREAM).waiting):
            lakes.process(lake, STREAM, waiting, engine=engine or PolarsEngine())

    def control(self) -> dict[str, str]:
        """The control output: CSV by table."""
        return {name: (self.folder / "control" / f"{name}.csv").read_bytes().decode() for name in _TABLES}

    def write_control(self, lake: Lake) -> None:
        """Make what a lake holds the control output."""
        (self.folder / "control").mkdir(exist_ok=True)
        for name, text in event_outcome(lake).items():
            (self.folder / "control" / f"{name}.csv").write_text(text, newline="")


_TABLES = ("silver", "quarantine")


def event_scenarios() -> list[EventScenario]:
    """All scenarios of events, by name."""
    return [EventScenario(path.parent) for path in sorted(HERE.glob("*/landed"))]


def event_outcome(lake: Lake) -> dict[str, str]:
    """What a lake's tables hold, as the control output has it."""
    silver = [
        *lake.datasets[STREAM].columns,
        "event_date",
        "_unknown",
        "quality_score",
        "record_hash",
    ]  # of equal copies any may be there
    rejects = ["source_filename", "row_number", "raw", "errors"]
    accepted = sorted(lakes.rows(lake, f"silver/{STREAM}", *silver), key=itemgetter("id"))
    rejected = sorted(lakes.rows(lake, f"quarantine/{STREAM}", *rejects), key=itemgetter(*rejects[:2]))
    return {"silver": written(accepted, silver), "quarantine": written(rejected, rejects)}


def _zipped(data: bytes) -> bytes:
    with zipfile.ZipFile(target := io.BytesIO(), "w") as archive:
        archive.writestr(zipfile.ZipInfo("events.json"), data)
    return target.getvalue()


def _converted(data: bytes) -> bytes:
    pl.read_ndjson(data).write_parquet(target := io.BytesIO())
    return target.getvalue()


def _in_base64(data: bytes) -> bytes:
    return re.sub(rb"<(.*?)>", lambda text: base64.b64encode(text[1]), data, flags=re.DOTALL)


_PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zip": _zipped,
    "members": lambda data: b"".join(gzip.compress(part, mtime=0) for part in data.split(b"\n\n")),
    "snappy": lambda data: bytes(pa.Codec("snappy").compress(data, asbytes=True)),
    "parquet": _converted,
    "base64": _in_base64,
    "glued": lambda data: data.replace(b"\n", b""),
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "bom": lambda data: b"\xef\xbb\xbf" + data,
    "cut": lambda data: data[:-8],
}
