"""What lies between the task and the lake: files come in any order, twice, and again.

The task lands into a folder of its own; from there each file is carried to bronze. As under DMS, a file of a load that
is overwritten came before the one that takes its name, and the lake has read it by then.
"""

import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

_NAMED = re.compile(r"\d{8}-\d{9}")


@dataclass(frozen=True, slots=True)
class Carried:
    """A file as it was under a key, kept aside."""

    key: str
    path: Path

    @property
    def table(self) -> str:
        return self.key.split("/")[2]

    @property
    def is_load(self) -> bool:
        return self.key.rpartition("/")[2].startswith("LOAD")


@dataclass
class Carrier:
    """Carries files from a folder to bronze; `is_read` tells whether the lake has read what lies under a key."""

    staged: Path
    bronze: Path
    aside: Path
    dice: random.Random
    is_read: Callable[[str], bool]
    delivered: list[Carried] = field(default_factory=list)
    duplicates: int = 0
    landed_again: int = 0
    _waiting: list[Carried] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _numbers: "count[int]" = field(default_factory=count)

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def capture(self) -> None:
        """Take what is new in the folder aside: a name may be taken by another load soon."""
        for path in self.staged.rglob("*.parquet"):
            if path.stat().st_ino in self._seen:
                continue
            kept = self.aside / f"{next(self._numbers)}.parquet"
            os.link(path, kept)  # by now perhaps of the next load
            self._seen.add(kept.stat().st_ino)
            self._waiting.append(Carried(str(path.relative_to(self.staged)), kept))

    def deliver(self, *, everything: bool) -> int:
        """Carry some of the files that wait, or all that may be, in random order; tells how many those were."""
        chance = 1.0 if everything else 0.4
        chosen = [file for file in self._waiting if self.dice.random() < chance]
        self.dice.shuffle(chosen)
        loads: set[str] = set()
        done = 0
        for file in chosen:
            if file.is_load:
                first = next(f for f in self._waiting if f.key == file.key)
                before = any(f.key == file.key for f in self.delivered)
                if first is not file or file.key in loads or (before and not self.is_read(file.key)):
                    continue
                loads.add(file.key)
            self._put(file)
            self._waiting.remove(file)
            self.delivered.append(file)
            done += 1
            if not file.is_load and self.dice.random() < 0.06:
                self._duplicate(file)
        return done

    def land_again(self) -> None:
        """Put a file that lies in bronze there once more: the same bytes, another object."""
        last = {file.key: file for file in self.delivered}
        if last:
            self._put(last[self.dice.choice(sorted(last))])
            self.landed_again += 1

    def _duplicate(self, file: Carried) -> None:
        """Deliver a file under a later name too, beside the folders by date."""
        name = file.key.rpartition("/")[2]
        match = _NAMED.match(name)
        assert match, file.key
        at = datetime.strptime(match[0] + "000", "%Y%m%d-%H%M%S%f")  # noqa: DTZ007 (UTC, and written as such)
        later = at + timedelta(milliseconds=self.dice.randint(1, 5_000))
        key = f"dms/public/{file.table}/{later:%Y%m%d-%H%M%S}{later.microsecond // 1000:03d}.parquet"
        if not (self.bronze / key).exists():
            again = Carried(key, file.path)
            self._put(again)
            self.delivered.append(again)
            self.duplicates += 1

    def _put(self, file: Carried) -> None:
        """A put that nobody sees half of."""
        hidden, place = self.aside / "next", self.bronze / file.key
        shutil.copyfile(file.path, hidden)
        place.parent.mkdir(parents=True, exist_ok=True)
        hidden.rename(place)
