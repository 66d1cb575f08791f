"""What visitors do on the shop's pages, as the events of the dataset `web_events`: all of them good.

Belongs here: the events. Their copies, delays and flaws, and the objects that hold them, are made in
`web.py`.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate, product
from random import Random
from typing import NamedTuple

import msgspec

from datalake_assets.simulate.shop import CATALOGUE

NETWORK_SECONDS = 90
"""How long an event is under way at most, from the page to Firehose."""

_SIGNED_IN = 0.7
_DEVICES = ("desktop", "mobile", "tablet")
_PAGES = ("/", "/sale", "/about", "/help/returns", "/account", "/gifts")
_WEIGHTS = {
    "page:view": 42,
    "product:view": 28,
    "search:submit": 8,
    "cart:add": 10,
    "cart:remove": 3,
    "checkout:start": 5,
    "order:pay:card": 3,
    "order:pay:transfer": 1,
}


class WebEvent(msgspec.Struct, gc=False, omit_defaults=True):
    """One event as a page sends it; `created_at` in seconds since 1970, no `user_id` unless signed in."""

    event_id: str
    event_name: str
    created_at: int
    page: str
    payload: msgspec.Raw
    user_id: int | None = None
    amount: float | None = None


class _Visit(NamedTuple):
    """What events of one name can tell."""

    page: str
    payload: msgspec.Raw
    amount: float | None = None


def visits(dice: Random, *, users: int, count: int, since: datetime, until: datetime) -> list[WebEvent]:
    """Events by `users` customers in the order of their arrival, spread evenly over [since, until)."""
    chance, bits = dice.random, dice.getrandbits
    first, step = since.timestamp(), (until - since).total_seconds() / count
    events = []
    for number, name in enumerate(dice.choices(_NAMES, cum_weights=_CUMULATED, k=count)):
        possible = _VISITS[name]
        page, payload, amount = possible[int(chance() * len(possible))]
        events.append(
            WebEvent(
                f"{bits(128):032x}",
                name,
                int(first + number * step - chance() * NETWORK_SECONDS),
                page,
                payload,
                int(chance() ** 2 * users) + 1 if chance() < _SIGNED_IN else None,
                amount,
            )
        )
    return events


def _possible(name: str) -> Iterator[_Visit]:
    """Encoded once, not per event: payloads are most of an event's text."""
    match name.partition(":")[0]:
        case "page":
            for device, page in product(_DEVICES, _PAGES):
                yield _Visit(page, _payload(device=device))
        case "search":
            for device, (item, _) in product(_DEVICES, CATALOGUE):
                yield _Visit("/search", _payload(device=device, query=item.split()[-1]))
        case "product":
            for device, (item, _) in product(_DEVICES, CATALOGUE):
                yield _Visit(_product_page(item), _payload(device=device, product=item))
        case "cart":
            for device, (item, price), quantity in product(_DEVICES, CATALOGUE, (1, 2, 3)):
                payload = _payload(device=device, product=item, quantity=quantity)
                yield _Visit(_product_page(item), payload, float(price * quantity))
        case _:
            for device, (item, price), (other, more) in product(_DEVICES, CATALOGUE, CATALOGUE):
                payload = _payload(device=device, items=[{"product": item}, {"product": other}])
                yield _Visit("/checkout", payload, float(price + more))


def _payload(**fields: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(fields))


def _product_page(item: str) -> str:
    return f"/products/{item.lower().replace(' ', '-')}"


_NAMES = tuple(_WEIGHTS)
_CUMULATED = tuple(accumulate(_WEIGHTS.values()))
_VISITS = {name: tuple(_possible(name)) for name in _NAMES}
