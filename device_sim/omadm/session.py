"""An OMA-DM client: holds sessions in SyncML, renews its identity, leaves management on command.

Windows (windows.py) and the Android agent (android.py) are made of it. Sources: sources.md#syncml-messages,
sources.md#syncml-sessions, sources.md#mdm-certificate-renewal.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp

from pfxlab.device_sim.certstore import CertStore, write_private
from pfxlab.device_sim.device import ManagedDevice
from pfxlab.device_sim.errors import DeviceDamaged, EnrollmentRefused, SessionFailed
from pfxlab.device_sim.identity import Enrolled
from pfxlab.device_sim.omadm import mde2
from pfxlab.device_sim.omadm.management_tree import Action, ManagementTree
from pfxlab.device_sim.omadm.pfx_cert_install import BAD_REQUEST, OK, CommandResult, PfxCertInstall, Tree
from pfxlab.device_sim.schedule import is_due_for_renewal
from pfxlab.emulator.wire.clock import Clock
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.emulator.wire.omadm import syncml

WIPE: Final = "./Vendor/MSFT/RemoteWipe/doWipe"
UNENROLL: Final = "./Vendor/MSFT/DMClient/Unenroll"
_LONGEST_SESSION: Final = 200


class OmaDmDevice(ManagedDevice):
    """A device that is managed by OMA-DM. With a folder, node tree and store survive the process.

    `user_active`: whether the user it belongs to is signed in, which LoginStatus tells.
    """

    user_agent = "MSFT OMA DM Client/1.2.0.1"
    parameters: Mapping[str, str] = {}

    def __init__(self, enrolled: Enrolled, ca_pem: bytes, clock: Clock, folder: Path | None = None) -> None:
        super().__init__(enrolled, ca_pem, folder)
        self._clock = clock
        self._open(folder)
        self.user_token: str | None = None
        self.user_active = True
        self._leaving: str | None = None
        self._sessions = 0

    def _open(self, folder: Path | None) -> None:
        """Take the node tree and store of one user, kept in a folder."""
        self.store = CertStore(None if folder is None else folder / "store")
        self._tree_file = None if folder is None else folder / "nodes.json"
        self.csp = self._pfx_cert_install()
        self._tree = ManagementTree(
            self.csp, self._facts(), {WIPE: self._wipe, UNENROLL: self._unenroll, **self.actions()}
        )

    def _saved_tree(self) -> Tree:
        if self._tree_file is None or not os.path.lexists(self._tree_file):
            return {}
        remedy = f"delete {self._tree_file} and let the device check in"
        with reading(self._tree_file, "the device's node tree", remedy, DeviceDamaged):
            saved = json.loads(self._tree_file.read_text("utf-8"))
            return {uri: {str(node): str(value) for node, value in nodes.items()} for uri, nodes in saved.items()}

    def _pfx_cert_install(self) -> PfxCertInstall:
        return PfxCertInstall(self.identity, self.store, self._saved_tree())

    def actions(self) -> Mapping[str, Action]:
        """Return further executable nodes, by URI."""
        return {}

    def _facts(self) -> dict[str, str]:
        hardware = self.hardware
        return {
            "./DevInfo/DevId": self.identity.device_id,
            "./DevInfo/Man": hardware.manufacturer,
            "./DevInfo/Mod": hardware.model,
            "./DevInfo/DmV": "1.3",
            "./DevInfo/Lang": "en-US",
            "./DevDetail/SwV": hardware.os_version,
            "./DevDetail/Ext/Microsoft/DeviceName": hardware.device_name,
            "./Vendor/MSFT/DMClient/Provider/MS%20DM%20Server/EntDMID": self.identity.device_id,
            "./Vendor/MSFT/DMClient/HWDevID": hardware.udid.replace("-", ""),
        }

    def run(self, os_version: str | None) -> None:
        """Run another version of the system, which its tree tells; None for its own again."""
        super().run(os_version)
        self._tree.update(self._facts())

    async def check_in(self, *, pushed: bool = False) -> int:
        """Hold one management session; return how many messages the device sent. `pushed`: the server asked for it.

        Raises:
            SessionFailed: no answer, an empty one, or one that is not SyncML.

        """
        async with self._busy:
            if not self.managed:
                return 0
            await self._renew_when_due()
            self.csp.trouble = self.trouble
            self._sessions += 1
            outgoing: syncml.Message | None = self._first_message(pushed=pushed)
            sent = 0
            async with self._session() as http:
                while outgoing is not None and sent < _LONGEST_SESSION:
                    answer = await self._post(http, outgoing)
                    sent += 1
                    outgoing = await self._answer(outgoing, answer)
                    self._save()
            self._leave_on_command()
            return sent

    async def _renew_when_due(self) -> None:
        """Get the next identity when the present one ends soon; one that is refused is tried again next time."""
        days = self.enrolled.management.renew_period_days
        if not is_due_for_renewal(self.identity.certificate, days, self._clock.now()):
            return
        try:
            renewed = await mde2.renew(self.enrolled, self._ca_pem, self.new_key)
        except EnrollmentRefused as error:
            raise SessionFailed(f"the identity could not be renewed: {error}") from None
        self._renewed(renewed)
        self.csp.identity = renewed

    def _save(self) -> None:
        # After each message and before it is answered: what was installed must be known after a crash.
        if self._tree_file is not None:
            write_private(self._tree_file, json.dumps(self.csp.tree).encode())

    async def _post(self, http: aiohttp.ClientSession, message: syncml.Message) -> syncml.Message:
        headers = {"Content-Type": syncml.CONTENT_TYPE, "User-Agent": self.user_agent}
        url = self.enrolled.management.server_url
        try:
            async with http.post(
                url, data=syncml.serialize(message), headers=headers, params=self.parameters
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
        server, me = self.enrolled.management.server_url, self.identity.device_id
        return syncml.Message(session_id, str(number), server, me, tuple(commands))

    def _first_message(self, *, pushed: bool) -> syncml.Message:
        login = "others" if self.user_token is not None else "user" if self.user_active else "none"
        names = ("DevId", "Man", "Mod", "DmV", "Lang")
        facts = self._facts()
        items = tuple(syncml.Item(source=f"./DevInfo/{name}", data=facts[f"./DevInfo/{name}"]) for name in names)
        begun = syncml.ALERT_SERVER_INITIATED if pushed else syncml.ALERT_CLIENT_INITIATED
        commands: list[syncml.Command] = [
            syncml.Alert("2", begun),
            syncml.Alert("3", syncml.ALERT_CLIENT_EVENT, (syncml.Item(data=login, type=syncml.LOGIN_STATUS),)),
            syncml.Verb("Replace", "4", items),
        ]
        if self.user_token is not None:
            token = syncml.Item(data=self.user_token, type=syncml.USER_TOKEN)
            commands.append(syncml.Alert("6", syncml.ALERT_CLIENT_EVENT, (token,)))
        if self._leaving == syncml.UNENROLLED_BY_USER:
            item = syncml.Item(data="1", type=syncml.UNENROLLED_BY_USER)
            commands.append(syncml.Alert("5", syncml.ALERT_GENERIC, (item,)))
        return self._message(1, commands)

    async def _answer(self, sent: syncml.Message, received: syncml.Message) -> syncml.Message | None:
        """Return the next message, or None when the server has nothing more to do or ends the session."""
        commands: list[syncml.Command] = [syncml.Status("2", received.msg_id, "0", "SyncHdr", "200")]
        for command in received.commands:
            if isinstance(command, syncml.Atomic):
                whole, parts = await self._tree.atomic(command, user_active=self.user_active)
                self._status(commands, received, command.cmd_id, "Atomic", whole)
                for verb, outcome in zip(command.commands, parts, strict=True):
                    self._status(commands, received, verb.cmd_id, verb.name, outcome)
            elif isinstance(command, syncml.Alert):
                if command.code == syncml.ALERT_SESSION_ABORT:
                    return None
                self._status(commands, received, command.cmd_id, "Alert", OK)
            elif isinstance(command, syncml.Verb):
                outcome = self._tree.single(command, user_active=self.user_active)
                self._status(commands, received, command.cmd_id, command.name, outcome)
                if command.name == "Get" and outcome.data is not None:
                    self._results(commands, received, command, outcome)
        if len(commands) == 1:
            return None
        return self._message(int(sent.msg_id) + 1, commands)

    @staticmethod
    def _status(out: list[syncml.Command], to: syncml.Message, cmd_ref: str, cmd: str, outcome: CommandResult) -> None:
        cmd_id = str(len(out) + 2)
        out.append(syncml.Status(cmd_id, to.msg_id, cmd_ref, cmd, outcome.code, outcome.original_error))

    @staticmethod
    def _results(out: list[syncml.Command], to: syncml.Message, verb: syncml.Verb, outcome: CommandResult) -> None:
        item = syncml.Item(source=verb.items[0].target, data=outcome.data, format=outcome.format)
        out.append(syncml.Results(str(len(out) + 2), to.msg_id, verb.cmd_id, (item,)))

    def _wipe(self, _: syncml.Verb) -> CommandResult:
        self._leaving = WIPE
        return OK

    def _unenroll(self, verb: syncml.Verb) -> CommandResult:
        if verb.items[0].data not in (None, "", "MS DM Server"):
            return BAD_REQUEST
        self._leaving = UNENROLL
        return OK

    async def unenroll(self) -> None:
        """Unenrol at the user's request: notify the server, then remove what it installed."""
        self._leaving = syncml.UNENROLLED_BY_USER
        await self.check_in()

    def _leave_on_command(self) -> None:
        if self._leaving is None:
            return
        self._forget()
        self._left()
        self._leaving = None

    def _forget(self) -> None:
        """Lose everything that management has brought."""
        for base in list(self.csp.tree):
            self.store.remove(base)
        self.csp.tree.clear()
        self._save()
