"""A lab's configuration file: YAML, checked by JSON Schema, turned into a Config. See docs/configuration.md."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cryptography import x509

from pfxlab.emulator.config import Config, Switches, switches_with
from pfxlab.emulator.wire.files.damaged import UNREADABLE
from pfxlab.emulator.wire.ids import check_upn
from pfxlab.emulator.wire.schemas import first_problem, validator
from pfxlab.scenarios import bounded_yaml, yaml_file
from pfxlab.scenarios.nearest import near


class ConfigProblem(ValueError):
    """The file cannot be used; the text says where, what was expected and what was found."""


def _load(path: Path) -> dict[str, Any]:
    try:
        body = yaml_file.values_of(path, bounded_yaml.load_with_dates)
    except yaml_file.InvalidYaml as problem:
        raise ConfigProblem(str(problem)) from None
    body = {} if body is None else body
    schema: Any = validator("lab-config").schema
    wrong = _unknown_key(body, schema) or first_problem("lab-config", body, whole="the file")
    if wrong is not None:
        raise ConfigProblem(f"{path}: {wrong}")
    checked: dict[str, Any] = body
    return checked


def _at(place: str, name: object) -> str:
    return f"{place}/{name}" if place else str(name)


def _unknown_key(value: Any, schema: Mapping[str, Any], place: str = "") -> str | None:
    """Return the first name that the schema does not have, with its place and similar names, or None."""
    if isinstance(value, list):
        parts = [(number, part, schema.get("items", {})) for number, part in enumerate(value)]
    elif isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        unknown = next((name for name in value if name not in known), None)
        if unknown is not None:
            return f"{place or 'the file'}: expected {', '.join(known)}, got {unknown[:40]!r}{near(unknown, known)}"
        parts = [(name, part, known[name]) for name, part in value.items()]
    else:
        return None
    return next((found for name, part, inner in parts if (found := _unknown_key(part, inner, _at(place, name)))), None)


def _switches(path: Path, given: dict[str, Any]) -> Switches:
    known = [field.name for field in fields(Switches)]
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise ConfigProblem(
            f"{path}: switches: expected switches of docs/divergences.md, got {unknown[:40]}{near(unknown, known)}"
        )
    try:
        return switches_with(Switches(), given)
    except ValueError as error:
        raise ConfigProblem(f"{path}: {error}") from None


def read_config(path: Path | None, seed: int | None = None, *, explain: bool = False) -> Config:
    """Return the configuration of a file, or the default one; `seed` and `explain` take precedence.

    Raises:
        ConfigProblem: not YAML, against the schema, an unknown switch, or a value it does not take.

    """
    body = {} if path is None else _load(path)
    names = {field.name for field in fields(Config)}
    plain = {name: value for name, value in body.items() if name in names and name not in ("switches", "tenants")}
    if path is not None:
        _check_users(path, body)
        plain["switches"] = _switches(path, body.get("switches") or {})
        plain["named"] = frozenset(body.get("switches") or ())
        plain["tenants"] = tuple(body.get("tenants") or ())
    if seed is not None:
        plain["seed"] = seed
    if explain:
        plain["explain"] = True
    return Config(**plain)


def config_of(*, switches: Mapping[str, Any]) -> Config:
    """Return the default configuration with some switches set.

    Raises:
        ValueError: an unknown switch, or a value it does not take.

    """
    return Config(switches=switches_with(Switches(), switches), named=frozenset(switches))


def _check_users(path: Path, body: dict[str, Any]) -> None:
    """Check that tenants share no domain, id or application, and that users belong to their tenant's domain."""
    tenants = body.get("tenants") or ()
    named = {
        "application": [app["id"].lower() for tenant in tenants for app in tenant.get("apps", ())],
        "tenant id": [tenant["id"].lower() for tenant in tenants if "id" in tenant],
        "domain": [tenant["domain"].lower() for tenant in tenants],
    }
    for tenant in tenants:
        upns = [user["upn"].lower() for user in tenant.get("users", ())]
        named[f"user of {tenant['domain']}"] = upns
    for kind, names in named.items():
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ConfigProblem(f"{path}: expected each {kind} once, got {min(twice)} more than once")
    for tenant in tenants:
        if "id" in tenant and tenant["domain"].lower() == Config().domain:
            raise ConfigProblem(f"{path}: tenant {tenant['domain']}: expected no id, the lab's own tenant has one")
        try:
            _check_tenant(tenant)
        except ValueError as error:
            raise ConfigProblem(f"{path}: tenant {tenant['domain']}: {error}") from None


def _check_tenant(tenant: dict[str, Any]) -> None:
    known = {check_upn(user["upn"]).lower() for user in tenant.get("users", ())}
    strangers = [upn for upn in known if not upn.endswith(f"@{tenant['domain'].lower()}")]
    if strangers:
        raise ValueError(f"expected users of its own domain, got {strangers[0]!r}")
    seeded = known & {f"{name}@{Config().domain}" for name in ("admin", "user")}
    if seeded:
        raise ValueError(f"expected users beside those the lab makes itself, got {min(seeded)!r}")
    for group in tenant.get("groups", ()):
        others = [name for name in group.get("members", ()) if name.lower() not in known]
        if others:
            raise ValueError(f"group {group['name']}: expected users of the tenant, got {others[0]!r}")
    for app in tenant.get("apps", ()):
        if "certificate" in app:
            try:
                x509.load_pem_x509_certificate(app["certificate"].encode())
            except UNREADABLE:
                raise ValueError(
                    f"application {app['id']}: expected a certificate as PEM, got something else"
                ) from None
