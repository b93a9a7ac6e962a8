"""Users and groups of a lab. Groups are addressed by the names a caller gives them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pfxlab.emulator.entra.principals.users import SignInState, set_state
from pfxlab.emulator.entra.token_checks import revoke_sessions_of
from pfxlab.emulator.graph.directory.user_properties import problem_of, set_properties
from pfxlab.emulator.intune.deliveries import profiles_changed
from pfxlab.emulator.lab.seed import stable_id
from pfxlab.emulator.store.database import to_text
from pfxlab.scenarios.lab.lab import Lab
from pfxlab.scenarios.lab.tenant.names import Unknown


class TenantDirectory:
    """Users and groups. `groups`: name → id."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.groups: dict[str, str] = {"Mail users": lab.operator.credentials.group_id}

    def user(
        self,
        upn: str,
        sign_in: SignInState | None = None,
        *,
        licence: bool | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> str:
        """Make sure a user exists and is one of the mail users; return the id.

        `sign_in`: what sign-in makes of the user; `licence`: whether Intune serves it. None: as before, at first both.
        `properties`: as Graph shows them, those too that nobody sets over Graph.

        Raises:
            Unknown: the directory does not have the user afterwards.
            ValueError: a property that users do not have.

        """
        problem = None if properties is None else problem_of(properties)
        if problem is not None:
            raise ValueError(f"properties of {upn}: {problem}")
        self._lab.add_user(upn)
        found = self._lab.cloud.directory.user(self._lab.operator.credentials.tenant_id, upn)
        if found is None:
            raise Unknown(f"expected the user {upn!r} to be there, got none")
        if sign_in is not None or licence is not None:
            set_state(self._lab.cloud, found, sign_in, licence=licence)
        if sign_in == "blocked":
            revoke_sessions_of(self._lab.cloud, found["id"])
        if properties is not None:
            current = self._lab.cloud.directory.user(found["tenant_id"], found["id"])
            set_properties(self._lab.cloud, current or found, properties)
        if licence is not None:
            profiles_changed(self._lab.cloud, found["tenant_id"])
        return str(found["id"])

    def users(self, count: int, prefix: str = "bulk") -> list[str]:
        """Add many users who receive certificates and never sign in; return their names."""
        cloud, tenant_id = self._lab.cloud, self._lab.operator.credentials.tenant_id
        names = [f"{prefix}-{number:05}@{cloud.config.domain}" for number in range(1, count + 1)]
        plain = {"tenant_id": tenant_id, "directory_roles": (), "properties": {}}
        with cloud.store.atomic():
            for upn in names:
                row = {
                    **plain,
                    "id": stable_id(cloud, f"user/{upn}"),
                    "user_principal_name": upn,
                    "display_name": upn.partition("@")[0],
                    "mail": upn,
                    "created": to_text(cloud.clock.now()),
                }
                cloud.directory.add_user(row)
        return names

    def group(self, name: str, members: Sequence[str]) -> str:
        """Create a group of users, or set its members; return the id."""
        cloud, tenant_id = self._lab.cloud, self._lab.operator.credentials.tenant_id
        group_id = stable_id(cloud, f"group/{cloud.config.domain}/{name}")
        ids = [self.user(upn) for upn in members]
        cloud.directory.add_group(group_id, tenant_id, name, to_text(cloud.clock.now()))
        for member_id in cloud.directory.members_of(group_id):
            cloud.directory.remove_member(group_id, member_id)
        for member_id in ids:
            cloud.directory.add_member(group_id, member_id)
        self.groups[name] = group_id
        return group_id
