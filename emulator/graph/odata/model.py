"""Graph's entity model as far as the lab serves it: types, properties, navigations, enumerations.

`$metadata`, the annotations of `odata.metadata=full` and the filters of computed lists are made from these tables.
Sources: sources.md#record-properties, sources.md#imported-pfx-profiles, sources.md#certificate-states,
sources.md#managed-devices, sources.md#users, sources.md#groups.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from pfxlab.emulator.wire.enums import IntendedPurpose, KeyStorageProviderOption, NdesConnectorState, PaddingScheme

NAMESPACE: Final = "microsoft.graph"

_ENTITIES: Final = """
abstract entity: id String
userPFXCertificate(entity): thumbprint String, intendedPurpose userPfxIntendedPurpose, userPrincipalName String,
  startDateTime DateTimeOffset, expirationDateTime DateTimeOffset, providerName String, keyName String,
  paddingScheme userPfxPaddingScheme, encryptedPfxBlob Binary, encryptedPfxPassword String,
  createdDateTime DateTimeOffset, lastModifiedDateTime DateTimeOffset
abstract deviceConfiguration(entity): lastModifiedDateTime DateTimeOffset, roleScopeTagIds String[],
  supportsScopeTags Boolean,
  deviceManagementApplicabilityRuleOsEdition deviceManagementApplicabilityRuleOsEdition,
  deviceManagementApplicabilityRuleOsVersion deviceManagementApplicabilityRuleOsVersion,
  deviceManagementApplicabilityRuleDeviceMode deviceManagementApplicabilityRuleDeviceMode,
  createdDateTime DateTimeOffset, description String, displayName String, version Int32,
  -> assignments deviceConfigurationAssignment[], -> deviceStatuses deviceConfigurationDeviceStatus[],
  -> userStatuses deviceConfigurationUserStatus[], -> deviceStatusOverview deviceConfigurationDeviceOverview,
  -> userStatusOverview deviceConfigurationUserOverview
abstract iosCertificateProfile(deviceConfiguration):
abstract windowsCertificateProfileBase(deviceConfiguration): renewalThresholdPercentage Int32,
  keyStorageProvider keyStorageProviderOption, subjectNameFormat subjectNameFormat,
  subjectAlternativeNameType subjectAlternativeNameType, certificateValidityPeriodValue Int32,
  certificateValidityPeriodScale certificateValidityPeriodScale
abstract macOSCertificateProfileBase(deviceConfiguration): renewalThresholdPercentage Int32,
  subjectNameFormat appleSubjectNameFormat, subjectAlternativeNameType subjectAlternativeNameType,
  certificateValidityPeriodValue Int32, certificateValidityPeriodScale certificateValidityPeriodScale
abstract androidCertificateProfileBase(deviceConfiguration): renewalThresholdPercentage Int32,
  subjectNameFormat subjectNameFormat, certificateValidityPeriodValue Int32,
  certificateValidityPeriodScale certificateValidityPeriodScale, extendedKeyUsages extendedKeyUsage[],
  subjectAlternativeNameType subjectAlternativeNameType
abstract androidDeviceOwnerCertificateProfileBase(deviceConfiguration): renewalThresholdPercentage Int32,
  subjectNameFormat subjectNameFormat, certificateValidityPeriodValue Int32,
  certificateValidityPeriodScale certificateValidityPeriodScale, extendedKeyUsages extendedKeyUsage[],
  subjectAlternativeNameType subjectAlternativeNameType
iosImportedPFXCertificateProfile(iosCertificateProfile): intendedPurpose intendedPurpose,
  -> managedDeviceCertificateStates managedDeviceCertificateState[]
macOSImportedPFXCertificateProfile(macOSCertificateProfileBase): intendedPurpose intendedPurpose,
  deploymentChannel appleDeploymentChannel, -> managedDeviceCertificateStates managedDeviceCertificateState[]
windows10ImportedPFXCertificateProfile(windowsCertificateProfileBase): intendedPurpose intendedPurpose,
  -> managedDeviceCertificateStates managedDeviceCertificateState[]
androidImportedPFXCertificateProfile(androidCertificateProfileBase): intendedPurpose intendedPurpose,
  -> managedDeviceCertificateStates managedDeviceCertificateState[]
androidForWorkImportedPFXCertificateProfile(androidCertificateProfileBase): intendedPurpose intendedPurpose,
  -> managedDeviceCertificateStates managedDeviceCertificateState[]
androidDeviceOwnerImportedPFXCertificateProfile(androidDeviceOwnerCertificateProfileBase):
  intendedPurpose intendedPurpose, certificateAccessType androidDeviceOwnerCertificateAccessType,
  silentCertificateAccessDetails androidDeviceOwnerSilentCertificateAccess[],
  -> managedDeviceCertificateStates managedDeviceCertificateState[]
deviceConfigurationAssignment(entity): source deviceAndAppManagementAssignmentSource, sourceId String,
  intent deviceConfigAssignmentIntent, target deviceAndAppManagementAssignmentTarget
deviceConfigurationDeviceStatus(entity): deviceDisplayName String, userName String, deviceModel String, platform Int32,
  complianceGracePeriodExpirationDateTime DateTimeOffset, status complianceStatus,
  lastReportedDateTime DateTimeOffset, userPrincipalName String
deviceConfigurationUserStatus(entity): userDisplayName String, devicesCount Int32, status complianceStatus,
  lastReportedDateTime DateTimeOffset, userPrincipalName String
deviceConfigurationDeviceOverview(entity): pendingCount Int32, notApplicableCount Int32,
  notApplicablePlatformCount Int32, successCount Int32, errorCount Int32, failedCount Int32, conflictCount Int32,
  lastUpdateDateTime DateTimeOffset, configurationVersion Int32
deviceConfigurationUserOverview(entity): pendingCount Int32, notApplicableCount Int32, successCount Int32,
  errorCount Int32, failedCount Int32, conflictCount Int32, lastUpdateDateTime DateTimeOffset,
  configurationVersion Int32
managedDeviceCertificateState(entity): devicePlatform devicePlatformType, certificateKeyUsage keyUsages,
  certificateValidityPeriodUnits certificateValidityPeriodScale, certificateIssuanceState certificateIssuanceStates,
  certificateKeyStorageProvider keyStorageProviderOption, certificateSubjectNameFormat subjectNameFormat,
  certificateSubjectAlternativeNameFormat subjectAlternativeNameType,
  certificateRevokeStatus certificateRevocationStatus, certificateProfileDisplayName String,
  deviceDisplayName String, userDisplayName String, certificateExpirationDateTime DateTimeOffset,
  certificateLastIssuanceStateChangedDateTime DateTimeOffset, lastCertificateStateChangeDateTime DateTimeOffset,
  certificateIssuer String, certificateThumbprint String, certificateSerialNumber String, certificateKeyLength Int32,
  certificateEnhancedKeyUsage String, certificateValidityPeriod Int32, certificateSubjectNameFormatString String,
  certificateSubjectAlternativeNameFormatString String, certificateIssuanceDateTime DateTimeOffset,
  certificateErrorCode Int32
managedAllDeviceCertificateState(entity): certificateRevokeStatus certificateRevocationStatus,
  certificateRevokeStatusLastChangeDateTime DateTimeOffset, managedDeviceDisplayName String,
  userPrincipalName String, certificateExpirationDateTime DateTimeOffset, certificateIssuerName String,
  certificateThumbprint String, certificateSerialNumber String, certificateSubjectName String,
  certificateKeyUsages Int32, certificateExtendedKeyUsages String, certificateIssuanceDateTime DateTimeOffset
ndesConnector(entity): lastConnectionDateTime DateTimeOffset, state ndesConnectorState, displayName String,
  enrolledDateTime DateTimeOffset, machineName String, connectorVersion String, roleScopeTagIds String[]
certificateConnectorDetails(entity): connectorName String, machineName String, enrollmentDateTime DateTimeOffset,
  lastCheckinDateTime DateTimeOffset, connectorVersion String
managedDevice(entity): userId String, userPrincipalName String, userDisplayName String, emailAddress String,
  deviceName String, managedDeviceName String, managedDeviceOwnerType managedDeviceOwnerType, ownerType ownerType,
  operatingSystem String, osVersion String, model String, manufacturer String, serialNumber String, imei String,
  managementAgent managementAgentType, managementState managementState, complianceState complianceState,
  deviceEnrollmentType deviceEnrollmentType, deviceRegistrationState deviceRegistrationState,
  enrolledDateTime DateTimeOffset, lastSyncDateTime DateTimeOffset, azureADRegistered Boolean, azureADDeviceId String,
  deviceType deviceType, deviceCategoryDisplayName String, isEncrypted Boolean, isSupervised Boolean,
  jailBroken String, managementCertificateExpirationDate DateTimeOffset, deviceActionResults deviceActionResult[],
  roleScopeTagIds String[]
abstract directoryObject(entity): deletedDateTime DateTimeOffset
user(directoryObject): businessPhones String[], displayName String, givenName String, jobTitle String, mail String,
  mobilePhone String, officeLocation String, preferredLanguage String, surname String, userPrincipalName String,
  accountEnabled Boolean, createdDateTime DateTimeOffset, userType String, mailNickname String,
  passwordProfile passwordProfile, -> managedDevices managedDevice[], -> memberOf directoryObject[],
  -> transitiveMemberOf directoryObject[]
group(directoryObject): createdDateTime DateTimeOffset, displayName String, description String, groupTypes String[],
  mailEnabled Boolean, mailNickname String, membershipRule String, securityEnabled Boolean, securityIdentifier String,
  visibility String, -> members directoryObject[], -> transitiveMembers directoryObject[]
device(directoryObject): displayName String
application(directoryObject): appId String, createdDateTime DateTimeOffset, displayName String,
  identifierUris String[],
  isFallbackPublicClient Boolean, signInAudience String, requiredResourceAccess requiredResourceAccess[],
  passwordCredentials passwordCredential[], keyCredentials keyCredential[], publicClient publicClientApplication,
  web webApplication
servicePrincipal(directoryObject): appId String, appDisplayName String, displayName String, accountEnabled Boolean,
  servicePrincipalType String, appOwnerOrganizationId Guid, appRoles appRole[],
  oauth2PermissionScopes permissionScope[], -> appRoleAssignments appRoleAssignment[],
  -> appRoleAssignedTo appRoleAssignment[], -> oauth2PermissionGrants oAuth2PermissionGrant[]
directoryRole(directoryObject): displayName String, description String, roleTemplateId String,
  -> members directoryObject[]
appRoleAssignment(directoryObject): appRoleId Guid, createdDateTime DateTimeOffset, principalDisplayName String,
  principalId Guid, principalType String, resourceDisplayName String, resourceId Guid
oAuth2PermissionGrant(entity): clientId String, consentType String, principalId String, resourceId String, scope String
organization(directoryObject): displayName String, tenantType String, verifiedDomains verifiedDomain[]
deviceManagement(entity): -> userPfxCertificates userPFXCertificate[], -> deviceConfigurations deviceConfiguration[],
  -> deviceConfigurationsAllManagedDeviceCertificateStates managedAllDeviceCertificateState[],
  -> ndesConnectors ndesConnector[], -> certificateConnectorDetails certificateConnectorDetails[],
  -> managedDevices managedDevice[]
"""

_COMPLEX: Final = """
deviceManagementApplicabilityRuleOsEdition: osEditionTypes String[], name String, ruleType String
deviceManagementApplicabilityRuleOsVersion: minOSVersion String, maxOSVersion String, name String, ruleType String
deviceManagementApplicabilityRuleDeviceMode: deviceMode String, name String, ruleType String
extendedKeyUsage: name String, objectIdentifier String
androidDeviceOwnerSilentCertificateAccess: packageId String
abstract deviceAndAppManagementAssignmentTarget: deviceAndAppManagementAssignmentFilterId String,
  deviceAndAppManagementAssignmentFilterType deviceAndAppManagementAssignmentFilterType
groupAssignmentTarget(deviceAndAppManagementAssignmentTarget): groupId String
exclusionGroupAssignmentTarget(groupAssignmentTarget):
allLicensedUsersAssignmentTarget(deviceAndAppManagementAssignmentTarget):
allDevicesAssignmentTarget(deviceAndAppManagementAssignmentTarget):
deviceActionResult: actionName String, actionState actionState, startDateTime DateTimeOffset,
  lastUpdatedDateTime DateTimeOffset
passwordProfile: password String, forceChangePasswordNextSignIn Boolean
passwordCredential: displayName String, endDateTime DateTimeOffset, hint String, keyId Guid, secretText String,
  startDateTime DateTimeOffset, customKeyIdentifier Binary
keyCredential: customKeyIdentifier Binary, displayName String, endDateTime DateTimeOffset, key Binary, keyId Guid,
  startDateTime DateTimeOffset, type String, usage String
requiredResourceAccess: resourceAppId String, resourceAccess resourceAccess[]
resourceAccess: id Guid, type String
publicClientApplication: redirectUris String[]
webApplication: redirectUris String[], homePageUrl String, logoutUrl String
appRole: allowedMemberTypes String[], description String, displayName String, id Guid, isEnabled Boolean,
  origin String, value String
permissionScope: adminConsentDescription String, adminConsentDisplayName String, id Guid, isEnabled Boolean,
  type String, userConsentDescription String, userConsentDisplayName String, value String
verifiedDomain: capabilities String, isDefault Boolean, isInitial Boolean, name String, type String
keyLongValuePair: name String, value Int64
certificateConnectorHealthMetricValue: dateTime DateTimeOffset, successCount Int64, failureCount Int64
"""

# Members of which only the names go over the wire are numbered in the order of the reference.
_ENUMS: Final = """
intendedPurpose unassigned=1 smimeEncryption smimeSigning vpn wifi
deviceAndAppManagementAssignmentSource direct=0 policySets
deviceConfigAssignmentIntent apply=0 remove
deviceAndAppManagementAssignmentFilterType none=0 include exclude
complianceStatus unknown=0 notApplicable compliant remediated nonCompliant error conflict notAssigned
subjectNameFormat commonName=0 commonNameIncludingEmail commonNameAsEmail custom commonNameAsIMEI=5
  commonNameAsSerialNumber commonNameAsAadDeviceId commonNameAsIntuneDeviceId commonNameAsDurableDeviceId
appleSubjectNameFormat commonName=0 commonNameAsEmail custom commonNameIncludingEmail commonNameAsIMEI=5
  commonNameAsSerialNumber
subjectAlternativeNameType none=0 emailAddress userPrincipalName customAzureADAttribute=4 domainNameService=8
  universalResourceIdentifier=16
certificateValidityPeriodScale days=0 months years
appleDeploymentChannel deviceChannel=0 userChannel unknownFutureValue
androidDeviceOwnerCertificateAccessType userApproval=0 specificApps unknownFutureValue
certificateIssuanceStates unknown=0 challengeIssued challengeIssueFailed requestCreationFailed requestSubmitFailed
  challengeValidationSucceeded challengeValidationFailed issueFailed issuePending issued responseProcessingFailed
  responsePending enrollmentSucceeded enrollmentNotNeeded revoked removedFromCollection renewVerified installFailed
  installed deleteFailed deleted renewalRequested requested
certificateRevocationStatus none=0 pending issued failed revoked
devicePlatformType android=0 androidForWork iOS macOS windowsPhone81 windows81AndLater windows10AndLater
  androidWorkProfile unknown androidAOSP
keyUsages keyEncipherment=1 digitalSignature
complianceState unknown=0 compliant noncompliant conflict error inGracePeriod=254 configManager
managementAgentType eas=1 mdm easMdm intuneClient easIntuneClient configurationManagerClient=8
  googleCloudDevicePolicyController=64 intuneAosp=2048
managedDeviceOwnerType unknown=0 company personal
ownerType unknown=0 company personal
deviceRegistrationState notRegistered=0 registered=2 revoked keyConflict approvalPending certificateReset
  notRegisteredPendingEnrollment unknown
managementState managed=0 retirePending retireFailed wipePending wipeFailed unhealthy deletePending retireIssued
  wipeIssued wipeCanceled
actionState none=0 pending canceled active done failed notSupported
deviceEnrollmentType unknown=0 userEnrollment deviceEnrollmentManager appleBulkWithUser appleBulkWithoutUser
  windowsAzureADJoin
deviceType desktop=0 windowsRT winMO6 nokia windowsPhone mac winCE winEmbedded iPhone iPad iPod android macMDM=15
"""

SINGLETONS: Final = {"deviceManagement": "deviceManagement", "me": "user"}
"""Singletons of the service → their types."""

ENTITY_SETS: Final = {
    "users": "user",
    "groups": "group",
    "directoryObjects": "directoryObject",
    "applications": "application",
    "servicePrincipals": "servicePrincipal",
    "directoryRoles": "directoryRole",
    "oauth2PermissionGrants": "oAuth2PermissionGrant",
    "organization": "organization",
}
"""Entity sets of the service → the types of their members."""

ACTIONS: Final = {
    "assign": ("deviceConfiguration", {"assignments": "deviceConfigurationAssignment[]"}, None),
    "syncDevice": ("managedDevice", {}, None),
    "getHealthMetrics": ("certificateConnectorDetails", {"metricNames": "String[]"}, "keyLongValuePair[]"),
    "addPassword": ("application", {"passwordCredential": "passwordCredential"}, "passwordCredential"),
    "removePassword": ("application", {"keyId": "Guid"}, None),
}
"""Bound actions → what they are bound to, their parameters, what they return."""


@dataclass(frozen=True)
class StructuredType:
    """An entity or complex type. Property types are short: `String`, `userPfxIntendedPurpose`, `String[]`."""

    name: str
    base: str | None
    abstract: bool
    properties: dict[str, str]
    navigations: dict[str, str] = field(default_factory=dict)


_HEAD = re.compile(r"(abstract )?(\w+)(?:\((\w+)\))?: *(.*)", re.DOTALL)


def _structured(text: str) -> dict[str, StructuredType]:
    types = {}
    for block in re.split(r"\n(?! )", text.strip()):
        match = _HEAD.fullmatch(block)
        if match is None:
            raise ValueError(f"expected 'name(base): property Type, …', got {block[:60]!r}")
        own: dict[str, str] = {}
        navigations: dict[str, str] = {}
        for part in re.split(r",\s*", match[4]) if match[4].strip() else ():
            target = navigations if part.startswith("-> ") else own
            name, kind = part.removeprefix("-> ").split()
            target[name] = kind
        types[match[2]] = StructuredType(match[2], match[3], match[1] is not None, own, navigations)
    return types


ENTITY_TYPES: Final = _structured(_ENTITIES)
COMPLEX_TYPES: Final = _structured(_COMPLEX)


def _enums() -> dict[str, dict[str, int]]:
    kinds: dict[str, dict[str, int]] = {
        "userPfxIntendedPurpose": {member.name: member.value for member in IntendedPurpose},
        "userPfxPaddingScheme": {member.name: member.value for member in PaddingScheme},
        "keyStorageProviderOption": {member.name: member.value for member in KeyStorageProviderOption},
        "ndesConnectorState": {member.name: member.value for member in NdesConnectorState},
    }
    for block in re.split(r"\n(?! )", _ENUMS.strip()):
        name, *members = block.split()
        numbered: dict[str, int] = {}
        for member in members:
            text, _, number = member.partition("=")
            numbered[text] = int(number) if number else max(numbered.values()) + 1
        kinds[name] = numbered
    return kinds


ENUM_TYPES: Final = _enums()


@cache
def properties_of(type_name: str) -> dict[str, str]:
    """Return all properties of an entity or complex type, inherited ones first: name → short type."""
    kind = ENTITY_TYPES.get(type_name) or COMPLEX_TYPES[type_name]
    inherited = properties_of(kind.base) if kind.base is not None else {}
    return {**inherited, **kind.properties}


def full_name(short: str) -> str:
    """Return a type as OData writes it: `Edm.String`, `microsoft.graph.x`, `Collection(…)`."""
    if short.endswith("[]"):
        return f"Collection({full_name(short[:-2])})"
    ours = short in ENTITY_TYPES or short in COMPLEX_TYPES or short in ENUM_TYPES
    return f"{NAMESPACE}.{short}" if ours else f"Edm.{short}"
