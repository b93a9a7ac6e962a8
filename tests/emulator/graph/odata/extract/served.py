"""The types that the emulator knows in full: those it serves, and what their properties and operations need. Pure."""

from pfxlab.emulator.graph.odata.model import PRIMITIVES
from tests.emulator.graph.odata.extract.facts import Facts, Operation, Property

_SERVED = """
entity directoryObject user group device application servicePrincipal directoryRole directoryRoleTemplate
administrativeUnit orgContact appRoleAssignment oAuth2PermissionGrant organization domain subscribedSku licenseDetails
federatedIdentityCredential endpoint deviceManagement deviceAppManagement userPFXCertificate
iosImportedPFXCertificateProfile macOSImportedPFXCertificateProfile windows10ImportedPFXCertificateProfile
androidImportedPFXCertificateProfile androidForWorkImportedPFXCertificateProfile
androidDeviceOwnerImportedPFXCertificateProfile windowsPhone81ImportedPFXCertificateProfile
windows10PFXImportCertificateProfile
iosTrustedRootCertificate macOSTrustedRootCertificate windows81TrustedRootCertificate androidTrustedRootCertificate
androidForWorkTrustedRootCertificate androidDeviceOwnerTrustedRootCertificate androidWorkProfileTrustedRootCertificate
iosEasEmailProfileConfiguration windows10EasEmailProfileConfiguration androidForWorkGmailEasConfiguration
iosWiFiConfiguration macOSWiFiConfiguration windowsWifiConfiguration iosVpnConfiguration
iosPkcsCertificateProfile iosScepCertificateProfile windows10PkcsCertificateProfile windows81SCEPCertificateProfile
iosCustomConfiguration macOSCustomConfiguration windows10CustomConfiguration
deviceConfigurationAssignment deviceConfigurationGroupAssignment deviceConfigurationDeviceStatus
deviceConfigurationUserStatus deviceConfigurationDeviceOverview deviceConfigurationUserOverview
managedDeviceCertificateState managedAllDeviceCertificateState ndesConnector certificateConnectorDetails managedDevice
managedDeviceOverview deviceConfigurationState settingStateDeviceSummary deviceCategory
deviceAndAppManagementAssignmentFilter roleScopeTag roleScopeTagAutoAssignment auditEvent deviceManagementReports
deviceManagementExportJob
"""
SERVED = _SERVED.split()
"""Entity types by name; base types, complex types and enumerations follow from them."""


def needed(facts: Facts) -> set[str]:
    """Return the types known in full: served ones of this version, their bases, and all that their properties name."""
    found: set[str] = set()
    following = [name for name in SERVED if name in facts.structures]
    for operation in operations(facts, set(following)):
        # The directory's own operations (mail, meetings) are declared when their types are known for another reason.
        if "directoryObject" not in facts.lineage(operation.bound.removesuffix("[]")):
            following += [name for name in _named(operation) if not _entity(facts, name)]
    while following:
        name = following.pop()
        # The document has one schema: types of the smaller namespaces are not in it.
        if name in found or "." in name or not (name in facts.structures or name in facts.enumerations):
            continue
        found.add(name)
        structure = facts.structures.get(name)
        if structure is not None:
            following += [one.type.removesuffix("[]") for one in structure.properties.values()]
            following += [structure.base] if structure.base else []
            # An abstract complex type is met as one of its kinds.
            following += [] if structure.entity else [n for n, s in facts.structures.items() if s.base == name]
    return found


def operations(facts: Facts, types: set[str]) -> list[Operation]:
    """Return the operations bound to some types or to their bases."""
    bases = {base for name in types for base in facts.lineage(name)}
    return [one for one in facts.operations if one.bound.removesuffix("[]") in bases]


def declarable(operation: Operation, known: set[str]) -> bool:
    """Return whether every type that an operation names is known."""
    named = [*_named(operation), operation.bound.removesuffix("[]")]
    return "." not in operation.name and all(name in known or name in PRIMITIVES for name in named)


def _named(operation: Operation) -> list[str]:
    told: list[Property] = [*operation.parameters.values()]
    if operation.returns is not None:
        told.append(operation.returns)
    return [one.type.removesuffix("[]") for one in told]


def _entity(facts: Facts, name: str) -> bool:
    return name in facts.structures and facts.structures[name].entity
