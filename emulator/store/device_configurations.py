"""Configuration profiles (deviceConfiguration), their assignments, and the filters that these use."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pfxlab.emulator.store.database import Row, Store, from_text, to_text


@dataclass(frozen=True)
class DeviceConfiguration:
    """A profile; `properties` are those its type adds to the base, in wire names and forms."""

    id: str
    tenant_id: str
    odata_type: str
    display_name: str
    version: int
    created: datetime
    last_modified: datetime
    properties: dict[str, Any]


@dataclass(frozen=True)
class Assignment:
    """A profile's target: `target_type` is the last part of the target's @odata.type.

    `filter_mode`: none, include or exclude, what becomes of the devices that the filter matches.
    """

    id: str
    configuration_id: str
    target_type: str
    group_id: str
    intent: str = "apply"
    filter_id: str | None = None
    filter_mode: str = "none"


@dataclass(frozen=True)
class AssignmentFilter:
    """A filter of a tenant. `platform`: member of devicePlatformType; `management_type`: devices or apps."""

    id: str
    tenant_id: str
    display_name: str
    description: str | None
    platform: str
    rule: str
    management_type: str
    role_scope_tags: tuple[str, ...]
    created: datetime
    last_modified: datetime


def from_row(row: Row) -> DeviceConfiguration:
    """Return the profile a row of `device_configurations` holds."""
    dates = {name: from_text(row[name]) for name in ("created", "last_modified")}
    return DeviceConfiguration(**{**row, **dates, "properties": json.loads(row["properties"])})


_OWN_COLUMNS: Final = ("target_type", "group_id", "intent", "filter_id", "filter_mode")


class DeviceConfigurations:
    """The profiles of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, profile: DeviceConfiguration) -> None:
        """Insert a profile or replace the one with its id."""
        dates = {name: to_text(getattr(profile, name)) for name in ("created", "last_modified")}
        properties = json.dumps(profile.properties)
        self._store.put("device_configurations", {**vars(profile), **dates, "properties": properties})

    def get(self, tenant_id: str, profile_id: str) -> DeviceConfiguration | None:
        """Return a profile."""
        sql = "select * from device_configurations where id = lower(?) and tenant_id = ?"
        row = self._store.row(sql, (profile_id, tenant_id))
        return None if row is None else from_row(row)

    def all(self, tenant_id: str) -> list[DeviceConfiguration]:
        """Return a tenant's profiles, oldest first."""
        sql = "select * from device_configurations where tenant_id = ? order by created, id"
        return [from_row(row) for row in self._store.rows(sql, (tenant_id,))]

    def delete(self, tenant_id: str, profile_id: str) -> bool:
        """Remove a profile with its assignments; return whether there was one."""
        with self._store.atomic():
            sql = "delete from device_configurations where id = lower(?) and tenant_id = ?"
            if not self._store.run(sql, (profile_id, tenant_id)):
                return False
            self._store.run("delete from assignments where configuration_id = lower(?)", (profile_id,))
            return True

    def assign(self, profile_id: str, assignments: list[Assignment]) -> None:
        """Replace a profile's whole set of assignments."""
        with self._store.atomic():
            self._store.run("delete from assignments where configuration_id = ?", (profile_id,))
            for assignment in assignments:
                self._store.put("assignments", vars(assignment))

    def targeted(self, tenant_id: str) -> list[tuple[DeviceConfiguration, list[Assignment]]]:
        """Return a tenant's assigned profiles with their assignments, oldest first."""
        rows = self._store.rows(
            "select c.*, a.id as a_id, a.target_type, a.group_id, a.intent, a.filter_id, a.filter_mode"
            " from device_configurations c join assignments a on a.configuration_id = c.id where c.tenant_id = ?"
            " order by c.created, c.id, a.rowid",
            (tenant_id,),
        )
        found: dict[str, tuple[DeviceConfiguration, list[Assignment]]] = {}
        for row in rows:
            mine = Assignment(row.pop("a_id"), row["id"], *(row.pop(name) for name in _OWN_COLUMNS))
            if mine.configuration_id not in found:
                found[mine.configuration_id] = (from_row(row), [])
            found[mine.configuration_id][1].append(mine)
        return list(found.values())

    def assignments(self, profile_id: str) -> list[Assignment]:
        """Return a profile's assignments in the order they were given."""
        sql = "select * from assignments where configuration_id = ? order by rowid"
        return [Assignment(**row) for row in self._store.rows(sql, (profile_id,))]


class AssignmentFilters:
    """The assignment filters of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, one: AssignmentFilter) -> None:
        """Insert a filter or replace the one with its id."""
        dates = {name: to_text(getattr(one, name)) for name in ("created", "last_modified")}
        self._store.put(
            "assignment_filters", {**vars(one), **dates, "role_scope_tags": json.dumps(one.role_scope_tags)}
        )

    def of_tenant(self, tenant_id: str) -> list[AssignmentFilter]:
        """Return a tenant's filters, oldest first."""
        sql = "select * from assignment_filters where tenant_id = ? order by created, id"
        return [_filter_from_row(row) for row in self._store.rows(sql, (tenant_id,))]

    def by_id(self, tenant_id: str) -> dict[str, AssignmentFilter]:
        """Return a tenant's filters by their ids."""
        return {one.id: one for one in self.of_tenant(tenant_id)}

    def get(self, tenant_id: str, filter_id: str) -> AssignmentFilter | None:
        """Return a filter."""
        sql = "select * from assignment_filters where id = lower(?) and tenant_id = ?"
        row = self._store.row(sql, (filter_id, tenant_id))
        return None if row is None else _filter_from_row(row)

    def delete(self, filter_id: str) -> None:
        """Remove a filter."""
        self._store.run("delete from assignment_filters where id = ?", (filter_id,))

    def uses(self, filter_id: str) -> list[Assignment]:
        """Return the assignments that use a filter."""
        sql = "select * from assignments where filter_id = ? order by rowid"
        return [Assignment(**row) for row in self._store.rows(sql, (filter_id,))]


def _filter_from_row(row: Row) -> AssignmentFilter:
    dates = {name: from_text(row[name]) for name in ("created", "last_modified")}
    return AssignmentFilter(**{**row, **dates, "role_scope_tags": tuple(json.loads(row["role_scope_tags"]))})
