"""A simulated Windows device: OMA-DM sessions in SyncML. Sources: reference devices A5 and A6."""

import asyncio
import json
from pathlib import Path
from typing import Final

import aiohttp

from device_sim.certstore import CertStore, write_private
from device_sim.errors import SessionFailed
from device_sim.identity import Hardware, MdmIdentity
from device_sim.pfx_cert_install import NOT_FOUND, Behaviour, Outcome, PfxCertInstall
from emulator.wire import syncml
from emulator.wire.enrollment import OMADM_PATH

_USER_AGENT: Final = "MSFT OMA DM Client/1.2.0.1"
_LONGEST_SESSION: Final = 50


class WindowsDevice:
    """One Windows PC with a signed-in user. With a folder, node tree and store survive the process."""

    def __init__(
        self,
        identity: MdmIdentity,
        hardware: Hardware,
        service_url: str,
        ca_pem: bytes,
        folder: Path | None = None,
        *,
        behaviour: Behaviour | None = None,
        user_signed_in: bool = True,
    ) -> None:
        self.identity, self.hardware = identity, hardware
        self.user_signed_in = user_signed_in
        self.store = CertStore(None if folder is None else folder / "store")
        self._tree_file = None if folder is None else folder / "nodes.json"
        saved = self._tree_file is not None and self._tree_file.exists()
        tree = json.loads(self._tree_file.read_text()) if saved and self._tree_file is not None else {}
        self.csp = PfxCertInstall(identity, self.store, tree, behaviour)
        self._url, self._tls = f"{service_url}{OMADM_PATH}", identity.tls(ca_pem)
        self._sessions = 0
        self._busy = asyncio.Lock()

    async def check_in(self) -> int:
        """Hold one management session; return how many messages the device sent.

        Raises:
            SessionFailed: no answer, an empty one, or one that is not SyncML.

        """
        async with self._busy:
            self._sessions += 1
            outgoing: syncml.Message | None = self._first_message()
            sent = 0
            async with aiohttp.ClientSession() as http:
                while outgoing is not None and sent < _LONGEST_SESSION:
                    answer = await self._post(http, outgoing)
                    sent += 1
                    outgoing = self._answer(outgoing, answer)
                    self._save()
            return sent

    def _save(self) -> None:
        # After each message and before it is answered: what was installed must be known after a crash.
        if self._tree_file is not None:
            write_private(self._tree_file, json.dumps(self.csp.tree).encode())

    async def _post(self, http: aiohttp.ClientSession, message: syncml.Message) -> syncml.Message:
        headers = {"Content-Type": syncml.CONTENT_TYPE, "User-Agent": _USER_AGENT}
        params = {"mode": "Maintenance", "Platform": "WoA"}
        try:
            async with http.post(
                self._url, data=syncml.serialize(message), headers=headers, params=params, ssl=self._tls
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise SessionFailed(f"no answer from the management server ({error})") from None
        if response.status != 200 or not body:
            raise SessionFailed(f"expected a SyncML answer, got HTTP {response.status} with {len(body)} bytes")
        try:
            return syncml.parse(body)
        except syncml.SyncMLError as error:
            raise SessionFailed(str(error)) from None

    def _message(self, number: int, commands: list[syncml.Command]) -> syncml.Message:
        session_id = format(self._sessions % 0xFFFF, "X")
        return syncml.Message(session_id, str(number), self._url, self.identity.device_id, tuple(commands))

    def _first_message(self) -> syncml.Message:
        facts = {
            "DevId": self.identity.device_id,
            "Man": self.hardware.manufacturer,
            "Mod": self.hardware.model,
            "DmV": "1.3",
            "Lang": "en-US",
        }
        login = "user" if self.user_signed_in else "none"
        items = tuple(syncml.Item(source=f"./DevInfo/{name}", data=value) for name, value in facts.items())
        return self._message(
            1,
            [
                syncml.Alert("2", syncml.ALERT_CLIENT_INITIATED),
                syncml.Alert("3", syncml.ALERT_CLIENT_EVENT, (syncml.Item(data=login, type=syncml.LOGIN_STATUS),)),
                syncml.Verb("Replace", "4", items),
            ],
        )

    def _answer(self, sent: syncml.Message, received: syncml.Message) -> syncml.Message | None:
        """Return the next message, or None when the server has nothing more to do."""
        commands: list[syncml.Command] = [syncml.Status("2", received.msg_id, "0", "SyncHdr", "200")]
        for command in received.commands:
            if isinstance(command, syncml.Atomic):
                whole, parts = self.csp.atomic(command)
                self._status(commands, received, command.cmd_id, "Atomic", whole)
                for verb, outcome in zip(command.commands, parts, strict=True):
                    self._status(commands, received, verb.cmd_id, verb.name, outcome)
            elif isinstance(command, syncml.Verb):
                outcome = self.csp.single(command) if self.user_signed_in else NOT_FOUND
                self._status(commands, received, command.cmd_id, command.name, outcome)
                if command.name == "Get" and outcome.data is not None:
                    self._results(commands, received, command, outcome)
        if len(commands) == 1:
            return None
        return self._message(int(sent.msg_id) + 1, commands)

    @staticmethod
    def _status(out: list[syncml.Command], to: syncml.Message, cmd_ref: str, cmd: str, outcome: Outcome) -> None:
        cmd_id = str(len(out) + 2)
        out.append(syncml.Status(cmd_id, to.msg_id, cmd_ref, cmd, outcome.code, outcome.original_error))

    @staticmethod
    def _results(out: list[syncml.Command], to: syncml.Message, verb: syncml.Verb, outcome: Outcome) -> None:
        item = syncml.Item(source=verb.items[0].target, data=outcome.data, format=outcome.format)
        out.append(syncml.Results(str(len(out) + 2), to.msg_id, verb.cmd_id, (item,)))
