"""One simulated stretch of the shop, landed in a folder that all tests of the simulator read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from obstore.store import LocalStore

from datalake_assets.simulate.producer import Landed, Simulation, simulate


@dataclass(frozen=True, slots=True)
class Bronze:
    """A bronze folder, what was asked for in it and what the simulator says it landed."""

    folder: Path
    simulation: Simulation
    landed: Landed

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of the objects in a folder, in order."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(k for k in (str(path.relative_to(self.folder)) for path in files) if k.startswith(prefix))

    def content(self) -> dict[str, tuple[bytes, int]]:
        """The objects' bytes and times of modification by key."""
        return {key: ((self.folder / key).read_bytes(), self.mtime(key)) for key in self.keys()}

    def mtime(self, key: str) -> int:
        """When an object was last modified, in nanoseconds."""
        return (self.folder / key).stat().st_mtime_ns


Land = Callable[..., Bronze]


def _land(folder: Path, simulation: Simulation) -> Bronze:
    return Bronze(folder, simulation, simulate(LocalStore(prefix=folder, mkdir=True), simulation))


@pytest.fixture
def land(tmp_path: Path) -> Land:
    """Land a small simulation in a folder of this test; keywords change what is asked for."""

    def land(
        folder: str = "bronze", *, hours: int = 3, rate: int = 60, seed: int = 5, start: datetime = START
    ) -> Bronze:
        return _land(tmp_path / folder, Simulation(hours=hours, rate=rate, seed=seed, start=start))

    return land


START = datetime(2026, 10, 31, 21, tzinfo=UTC)


@pytest.fixture(scope="session")
def bronze(tmp_path_factory: pytest.TempPathFactory) -> Bronze:
    """Thirty hours over the end of a month, busy enough for every kind of flaw. To be read only."""
    folder = tmp_path_factory.mktemp("bronze")
    return _land(folder, Simulation(hours=30, rate=600, seed=5, start=START))
