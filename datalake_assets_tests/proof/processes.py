"""Processes that are killed at random moments and begin again."""

import random
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from typing import Self

Command = Sequence[str]
_PATIENCE = 1.6


class Mortal:
    """A process that is killed (SIGKILL) and begun anew until the block ends; its command is asked for each time.

    `progress` tells how far its work is: where lives are too short to get on, as on a busy machine, they become longer.
    """

    def __init__(
        self,
        command: Callable[[], Command],
        environment: Mapping[str, str],
        dice: random.Random,
        *,
        lives: tuple[float, float],
        progress: Callable[[], object],
    ) -> None:
        self.kills = 0
        self.begun = 0
        self.ended: list[tuple[int, str]] = []
        self._command = command
        self._environment = environment
        self._dice = dice
        self._lives = lives
        self._progress = progress
        self._stop = Event()
        self._thread = Thread(target=self._live)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _live(self) -> None:
        longer, before = 1.0, self._progress()
        while not self._stop.is_set():
            self.begun += 1
            with (
                tempfile.TemporaryFile("w+") as told,
                subprocess.Popen(self._command(), env=self._environment, stdout=told, stderr=told) as process,
            ):
                try:
                    process.wait(self._dice.uniform(*self._lives) * longer)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    self.kills += 1
                told.seek(0)
                text = told.read()
            reached = self._progress()
            longer, before = (longer * _PATIENCE if reached == before else 1.0), reached
            if process.returncode >= 0 or "Traceback" in text:
                self.ended.append((process.returncode, text))
                self._stop.wait(0.2)
