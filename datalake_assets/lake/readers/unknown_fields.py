"""Fields that records have and the contract does not declare, where it allows them: kept as JSON text, or dropped.

Records of a stream tend to have the same ones. Those that are met often are parsed like declared fields from then on,
which costs next to nothing; a record with any other is parsed once more for the text of these.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

_ODD = re.compile(r'[\\"\x00-\x1f]')  # msgspec renames no field to such a name
_OFTEN = 0.02
"""The share of records from which on a field is expected."""
_MOST = 64
_REMEMBERED = 4_096


class UnknownFields:
    """The undeclared fields of one stream's records."""

    def __init__(self, struct: type[msgspec.Struct], fields: Mapping[str, str], *, keep: bool) -> None:
        """Begin without knowing any; `fields` maps the fields of the records' `struct` to their names in JSON."""
        self._struct = struct
        self._fields = dict(fields)
        self._declared = frozenset(fields.values())
        self._keep = keep
        self._prefixes = _Prefixes()
        self._met: Counter[str] = Counter()
        self._expected: tuple[str, ...] = ()
        self._getters: list[tuple[bytes, attrgetter[Any]]] = []
        self._texts = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self.any_decoder = self._decoder((), forbid=False)
        """Reads a record whatever else it has."""
        self.decoder = self._decoder((), forbid=keep)
        """Reads a record with no other fields than the expected ones; raises `msgspec.ValidationError` for others."""

    def text_in(self, line: bytes) -> bytes | None:
        """The undeclared fields of a valid record's line as JSON text, by name; None where none is to be kept."""
        if not self._keep:
            return None
        texts = self._texts.decode(line)
        names = [name for name in texts if name not in self._declared]
        self._met.update(names)
        if not names:
            return None
        names.sort()
        return b"{%b}" % b",".join([self._prefixes[name] + texts[name] for name in names])

    def texts_of(self, events: Sequence[Any]) -> list[bytes | None]:
        """The same of records that `decoder` has read; empty where no field is expected."""
        columns = [list(map(get, events)) for _, get in self._getters]
        if not columns:
            return []
        if not any(None in column for column in columns):  # as in most streams: each record has them all
            whole = b"{%b}" % b",".join(prefix.replace(b"%", b"%%") + b"%b" for prefix, _ in self._getters)
            return [whole % row for row in zip(*columns, strict=True)]
        prefixes = [prefix for prefix, _ in self._getters]
        rows = (
            [prefix + text for prefix, text in zip(prefixes, row, strict=True) if text is not None]
            for row in zip(*columns, strict=True)
        )
        return [b"{%b}" % b",".join(row) if row else None for row in rows]

    def learn(self, records: int) -> None:
        """Expect those fields from now on that many of the last records had."""
        often = {name for name, count in self._met.items() if count > _OFTEN * records and not _ODD.search(name)}
        self._met.clear()
        if often - set(self._expected) and len(self._expected) < _MOST:
            self._expected = tuple(sorted({*self._expected, *often}))[:_MOST]
            self.decoder = self._decoder(self._expected, forbid=True)
            self._getters = [(self._prefixes[name], attrgetter(f"u{n}")) for n, name in enumerate(self._expected)]

    def _decoder(self, expected: Sequence[str], *, forbid: bool) -> msgspec.json.Decoder[Any]:
        names = self._fields | {f"u{n}": name for n, name in enumerate(expected)}
        struct = msgspec.defstruct(
            "Event",
            [(f"u{n}", msgspec.Raw, None) for n in range(len(expected))],
            bases=(self._struct,),
            rename=names,
            forbid_unknown_fields=forbid,
            kw_only=True,
            gc=False,
        )
        return msgspec.json.Decoder(struct)


class _Prefixes(dict[str, bytes]):
    """Names of fields as JSON writes them before a value; some thousand are remembered."""

    def __missing__(self, name: str) -> bytes:
        if len(self) >= _REMEMBERED:
            self.clear()
        self[name] = msgspec.json.encode(name) + b":"
        return self[name]
