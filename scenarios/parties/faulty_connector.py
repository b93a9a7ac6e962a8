"""The lab's own connector, with the faults that were planned for it: network, keys, HSM, results.

Each kind is a row of emulator/faults/kinds.py and a function in one of the tables below.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim import identity
from pfxlab.connector_sim.errors import HsmUnavailable, KeyNotFound, PinRefused, ServiceRefused
from pfxlab.connector_sim.eventlog import EventSink
from pfxlab.connector_sim.keys.provider import DecryptionKey, Providers
from pfxlab.connector_sim.keys.software import SoftwareKey
from pfxlab.connector_sim.recrypt import OpenKey, recrypt_each
from pfxlab.connector_sim.service import Connector, Settings
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.faults.apply import mark
from pfxlab.emulator.faults.kinds import CONNECTOR
from pfxlab.emulator.faults.plan import Occasion, Planned
from pfxlab.emulator.wire.connector import Recrypted, Result, WorkItem


async def _offline(path: str) -> None:
    raise ServiceRefused(f"expected an answer from the service at {path}, got none (the network is down)")


async def _slow_hsm(settings: Mapping[str, Any]) -> None:
    await asyncio.sleep(float(settings["seconds"]))


@cache
def _other_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _key_missing(provider_name: str, key_name: str) -> DecryptionKey:
    raise KeyNotFound(f"expected a key {key_name!r} in {provider_name}, got none")


def _wrong_key(_: str, key_name: str) -> DecryptionKey:
    return SoftwareKey(key_name, _other_key())


def _hsm_down(_: str, __: str) -> DecryptionKey:
    raise HsmUnavailable("expected an answer from the token, got none")


def _pin_refused(_: str, __: str) -> DecryptionKey:
    raise PinRefused("expected the token to take the PIN, it was refused")


def _corrupt_result(result: Recrypted) -> Recrypted:
    blob = bytearray(result.encrypted_blob)
    blob[-1] ^= 0xFF
    blob[len(blob) // 2] ^= 0xFF
    return Recrypted(result.request_id, bytes(blob))


def _double_delivery(result: Result) -> Result:
    return result


CALLS: Final[Mapping[str, Callable[[str], Awaitable[None]]]] = {"offline": _offline}
"""Kind → function that replaces a call to the service, given the call's path."""

BATCHES: Final[Mapping[str, Callable[[Mapping[str, Any]], Awaitable[None]]]] = {"slow_hsm": _slow_hsm}
"""Kind → function called before a batch is decrypted, given the fault's settings."""

KEYS: Final[Mapping[str, OpenKey]] = {
    "key_missing": _key_missing,
    "wrong_key": _wrong_key,
    "hsm_down": _hsm_down,
    "pin_refused": _pin_refused,
}
"""Kind → how the key of a work item is opened."""

RESULTS: Final[Mapping[str, Callable[[Recrypted], Recrypted]]] = {"corrupt_result": _corrupt_result}
"""Kind → function that returns the replacement of a result."""

AFTER_UPLOAD: Final[Mapping[str, Callable[[Result], Result]]] = {"double_delivery": _double_delivery}
"""Kind → function that returns a further upload for a result."""

EXECUTORS: Final = {**CALLS, **BATCHES, **KEYS, **RESULTS, **AFTER_UPLOAD}
"""Every kind that a connector executes."""


class FaultyConnector(Connector):
    """A connector that consults the lab's planned faults. Without faults it behaves like any other."""

    def __init__(
        self,
        name: str,
        cloud: Cloud,
        settings: Settings,
        who: identity.Identity,
        providers: Providers,
        events: EventSink,
        *,
        own_keys: bool = False,
    ) -> None:
        super().__init__(settings, who, providers, cloud.clock, events)
        self.name, self._cloud, self.batch, self.own_keys = name, cloud, settings.batch, own_keys

    def _strike(self, kinds: Collection[str], delivery_id: str = "") -> Planned | None:
        faults = self._cloud.faults
        if not faults.any:
            return None
        delivery = self._cloud.deliveries.get(delivery_id) if delivery_id else None
        certificate = "" if delivery is None else delivery.thumbprint
        occasion = Occasion(CONNECTOR, actor=f"{self.name} {self.connector_id}", certificate=certificate)
        planned = faults.strike(occasion, kinds)
        if planned is not None:
            mark(
                self._cloud.journal,
                planned,
                connector=self.connector_id,
                **({"delivery": delivery_id} if delivery_id else {}),
            )
        return planned

    async def call(self, path: str, body: dict[str, object] | bytes) -> bytes:
        """Call the service, unless a fault takes the call's place."""
        struck = self._strike(CALLS)
        if struck is not None:
            await CALLS[struck.fault.kind](path)
        return await super().call(path, body)

    async def recrypt(self, items: Sequence[WorkItem]) -> list[Result]:
        """Return the results of a batch, each with the faults that apply to it."""
        if not self._cloud.faults.any:
            return await super().recrypt(items)
        slow = self._strike(BATCHES)
        if slow is not None:
            await BATCHES[slow.fault.kind](slow.fault.settings)
        struck = {item.request_id: self._strike(KEYS, item.request_id) for item in items}
        sound = [item for item in items if struck[item.request_id] is None]
        done = {result.request_id: result for result in await super().recrypt(sound)} if sound else {}
        for item in items:
            planned = struck[item.request_id]
            if planned is not None:
                (done[item.request_id],) = recrypt_each([item], KEYS[planned.fault.kind])
        return [self._with_faults(done[item.request_id]) for item in items]

    def _with_faults(self, result: Result) -> Result:
        if not isinstance(result, Recrypted):
            return result
        struck = self._strike(RESULTS, result.request_id)
        return result if struck is None else RESULTS[struck.fault.kind](result)

    async def upload(self, lease_id: str, results: Sequence[Result]) -> None:
        """Upload results, and then what faults add to them."""
        await super().upload(lease_id, results)
        struck = [(one, self._strike(AFTER_UPLOAD, one.request_id)) for one in results]
        more = [AFTER_UPLOAD[planned.fault.kind](one) for one, planned in struck if planned is not None]
        if more:
            await super().upload(lease_id, more)
