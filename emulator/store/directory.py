"""Directory objects: tenants, applications, users, groups and their members."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pfxlab.emulator.store.database import Row, Store
from pfxlab.emulator.store.lists.memberships import ALL_MEMBERS, DIRECT_MEMBERS, groups_holding


@dataclass(frozen=True)
class App:
    """An application registration; `app_roles` and `delegated_scopes` are what was consented to.

    `certificates` are PEM, public halves only; the requested permissions are what admin consent grants.
    """

    id: str
    tenant_id: str
    display_name: str
    secret_hash: str | None
    app_roles: tuple[str, ...]
    delegated_scopes: tuple[str, ...]
    is_public: bool
    certificates: tuple[str, ...] = ()
    requested_app_roles: tuple[str, ...] = ()
    requested_scopes: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)
    has_principal: bool = True
    created: str = "2026-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class AppPassword:
    """A client secret created over Graph: hashed, with its first letters as a hint, and its lifetime."""

    key_id: str
    app_id: str
    hash: str
    hint: str
    display_name: str | None
    start: str
    end: str


_LISTS = ("app_roles", "delegated_scopes", "certificates", "requested_app_roles", "requested_scopes")


_COST: Final = 2**8
_FIRST_COST: Final = 2**10
"""scrypt's n of hashes that name none: those of labs made before it was kept."""


def hash_secret(secret: str) -> str:
    """Return a salted scrypt hash of a client secret or user password: `n$salt$digest`, the last two hexadecimal."""
    salt = secrets.token_bytes(16)
    return f"{_COST}${salt.hex()}${_scrypt(secret, salt, _COST).hex()}"


def secret_matches(secret: str, stored: str | None) -> bool:
    """Return whether a secret is the one hashed as `stored`."""
    if not stored:
        return False
    *cost, salt, digest = stored.split("$")
    computed = _scrypt(secret, bytes.fromhex(salt), int(cost[0]) if cost else _FIRST_COST)
    return hmac.compare_digest(computed, bytes.fromhex(digest))


def _scrypt(secret: str, salt: bytes, cost: int) -> bytes:
    # Small cost: the lab's secrets are random or throw-away, each lab begins with several, and sign-in is load-tested.
    return hashlib.scrypt(secret.encode(), salt=salt, n=cost, r=8, p=1)


def _app(row: Row) -> App:
    lists = {name: tuple(json.loads(row[name])) for name in _LISTS}
    flags = {name: bool(row[name]) for name in ("is_public", "has_principal")}
    return App(**{**row, **lists, **flags, "properties": json.loads(row["properties"])})


_REMEMBERED_USERS = 10_000


class Secrets:
    """Compares secrets with their hashes; a pair found to match once is remembered for the process.

    Hashing is slow on purpose, and a load test asks for thousands of tokens with the same secret.
    """

    def __init__(self) -> None:
        self._known: set[tuple[bytes, str]] = set()

    def matches(self, secret: str, stored: str | None) -> bool:
        """Return whether a secret is the one hashed as `stored`."""
        pair = (hashlib.sha256(secret.encode()).digest(), stored or "")
        if pair in self._known:
            return True
        if not secret_matches(secret, stored):
            return False
        self._known.add(pair)
        return True


class Directory:
    """Entra ID's objects of all tenants in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._users: dict[tuple[str, str], Row] = {}

    def forget(self) -> None:
        """Forget what is remembered of users: the store is another."""
        self._users.clear()

    def add_tenant(self, tenant_id: str, domain: str, display_name: str) -> None:
        """Add or replace a tenant."""
        self._store.put("tenants", {"id": tenant_id, "domain": domain, "display_name": display_name})
        if len(self.tenants()) > 1:
            # A tenant's records among those of others. With one tenant it would say nothing, and each import would
            # pay for another page.
            self._store.run(
                "create index if not exists pfx_tenant on pfx_certificates (tenant_id) where not is_deleted"
            )

    def tenant(self, name: str) -> Row | None:
        """Return the tenant with that id or domain."""
        return self._store.row("select * from tenants where lower(?) in (id, lower(domain))", (name,))

    def has_users(self, tenant_id: str) -> bool:
        """Return whether a tenant has a user, whether or not its own record is there."""
        return bool(self._store.scalar("select exists (select 1 from users where tenant_id = ?)", (tenant_id,)))

    def tenants(self) -> list[Row]:
        """Return all tenants, oldest first."""
        return self._store.rows("select * from tenants order by rowid")

    def add_app(
        self,
        app_id: str,
        tenant_id: str,
        display_name: str,
        *,
        secret: str | None = None,
        app_roles: Iterable[str] = (),
        delegated_scopes: Iterable[str] = (),
        certificates: Iterable[str] = (),
        requested_app_roles: Iterable[str] = (),
        requested_scopes: Iterable[str] = (),
        is_public: bool | None = None,
    ) -> None:
        """Register an application; one without secret and certificate is a public client unless `is_public` says."""
        certificates = list(certificates)
        row = {
            "id": app_id,
            "tenant_id": tenant_id,
            "display_name": display_name,
            "secret_hash": None if secret is None else hash_secret(secret),
            "app_roles": json.dumps(sorted(app_roles)),
            "delegated_scopes": json.dumps(sorted(delegated_scopes)),
            "is_public": secret is None and not certificates if is_public is None else is_public,
            "certificates": json.dumps(certificates),
            "requested_app_roles": json.dumps(sorted(requested_app_roles)),
            "requested_scopes": json.dumps(sorted(requested_scopes)),
        }
        self._store.put("apps", row)

    def app(self, app_id: str) -> App | None:
        """Return the application with that client id."""
        row = self._store.row("select * from apps where id = lower(?)", (app_id,))
        return None if row is None else _app(row)

    def apps(self, tenant_id: str) -> list[App]:
        """Return a tenant's applications, oldest first."""
        return [
            _app(row) for row in self._store.rows("select * from apps where tenant_id = ? order by rowid", (tenant_id,))
        ]

    def change_app(self, app_id: str, **changes: Any) -> None:
        """Set fields of an application: lists of names, certificates, `properties`, `has_principal`, `display_name`."""
        stored = {n: json.dumps(v) if n in (*_LISTS, "properties") else v for n, v in changes.items()}
        self._store.update("apps", app_id, stored)

    def remove_app(self, app_id: str) -> None:
        """Forget an application with its secrets."""
        self._store.run("delete from apps where id = ?", (app_id,))
        self._store.run("delete from app_passwords where app_id = ?", (app_id,))

    def add_password(self, password: AppPassword) -> None:
        """Add a client secret."""
        self._store.put("app_passwords", {**vars(password)})

    def passwords(self, app_id: str) -> list[AppPassword]:
        """Return an application's secrets made over Graph, oldest first."""
        rows = self._store.rows("select * from app_passwords where app_id = ? order by rowid", (app_id,))
        return [AppPassword(**row) for row in rows]

    def remove_password(self, app_id: str, key_id: str) -> bool:
        """Take a client secret back; return whether there was one of that id."""
        sql = "delete from app_passwords where app_id = ? and key_id = lower(?)"
        return bool(self._store.run(sql, (app_id, key_id)))

    def consent(self, app: App) -> None:
        """Grant an application everything it asks for; that makes its service principal too."""
        granted = {
            "app_roles": json.dumps(sorted({*app.app_roles, *app.requested_app_roles})),
            "delegated_scopes": json.dumps(sorted({*app.delegated_scopes, *app.requested_scopes})),
            "has_principal": 1,
        }
        self._store.update("apps", app.id, granted)

    def add_user(self, row: Row, password: str | None = None) -> None:
        """Add a user: id, tenant_id, user_principal_name, display_name, mail, directory_roles, created, properties."""
        hashed = None if password is None else hash_secret(password)
        roles = json.dumps(sorted(row.get("directory_roles", ())))
        properties = json.dumps(row.get("properties", {}))
        self._users.clear()
        self._store.put("users", {**row, "directory_roles": roles, "password_hash": hashed, "properties": properties})

    def change_user(self, user_id: str, password: str | None = None, **changes: Any) -> None:
        """Set columns of a user, `properties` and `directory_roles` as values, and a new password when given."""
        stored = {n: json.dumps(v) if n in ("properties", "directory_roles") else v for n, v in changes.items()}
        if password is not None:
            stored["password_hash"] = hash_secret(password)
        self._users.clear()
        if stored:
            self._store.update("users", user_id, stored)

    def remove_user(self, user_id: str) -> None:
        """Forget a user and its memberships; records and devices keep its id."""
        self._users.clear()
        self._store.run("delete from users where id = ?", (user_id,))
        self._store.run("delete from group_members where member_id = ?", (user_id,))

    def users_with_role(self, tenant_id: str, role: str) -> list[Row]:
        """Return the users of a tenant that hold a directory role, by its template id."""
        sql = (
            "select * from users where tenant_id = ? and exists (select 1 from json_each(directory_roles)"
            " where value = ?) order by rowid"
        )
        return self._store.rows(sql, (tenant_id, role))

    def user(self, tenant_id: str, name: str) -> Row | None:
        """Return the user of a tenant with that object id or userPrincipalName, whatever the case."""
        remembered = self._users.get((tenant_id, name))
        if remembered is not None:
            return dict(remembered)
        column = "lower(user_principal_name)" if "@" in name else "id"
        sql = f"select * from users where tenant_id = ? and {column} = lower(?)"  # noqa: S608 - one of two columns
        found = self._store.row(sql, (tenant_id, name))
        if found is not None and len(self._users) < _REMEMBERED_USERS:
            # A bulk import asks for the same users again and again; nothing but the methods here changes one.
            self._users[tenant_id, name] = dict(found)
        return found

    def add_group(
        self, group_id: str, tenant_id: str, display_name: str, created: str, properties: dict[str, Any] | None = None
    ) -> None:
        """Add a security group, or change the one with that id."""
        row = {"id": group_id, "tenant_id": tenant_id, "display_name": display_name, "created": created}
        self._store.put("groups", {**row, "properties": json.dumps(properties or {})})

    def remove_group(self, group_id: str) -> None:
        """Forget a group, its members and its memberships."""
        self._store.run("delete from groups where id = ?", (group_id,))
        self._store.run("delete from group_members where ? in (group_id, member_id)", (group_id,))

    def group(self, tenant_id: str, group_id: str) -> Row | None:
        """Return a group of a tenant."""
        return self._store.row("select * from groups where tenant_id = ? and id = lower(?)", (tenant_id, group_id))

    def groups(self, tenant_id: str, limit: int) -> list[Row]:
        """Return id and display_name of up to `limit` groups of a tenant, by name."""
        sql = "select id, display_name from groups where tenant_id = ? order by display_name limit ?"
        return self._store.rows(sql, (tenant_id, limit))

    def add_member(self, group_id: str, member_id: str) -> None:
        """Put a user, device or group into a group."""
        self._store.put("group_members", {"group_id": group_id, "member_id": member_id})

    def remove_member(self, group_id: str, member_id: str) -> bool:
        """Take a direct member out of a group; return whether it was one."""
        sql = "delete from group_members where group_id = ? and member_id = ?"
        return bool(self._store.run(sql, (group_id, member_id)))

    def members_of(self, group_id: str, *, transitive: bool = False) -> list[str]:
        """Return the ids of a group's direct members, or of those of its member groups too."""
        rows = self._store.rows(ALL_MEMBERS if transitive else f"{DIRECT_MEMBERS} order by rowid", (group_id,))
        return [row["id"] for row in rows]

    def direct_groups_of(self, member_id: str) -> frozenset[str]:
        """Return the ids of the groups that hold a member directly."""
        rows = self._store.rows(groups_holding(1, transitive=False), (member_id,))
        return frozenset(row["id"] for row in rows)

    def groups_of(self, *member_ids: str) -> frozenset[str]:
        """Return the ids of all groups that hold one of these members, directly or through other groups."""
        rows = self._store.rows(groups_holding(len(member_ids), transitive=True), member_ids)
        return frozenset(row["id"] for row in rows)
