"""The cloud's SQLite schema, one migration for each change that was ever released; applied in order when it opens."""

from pfxlab.emulator.store.sqlite_without_numpy import Database, Migrations

migrations = Migrations("pfxlab")


@migrations()
def m001_first_schema(db: Database) -> None:
    """Create every table of version 0.1."""
    text, number, binary = str, int, bytes
    tables: dict[str, tuple[dict[str, type], str | tuple[str, ...]]] = {
        "meta": ({"key": text, "value": text}, "key"),
        "tenants": ({"id": text, "domain": text, "display_name": text}, "id"),
        "apps": (
            {
                "id": text, "tenant_id": text, "display_name": text, "secret_hash": text, "app_roles": text,
                "delegated_scopes": text, "is_public": number,
            },
            "id",
        ),
        "users": (
            {
                "id": text, "tenant_id": text, "user_principal_name": text, "display_name": text, "mail": text,
                "password_hash": text, "directory_roles": text, "created": text,
            },
            "id",
        ),
        "groups": ({"id": text, "tenant_id": text, "display_name": text, "created": text}, "id"),
        "group_members": ({"group_id": text, "member_id": text}, ("group_id", "member_id")),
        "pfx_certificates": (
            {
                "id": text, "tenant_id": text, "user_id": text, "thumbprint": text, "user_principal_name": text,
                "intended_purpose": number, "start_date": text, "expiration_date": text, "provider_name": text,
                "key_name": text, "padding_scheme": number, "encrypted_pfx_blob": binary,
                "encrypted_pfx_password": text, "created": text, "last_modified": text, "is_deleted": number,
            },
            "id",
        ),
        "device_configurations": (
            {
                "id": text, "tenant_id": text, "odata_type": text, "display_name": text, "version": number,
                "created": text, "last_modified": text, "properties": text,
            },
            "id",
        ),
        "assignments": (
            {"id": text, "configuration_id": text, "target_type": text, "group_id": text, "intent": text}, "id",
        ),
        "connectors": (
            {
                "id": text, "tenant_id": text, "display_name": text, "machine_name": text, "version": text,
                "enrolled": text, "last_connection": text, "certificate_thumbprint": text,
            },
            "id",
        ),
        "devices": (
            {
                "id": text, "tenant_id": text, "user_id": text, "platform": text, "device_name": text,
                "os_version": text, "model": text, "manufacturer": text, "serial_number": text, "udid": text,
                "certificate": binary, "key_thumbprint": text, "enrolled": text, "last_sync": text,
            },
            "id",
        ),
        "deliveries": (
            {
                "id": text, "tenant_id": text, "device_id": text, "user_id": text, "profile_id": text,
                "certificate_id": text, "thumbprint": text, "purpose": number, "state": text, "reason": text,
                "attempts": number, "not_before": text, "lease_id": text, "leased_by": text, "lease_until": text,
                "device_key_thumbprint": text, "payload_uuid": text, "payload": binary, "created": text,
                "last_modified": text,
            },
            "id",
        ),
        "mdm_commands": (
            {
                "id": text, "device_id": text, "delivery_id": text, "request_type": text, "state": text,
                "created": text,
            },
            "id",
        ),
        "journal": (
            {
                "seq": number, "time": text, "party": text, "event": text, "outcome": text, "reason": text,
                "fields": text,
            },
            "seq",
        ),
    }  # fmt: skip
    for name, (columns, key) in tables.items():
        db.table(name).create(columns, pk=key)
    db.execute("create index users_upn on users (tenant_id, lower(user_principal_name))")
    db.execute("create index pfx_user on pfx_certificates (user_id)")
    db.execute("create index pfx_upn on pfx_certificates (tenant_id, lower(user_principal_name))")
    db.execute("create index devices_user on devices (user_id)")
    db.execute("create index members_member on group_members (member_id)")
    db.execute("create index assignments_configuration on assignments (configuration_id)")
    db.execute("create unique index deliveries_unit on deliveries (device_id, profile_id, certificate_id)")
    db.execute("create index deliveries_queue on deliveries (tenant_id, state, not_before)")
    db.execute("create index deliveries_certificate on deliveries (certificate_id)")
    db.execute("create index commands_device on mdm_commands (device_id, state)")


@migrations()
def m002_sign_in_tickets(db: Database) -> None:
    """Add codes and refresh tokens, certificates of applications, and what applications ask consent for."""
    columns = {"hash": str, "kind": str, "tenant_id": str, "app_id": str, "user_id": str, "scope": str}
    db.table("tickets").create({**columns, "expires": str, "facts": str}, pk="hash")
    for column in ("certificates", "requested_app_roles", "requested_scopes"):
        db.execute(f"alter table apps add column {column} text not null default '[]'")


@migrations()
def m003_what_a_device_may_hold(db: Database) -> None:
    """Remember whether a delivery was ever sent; index what tools filter by."""
    db.execute("alter table deliveries add column maybe_on_device integer not null default 0")
    db.execute("drop index pfx_upn")
    db.execute("create index pfx_lower_upn on pfx_certificates (lower(user_principal_name))")
    # A user's records are found by their id, which begins with the user's.
    db.execute("drop index pfx_user")


@migrations()
def m004_actions_health_and_directory(db: Database) -> None:
    """Remember actions on devices, what connectors processed by the hour, and more of the directory's objects."""
    db.table("device_actions").create(
        {"id": int, "device_id": str, "action": str, "state": str, "started": str, "updated": str}, pk="id"
    )
    db.execute("create index actions_device on device_actions (device_id, state)")
    hours = {"connector_id": str, "hour": str, "succeeded": int, "failed": int}
    db.table("connector_health").create(hours, pk=("connector_id", "hour"))
    credentials = {
        "key_id": str,
        "app_id": str,
        "hash": str,
        "hint": str,
        "display_name": str,
        "start": str,
        "end": str,
    }
    db.table("app_passwords").create(credentials, pk="key_id")
    db.execute("create index passwords_app on app_passwords (app_id)")
    for table in ("users", "groups", "apps"):
        db.execute(f"alter table {table} add column properties text not null default '{{}}'")
    db.execute("alter table apps add column has_principal integer not null default 1")
    db.execute("alter table apps add column created text not null default '2026-01-01T00:00:00.000000Z'")


@migrations()
def m005_fair_queue(db: Database) -> None:
    """Queue by user, find leases, and let a connector's next certificate wait beside the present one."""
    db.execute("drop index deliveries_queue")
    db.execute(
        "create index deliveries_queue on deliveries (tenant_id, user_id, last_modified) where state = 'requested'"
    )
    db.execute("create index deliveries_leased on deliveries (lease_id) where state = 'leased'")
    db.execute("create index deliveries_profile on deliveries (profile_id)")
    db.execute("alter table connectors add column next_thumbprint text")
    # What stands behind a large value in a row is reached through all its pages: the PFX goes last.
    columns = [column.name for column in db.table("pfx_certificates").columns]
    columns.remove("encrypted_pfx_blob")
    db.execute("drop index pfx_lower_upn")
    db.execute("drop index if exists pfx_tenant")
    db.table("pfx_certificates").transform(column_order=[*columns, "encrypted_pfx_blob"])
    db.execute("create index pfx_lower_upn on pfx_certificates (lower(user_principal_name))")


@migrations()
def m006_event_logs_of_connectors(db: Database) -> None:
    """Keep the event log entries that connectors send; a repeated heartbeat adds nothing."""
    columns = {"number": int, "connector_id": str, "time": str, "event": int, "name": str, "channel": str}
    db.table("connector_events").create({**columns, "level": str, "text": str}, pk="number")
    db.execute("create unique index events_connector on connector_events (connector_id, time, event, text)")


@migrations()
def m007_error_codes(db: Database) -> None:
    """Keep the number that the portal shows for a failed delivery."""
    db.execute("alter table deliveries add column error_code integer not null default 0")


@migrations()
def m008_identities_of_devices(db: Database) -> None:
    """Find devices by their identity, let a renewed one wait for its first use, and expect what enrols by profile."""
    db.execute("alter table devices add column next_certificate blob")
    db.execute("alter table devices add column next_thumbprint text")
    db.execute("create index devices_key on devices (key_thumbprint)")
    db.execute("create index devices_next_key on devices (next_thumbprint) where next_thumbprint is not null")
    columns = {"thumbprint": str, "device_id": str, "tenant_id": str, "user_id": str}
    db.table("expected_devices").create(columns, pk="thumbprint")
    db.table("device_users").create({"device_id": str, "user_id": str}, pk=("device_id", "user_id"))
    db.execute("create index device_users_user on device_users (user_id)")


@migrations()
def m009_seventh_digits(db: Database) -> None:
    """Keep the seventh digit of a record's dates."""
    for column in ("start_seventh", "expiration_seventh"):
        db.execute(f"alter table pfx_certificates add column {column} integer not null default 0")
    _put_pfx_last(db)


@migrations()
def m010_assignment_filters(db: Database) -> None:
    """Keep assignment filters, which filter an assignment uses and how, and who owns a device."""
    columns = {"id": str, "tenant_id": str, "display_name": str, "description": str, "platform": str, "rule": str}
    dates = {"created": str, "last_modified": str}
    db.table("assignment_filters").create({**columns, "management_type": str, "role_scope_tags": str, **dates}, pk="id")
    db.execute("alter table assignments add column filter_id text")
    db.execute("alter table assignments add column filter_mode text not null default 'none'")
    db.execute("alter table devices add column owner_type text not null default 'company'")


def _put_pfx_last(db: Database) -> None:
    # What stands behind a large value in a row is reached through all its pages.
    columns = [column.name for column in db.table("pfx_certificates").columns]
    columns.remove("encrypted_pfx_blob")
    db.table("pfx_certificates").transform(column_order=[*columns, "encrypted_pfx_blob"])
