"""What can be set about the emulator.

Every unknown of the real service is a switch here and a row in docs/divergences.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Switches:
    """Behaviours of the real service that are unknown or differ between documents and observation."""

    code_profile: Literal["observed", "documented"] = "observed"
    duplicate_post: Literal["reject400", "upsert", "conflict409"] = "reject400"
    delete_missing: Literal["204", "404"] = "204"
    masked_values_in_patch: Literal["ignore", "store"] = "ignore"
    legacy_padding: Literal["accept", "reject400"] = "accept"
    mask_reads: Literal["on", "off"] = "on"
    filter_quirks: Literal["off", "on"] = "off"
    directory_contains: Literal["refuse", "advanced"] = "refuse"
    open_type_names: Literal["refuse", "ignore"] = "refuse"
    etags: Literal["ignore", "honour"] = "ignore"
    unmodelled_lists: Literal["empty", "refuse"] = "empty"
    page_size: int = 1000
    throttling: Literal["off", "documented"] = "off"
    retry_after: Literal["integer", "fractional", "ms", "absent"] = "integer"
    any_purpose_eku: Literal["on", "off"] = "on"
    deliver: Literal["by_purpose", "latest", "all"] = "by_purpose"
    unlicensed_user: Literal["not_delivered", "reject400"] = "not_delivered"
    unassigned: Literal["documented", "removed"] = "documented"
    delete_propagation: Literal["next_check_in", "never"] = "next_check_in"
    connectors_per_tenant: int = 100
    connector_attempts: int = 3
    connector_retry_seconds: float = 30.0
    connector_lease_seconds: float = 120.0
    connector_inactive_after_seconds: float = 3600.0
    token_lifetime_seconds: int = 3600
    well_known_consent: Literal["granted", "none"] = "granted"
    device_certificate_days: int = 365
    device_certificate_renew_days: int = 60
    batch_addresses: Literal["relative", "any"] = "relative"
    batch_limit_text: Literal["newer", "older"] = "newer"
    device_routes: Literal["observed", "documented"] = "observed"
    odd_thumbprint: Literal["accept", "reject400"] = "accept"
    enrolled_again: Literal["replaced", "kept"] = "replaced"
    sign_message: Literal["off", "on", "alone"] = "off"
    sign_profiles: Literal["on", "off"] = "on"


def switches_with(present: Switches, changes: Mapping[str, Any]) -> Switches:
    """Return the switches with some set to other values.

    Raises:
        ValueError: a switch that does not exist, or a value it does not take.

    """
    types_of = get_type_hints(Switches)
    unknown = sorted(set(map(str, changes)) - set(types_of))
    if unknown:
        raise ValueError(f"expected switches of docs/divergences.md, got {', '.join(unknown)}")
    return replace(present, **{name: _typed(name, types_of[name], value) for name, value in changes.items()})


def choices() -> dict[str, tuple[str, ...]]:
    """Return, for each switch that takes one of some texts, which."""
    return {name: get_args(kind) for name, kind in get_type_hints(Switches).items() if get_origin(kind) is Literal}


_LARGEST = 10**9


def _typed(name: str, kind: Any, value: Any) -> Any:
    if get_origin(kind) is Literal:
        # YAML reads an unquoted 204 as a number and off as false; the switch's values are texts.
        text = ("off", "on")[value] if isinstance(value, bool) else str(value)
        if text in get_args(kind):
            return text
        raise ValueError(f"switches/{name}: expected one of {', '.join(get_args(kind))}, got {value!r}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    lowest = 1 if name in ("page_size", "connector_attempts", "connectors_per_tenant") else 0
    if not number or not lowest <= value <= _LARGEST or (kind is int and not isinstance(value, int)):
        raise ValueError(f"switches/{name}: expected {kind.__name__} from {lowest}, got {value!r}")
    return kind(value)


@dataclass(frozen=True)
class Config:
    """Start values of one emulator. `seed` drives every id; `switches` the doubtful behaviours."""

    seed: int = 7
    domain: str = "pfxlab.example"
    auto_approve_upn: str | None = None
    """User who approves device codes and authorization requests at once; None shows the sign-in page."""

    explain: bool = False
    """Tell the true reason of a refusal in the header x-pfxlab-reason."""

    journal_entries: int = 1_000_000
    """How many entries the journal keeps; the oldest go first, so that a lab can run for weeks."""

    reports: Path | None = None
    """Folder whose reports, of conformance and load runs, the admin centre shows."""

    tenants: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """Tenants beside the lab's own, as in the configuration file (schemas/lab-config.json)."""

    switches: Switches = field(default_factory=Switches)
    named: frozenset[str] = frozenset()
    """Switches that the configuration names: they win over what an earlier run of a lab has kept."""

    def with_switches(self, switches: Switches) -> "Config":
        """Return the same with other switches."""
        return replace(self, switches=switches)
