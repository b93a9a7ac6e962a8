"""Directory objects: tenants, applications, users, groups and their members."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from emulator.store.database import Row, Store


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


_LISTS = ("app_roles", "delegated_scopes", "certificates", "requested_app_roles", "requested_scopes")


def hash_secret(secret: str) -> str:
    """Return a salted scrypt hash of a client secret or user password: `salt$digest`, hexadecimal."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(secret, salt).hex()}"


def secret_matches(secret: str, stored: str | None) -> bool:
    """Return whether a secret is the one hashed as `stored`."""
    if not stored:
        return False
    salt, _, digest = stored.partition("$")
    return hmac.compare_digest(_scrypt(secret, bytes.fromhex(salt)), bytes.fromhex(digest))


def _scrypt(secret: str, salt: bytes) -> bytes:
    # Small cost: the lab's secrets are random or throw-away, and token requests are load-tested.
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**10, r=8, p=1)


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

    def add_tenant(self, tenant_id: str, domain: str, display_name: str) -> None:
        """Add or replace a tenant."""
        self._store.put("tenants", {"id": tenant_id, "domain": domain, "display_name": display_name})

    def tenant(self, name: str) -> Row | None:
        """Return the tenant with that id or domain."""
        return self._store.row("select * from tenants where lower(?) in (id, lower(domain))", (name,))

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
    ) -> None:
        """Register an application; one without secret and certificate is a public client."""
        certificates = list(certificates)
        row = {
            "id": app_id,
            "tenant_id": tenant_id,
            "display_name": display_name,
            "secret_hash": None if secret is None else hash_secret(secret),
            "app_roles": json.dumps(sorted(app_roles)),
            "delegated_scopes": json.dumps(sorted(delegated_scopes)),
            "is_public": secret is None and not certificates,
            "certificates": json.dumps(certificates),
            "requested_app_roles": json.dumps(sorted(requested_app_roles)),
            "requested_scopes": json.dumps(sorted(requested_scopes)),
        }
        self._store.put("apps", row)

    def app(self, app_id: str) -> App | None:
        """Return the application with that client id."""
        row = self._store.row("select * from apps where id = lower(?)", (app_id,))
        if row is None:
            return None
        lists = {name: tuple(json.loads(row[name])) for name in _LISTS}
        return App(**{**row, **lists, "is_public": bool(row["is_public"])})

    def consent(self, app: App) -> None:
        """Grant an application everything it asks for."""
        granted = {
            "app_roles": json.dumps(sorted({*app.app_roles, *app.requested_app_roles})),
            "delegated_scopes": json.dumps(sorted({*app.delegated_scopes, *app.requested_scopes})),
        }
        self._store.update("apps", app.id, granted)

    def add_user(self, row: Row, password: str | None = None) -> None:
        """Add a user: id, tenant_id, user_principal_name, display_name, mail, directory_roles, created."""
        hashed = None if password is None else hash_secret(password)
        roles = json.dumps(sorted(row.get("directory_roles", ())))
        self._users.clear()
        self._store.put("users", {**row, "directory_roles": roles, "password_hash": hashed})

    def user(self, tenant_id: str, name: str) -> Row | None:
        """Return the user of a tenant with that object id or userPrincipalName, whatever the case."""
        remembered = self._users.get((tenant_id, name))
        if remembered is not None:
            return dict(remembered)
        column = "lower(user_principal_name)" if "@" in name else "id"
        sql = f"select * from users where tenant_id = ? and {column} = lower(?)"  # noqa: S608 - one of two columns
        found = self._store.row(sql, (tenant_id, name))
        if found is not None and len(self._users) < _REMEMBERED_USERS:
            # A bulk import asks for the same users again and again; nothing but `add_user` changes one.
            self._users[tenant_id, name] = dict(found)
        return found

    def add_group(self, group_id: str, tenant_id: str, display_name: str, created: str) -> None:
        """Add a security group."""
        row = {"id": group_id, "tenant_id": tenant_id, "display_name": display_name, "created": created}
        self._store.put("groups", row)

    def group(self, tenant_id: str, group_id: str) -> Row | None:
        """Return a group of a tenant."""
        return self._store.row("select * from groups where tenant_id = ? and id = lower(?)", (tenant_id, group_id))

    def add_member(self, group_id: str, member_id: str) -> None:
        """Put a user, device or group into a group."""
        self._store.put("group_members", {"group_id": group_id, "member_id": member_id})

    def remove_member(self, group_id: str, member_id: str) -> bool:
        """Take a direct member out of a group; return whether it was one."""
        sql = "delete from group_members where group_id = ? and member_id = ?"
        return bool(self._store.run(sql, (group_id, member_id)))

    def members_of(self, group_id: str, *, transitive: bool = False) -> list[str]:
        """Return the ids of a group's direct members, or of those of its member groups too."""
        direct = "select member_id from group_members where group_id = ? order by rowid"
        deep = (
            "with recursive held(id) as (select member_id from group_members where group_id = ?"
            " union select member_id from group_members join held on group_id = held.id) select id as member_id"
            " from held"
        )
        return [row["member_id"] for row in self._store.rows(deep if transitive else direct, (group_id,))]

    def groups_of(self, member_id: str) -> frozenset[str]:
        """Return the ids of all groups that hold a member, directly or through other groups."""
        rows = self._store.rows(
            "with recursive held(id) as (select group_id from group_members where member_id = ?"
            " union select group_id from group_members join held on member_id = held.id) select id from held",
            (member_id,),
        )
        return frozenset(row["id"] for row in rows)
