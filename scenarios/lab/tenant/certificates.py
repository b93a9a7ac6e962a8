"""Certificates of a lab by name: issued by the test CA, imported into Graph as an administrator's tool does."""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pfxlab.connector_sim.cmdlets import COLLECTION, new_user_pfx_certificate
from pfxlab.connector_sim.errors import ConnectorError, GraphRefused
from pfxlab.connector_sim.keys import padding
from pfxlab.connector_sim.pfx import Pfx
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.lab.lab import KEY_NAME, Lab
from pfxlab.scenarios.lab.tenant.administrator import Administrator
from pfxlab.scenarios.lab.tenant.connector_keys import ConnectorKeys
from pfxlab.scenarios.lab.tenant.names import named
from pfxlab.scenarios.mail.authority import CertificatePlan, MailAuthority
from pfxlab.scenarios.mail.certificate import IssuedCertificate


@dataclass(frozen=True)
class ImportResult:
    """The record's id, or the rule of the journal that refused the import, its reason and the HTTP status.

    A status of 0: the import failed before a request was sent.
    """

    record_id: str | None
    rule: str = ""
    reason: str = ""
    status: int = 201


class TenantCertificates:
    """Certificates that the test CA issued. `issued`: name → certificate."""

    def __init__(self, lab: Lab, administrator: Administrator, keys: ConnectorKeys) -> None:
        self._lab, self._administrator, self._keys = lab, administrator, keys
        self._authority: MailAuthority | None = None
        self.issued: dict[str, IssuedCertificate] = {}

    def authority(self) -> MailAuthority:
        """Return the test CA, created on first use with the lab's time as its start."""
        if self._authority is None:
            self._authority = MailAuthority(self._lab.clock.now(), self._lab.new_key)
        return self._authority

    def issue(self, name: str, upn: str, plan: CertificatePlan, begins: datetime | None = None) -> IssuedCertificate:
        """Issue a certificate to a user under a name; `begins` takes precedence over the plan's start."""
        starts = self._lab.clock.now() - timedelta(days=plan.starts_days_ago) if begins is None else begins
        issued = self.authority().issue_from(upn, plan, starts)
        self.issued[name] = IssuedCertificate(issued, Pfx(issued.pfx, issued.certificate, int(plan.chain)), upn)
        return self.issued[name]

    def get(self, name: str) -> IssuedCertificate:
        """Return a certificate by its name.

        Raises:
            Unknown: there is none.

        """
        certificate: IssuedCertificate = named(self.issued, name, "certificate")
        return certificate

    def record(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return the record to import a certificate with; `changes` may set upn, purpose, padding, key, raw_password.

        `raw_password`: encrypt the password's UTF-8 bytes without checking them, as careless tools do.

        Raises:
            ValueError: the password is not ASCII, or too long.
            PaddingUnsupported: a padding that connectors do not process.
            Unknown: no such certificate.

        """
        certificate = self.get(name)
        scheme = PaddingScheme[changes.get("padding", certificate.issued.padding.name)]
        purpose = IntendedPurpose[changes.get("purpose", certificate.issued.purpose.name)]
        key, upn = self._keys.public(changes.get("key", KEY_NAME)), changes.get("upn", certificate.upn)
        if not changes.get("raw_password"):
            return new_user_pfx_certificate(certificate.pfx, certificate.issued.password, upn, purpose, key, scheme)
        record = new_user_pfx_certificate(certificate.pfx, "placeholder", upn, purpose, key, scheme)
        encrypted = padding.encrypt(key.key, certificate.issued.password.encode(), scheme)
        return {**record, "encryptedPfxPassword": base64.b64encode(encrypted).decode("ascii")}

    async def import_named(self, name: str, **changes: Any) -> ImportResult:
        """Import a certificate as an administrator's tool does; `changes` as in `record`.

        Raises:
            Unknown: no such certificate.

        """
        self.get(name)
        try:
            record = self.record(name, **changes)
        except ConnectorError as error:
            return ImportResult(None, error.code, str(error), 0)
        except ValueError as error:
            return ImportResult(None, "PasswordUnusable", str(error), 0)
        before = self._lab.cloud.journal.last()
        try:
            entity = await self._administrator.call("POST", COLLECTION, record)
        except GraphRefused as error:
            rule, reason = self._refusal_since(before)
            return ImportResult(None, rule or "NoAnswer", reason or str(error), error.status)
        return ImportResult(str(entity["id"]))

    def _refusal_since(self, before: int) -> tuple[str, str]:
        journal = self._lab.cloud.journal
        found = journal.entries(after=before, outcome="refused", party="graph", method="POST", newest=True, limit=1)
        return ("", "") if not found else (str(found[0].fields.get("rule", "")), found[0].reason or "")

    async def records(self, name: str) -> list[dict[str, Any]]:
        """Return a certificate's records in Graph.

        Raises:
            Unknown: no such certificate.

        """
        certificate, client = self.get(name), await self._administrator.client()
        return await client.get_user_pfx_certificates(certificate.upn, certificate.thumbprint)

    async def delete_records(self, name: str) -> int:
        """Delete a certificate's records in Graph; return how many there were.

        Raises:
            Unknown: no such certificate.

        """
        found = await self.records(name)
        client = await self._administrator.client()
        for record in found:
            await client.remove_user_pfx_certificate(record["id"])
        return len(found)
