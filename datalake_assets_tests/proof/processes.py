"""Processes that are killed at random moments and begin again."""

import random
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread

Command = Sequence[str]


class Mortal:
    """A process that is killed (SIGKILL) and begun anew until the block ends; each time the next command is asked for."""

    def __init__(
        self,
        command: Callable[[], Command],
        environment: Mapping[str, str],
        dice: random.Random,
        *,
        lives: tuple[float, float],
    ) -> None:
        self.kills = 0
        self.begun = 0
        self.ended: list[tuple[int, str]] = []
        self._command = command
        self._environment = environment
        self._dice = dice
        self._lives = lives
        self._stop = Event()
        self._thread = Thread(target=self._live)

    def __enter__(self) -> "Mortal":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._stop.is_set():
            self.begun += 1
            with (
                tempfile.TemporaryFile("w+") as told,
                subprocess.Popen(self._command(), env=self._environment, stdout=told, stderr=told) as process,
            ):
                try:
                    process.wait(self._dice.uniform(*self._lives))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    self.kills += 1
                told.seek(0)
                text = told.read()
            if process.returncode >= 0 or "Traceback" in text:
                self.ended.append((process.returncode, text))
                self._stop.wait(0.2)
