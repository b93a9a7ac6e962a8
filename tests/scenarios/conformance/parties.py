"""A connector and a device that do everything right, and the same with one flaw at a time."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pfxlab.connector_sim.cmdlets import GraphClient
from pfxlab.connector_sim.errors import ConnectorError
from pfxlab.connector_sim.keys.provider import Providers
from pfxlab.connector_sim.keys.software import SoftwareKsp
from pfxlab.connector_sim.service import Connector, Settings, enroll
from pfxlab.device_sim.client import DeviceClient
from pfxlab.device_sim.errors import SessionFailed
from pfxlab.device_sim.keys import KeyPool
from pfxlab.device_sim.omadm.windows import WindowsDevice
from pfxlab.emulator.clock import LabClock
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire import jsontext
from pfxlab.emulator.wire.omadm import syncml
from pfxlab.scenarios.conformance.tool import Ended
from pfxlab.scenarios.parties.hardware import hardware_of

KEYS = KeyPool(None, 4)


class FlawedConnector(Connector):
    """A connector whose flaw is named after the rule that it breaks."""

    flaw = ""
    ca_file = Path()
    misspoken = False
    """Whether it has sent its wrong request: one is enough, and more of them would be too many polls."""

    async def call(self, path: str, body: dict[str, Any] | bytes) -> bytes:
        """Call the service, changed by the flaw."""
        if self.flaw == "connector-contract" and path == contract.LEASE_PATH and not self.misspoken:
            self.misspoken = True
            with contextlib.suppress(ConnectorError):
                await super().call(path, {"max": "many"})
        if self.flaw == "connector-certificate" and path == contract.LEASE_PATH and not self.misspoken:
            self.misspoken = True
            await self._anonymous(path)
        if self.flaw == "connector-started" and isinstance(body, dict) and body.get("started"):
            body = {**body, "started": False}
        if self.flaw == "connector-farewell" and isinstance(body, dict) and body.get("stopping"):
            return b"{}"
        if self.flaw == "connector-clear" and path == contract.LEASE_PATH:
            with contextlib.suppress(ConnectorError):
                await super().call(contract.RENEW_PATH + "/backup", {"key": PEM})
        return await super().call(path, body)

    async def _anonymous(self, path: str) -> None:
        settings = self._settings
        import ssl

        tls = ssl.create_default_context(cafile=str(settings.ca_file))
        async with aiohttp.ClientSession(settings.service_url) as session, session.post(path, json={}, ssl=tls):
            pass

    async def recrypt(self, items: Sequence[contract.WorkItem]) -> list[contract.Result]:
        """Return the results, changed by the flaw."""
        results = await super().recrypt(items)
        failed = any(isinstance(one, contract.NotRecrypted) for one in results)
        if self.flaw == "connector-usable":
            damaged = [one for one in results if isinstance(one, contract.Recrypted)]
            return [contract.Recrypted(one.request_id, one.encrypted_blob[:-9] + bytes(9)) for one in damaged]
        if self.flaw == "connector-reasons":
            return [replace_code(one) for one in results]
        if self.flaw == "connector-one-bad" and failed:
            return [contract.NotRecrypted(one.request_id, bad_code(results), "the batch failed") for one in results]
        if self.flaw == "connector-completes":
            return results[:-1] if len(results) > 1 else results
        return results

    async def work_once(self) -> bool:
        """Work once; the flaw may ask too often, or give up."""
        if self.flaw == "connector-polls":
            self._settings = replace(self._settings, wait_seconds=0, poll_seconds=0.02)
        try:
            return await super().work_once()
        except ConnectorError:
            if self.flaw == "connector-backs-off":
                for _ in range(8):
                    with contextlib.suppress(ConnectorError):
                        await super().work_once()
            if self.flaw == "connector-recovers":
                await asyncio.sleep(3600)
            raise


def replace_code(result: contract.Result) -> contract.Result:
    """Return a result with a meaningless reason."""
    if isinstance(result, contract.NotRecrypted):
        return contract.NotRecrypted(result.request_id, "Error", "something went wrong")
    return result


def bad_code(results: Sequence[contract.Result]) -> str:
    """Return the code of the result that failed."""
    return next(one.code for one in results if isinstance(one, contract.NotRecrypted))


PEM = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)


async def operator_token(arguments: Mapping[str, str], upn: str, password: str) -> str:
    """Return a user's token."""
    facts = json.loads(Path(arguments["ready_file"]).read_text())
    form = {
        "grant_type": "password",
        "client_id": facts["public_application"]["client_id"],
        "username": upn,
        "password": password,
    }
    async with GraphClient(facts["graph_url"], facts["authority_url"], Path(facts["ca_file"])) as client:
        return await client.sign_in(form)


@dataclass
class RunningConnector:
    """A connector that runs."""

    connector: Connector

    async def stop(self) -> Ended:
        """Stop it."""
        await self.connector.stop()
        return Ended(0, "")


@dataclass(frozen=True)
class SmallConnector:
    """Starts a connector with one flaw or none."""

    flaw: str = ""

    async def start(self, arguments: Mapping[str, str], variables: Mapping[str, str]) -> RunningConnector:
        """Enrol and start."""
        folder, ca_file = Path(arguments["folder"]), Path(arguments["ca_file"])
        settings = Settings(
            arguments["graph_url"], ca_file, wait_seconds=2, heartbeat_seconds=0.5, slots=3, drain_seconds=1
        )
        password = Path(arguments["operator_password_file"]).read_text().strip()
        token = await operator_token(arguments, arguments["operator_upn"], password)
        who = await enroll(settings, token, folder, "under test", "SERVER")
        providers = Providers([SoftwareKsp(Path(arguments["keys_dir"]))])
        connector = FlawedConnector(settings, who, providers, LabClock(), lambda _: None)
        connector.flaw = self.flaw
        await connector.start()
        return RunningConnector(connector)


class FlawedPc(WindowsDevice):
    """A PC whose flaw is named after the rule that it breaks."""

    flaw = ""
    ca = b""

    async def _post(self, http: aiohttp.ClientSession, message: syncml.Message) -> syncml.Message:
        if self.flaw == "device-identity":
            import ssl

            tls = ssl.create_default_context(cadata=self.ca.decode())
            async with aiohttp.ClientSession() as session:
                url = self.enrolled.management.server_url
                async with session.post(url, data=b"", ssl=tls):
                    pass
        if self.flaw == "device-session":
            async with http.post(self.enrolled.management.server_url, data=b"this is no SyncML"):
                pass
        if self.flaw == "device-clear":
            async with http.post(f"{self.enrolled.management.server_url}/backup", data=PEM.encode()):
                pass
        return await super()._post(http, message)


def lying(device: FlawedPc, flaw: str) -> None:
    """Let a PC's nodes behave as the flaw says."""
    csp = device.csp
    settle, single = csp.settle, csp.single
    if flaw == "device-installs":

        def forget(base: str, done: Any) -> None:
            settle(base, done)
            csp.tree[base].pop("Thumbprint", None)

        csp.settle = forget  # type: ignore[method-assign]
    if flaw == "device-fails-openly":

        def pretend(base: str, done: Any) -> None:
            settle(base, done)
            csp.tree[base]["Status"] = "0"

        csp.settle = pretend  # type: ignore[method-assign]
    if flaw == "device-removes":

        def keep(verb: syncml.Verb) -> Any:
            from pfxlab.device_sim.omadm.pfx_cert_install import FAILED

            return FAILED if verb.name == "Delete" and csp.tree else single(verb)

        csp.single = keep  # type: ignore[method-assign]


@dataclass
class RunningDevice:
    """A device that checks in."""

    task: asyncio.Task[None]

    async def stop(self) -> Ended:
        """Stop it."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        return Ended(0, "")


@dataclass(frozen=True)
class SmallDevice:
    """Enrols a PC with one flaw or none, and lets it check in."""

    flaw: str = ""

    async def start(self, arguments: Mapping[str, str], variables: Mapping[str, str]) -> RunningDevice:
        """Enrol and start checking in."""
        facts = json.loads(Path(arguments["ready_file"]).read_text())
        upn, ca = facts["mail_user"]["upn"], Path(facts["ca_file"]).read_bytes()
        token = await operator_token(arguments, upn, facts["mail_user"]["password"])
        client = DeviceClient(facts["graph_url"], ca, LabClock(), KEYS)
        made = await client.enroll(None, token, upn, hardware_of("windows", upn, 7, "under test"))
        pc = FlawedPc(made.enrolled, ca, LabClock())
        pc.flaw, pc.ca = self.flaw, ca
        lying(pc, self.flaw)

        async def go() -> None:
            while True:
                with contextlib.suppress(SessionFailed):
                    await pc.check_in()
                await asyncio.sleep(0.1)

        return RunningDevice(asyncio.create_task(go()))


__all__ = ["SmallConnector", "SmallDevice", "jsontext"]
