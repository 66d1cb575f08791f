"""Every scenario ends in its control output, in whatever order its steps land."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from datalake_assets_tests.scenarios.event_scenario import EventScenario, event_outcome, event_scenarios
from datalake_assets_tests.scenarios.scenario import Scenario, outcome, scenarios

ARRANGEMENTS: dict[str, Callable[[Sequence[Path]], Sequence[Sequence[Path]]]] = {
    "as it landed": lambda steps: [[step] for step in steps],
    "backwards": lambda steps: [[step] for step in reversed(steps)],
    "all at once": lambda steps: [steps],
}
_EACH = [pytest.param(name, marks=pytest.mark.soak if name == "backwards" else ()) for name in ARRANGEMENTS]


@pytest.mark.parametrize("arrangement", _EACH)
@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.folder.name)
def test_a_scenario_ends_in_its_control_output(tmp_path: Path, scenario: Scenario, arrangement: str) -> None:
    lake = scenario.lake(tmp_path)
    for steps in ARRANGEMENTS[arrangement](scenario.steps):
        scenario.land(lake, steps)
        lake.refresh_all()
    assert outcome(lake) == scenario.control()


@pytest.mark.parametrize("arrangement", _EACH)
@pytest.mark.parametrize("scenario", event_scenarios(), ids=lambda scenario: scenario.folder.name)
def test_a_scenario_of_events_ends_in_its_control_output(
    tmp_path: Path, scenario: EventScenario, arrangement: str
) -> None:
    lake = scenario.lake(tmp_path)
    for steps in ARRANGEMENTS[arrangement](scenario.steps):
        scenario.land(lake, steps)
    assert event_outcome(lake) == scenario.control()
