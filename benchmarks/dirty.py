"""Web events that are not clean: bad records, and records with fields that the contract does not declare.

The events are those of the benchmark `events`, without the records that its simulator spoils. Then every thousandth or
twentieth record breaks the contract, every twentieth is torn, or each has two fields more. All go to silver as the
assets bring them there, each into an empty lake; the peer of all is the clean stream.
"""

import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.events import into_silver, land
from benchmarks.harness import Options, Result, Sample, alone, interleaved, speed
from benchmarks.lakes import emptied, kept, lake_at
from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.readers.records import RecordReader
from datalake_assets.lake.spec.dataset import EventStream
from datalake_assets.simulate.simulation import Simulation

_DATASET = "web_events"
_TARGETS = {"0.1 % bad": 0.95, "5 % bad": 0.7, "5 % torn": 0.6, "undeclared fields in each": 0.75}
Spoil = Callable[[int, bytes], bytes]


def run(options: Options) -> Iterator[Result]:
    """Compare each stream with the clean one."""
    hours, rate = (3, 2_000) if options.quick else (10, 60_000)
    simulation = Simulation(hours=hours, rate=rate, seed=7, start=datetime(2026, 1, 1, tzinfo=UTC))
    landed = kept(options.folder / f"events-{hours}x{rate}", make=partial(land, simulation))
    streams: dict[str, Spoil] = {
        "clean": lambda _, line: line,
        "0.1 % bad": partial(_bad, every=1_000),
        "5 % bad": partial(_bad, every=20),
        "5 % torn": _torn,
        "undeclared fields in each": _with_more,
    }
    out = options.folder / "dirty-out"
    jobs = {}
    for number, (name, spoil) in enumerate(streams.items()):
        bronze = kept(options.folder / f"dirty-{number}-{hours}x{rate}", make=partial(_spoilt, landed, spoil))
        jobs[name] = partial(_into_empty, bronze, out)
    measured = interleaved(jobs, rounds=options.rounds)
    for name, target in _TARGETS.items():
        ours, peer = measured[name], measured["clean"]
        yield speed(f"events with {name} / clean ones", ours=ours, peer=peer, target=target)


def _into_empty(bronze: Path, out: Path) -> Sample:
    return alone(into_silver, bronze, emptied(out))


def _spoilt(landed: Path, spoil: Spoil, folder: Path) -> None:
    """The objects' good records, spoilt."""
    dataset = lake_at(folder).datasets[_DATASET]
    assert isinstance(dataset, EventStream)
    contract = RecordReader(dataset, record_bytes=Limits().record_bytes)
    for file in sorted(landed.rglob("*")):
        if not file.is_file():
            continue
        lines = gzip.decompress(file.read_bytes()).splitlines()
        bad = {reject.row_number for part in contract.parse(b"\n".join(lines)) for reject in part.rejected}
        good = [line for n, line in enumerate(lines, start=1) if n not in bad]
        there = folder / file.relative_to(landed)
        there.parent.mkdir(parents=True, exist_ok=True)
        spoilt = b"".join(b"%s\n" % spoil(n, line) for n, line in enumerate(good, start=1))
        there.write_bytes(gzip.compress(spoilt, compresslevel=6, mtime=0))


def _bad(number: int, line: bytes, *, every: int) -> bytes:
    return line.replace(b'"created_at":', b'"created_at":-', 1) if number % every == 0 else line


def _torn(number: int, line: bytes) -> bytes:
    return line[: len(line) // 2] if number % 20 == 0 else line


def _with_more(number: int, line: bytes) -> bytes:
    return b'%s,"app_version":"4.2.%d","experiment":{"arm":"b"}}' % (line[:-1], number % 10)
