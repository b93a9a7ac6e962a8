"""Imported-PFX profiles of a lab and the groups they are assigned to, by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from pfxlab.scenarios.lab.chain import PROFILES, profile_body
from pfxlab.scenarios.lab.tenant.administrator import Administrator
from pfxlab.scenarios.lab.tenant.directory import TenantDirectory
from pfxlab.scenarios.lab.tenant.names import named


class TenantProfiles:
    """Profiles that were created through Graph. `ids`: name → id."""

    def __init__(self, administrator: Administrator, directory: TenantDirectory) -> None:
        self._administrator, self._directory = administrator, directory
        self.ids: dict[str, str] = {}

    async def create(
        self,
        name: str,
        platform: str,
        purpose: str,
        groups: Sequence[str],
        excluded: Sequence[str] = (),
        properties: Mapping[str, Any] | None = None,
    ) -> str:
        """Create an imported-PFX profile and assign it; return its id. `properties` are added to Graph's entity.

        Raises:
            GraphRefused: Graph's error.
            Unknown: no such group.

        """
        body, targets = profile_body(name, platform, purpose), self._targets(groups, excluded)
        entity = await self._administrator.call("POST", PROFILES, {**body, **(properties or {})})
        self.ids[name] = str(entity["id"])
        await self._assign(name, targets)
        return self.ids[name]

    async def assign(self, name: str, groups: Sequence[str], excluded: Sequence[str] = ()) -> None:
        """Replace the groups a profile is assigned to; without any, it is assigned to nobody.

        Raises:
            GraphRefused: Graph's error.
            Unknown: no such profile or group.

        """
        await self._assign(name, self._targets(groups, excluded))

    async def _assign(self, name: str, targets: Sequence[Mapping[str, str]]) -> None:
        path = f"{PROFILES}/{named(self.ids, name, 'profile')}/assign"
        await self._administrator.call("POST", path, {"assignments": [{"target": target} for target in targets]})

    def _targets(self, groups: Sequence[str], excluded: Sequence[str]) -> list[dict[str, str]]:
        kinds = {"groupAssignmentTarget": groups, "exclusionGroupAssignmentTarget": excluded}
        return [
            {"@odata.type": f"#microsoft.graph.{kind}", "groupId": named(self._directory.groups, name, "group")}
            for kind, names in kinds.items()
            for name in names
        ]
