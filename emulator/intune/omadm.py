"""Windows: the server's side of an OMA-DM session that brings imported certificates in line.

First message: one Get of Status and Thumbprint for each certificate. Then, by what the device answers: ask the
connector, send Delete and one Atomic of Adds, verify by reading back. The agent of an Android device is served the same
way. Sources: sources.md#syncml-messages, sources.md#syncml-sessions, sources.md#intune-on-the-wire,
sources.md#pfx-scope-on-windows, sources.md#android-agent.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.edge import CLOUD, origin_of
from pfxlab.emulator.entra.bearer import TokenRefused, caller_of
from pfxlab.emulator.intune import deliveries, portal_errors
from pfxlab.emulator.intune.enrollment import MessageTooLarge, device_of, message_of, refused
from pfxlab.emulator.store.deliveries import Delivery
from pfxlab.emulator.store.delivery_states import State, Trigger
from pfxlab.emulator.store.devices import Device
from pfxlab.emulator.wire.edm import format_binary
from pfxlab.emulator.wire.enrollment import ANDROID_PATH, OMADM_PATH
from pfxlab.emulator.wire.enums import KeyStorageProviderOption
from pfxlab.emulator.wire.numbers import whole_number
from pfxlab.emulator.wire.omadm import pfx_cert_install as csp
from pfxlab.emulator.wire.omadm import syncml

_SESSIONS_KEPT: Final = 20_000
_LARGEST_ANSWER: Final = 256 * 1024
"""Bytes of installations in one message; what does not fit comes with the session's next one."""

WIPE_NODE: Final = "./Device/Vendor/MSFT/RemoteWipe/doWipe"
UNENROLL_NODE: Final = "./Device/Vendor/MSFT/DMClient/Unenroll"
_ALLOWED: Final = ("200", "202")


@dataclass(frozen=True)
class _Pending:
    """What a command of ours was for: `what` is Status, Thumbprint, Atomic, Add:<node>, Delete, Remove or Leave."""

    what: str
    delivery_id: str


@dataclass
class _Observed:
    """What a device reported about one certificate."""

    code: str | None = None
    status: str | None = None
    thumbprint: str | None = None

    def installed(self, expected: str) -> bool:
        return self.status == "0" and (self.thumbprint or "").lower() == expected.lower()

    def error(self) -> int | None:
        """Return a non-zero Status, or None."""
        return whole_number(self.status or "") or None


@dataclass
class Session:
    """One management session, with the commands that wait for a status."""

    device: Device
    session_id: str
    user_id: str = ""
    message_number: int = 0
    installed: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    last: tuple[str, bytes, bytes] = ("", b"", b"")
    pending: dict[str, _Pending] = field(default_factory=dict)


class Sessions:
    """The running sessions, by device and session id; the oldest are forgotten."""

    def __init__(self) -> None:
        self._running: dict[str, Session] = {}

    def clear(self) -> None:
        """Forget every session: the store is another."""
        self._running.clear()

    def of(self, device: Device, message: syncml.Message, digest: bytes) -> Session:
        """Return the session a message with that SHA-256 belongs to; a device has one, message 1 begins a new one."""
        session = self._running.get(device.id)
        if message.msg_id == "1" and (session is None or session.last[1] != digest):
            # The same first message may come twice; another one begins anew.
            session = Session(device, message.session_id)
            self._running.pop(device.id, None)
            self._running[device.id] = session
            while len(self._running) > _SESSIONS_KEPT:
                del self._running[next(iter(self._running))]
        if session is None or session.session_id != message.session_id:
            # A stray message does not disturb the session that runs.
            return Session(device, message.session_id)
        return session


SESSIONS = web.AppKey("omadm_sessions", Sessions)


class _Reply:
    """Collects the commands of one message and remembers what each is for."""

    def __init__(self, session: Session, message: syncml.Message) -> None:
        self._session, self._message = session, message
        self._next = 1
        self.size = 0
        self.commands: list[syncml.Command] = []
        session.pending = {}

    def new_id(self, pending: _Pending | None = None) -> str:
        cmd_id, self._next = str(self._next), self._next + 1
        if pending is not None:
            self._session.pending[cmd_id] = pending
        return cmd_id

    def status(self, cmd_ref: str, cmd: str, code: str = "200") -> None:
        self.commands.append(syncml.Status(self.new_id(), self._message.msg_id, cmd_ref, cmd, code))

    def get(self, delivery: Delivery) -> None:
        for node in ("Status", "Thumbprint"):
            item = syncml.Item(target=f"{_base(delivery)}/{node}")
            self.commands.append(syncml.Verb("Get", self.new_id(_Pending(node, delivery.id)), (item,)))

    def delete(self, delivery: Delivery, what: str) -> None:
        item = syncml.Item(target=_base(delivery))
        self.commands.append(syncml.Verb("Delete", self.new_id(_Pending(what, delivery.id)), (item,)))

    def execute(self, node: str) -> None:
        item = syncml.Item(target=node, data="MS DM Server" if node == UNENROLL_NODE else None)
        self.commands.append(syncml.Verb("Exec", self.new_id(_Pending("Leave", "")), (item,)))

    def install(self, delivery: Delivery, nodes: dict[str, str]) -> None:
        self.size += sum(map(len, nodes.values()))
        self.delete(delivery, "Delete")
        atomic_id = self.new_id(_Pending("Atomic", delivery.id))
        adds = tuple(
            syncml.Verb(
                "Add",
                self.new_id(_Pending(f"Add:{node}", delivery.id)),
                (syncml.Item(target=f"{_base(delivery)}/{node}", data=value, format=csp.FORMATS[node]),),
            )
            for node, value in nodes.items()
        )
        self.commands.append(syncml.Atomic(atomic_id, adds))


def _base(delivery: Delivery) -> str:
    return f"{csp.USER_ROOT}/{delivery.id.upper()}"


def _key_location(cloud: Cloud, delivery: Delivery) -> int:
    profile = cloud.profiles.get(delivery.tenant_id, delivery.profile_id)
    name = None if profile is None else profile.properties.get("keyStorageProvider")
    option = KeyStorageProviderOption[name] if name else KeyStorageProviderOption.useSoftwareKsp
    return csp.KEY_LOCATION_OF_PROVIDER[option]


def _install(cloud: Cloud, reply: _Reply, delivery: Delivery) -> None:
    record = cloud.certificates.get(delivery.tenant_id, delivery.certificate_id)
    if record is None or delivery.payload is None:
        return
    reply.install(
        delivery,
        {
            "KeyLocation": str(_key_location(cloud, delivery)),
            "PFXCertPasswordEncryptionType": str(csp.ENCRYPTED_WITH_MDM_CERTIFICATE),
            "PFXCertPassword": format_binary(delivery.payload),
            "PFXKeyExportable": "false",
            "PFXCertBlob": format_binary(record.encrypted_pfx_blob),
        },
    )
    deliveries.apply(cloud, delivery, Trigger.SENT)


def _observations(session: Session, message: syncml.Message) -> dict[str, _Observed]:
    """Return what a device's message says about each certificate we asked after."""
    seen: dict[str, _Observed] = {}
    for ref, code, data in _answers(message):
        pending = session.pending.get(ref)
        if pending is None or pending.what not in ("Status", "Thumbprint"):
            continue
        observed = seen.setdefault(pending.delivery_id, _Observed())
        if pending.what == "Status":
            observed.code = code or observed.code
            observed.status = data if data is not None else observed.status
        elif data is not None:
            observed.thumbprint = data
    return seen


def _answers(message: syncml.Message) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (command id, status code or None, value or None) for each Status and Results."""
    for command in message.commands:
        if isinstance(command, syncml.Status):
            yield command.cmd_ref, command.code, None
        elif isinstance(command, syncml.Results):
            data = command.items[0].data if command.items else None
            yield command.cmd_ref, None, (data or "").strip()


def _unexpected(session: Session, delivery: Delivery, observed: _Observed) -> str | None:
    """Return what is wrong with a device that took a certificate and now shows another, or none at all."""
    if observed.status == "0" and observed.thumbprint:
        if observed.thumbprint.lower() == delivery.thumbprint.lower():
            return None
        return f"the device holds {observed.thumbprint.lower()}, the record says {delivery.thumbprint}"
    if observed.error() is None and delivery.id in session.installed:
        return "the Atomic was accepted, but the device shows no certificate"
    return None


def _settle(cloud: Cloud, session: Session, reply: _Reply, delivery: Delivery, observed: _Observed) -> None:
    """Take the step that follows from what the device holds."""
    error, party = observed.error(), _party(session.device)
    unexpected = _unexpected(session, delivery, observed)
    if delivery.state is State.OFFERED and observed.installed(delivery.thumbprint):
        deliveries.apply(cloud, delivery, Trigger.CONFIRMED)
    elif delivery.state is State.OFFERED and unexpected is not None:
        code = portal_errors.REMEDIATION_FAILED
        deliveries.apply(cloud, delivery, Trigger.REFUSED, f"{party}: {unexpected}", error_code=code)
    elif delivery.state is State.OFFERED and error == csp.AGENT_ASKS and party == "Android":
        return  # its user has not answered the agent's notification yet
    elif delivery.state is State.OFFERED and error is not None:
        text = csp.STATUS_TEXT.get(error, "an error of PfxImportCertStore")
        number = portal_errors.of_agent(error) if party == "Android" else portal_errors.of_status(error)
        deliveries.apply(cloud, delivery, Trigger.REFUSED, f"{party}: Status {error}, {text}", error_code=number)
    elif delivery.state in (State.OFFERED, State.INSTALLED) and not observed.installed(delivery.thumbprint):
        delivery = deliveries.apply(cloud, delivery, Trigger.MISSING)
    if delivery.state is State.WANTED:
        deliveries.ask(cloud, [delivery], session.device)
    elif delivery.state is State.READY:
        session.waiting.append(delivery.id)


def _party(device: Device) -> str:
    return "Windows" if device.platform == "windows" else "Android"


def _install_waiting(cloud: Cloud, session: Session, reply: _Reply) -> None:
    """Send what is ready, as much as a message holds."""
    while session.waiting and reply.size < _LARGEST_ANSWER:
        delivery = cloud.deliveries.get(session.waiting.pop(0))
        if delivery is not None and delivery.state is State.READY:
            session.installed.add(delivery.id)
            _install(cloud, reply, delivery)


def _atomics(
    cloud: Cloud, session: Session, pending: dict[str, _Pending], message: syncml.Message, reply: _Reply
) -> None:
    """Read the outcome of installations and removals; verify the former by reading back."""
    codes = {ref: code for ref, code, _ in _answers(message) if code is not None}
    for ref, what in pending.items():
        delivery = cloud.deliveries.get(what.delivery_id)
        if delivery is None or ref not in codes:
            continue
        if what.what == "Remove" and delivery.state is State.REMOVING and codes[ref] in ("200", "404"):
            deliveries.apply(cloud, delivery, Trigger.REMOVAL_CONFIRMED)
        elif what.what == "Atomic" and delivery.state is State.OFFERED:
            if codes[ref] == "200":
                reply.get(delivery)
            else:
                children = {a.what[4:]: codes.get(r) for r, a in pending.items() if a.what.startswith("Add:")
                            and a.delivery_id == delivery.id}  # fmt: skip
                blame = ", ".join(f"{node} {code}" for node, code in children.items() if code not in ("216", "215"))
                number = portal_errors.of_syncml(whole_number(codes[ref]) or 0)
                reason = f"{_party(session.device)}: Atomic {codes[ref]} ({blame})"
                deliveries.apply(cloud, delivery, Trigger.REFUSED, reason, error_code=number)


def _active_user(cloud: Cloud, device: Device, alert: syncml.Alert, address: str) -> str:
    """Return the id of the user an alert says is at work, or "": the device's own, or whose token it carries."""
    for item in alert.items:
        if item.type == syncml.LOGIN_STATUS and item.data == "user":
            return device.user_id
        if item.type == syncml.USER_TOKEN:
            try:
                origin = "/".join(address.split("/")[:3])
                caller = caller_of(cloud, f"Bearer {item.data}", origin)
            except TokenRefused as error:
                refused(cloud, "user token refused", error.reason, device=device.id, code=error.code)
                continue
            if caller.tenant_id == device.tenant_id:
                return caller.user_id or ""
    return ""


def _begin(cloud: Cloud, session: Session, reply: _Reply) -> None:
    """First message: reconcile, then ask after every certificate the user's device should know."""
    cloud.devices.seen(session.device.id, cloud.clock.now())
    leaving = cloud.devices.leaving(session.device.id)
    if leaving is not None:
        reply.execute(WIPE_NODE if leaving == "wipe" else UNENROLL_NODE)
        return
    if session.user_id not in ("", session.device.user_id):
        cloud.devices.signed_in(session.device.id, session.user_id)
    known = deliveries.reconcile(cloud, session.device)
    if not session.user_id:
        reason = "LoginStatus is not 'user', and no token of another: user certificates need their user's session"
        refused(cloud, "nothing sent", reason, device=session.device.id)
        return
    for delivery in known:
        if delivery.user_id != session.user_id:
            continue
        if delivery.state is State.REMOVING:
            reply.delete(delivery, "Remove")
        elif delivery.state not in (State.REMOVED, State.SUPERSEDED, State.LEFT, State.FAILED):
            reply.get(delivery)


def _left(session: Session, pending: dict[str, _Pending], message: syncml.Message) -> bool:
    """Return whether the device says that it leaves: on its user's wish, or on command."""
    leave_refs = {ref for ref, what in pending.items() if what.what == "Leave"}
    if any(ref in leave_refs and code in _ALLOWED for ref, code, _ in _answers(message)):
        return True
    alerts = [command for command in message.commands if isinstance(command, syncml.Alert)]
    return any(item.type == syncml.UNENROLLED_BY_USER for alert in alerts for item in alert.items)


def respond(cloud: Cloud, session: Session, message: syncml.Message, address: str) -> syncml.Message:
    """Return the server's answer to a device's message."""
    pending, observed = session.pending, _observations(session, message)
    session.message_number += 1
    reply = _Reply(session, message)
    reply.status("0", "SyncHdr")
    for command in message.commands:
        if isinstance(command, syncml.Alert):
            reply.status(command.cmd_id, "Alert")
            session.user_id = session.user_id or _active_user(cloud, session.device, command, address)
        elif isinstance(command, syncml.Verb):
            reply.status(command.cmd_id, command.name)
    if _left(session, pending, message):
        deliveries.device_gone(cloud, session.device)
    elif session.message_number == 1:
        _begin(cloud, session, reply)
    else:
        known = cloud.deliveries.of_device(session.device.id) if observed else []
        for delivery in known:
            if delivery.id in observed:
                _settle(cloud, session, reply, delivery, observed[delivery.id])
        _atomics(cloud, session, pending, message, reply)
        _install_waiting(cloud, session, reply)
    return _message(session, message, address, tuple(reply.commands))


def _message(
    session: Session, to: syncml.Message, address: str, commands: tuple[syncml.Command, ...]
) -> syncml.Message:
    return syncml.Message(to.session_id, str(session.message_number), to.source, address, commands)


def _problem(session: Session, message: syncml.Message) -> tuple[str, str] | None:
    """Return (status of the header, reason) for a message that is another device's or comes out of turn."""
    if message.source != session.device.id:
        return "401", f"expected Source {session.device.id}, the device of this identity, got {message.source[:100]!r}"
    due = session.message_number + 1
    if message.msg_id != str(due):
        return "400", f"expected MsgID {due} of session {session.session_id[:20]!r}, got {message.msg_id[:20]!r}"
    return None


def _abort(session: Session, message: syncml.Message, address: str, code: str) -> syncml.Message:
    """Refuse a message and end the session; what the session knew stays as it is."""
    status = syncml.Status("1", message.msg_id, "0", "SyncHdr", code)
    return _message(session, message, address, (status, syncml.Alert("2", syncml.ALERT_SESSION_ABORT)))


def answer(cloud: Cloud, sessions: Sessions, device: Device, data: bytes, address: str) -> bytes | None:
    """Return the answer to one SyncML message of a device, None to what does not parse; `address` is our own."""
    try:
        message = syncml.parse(data)
    except syncml.SyncMLError as error:
        refused(cloud, "SyncML refused", str(error), device=device.id)
        return None
    digest = hashlib.sha256(data).digest()
    session = sessions.of(device, message, digest)
    if session.last[0] == message.msg_id and session.last[1] == digest:
        # A message that comes twice lost its first answer on the way: it gets the same one again.
        return session.last[2]
    problem = _problem(session, message)
    if problem is not None:
        refused(cloud, "SyncML refused", problem[1], device=device.id)
        return syncml.serialize(_abort(session, message, address, problem[0]))
    with cloud.store.atomic():
        answered = syncml.serialize(respond(cloud, session, message, address))
    session.last = (message.msg_id, digest, answered)
    return answered


async def handle(request: web.Request) -> web.Response:
    """POST of one SyncML message; a message that does not parse gets an empty body, as from Intune."""
    cloud, device = request.app[CLOUD], device_of(request)
    if device is None:
        return web.Response(status=401)
    address = f"{origin_of(request)}{request.path}"
    try:
        data = await message_of(request)
    except MessageTooLarge:
        return web.Response(status=413)
    body = answer(cloud, request.app[SESSIONS], device, data, address)
    cloud.conversations.note(device.id, cloud.clock.now(), data, body or b"")
    if body is None:
        return web.Response(status=200)
    return web.Response(body=body, content_type=syncml.CONTENT_TYPE)


def add_routes(app: web.Application) -> None:
    """Register the endpoints of Windows and of Android's agent."""
    sessions = Sessions()
    app[SESSIONS] = sessions
    app[CLOUD].on_restore.append(sessions.clear)
    app.router.add_post(OMADM_PATH, handle)
    app.router.add_post(ANDROID_PATH, handle)
