"""Numbers read by eye in the newest beta document, which was too large to be had as a file when these were extracted.

Only what no document at hand knew; whoever runs the extraction with the whole document needs none of this.
"""

from tests.emulator.graph.odata.extract.facts import Enumeration, Facts

_SEEN = """
appleDeploymentChannel deviceChannel=0 userChannel=1 unknownFutureValue=2
assignmentFilterManagementType devices=0 apps=1 unknownFutureValue=2
assignmentFilterOperator notSet=0 equals=1 notEquals=2 startsWith=3 notStartsWith=4 contains=5 notContains=6 in=7 notIn=8
  endsWith=9 notEndsWith=10 greaterThan=11 greaterThanOrEquals=12 lessThan=13 lessThanOrEquals=14 unknownFutureValue=15
associatedAssignmentPayloadType unknown=0 deviceConfigurationAndCompliance=1 application=2 androidEnterpriseApp=8
  enrollmentConfiguration=9 groupPolicyConfiguration=12 zeroTouchDeploymentDeviceConfigProfile=15
  androidEnterpriseConfiguration=16 deviceFirmwareConfigurationInterfacePolicy=20 resourceAccessPolicy=23 win32app=24
  deviceManagmentConfigurationAndCompliancePolicy=29
azureAttestationSettingStatus notApplicable=0 enabled=1 disabled=2 unknownFutureValue=3
connectorHealthState healthy=0 warning=1 unhealthy=2 unknown=3
connectorName applePushNotificationServiceExpirationDateTime=0 vppTokenExpirationDateTime=1 vppTokenLastSyncDateTime=2
  windowsAutopilotLastSyncDateTime=3 windowsStoreForBusinessLastSyncDateTime=4 jamfLastSyncDateTime=5
  ndesConnectorLastConnectionDateTime=6 appleDepExpirationDateTime=7 appleDepLastSyncDateTime=8
  onPremConnectorLastSyncDateTime=9 googlePlayAppLastSyncDateTime=10 googlePlayConnectorLastModifiedDateTime=11
  windowsDefenderATPConnectorLastHeartbeatDateTime=12 mobileThreatDefenceConnectorLastHeartbeatDateTime=13
  chromebookLastDirectorySyncDateTime=14 futureValue=15
deviceAssignmentItemIntent remove=0 restore=1 unknownFutureValue=2
deviceAssignmentItemStatus initiated=0 inProgress=1 removed=2 error=3 succeeded=4 unknownFutureValue=5
deviceAssignmentItemType application=0 deviceConfiguration=1 deviceManagementConfigurationPolicy=2
  mobileAppConfiguration=3 unknownFutureValue=4
deviceEnrollmentType androidAOSPUserOwnedDeviceEnrollment=18 androidAOSPUserlessDeviceEnrollment=19
  appleAccountDrivenUserEnrollment=25 unknownFutureValue=26
deviceLicensingStatus unknown=-1 licenseRefreshStarted=0 licenseRefreshPending=1
  deviceIsNotAzureActiveDirectoryJoined=2 verifyingMicrosoftDeviceIdentity=3 deviceIdentityVerificationFailed=4
  verifyingMicrosoftAccountIdentity=5 microsoftAccountVerificationFailed=6 acquiringDeviceLicense=7
  refreshingDeviceLicense=8 deviceLicenseRefreshSucceed=9 deviceLicenseRefreshFailed=10 removingDeviceLicense=11
  deviceLicenseRemoveSucceed=12 deviceLicenseRemoveFailed=13 unknownFutureValue=14
devicePlatformType unknownFutureValue=12 windowsMobileApplicationManagement=13
deviceType visionOS=23 tvOS=24
firmwareProtectionType notApplicable=0 systemGuardSecureLaunch=1 firmwareAttackSurfaceReduction=2 disabled=3
  unknownFutureValue=4
kind unrestricted=0 allowedTenants=1 unknownFutureValue=2
managedDeviceRemoteAction initiateMobileDeviceManagementKeyRecovery=16 initiateOnDemandProactiveRemediation=17
  unknownFutureValue=18 initiateDeviceAttestation=19
managementAgentType google=8192 unknownFutureValue=8193
servicePrincipalLockScope notConfigured=0 foreignTenantOnly=1 everywhere=2 unknownFutureValue=3
singleSignOnMode oAuthToken=6 unknownFutureValue=7
systemManagementModeLevel notApplicable=0 level1=1 level2=2 level3=3 unknownFutureValue=4
trafficRoutingMethod none=0 random=1 sessionPersistence=2 performance=3 unknownFutureValue=4
wiFiProxySetting unknownFutureValue=3
wiFiSecurityType unknownFutureValue=6 wpa3Personal=7
"""


def read_seen() -> Facts:
    """Return the numbers as facts."""
    facts, words = Facts(), _SEEN.split()
    name = ""
    for word in words:
        member, told, number = word.partition("=")
        if not told:
            name = member
            facts.enumerations[name] = Enumeration()
        else:
            facts.enumerations[name].members[member] = int(number)
    return facts
