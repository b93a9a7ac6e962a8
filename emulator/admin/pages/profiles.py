"""/admin/profiles: "PKCS imported certificate" profiles, made and assigned in the product's steps and with its names.

Source of the names: the document "Configure and use imported PKCS certificates with Intune". What is entered goes to
the same handlers as a request over Graph, and is refused for the same reasons.
"""

from collections.abc import Mapping
from typing import Any, Final

from pfxlab.emulator.admin.ask_graph import NotTaken, ask_graph
from pfxlab.emulator.admin.names import PURPOSES
from pfxlab.emulator.admin.page import PREFIX, Look, Shown, Table, not_found
from pfxlab.emulator.admin.pages.certificates import state_of
from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.graph.intune import device_configurations, profile_assignments
from pfxlab.emulator.graph.intune.assignment_json import assignment_json
from pfxlab.emulator.store.device_configurations import Assignment, DeviceConfiguration
from pfxlab.emulator.wire.enums import IntendedPurpose, KeyStorageProviderOption
from pfxlab.emulator.wire.platforms import PLATFORM_OF_TYPE, PLATFORMS

_TPM: Final = "Trusted Platform Module (TPM) KSP"
KSP: Final = {
    "useTpmKspOtherwiseUseSoftwareKsp": f"Enroll to {_TPM} if present, otherwise Software KSP",
    "useTpmKspOtherwiseFail": f"Enroll to {_TPM}, otherwise fail",
    "usePassportForWorkKspOtherwiseFail": "Enroll to Windows Hello for Business, otherwise fail",
    "useSoftwareKsp": "Enroll to Software KSP",
}
_ALL_USERS, _ALL_DEVICES = "allLicensedUsersAssignmentTarget", "allDevicesAssignmentTarget"
_INCLUDED, _EXCLUDED = "groupAssignmentTarget", "exclusionGroupAssignmentTarget"
_GROUPS: Final = (_INCLUDED, _EXCLUDED)
_GROUPS_SHOWN: Final = 500
COLUMNS: Final = ("id", "displayName", "platform", "intendedPurpose", "assignedTo", "created", "lastModified")


def _group_name(cloud: Cloud, tenant_id: str, group_id: str) -> str:
    group = cloud.directory.group(tenant_id, group_id)
    return str(group["display_name"]) if group is not None else f"a group that is gone ({group_id})"


def _target(cloud: Cloud, tenant_id: str, one: Assignment) -> str:
    if one.target_type == _ALL_USERS:
        name = "All users"
    elif one.target_type == _ALL_DEVICES:
        name = "All devices"
    else:
        name = _group_name(cloud, tenant_id, one.group_id)
    narrowing = None if one.filter_id is None else cloud.filters.get(tenant_id, one.filter_id)
    if narrowing is not None:
        name = f"{name} (filter: {one.filter_mode} {narrowing.display_name})"
    return f"without {name}" if one.target_type == _EXCLUDED else name


def _groups(cloud: Cloud, tenant_id: str, assigned: list[str]) -> list[dict[str, str]]:
    """Return the groups that a profile can be assigned to: those it is assigned to, gone or not, and the first others.

    All of the former stand in the form, since what is not ticked there is taken away.
    """
    found = [{"id": group, "display_name": _group_name(cloud, tenant_id, group)} for group in dict.fromkeys(assigned)]
    others = cloud.directory.groups(tenant_id, _GROUPS_SHOWN)
    return found + [dict(row) for row in others if row["id"] not in assigned]


def _row(cloud: Cloud, profile: DeviceConfiguration) -> dict[str, Any]:
    targets = [_target(cloud, profile.tenant_id, one) for one in cloud.profiles.assignments(profile.id)]
    platform = PLATFORM_OF_TYPE.get(profile.odata_type, "")
    purpose = str(profile.properties.get("intendedPurpose") or "")
    return {
        "id": profile.id,
        "displayName": profile.display_name,
        "platform": PLATFORMS[platform].display_name if platform in PLATFORMS else platform,
        "intendedPurpose": PURPOSES.get(purpose, purpose),
        "assignedTo": ", ".join(targets),
        "created": profile.created.isoformat(),
        "lastModified": profile.last_modified.isoformat(),
    }


def show_all(look: Look) -> Shown:
    """Return the profiles."""
    rows = [_row(look.cloud, profile) for profile in look.cloud.profiles.all(look.tenant_id)]
    return Shown("profiles.html", {"rows": rows}, Table(COLUMNS, lambda: rows))


def show_new(look: Look, entered: Mapping[str, str] | None = None, problem: str = "") -> Shown:
    """Return the form for a new profile, with what was entered before when that was refused."""
    values = {
        "platforms": {row.name: row.display_name for row in PLATFORMS.values()},
        "purposes": PURPOSES,
        "ksp": KSP,
        "entered": entered or {},
        "problem": problem,
    }
    return Shown("profile_new.html", values, status=400 if problem else 200)


def create(look: Look, entered: Mapping[str, str]) -> str:
    """Make a profile of what was entered and return its id.

    Raises:
        NotTaken: see its text.

    """
    name, platform = entered.get("displayName", "").strip(), entered.get("platform", "")
    if not name:
        raise NotTaken("expected a name, got none")
    if platform not in PLATFORMS:
        raise NotTaken(f"expected a platform, got {platform[:40]!r}")
    purpose, ksp = entered.get("intendedPurpose", ""), entered.get("keyStorageProvider", "")
    if purpose not in IntendedPurpose.__members__:
        raise NotTaken(f"expected an intended purpose, got {purpose[:40]!r}")
    body: dict[str, Any] = {
        "@odata.type": PLATFORMS[platform].profile_type,
        "displayName": name,
        "description": entered.get("description", "").strip() or None,
        "intendedPurpose": purpose,
    }
    if platform == "windows":
        if ksp not in KeyStorageProviderOption.__members__:
            raise NotTaken(f"expected a key storage provider, got {ksp[:40]!r}")
        body["keyStorageProvider"] = ksp
    years = entered.get("validityYears", "").strip()
    if years and platform != "ios":
        if not (years.isascii() and years.isdigit() and 0 < int(years) < 100):
            raise NotTaken(f"expected a whole number of years, got {years[:20]!r}")
        body |= {"certificateValidityPeriodValue": int(years), "certificateValidityPeriodScale": "years"}
    made = ask_graph(look, device_configurations.create, body)
    return str(made.body["id"]) if isinstance(made.body, dict) else ""


def show_one(look: Look, problem: str = "") -> Shown:
    """Return one profile: its settings, to whom it is assigned, and what became of it."""
    cloud, wanted = look.cloud, look.place["id"]
    profile = cloud.profiles.get(look.tenant_id, wanted)
    if profile is None:
        return not_found("configuration profile", wanted)
    assigned = cloud.profiles.assignments(profile.id)
    groups = _groups(cloud, look.tenant_id, [one.group_id for one in assigned if one.target_type in _GROUPS])
    states = [
        {"state": str(state), "class": state_of(state)[0], "words": state_of(state)[1], "count": count}
        for state, count in cloud.deliveries.states_of_profile(profile.id).items()
    ]
    ksp = str(profile.properties.get("keyStorageProvider") or "")
    values = {
        "profile": _row(cloud, profile),
        "description": profile.properties.get("description") or "",
        "ksp": KSP.get(ksp, "") if PLATFORM_OF_TYPE.get(profile.odata_type) == "windows" else "",
        "all_users": any(one.target_type == _ALL_USERS for one in assigned),
        "all_devices": any(one.target_type == _ALL_DEVICES for one in assigned),
        "included": {one.group_id for one in assigned if one.target_type == _INCLUDED},
        "excluded": {one.group_id for one in assigned if one.target_type == _EXCLUDED},
        "groups": groups,
        "states": states,
        "problem": problem,
    }
    return Shown("profile.html", values, Table(("state", "count"), lambda: states), 400 if problem else 200)


def assign(look: Look, entered: Mapping[str, str], included: list[str], excluded: list[str]) -> None:
    """Replace a profile's assignments; those that stay keep their filter and intent, which the form does not ask.

    Raises:
        NotTaken: see its text.

    """
    before = {}
    for one in look.cloud.profiles.assignments(look.place["id"]):
        shown = assignment_json(one)
        before[one.target_type, shown["target"].get("groupId")] = {name: shown[name] for name in ("target", "intent")}
    wanted: list[tuple[str, str | None]] = [
        (kind, None) for name, kind in (("allUsers", _ALL_USERS), ("allDevices", _ALL_DEVICES)) if entered.get(name)
    ]
    wanted += [(kind, group) for groups, kind in ((included, _INCLUDED), (excluded, _EXCLUDED)) for group in groups]
    body = {"assignments": [before.get(target) or {"target": _new_target(*target)} for target in wanted]}
    ask_graph(look, profile_assignments.assign, body, look.place["id"])


def _new_target(kind: str, group: str | None) -> dict[str, str]:
    target = {"@odata.type": f"#microsoft.graph.{kind}"}
    return target if group is None else {**target, "groupId": group}


def remove(look: Look) -> str:
    """Delete a profile; return where to go then.

    Raises:
        NotTaken: there is none.

    """
    ask_graph(look, device_configurations.delete, None, look.place["id"])
    return f"{PREFIX}/profiles"
