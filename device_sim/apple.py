"""A simulated iPhone, iPad or Mac: MDM check-in and command loop. Sources: reference devices B1 to B4."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import aiohttp
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from device_sim.apple_pkcs12 import policy_of
from device_sim.certstore import CertStore, write_private
from device_sim.errors import SessionFailed
from device_sim.identity import Hardware, MdmIdentity
from device_sim.profile import InstalledProfile, InstallRefused, install, remove
from emulator.wire import apple
from emulator.wire.enrollment import APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH

_TOPIC: Final = "com.apple.mgmt.External.pfxlab"
_LONGEST_SESSION: Final = 500


class AppleDevice:
    """One iPhone or Mac, by its hardware's platform. With a folder, profiles and store survive the process."""

    def __init__(
        self, identity: MdmIdentity, hardware: Hardware, service_url: str, ca_pem: bytes, folder: Path | None = None
    ) -> None:
        self.identity, self.hardware = identity, hardware
        self._pkcs12 = policy_of(hardware.platform, hardware.os_version)
        self.store = CertStore(None if folder is None else folder / "store")
        self._profiles_file = None if folder is None else folder / "profiles.json"
        self.profiles = self._saved_profiles()
        self._service_url, self._tls = service_url, identity.tls(ca_pem)
        self._busy = asyncio.Lock()

    def _saved_profiles(self) -> dict[str, InstalledProfile]:
        if self._profiles_file is None or not self._profiles_file.exists():
            return {}
        saved = json.loads(self._profiles_file.read_text())
        return {identifier: InstalledProfile(**record) for identifier, record in saved.items()}

    async def announce(self) -> None:
        """Send Authenticate and TokenUpdate, as after enrolment.

        Raises:
            SessionFailed: the server refuses.

        """
        facts = {
            "UDID": self.hardware.udid,
            "Topic": _TOPIC,
            "DeviceName": self.hardware.device_name,
            "Model": self.hardware.model,
            "OSVersion": self.hardware.os_version,
            "SerialNumber": self.hardware.serial_number,
        }
        token = {"Token": b"pfxlab", "PushMagic": self.hardware.udid, "AwaitingConfiguration": False}
        async with aiohttp.ClientSession(self._service_url) as http:
            for message in ({"MessageType": "Authenticate", **facts}, {"MessageType": "TokenUpdate", **facts, **token}):
                await self._put(http, APPLE_CHECKIN_PATH, apple.CHECKIN_CONTENT_TYPE, message)

    async def _put(self, http: aiohttp.ClientSession, path: str, content_type: str, message: apple.Plist) -> bytes:
        try:
            async with http.put(
                path, data=apple.serialize(message), headers={"Content-Type": content_type}, ssl=self._tls
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise SessionFailed(f"no answer from the MDM server ({error})") from None
        if response.status != 200:
            raise SessionFailed(f"expected HTTP 200 from the MDM server, got {response.status}")
        return body

    async def check_in(self) -> int:
        """Do what the server has queued; return how many messages the device sent.

        Raises:
            SessionFailed: no answer, or one that is not a command.

        """
        async with self._busy:
            report: apple.Plist = {"Status": "Idle", "UDID": self.hardware.udid}
            sent = 0
            async with aiohttp.ClientSession(self._service_url) as http:
                while sent < _LONGEST_SESSION:
                    body = await self._put(http, APPLE_COMMAND_PATH, apple.COMMAND_CONTENT_TYPE, report)
                    sent += 1
                    if not body:
                        break
                    report = self._execute(body)
                    self._save()
            return sent

    def _save(self) -> None:
        # After each command and before it is reported: what was installed must be known after a crash.
        if self._profiles_file is not None:
            saved = {identifier: asdict(record) for identifier, record in self.profiles.items()}
            write_private(self._profiles_file, json.dumps(saved).encode())

    def _execute(self, body: bytes) -> apple.Plist:
        """Carry out one command and return the report of it."""
        try:
            message = apple.parse_dict(body)
            uuid, command = str(message["CommandUUID"]), message["Command"]
            request_type = command["RequestType"]
        except (apple.PlistError, KeyError, TypeError) as error:
            raise SessionFailed(f"expected a command, got something else ({error})") from None
        report: apple.Plist = {"UDID": self.hardware.udid, "CommandUUID": uuid, "Status": "Acknowledged"}
        actions: dict[str, Callable[[apple.Plist], apple.Plist]] = {
            "InstallProfile": self._install_profile,
            "RemoveProfile": self._remove_profile,
            "CertificateList": self._certificate_list,
            "ProfileList": self._profile_list,
        }
        action = actions.get(request_type)
        if action is None:
            text = f"The request type “{request_type}” is invalid."
            chain = apple.error_chain((apple.MDM_ERRORS, apple.INVALID_REQUEST_TYPE, text))
            return {**report, "Status": "Error", "ErrorChain": chain}
        try:
            return {**report, **action(command)}
        except InstallRefused as refused:
            return {**report, "Status": "Error", "ErrorChain": refused.chain}

    def _install_profile(self, command: apple.Plist) -> apple.Plist:
        payload = command.get("Payload")
        install(payload if isinstance(payload, bytes) else b"", self.identity, self.store, self.profiles, self._pkcs12)
        return {}

    def _remove_profile(self, command: apple.Plist) -> apple.Plist:
        identifier = str(command.get("Identifier"))
        if not remove(identifier, self.store, self.profiles):
            text = f"The profile “{identifier}” is not installed."
            raise InstallRefused((apple.MDM_ERRORS, apple.PROFILE_NOT_FOUND, text))
        return {}

    def _certificate_list(self, _: apple.Plist) -> apple.Plist:
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

    def _profile_list(self, _: apple.Plist) -> apple.Plist:
        entries = [
            {
                "PayloadIdentifier": identifier,
                "PayloadUUID": record.uuid,
                "PayloadVersion": 1,
                "PayloadDisplayName": record.display_name,
                "IsEncrypted": True,
                "IsManaged": True,
            }
            for identifier, record in self.profiles.items()
        ]
        return {"ProfileList": entries}
