"""What users hold in the JSON object of their column `properties`, as columns to filter and sort by."""

from typing import Final

from pfxlab.emulator.store.lists.columns import Column

TEXTS: Final = (
    "city", "companyName", "country", "department", "employeeId", "employeeType", "onPremisesDistinguishedName",
    "onPremisesDomainName", "onPremisesImmutableId", "onPremisesSamAccountName", "onPremisesSecurityIdentifier",
    "onPremisesUserPrincipalName", "postalCode", "state", "streetAddress", "usageLocation",
)  # fmt: skip
LISTS: Final = ("imAddresses", "otherMails", "proxyAddresses")
OBJECTS: Final = {"assignedLicenses": ("skuId",), "identities": ("signInType", "issuer", "issuerAssignedId")}
"""Lists of objects → the texts in each."""

EXTENSIONS: Final = "onPremisesExtensionAttributes"
EXTENSION_NAMES: Final = tuple(f"extensionAttribute{number}" for number in range(1, 16))
INTUNE_PLAN: Final = "061f9ace-7d42-4136-88ac-31dc755f143f"
"""The licence of a user who has one (sources.md#user-properties)."""


def _held(path: str) -> str:
    return f"json_extract(properties, '$.{path}')"


_BY_MAIL: Final = "case when mail is null then '[]' else json_array('SMTP:' || mail) end"
_LICENCES: Final = (
    "case when coalesce(json_extract(properties, '$.labLicence'), 1)"
    f" then json_array(json_object('skuId', '{INTUNE_PLAN}')) else '[]' end"
)
_NAMED: Final = (
    "json_array(json_object('signInType', 'userPrincipalName', 'issuer', substr(user_principal_name,"
    " instr(user_principal_name, '@') + 1), 'issuerAssignedId', user_principal_name))"
)
_OTHERWISE: Final = {"proxyAddresses": _BY_MAIL, "assignedLicenses": _LICENCES, "identities": _NAMED}


def _list(name: str) -> str:
    otherwise = _OTHERWISE.get(name, "'[]'")
    return f"coalesce({_held(name)}, {otherwise})"


USER_PROPERTY_FIELDS: Final = {
    **{name: Column(_held(name), "name") for name in TEXTS},
    **{name: Column(_list(name), "strings", folded=True) for name in (*LISTS, "businessPhones")},
    **{name: Column(_list(name), "objects", items=items) for name, items in OBJECTS.items()},
    "onPremisesSyncEnabled": Column(_held("onPremisesSyncEnabled"), "boolean"),
    "onPremisesLastSyncDateTime": Column(_held("onPremisesLastSyncDateTime"), "instant"),
    **{f"{EXTENSIONS}/{name}": Column(_held(f"{EXTENSIONS}.{name}"), "name") for name in EXTENSION_NAMES},
}
"""Properties as columns of the view of users."""
