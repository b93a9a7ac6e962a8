"""A certificate that the lab made for somebody, and its form in a snapshot's file."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pfxlab.connector_sim.pfx import Pfx
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.mail.authority import MailCertificate


@dataclass(frozen=True)
class IssuedCertificate:
    """An issued certificate with its PFX, and the user it belongs to."""

    issued: MailCertificate = field(repr=False)
    pfx: Pfx = field(repr=False)
    upn: str

    @property
    def thumbprint(self) -> str:
        """Return its SHA-1, lower case."""
        return self.pfx.thumbprint

    def saved(self) -> dict[str, Any]:
        """Return it as JSON values, PFX and password included, for a snapshot's file."""
        return {
            "upn": self.upn,
            "label": self.issued.label,
            "purpose": self.issued.purpose.name,
            "padding": self.issued.padding.name,
            "pfx": base64.b64encode(self.issued.pfx).decode("ascii"),
            "password": self.issued.password,
            "chain": self.pfx.chain_length,
            "certificate": base64.b64encode(self.issued.certificate.public_bytes(Encoding.DER)).decode("ascii"),
        }

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "IssuedCertificate":
        """Return the certificate from the values of `saved`."""
        data, certificate = base64.b64decode(saved["pfx"]), base64.b64decode(saved["certificate"])
        issued = MailCertificate(
            saved["label"],
            IntendedPurpose[saved["purpose"]],
            PaddingScheme[saved["padding"]],
            data,
            saved["password"],
            x509.load_der_x509_certificate(certificate),
        )
        return cls(issued, Pfx(data, issued.certificate, saved["chain"]), saved["upn"])
