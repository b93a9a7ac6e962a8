"""The views that are listed: what their rows hold, and by which of their columns they are filtered and sorted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pfxlab.emulator.store.lists.columns import Column, Kind
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.emulator.wire.platforms import PLATFORMS


@dataclass(frozen=True)
class View:
    """Rows of one tenant: `source` is a table or query with rowid and tenant_id, `only` what all rows fulfil."""

    source: str
    columns: Mapping[str, Column]
    selected: str = "*"
    only: str = ""

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


def _named(*columns: str) -> dict[str, Column]:
    return {name: Column(name, "name") for name in columns}


def _property(name: str, kind: Kind = "name") -> Column:
    """Return a property that stands in the JSON object of a row's column `properties`."""
    return Column(f"json_extract(properties, '$.{name}')", kind)


_OTHERWISE_TRUE: Final = "coalesce(json_extract(properties, '$.accountEnabled'), 1)"
_BEFORE_AT: Final = "substr(user_principal_name, 1, instr(user_principal_name, '@') - 1)"
USERS: Final = View(
    "users",
    {
        **_named("id", "user_principal_name", "display_name", "mail"),
        "created": Column("created", "date"),
        "account_enabled": Column(_OTHERWISE_TRUE, "boolean"),
        "user_type": Column("coalesce(json_extract(properties, '$.userType'), 'Member')", "name"),
        "mail_nickname": Column(f"coalesce(json_extract(properties, '$.mailNickname'), {_BEFORE_AT})", "name"),
        "given_name": _property("givenName"),
        "surname": _property("surname"),
        "job_title": _property("jobTitle"),
        "mobile_phone": _property("mobilePhone"),
        "office_location": _property("officeLocation"),
        "preferred_language": _property("preferredLanguage"),
    },
)
GROUPS: Final = View(
    "groups",
    {
        **_named("id", "display_name"),
        "created": Column("created", "date"),
        "description": _property("description"),
        "mail_nickname": Column(
            "coalesce(json_extract(properties, '$.mailNickname'), replace(display_name, ' ', ''))", "name"
        ),
        "mail": _property("mail"),
        "mail_enabled": Column("coalesce(json_extract(properties, '$.mailEnabled'), 0)", "boolean"),
        "security_enabled": Column("coalesce(json_extract(properties, '$.securityEnabled'), 1)", "boolean"),
        "group_types": Column("coalesce(json_extract(properties, '$.groupTypes'), '[]')", "strings"),
        "visibility": _property("visibility"),
        "membership_rule": _property("membershipRule"),
    },
)
PROFILES: Final = View(
    "device_configurations",
    {
        "id": Column("id"),
        "display_name": Column("display_name"),
        "version": Column("version", "number"),
        "created": Column("created", "date"),
        "last_modified": Column("last_modified", "date"),
        "description": _property("description", "text"),
        "intended_purpose": _property("intendedPurpose"),
        "scope_tags": Column("coalesce(json_extract(properties, '$.roleScopeTagIds'), '[\"0\"]')", "strings"),
        "odata_type": Column("odata_type", "type"),
    },
)
_SYSTEMS: Final = " ".join(f"when '{row.name}' then '{row.operating_system}'" for row in PLATFORMS.values())
_USER_ROWS: Final = (
    "select rowid * 4 as rowid, id, tenant_id, 'user' as type, display_name, user_principal_name, mail, created,"
    " properties from users"
)
_GROUP_ROWS: Final = (
    "select rowid * 4 + 1 as rowid, id, tenant_id, 'group' as type, display_name, null as user_principal_name,"
    " null as mail, created, properties from groups"
)
_DEVICE_ROWS: Final = (
    "select rowid * 4 + 2 as rowid, id, tenant_id, 'device' as type, device_name as display_name,"  # noqa: S608 - as above
    " null as user_principal_name, null as mail, enrolled as created, json_object('operatingSystem',"
    f" case platform {_SYSTEMS} end, 'operatingSystemVersion', os_version, 'manufacturer', manufacturer,"
    " 'model', model) as properties from devices"
)
DIRECTORY_OBJECTS: Final = View(
    f"({_USER_ROWS} union all {_GROUP_ROWS} union all {_DEVICE_ROWS})",
    {
        **USERS.columns,
        "description": _property("description"),
        "type": Column("type"),
        "odata_type": Column("'#microsoft.graph.' || type", "type"),
    },
)
"""Users, groups and devices together: `type` is the name of each row's type; what a type lacks is None."""

REGISTERED_DEVICES: Final = View(
    f"({_DEVICE_ROWS})",
    {
        **_named("id", "display_name"),
        "created": Column("created", "date"),
        "operating_system": _property("operatingSystem"),
        "os_version": _property("operatingSystemVersion"),
    },
)
"""Devices as the directory has them, each under the id of its managed device."""

DEVICES: Final = View(
    "(select devices.rowid as rowid, devices.*, users.user_principal_name, users.display_name as user_display_name,"
    " users.mail as user_mail, (select json_group_array(json_object('action', action, 'state', state, 'started',"
    " started, 'updated', updated)) from device_actions where device_id = devices.id) as actions"
    " from devices left join users on users.id = devices.user_id)",
    {
        **_named("user_principal_name", "device_name", "model", "manufacturer", "serial_number"),
        "id": Column("id"),
        "id_of_directory": Column("id", "name"),
        "owner": Column("user_id"),
        "user_id": Column("user_id", "name"),
        "operating_system": Column(f"case platform {_SYSTEMS} end", "name"),
        "os_version": Column("os_version"),
        "owner_type": Column("owner_type", "name"),
        "enrolled": Column("enrolled", "date"),
        "last_sync": Column("last_sync", "date"),
    },
)
"""With each device its user's user_principal_name, user_display_name and user_mail, None when that is gone, and
`actions`, the JSON list of what `Devices.actions` returns."""

CERTIFICATES: Final = View(
    "pfx_certificates",
    {
        "id": Column("id"),
        "thumbprint": Column("thumbprint"),
        "user_principal_name": Column("user_principal_name", "cased"),
        "intended_purpose": Column("intended_purpose", "enum", IntendedPurpose),
        "start_date": Column("start_date", "date"),
        "expiration_date": Column("expiration_date", "date"),
        "provider_name": Column("provider_name"),
        "key_name": Column("key_name"),
        "padding_scheme": Column("padding_scheme", "enum", PaddingScheme),
        "created": Column("created", "date"),
        "last_modified": Column("last_modified", "date"),
    },
    only="not is_deleted",
)
CERTIFICATES_WITHOUT_CIPHERTEXT: Final = replace(
    CERTIFICATES,
    selected="id, tenant_id, user_id, thumbprint, user_principal_name, intended_purpose, start_date, expiration_date,"
    " start_seventh, expiration_seventh, provider_name, key_name, padding_scheme, x'' as encrypted_pfx_blob,"
    " '' as encrypted_pfx_password, created, last_modified",
)
"""A list that never shows the ciphertext need not read it either."""
