"""What a stream's dataset file asks of the quality of its records, beyond the contract that each must keep.

Belongs here: what is declared, and what a file can be told about it. Which records keep a rule is told by the readers
(`readers/row_rules.py`), what follows by the steps (`steps/quality_checks.py`), scores by `transforms/quality.py`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from datalake_assets.lake.spec.durations import duration
from datalake_assets.lake.spec.fault import FaultError
from datalake_assets.lake.spec.parts import Part
from datalake_assets.lake.spec.shape import fingerprint

RuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Predicate = Annotated[str, Field(min_length=1, max_length=2_000)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Weight = Annotated[float, Field(ge=0, le=1_000)]
_TAKEN = frozenset({"key_unique", "rejected_fraction", "schema_drift", "volume", "reconciled"})


class Score(Part):
    """How `quality_score` weighs what is known of a record.

    `completeness` is the share of declared columns that have a value, `validity` the share of the row rules that it
    keeps, `timeliness` 1 for a record that landed within `timely_within` of its event time, and `timely_within` divided
    by its lateness for others.
    """

    completeness: _Weight = 1
    validity: _Weight = 0
    timeliness: _Weight = 0
    timely_within: Annotated[timedelta, BeforeValidator(duration)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Score":
        if not self.completeness + self.validity + self.timeliness:
            raise FaultError("all weights are 0; give one a weight, or take `score` out", at=("quality", "score"))
        if self.timely_within == timedelta(0):
            raise FaultError(
                "`timely_within` is no time at all; write a length of time such as PT1H",
                at=("quality", "score", "timely_within"),
            )
        if self.timeliness and self.timely_within is None:
            raise FaultError(
                "timeliness has a weight, and `timely_within` does not say how soon a record is timely; write a length "
                "of time such as PT1H",
                at=("quality", "score", "timeliness"),
            )
        return self


class RowRule(Part):
    """What each record should keep: `expect`, a condition in SQL over its columns; NULL keeps it, as in a CHECK.

    A record that breaks it is quarantined (`reject`), or counted: then the rule fails for its landing partition, and
    gold waits for the partition's dates (`error`) or not (`warn`).
    """

    expect: Predicate
    severity: Literal["reject", "error", "warn"] = "warn"


class PartitionRule(Part):
    """What the accepted records of a landing partition should keep together.

    The share of them for which `share_of`, a condition in SQL, is true lies between `minimum` and `maximum`. Where it
    does not, gold waits for the partition's dates (`error`) or not (`warn`).
    """

    share_of: Predicate
    minimum: _Share = 0
    maximum: _Share = 1
    severity: Literal["error", "warn"] = "warn"

    @model_validator(mode="after")
    def _consistent(self) -> "PartitionRule":
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is more than maximum {self.maximum:g}")
        if (self.minimum, self.maximum) == (0, 1):
            raise ValueError("every share lies between 0 and 1; give a `minimum` or a `maximum`")
        return self


class Volume(Part):
    """How many records a landing partition should have, beside the same hours of earlier days.

    Between `minimum` and `maximum` times the median of the partitions that began at the same hour of the `days` before,
    as far as there was anything in them. It warns, and holds nothing back.
    """

    days: Annotated[int, Field(ge=3, le=60)] = 14
    minimum: Annotated[float, Field(ge=0, le=1)] = 0.25
    maximum: Annotated[float, Field(ge=1)] = 4


class Quality(Part):
    """The `quality` of a dataset file."""

    score: Score = Score()
    rows: Mapping[RuleName, RowRule] = Field(default_factory=dict)
    partitions: Mapping[RuleName, PartitionRule] = Field(default_factory=dict)
    volume: Volume | None = Volume()

    @model_validator(mode="after")
    def _consistent(self) -> "Quality":
        for kind, names in {"rows": self.rows, "partitions": self.partitions}.items():
            for name in names:
                if name in _TAKEN or (kind == "partitions" and name in self.rows):
                    at = ("quality", kind, name)
                    raise FaultError(f"there is another rule called {name!r}; rename this one", at=at)
        if self.score.validity and not self.counted_rows:
            raise FaultError(
                "validity has a weight, and no row rule of severity warn or error is declared; declare one under "
                "`rows`, or take the weight out",
                at=("quality", "score", "validity"),
            )
        return self

    @property
    def counted_rows(self) -> dict[str, RowRule]:
        """The row rules that accepted records may break."""
        return {name: rule for name, rule in self.rows.items() if rule.severity != "reject"}

    @property
    def counted_as(self) -> dict[str, str]:
        """The name under which a rule's records are counted, by its name: another wording is another count."""
        rows = {name: f"row: {rule.expect}" for name, rule in self.counted_rows.items()}
        shares = {name: f"share: {rule.share_of}" for name, rule in self.partitions.items()}
        return {name: f"{name} {fingerprint(text)[:8]}" for name, text in (rows | shares).items()}

    @property
    def reading(self) -> dict[str, Any]:
        """What of it decides how a record is read: not the thresholds, nor who waits. Empty where nothing does."""
        rules: dict[str, Any] = {}
        if self.score != Score():
            rules["score"] = self.score.model_dump(mode="json")
        for name, rule in self.rows.items():
            rules[f"row {name}"] = [rule.expect, rule.severity == "reject"]
        for name, share in self.partitions.items():
            rules[f"share {name}"] = share.share_of
        return rules
