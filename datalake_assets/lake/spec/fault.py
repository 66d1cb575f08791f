"""The fault of a dataset: what is wrong with it, and where in its file."""


class FaultError(ValueError):
    """A rule of a dataset that is broken; `at` is the path of keys to the place that breaks it."""

    def __init__(self, message: str, *, at: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.at = at
