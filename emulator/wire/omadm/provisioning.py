"""The provisioning document a PC gets at enrolment (wap-provisioningdoc): identity, server, poll schedule, renewal.

Sources: sources.md#mde2-enrolment (content), sources.md#poll-schedule. Times of the schedule are minutes, of renewal
days.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from defusedxml.ElementTree import fromstring

from pfxlab.emulator.wire.xml import NOT_XML, bounded

PROVIDER_ID: Final = "MS DM Server"

_POLL_NODES: Final = (
    ("IntervalForFirstSetOfRetries", "NumberOfFirstRetries"),
    ("IntervalForSecondSetOfRetries", "NumberOfSecondRetries"),
    ("IntervalForRemainingScheduledRetries", "NumberOfRemainingScheduledRetries"),
)


class ProvisioningError(ValueError):
    """The bytes are not the provisioning document of an enrolment."""


@dataclass(frozen=True)
class Provisioning:
    """What enrolment gives a PC. `poll`: (minutes between check-ins, how many of them; 0 means for ever), in order."""

    device_id: str
    certificate: bytes
    server_url: str
    roots: tuple[bytes, ...]
    poll: tuple[tuple[int, int], ...]
    renew_period_days: int


def _characteristic(parent: Element, *kinds: str) -> Element:
    for kind in kinds:
        parent = SubElement(parent, "characteristic", type=kind)
    return parent


def _parameters(parent: Element, **values: str) -> None:
    for name, value in values.items():
        SubElement(parent, "parm", name=name.replace("_", "-"), value=value)


def _certificate(store: Element, der: bytes) -> None:
    name = hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
    _parameters(_characteristic(store, name), EncodedCertificate=base64.b64encode(der).decode("ascii"))


def document(facts: Provisioning) -> bytes:
    """Return the document as XML."""
    root = Element("wap-provisioningdoc", version="1.1")
    store = _characteristic(root, "CertificateStore")
    trusted = _characteristic(store, "Root", "System")
    for der in facts.roots:
        _certificate(trusted, der)
    mine = _characteristic(store, "My")
    user = _characteristic(mine, "User")
    _certificate(user, facts.certificate)
    _characteristic(user, "PrivateKeyContainer")
    renew = {"ROBOSupport": "true", "RenewPeriod": str(facts.renew_period_days), "RetryInterval": "7"}
    _parameters(_characteristic(mine, "WSTEP", "Renew"), **renew)
    application = _characteristic(root, "APPLICATION")
    criteria = f"Subject=CN%3D{facts.device_id}&Stores=My%5CUser"
    _parameters(
        application, APPID="w7", PROVIDER_ID=PROVIDER_ID, NAME="PFX Lab TEST ONLY", ADDR=facts.server_url,
        CONNRETRYFREQ="6", INITIALBACKOFFTIME="30000", MAXBACKOFFTIME="120000", BACKCOMPATRETRYDISABLED="",
        DEFAULTENCODING="application/vnd.syncml.dm+xml", SSLCLIENTCERTSEARCHCRITERIA=criteria,
    )  # fmt: skip
    provider = _characteristic(root, "DMClient", "Provider", PROVIDER_ID)
    _parameters(provider, EntDMID=facts.device_id)
    poll = _characteristic(provider, "Poll")
    for (interval, number), (minutes, count) in zip(_POLL_NODES, facts.poll, strict=True):
        _parameters(poll, **{interval: str(minutes), number: str(count)})
    return bytes(tostring(root, "utf-8", xml_declaration=True))


def _at(root: Element, *kinds: str) -> Element:
    for kind in kinds:
        found = next((child for child in root if child.get("type") == kind), None)
        if found is None:
            raise ProvisioningError(f"expected the characteristic {'/'.join(kinds)}, got none")
        root = found
    return root


def _value(parent: Element, name: str) -> str:
    found = next((child for child in parent if child.tag == "parm" and child.get("name") == name), None)
    if found is None:
        raise ProvisioningError(f"expected the parameter {name}, got none")
    return found.get("value", "")


def _certificates(store: Element) -> tuple[bytes, ...]:
    encoded = [_value(child, "EncodedCertificate") for child in store if len(child)]
    return tuple(base64.b64decode(text, validate=True) for text in encoded)


def parse(data: bytes) -> Provisioning:
    """Return what a provisioning document says.

    Raises:
        ProvisioningError: not such a document, or something needed is not in it.

    """
    try:
        root = fromstring(bounded(data))
        mine = _certificates(_at(root, "CertificateStore", "My", "User"))
        provider = _at(root, "DMClient", "Provider", PROVIDER_ID)
        poll = _at(provider, "Poll")
        if not mine:
            raise ProvisioningError("expected an identity certificate, got none")
        return Provisioning(
            device_id=_value(provider, "EntDMID"),
            certificate=mine[0],
            server_url=_value(_at(root, "APPLICATION"), "ADDR"),
            roots=_certificates(_at(root, "CertificateStore", "Root", "System")),
            poll=tuple((int(_value(poll, interval)), int(_value(poll, number))) for interval, number in _POLL_NODES),
            renew_period_days=int(_value(_at(root, "CertificateStore", "My", "WSTEP", "Renew"), "RenewPeriod")),
        )
    except ProvisioningError:
        raise
    except NOT_XML as error:
        raise ProvisioningError(f"expected a provisioning document, got something else ({error})") from None
