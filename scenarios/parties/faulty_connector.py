"""The lab's own connector, with the faults that were planned for it: network, keys, HSM, results."""

import asyncio
from collections.abc import Collection, Sequence
from functools import cache
from typing import Final

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

_KEY_TROUBLES: Final = ("key_missing", "wrong_key", "hsm_down", "pin_refused")
_RESULT_TROUBLES: Final = ("corrupt_result",)


@cache
def _other_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _missing(provider_name: str, key_name: str) -> DecryptionKey:
    raise KeyNotFound(f"expected a key {key_name!r} in {provider_name}, got none")


def _wrong(_: str, key_name: str) -> DecryptionKey:
    return SoftwareKey(key_name, _other_key())


def _down(_: str, __: str) -> DecryptionKey:
    raise HsmUnavailable("expected an answer from the token, got none")


def _pin(_: str, __: str) -> DecryptionKey:
    raise PinRefused("expected the token to take the PIN, it was refused")


_OPENERS: Final[dict[str, OpenKey]] = {
    "key_missing": _missing,
    "wrong_key": _wrong,
    "hsm_down": _down,
    "pin_refused": _pin,
}


class FaultyConnector(Connector):
    """A connector that asks the lab's faults before what it does. Without faults it is a connector as any other."""

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
        """Call the service, unless the network is down."""
        if self._strike(("offline",)) is not None:
            raise ServiceRefused(f"expected an answer from the service at {path}, got none (the network is down)")
        return await super().call(path, body)

    async def recrypt(self, items: Sequence[WorkItem]) -> list[Result]:
        """Return the results of a batch, each with what befalls it."""
        if not self._cloud.faults.any:
            return await super().recrypt(items)
        slow = self._strike(("slow_hsm",))
        if slow is not None:
            await asyncio.sleep(float(slow.fault.settings["seconds"]))
        troubles = {item.request_id: self._strike(_KEY_TROUBLES, item.request_id) for item in items}
        sound = [item for item in items if troubles[item.request_id] is None]
        done = {result.request_id: result for result in await super().recrypt(sound)} if sound else {}
        for item in items:
            trouble = troubles[item.request_id]
            if trouble is not None:
                (done[item.request_id],) = recrypt_each([item], _OPENERS[trouble.fault.kind])
        return [self._spoiled(done[item.request_id]) for item in items]

    def _spoiled(self, result: Result) -> Result:
        if not isinstance(result, Recrypted) or self._strike(_RESULT_TROUBLES, result.request_id) is None:
            return result
        blob = bytearray(result.encrypted_blob)
        blob[-1] ^= 0xFF
        blob[len(blob) // 2] ^= 0xFF
        return Recrypted(result.request_id, bytes(blob))

    async def upload(self, lease_id: str, results: Sequence[Result]) -> None:
        """Upload results, those twice that a fault says so of."""
        await super().upload(lease_id, results)
        again = [one for one in results if self._strike(("double_delivery",), one.request_id) is not None]
        if again:
            await super().upload(lease_id, again)
