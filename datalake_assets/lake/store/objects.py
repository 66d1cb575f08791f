"""Landed objects as bytes: what can be wrong with one when it is read."""


class MissingObjectError(Exception):
    """The object is not there now; it may come back, so it is looked for again."""


class SupersededObjectError(Exception):
    """Other bytes lie under the object's key: it is another object by now."""


class TooLargeObjectError(Exception):
    """The object has more bytes than may be read of one object."""
