"""A simulated iPhone, iPad or Mac: MDM check-in and command loop.

Sources: sources.md#apple-check-in, sources.md#apple-command-loop, sources.md#apple-commands. What the server queued is
carried out by the command's RequestType; the answers come from the device's state.
"""

import base64
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import aiohttp
from asn1crypto import core
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pfxlab.device_sim.apple import enrollment
from pfxlab.device_sim.apple.pkcs12 import policy_of
from pfxlab.device_sim.apple.profile import InstalledProfile, InstallRefused, install, open_profile, remove
from pfxlab.device_sim.certstore import CertStore, write_private
from pfxlab.device_sim.device import ManagedDevice
from pfxlab.device_sim.errors import DeviceDamaged, EnrollmentRefused, SessionFailed
from pfxlab.device_sim.identity import Enrolled, MdmIdentity
from pfxlab.device_sim.trouble import Trouble
from pfxlab.emulator.wire.apple import mdm
from pfxlab.emulator.wire.apple.enrollment import (
    CHANGE_PROFILES,
    IDENTIFIER,
    INSPECT_PROFILES,
    EnrollmentProfile,
    is_enrollment,
    read,
)
from pfxlab.emulator.wire.apple.plist import PlistError
from pfxlab.emulator.wire.files.damaged import reading
from pfxlab.emulator.wire.scep import SENDER_NONCE
from pfxlab.emulator.wire.signed_data import sign

_LONGEST_SESSION: Final = 500
_WHEN_UNLOCKED: Final = frozenset({"InstallProfile", "RemoveProfile", "CertificateList", "SecurityInfo"})
"""What a device that was not unlocked since its start puts off: sources.md#apple-not-now."""

_RIGHT_FOR: Final = {
    "InstallProfile": CHANGE_PROFILES,
    "RemoveProfile": CHANGE_PROFILES,
    "ProfileList": INSPECT_PROFILES,
}


_TROUBLES: Final = {
    Trouble.STORAGE_FULL: (mdm.COCOA_ERRORS, mdm.OUT_OF_SPACE, "There is not enough space on the device."),
    Trouble.REFUSES: (
        mdm.MDM_ERRORS,
        mdm.NOT_AUTHORIZED,
        "The device allows no certificates.",
    ),
}
"""Trouble → the error below “could not be installed”."""


class AppleDevice(ManagedDevice):
    """One iPhone or Mac, by its hardware's platform. With a folder, profiles and store survive the process.

    `locked`: not unlocked since its start, or a Mac whose keychain is locked; it answers NotNow to what needs keys.
    """

    def __init__(self, enrolled: Enrolled, ca_pem: bytes, folder: Path | None = None) -> None:
        super().__init__(enrolled, ca_pem, folder)
        self._pkcs12 = policy_of(enrolled.hardware.platform, enrolled.hardware.os_version)
        self.store = CertStore(None if folder is None else folder / "store")
        self._profiles_file = None if folder is None else folder / "profiles.json"
        self.profiles = self._saved_profiles()
        self.locked = False
        self.put_off = False
        """The last word to the server was NotNow: the device comes again by itself once it is unlocked."""

        self._unsent: mdm.Plist | None = None
        self._erased = False

    @property
    def mail_accounts(self) -> list[dict[str, object]]:
        """Return the mail accounts that profiles set up: address, and the store entries to sign and encrypt with."""
        return [account for record in self.profiles.values() for account in record.accounts]

    def _saved_profiles(self) -> dict[str, InstalledProfile]:
        if self._profiles_file is None or not os.path.lexists(self._profiles_file):
            return {}
        remedy = f"delete {self._profiles_file} and let the device check in"
        with reading(self._profiles_file, "the installed profiles", remedy, DeviceDamaged):
            saved = json.loads(self._profiles_file.read_text("utf-8"))
            return {identifier: InstalledProfile(**record) for identifier, record in saved.items()}

    def run(self, os_version: str | None) -> None:
        """Run another version of the system, which opens what that version opens; None for its own again."""
        super().run(os_version)
        self._pkcs12 = policy_of(self.hardware.platform, self.hardware.os_version)

    async def announce(self) -> None:
        """Send Authenticate and TokenUpdate, as after enrolment.

        Raises:
            SessionFailed: the server refuses.

        """
        hardware = self.hardware
        facts = {
            "UDID": hardware.udid,
            "Topic": self.enrolled.management.topic,
            "DeviceName": hardware.device_name,
            "Model": hardware.model,
            "ModelName": hardware.model,
            "ProductName": "Mac15,12" if hardware.platform == "macos" else "iPhone15,4",
            "OSVersion": hardware.os_version,
            "SerialNumber": hardware.serial_number,
        }
        token = {"Token": b"pfxlab", "PushMagic": hardware.udid, "AwaitingConfiguration": False}
        async with self._session() as http:
            for message in ({"MessageType": "Authenticate", **facts}, {"MessageType": "TokenUpdate", **facts, **token}):
                await self._check_in_message(http, message)

    async def _check_in_message(self, http: aiohttp.ClientSession, message: mdm.Plist) -> None:
        await self._put(http, self.enrolled.management.checkin_url, mdm.CHECKIN_CONTENT_TYPE, message)

    async def _put(self, http: aiohttp.ClientSession, url: str, content_type: str, message: mdm.Plist) -> bytes:
        data = mdm.serialize(message)
        headers = {"Content-Type": content_type}

        async def signed(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            # For each attempt: the server takes a signature once, and aiohttp sends a lost request again.
            request.headers["Mdm-Signature"] = self._signature(data)
            return await send(request)

        signing = (signed,) if self.enrolled.management.sign_message else ()
        try:
            async with http.put(url, data=data, headers=headers, middlewares=signing) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise SessionFailed(f"no answer from the MDM server ({error})") from None
        if response.status == 401:
            # The server does not know the device: it drops its enrolment (sources.md#apple-command-loop).
            self._forget()
            raise SessionFailed("the MDM server no longer manages this device (HTTP 401): its profiles are removed")
        if response.status != 200:
            raise SessionFailed(f"expected HTTP 200 from the MDM server, got {response.status}")
        return body

    def _forget(self) -> None:
        for identifier in list(self.profiles):
            remove(identifier, self.store, self.profiles)
        self._save()
        self._left()

    def _signature(self, data: bytes) -> str:
        # A nonce: RSA signs the same message in the same way each time.
        nonce = {SENDER_NONCE: core.OctetString(secrets.token_bytes(16))}
        return base64.b64encode(sign(data, self.identity.certificate, self.identity.key, nonce, detached=True)).decode()

    async def check_in(self) -> int:
        """Do what the server has queued; return how many messages the device sent.

        A result that could not be delivered is sent again first, until the server has taken it.

        Raises:
            SessionFailed: no answer, or one that is not a command.

        """
        async with self._busy:
            if not self.managed:
                return 0
            idle: mdm.Plist = {"Status": "Idle", "UDID": self.hardware.udid}
            report, sent = self._unsent or idle, 0
            async with self._session() as http:
                while sent < _LONGEST_SESSION:
                    self._unsent = None if report is idle else report
                    url = self.enrolled.management.server_url
                    body = await self._put(http, url, mdm.COMMAND_CONTENT_TYPE, report)
                    self._unsent, sent = None, sent + 1
                    self.put_off = report["Status"] == "NotNow"
                    if self._erased:
                        self._forget()
                        break
                    if not body:
                        break
                    report = await self.execute(body)
                    self._save()
                    if not self.managed:
                        break
            return sent

    async def unlock(self) -> None:
        """Let the user unlock the device; it asks for what it had put off, if NotNow was its last word.

        Raises:
            SessionFailed: as check_in.

        """
        self.locked = False
        if self.put_off:
            await self.check_in()

    def _save(self) -> None:
        # After each command and before it is reported: what was installed must be known after a crash.
        if self._profiles_file is not None:
            saved = {identifier: asdict(record) for identifier, record in self.profiles.items()}
            write_private(self._profiles_file, json.dumps(saved).encode())

    async def execute(self, body: bytes) -> mdm.Plist:
        """Carry out one command and return the report of it.

        Raises:
            SessionFailed: the bytes are no command.

        """
        try:
            message = mdm.parse_dict(body)
            uuid, command = str(message["CommandUUID"]), message["Command"]
            request_type = str(command["RequestType"])
        except (PlistError, KeyError, TypeError) as error:
            raise SessionFailed(f"expected a command, got something else ({error})") from None
        report: mdm.Plist = {"UDID": self.hardware.udid, "CommandUUID": uuid, "Status": "Acknowledged"}
        if self.locked and request_type in _WHEN_UNLOCKED:
            return {**report, "Status": "NotNow"}
        try:
            return {**report, **await self._action(request_type)(command)}
        except InstallRefused as refused:
            return {**report, "Status": "Error", "ErrorChain": refused.chain}

    def _action(self, request_type: str) -> Callable[[mdm.Plist], Awaitable[mdm.Plist]]:
        actions: dict[str, Callable[[mdm.Plist], Awaitable[mdm.Plist]]] = {
            "InstallProfile": self._install_profile,
            "RemoveProfile": self._remove_profile,
            "CertificateList": self._certificate_list,
            "ProfileList": self._profile_list,
            "DeviceInformation": self._device_information,
            "EraseDevice": self._erase_device,
        }
        if request_type not in actions:
            text = f"The request type “{request_type}” is invalid."
            raise InstallRefused((mdm.MDM_ERRORS, mdm.INVALID_REQUEST_TYPE, text))
        right = _RIGHT_FOR.get(request_type, 0)
        if self.enrolled.management.access_rights & right != right:
            text = f"The management profile does not allow “{request_type}”."
            raise InstallRefused((mdm.MDM_ERRORS, mdm.NOT_AUTHORIZED, text))
        return actions[request_type]

    async def _install_profile(self, command: mdm.Plist) -> mdm.Plist:
        payload = command.get("Payload")
        data = payload if isinstance(payload, bytes) else b""
        opened = open_profile(data)
        if is_enrollment(opened.profile):
            await self._renew(opened.profile)
        elif opened.profile.get("PayloadIdentifier") == IDENTIFIER:
            raise self._bad_replacement("it would take the management payload away")
        else:
            self._check_trouble(str(opened.profile.get("PayloadDisplayName", "profile")))
            await install(data, self.identity, self.store, self.profiles, self._pkcs12)
        return {}

    def _check_trouble(self, name: str) -> None:
        if self.trouble is None:
            return
        top = (mdm.INSTALLATION_ERRORS, mdm.INSTALLATION_FAILURE, f"The profile “{name}” could not be installed.")
        raise InstallRefused(top, _TROUBLES[self.trouble])

    @staticmethod
    def _bad_replacement(why: str) -> InstallRefused:
        text = f"The management profile cannot be replaced by this one: {why}."
        return InstallRefused((mdm.MDM_ERRORS, mdm.INVALID_REPLACEMENT, text))

    async def _renew(self, profile: mdm.Plist) -> None:
        """Replace the management profile, and with it the identity; server, topic and rights must stay."""
        try:
            wanted = read(profile)
        except PlistError as error:
            raise self._bad_replacement(str(error)) from None
        present = self.enrolled.management
        if (wanted.server_url, wanted.topic) != (present.server_url, present.topic):
            raise self._bad_replacement("it names another server or topic")
        if wanted.access_rights & ~present.access_rights:
            raise self._bad_replacement("it adds access rights")
        self._renewed(await self._new_identity(wanted))

    async def _new_identity(self, profile: EnrollmentProfile) -> MdmIdentity:
        try:
            async with self._session() as http:
                return await enrollment.identity_by_scep(http, profile, self.new_key)
        except EnrollmentRefused as error:
            text = f"The identity could not be obtained: {error}"
            raise InstallRefused((mdm.MDM_ERRORS, mdm.MISSING_IDENTITY, text)) from None

    async def _remove_profile(self, command: mdm.Plist) -> mdm.Plist:
        identifier = str(command.get("Identifier"))
        if identifier == IDENTIFIER:
            await self._leave()
        elif not remove(identifier, self.store, self.profiles):
            text = f"The profile “{identifier}” is not installed."
            raise InstallRefused((mdm.MDM_ERRORS, mdm.PROFILE_NOT_FOUND, text))
        return {}

    async def _leave(self) -> None:
        """Remove the management profile: everything it brought goes, then the device checks out as best it can."""
        self._forget()
        async with self._session() as http:
            message = {"MessageType": "CheckOut", "UDID": self.hardware.udid, "Topic": self.enrolled.management.topic}
            try:
                await self._check_in_message(http, message)
            except SessionFailed:
                return  # best effort: sources.md#apple-check-in

    async def unenroll(self) -> None:
        """Leave management by the user's own wish."""
        async with self._busy:
            await self._leave()

    async def _erase_device(self, _: mdm.Plist) -> mdm.Plist:
        for identifier in list(self.profiles):
            remove(identifier, self.store, self.profiles)
        self._erased = True
        return {}

    async def _certificate_list(self, _: mdm.Plist) -> mdm.Plist:
        entries = []
        for identity in self.store.identities():
            names = identity.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            entries.append(
                {
                    "CommonName": str(names[0].value) if names else "",
                    "IsIdentity": True,
                    "Data": identity.certificate.public_bytes(Encoding.DER),
                }
            )
        return {"CertificateList": entries}

    async def _profile_list(self, _: mdm.Plist) -> mdm.Plist:
        entries = [
            {
                "PayloadIdentifier": identifier,
                "PayloadUUID": record.uuid,
                "PayloadVersion": 1,
                "PayloadDisplayName": record.display_name,
                "IsEncrypted": record.encrypted,
                "IsManaged": True,
                "SignerCertificates": [base64.b64decode(text) for text in record.signers],
            }
            for identifier, record in self.profiles.items()
        ]
        return {"ProfileList": entries}

    async def _device_information(self, command: mdm.Plist) -> mdm.Plist:
        hardware = self.hardware
        known = {
            "UDID": hardware.udid,
            "DeviceName": hardware.device_name,
            "OSVersion": hardware.os_version,
            "SerialNumber": hardware.serial_number,
            "ModelName": hardware.model,
        }
        asked = command.get("Queries")
        wanted = asked if isinstance(asked, list) else list(known)
        return {"QueryResponses": {name: known[name] for name in wanted if name in known}}
