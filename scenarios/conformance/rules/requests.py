"""Rules on sign-in and on the form of requests."""

import re
from collections.abc import Iterator
from typing import Any, Final

from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme
from pfxlab.scenarios.conformance.evidence import Finding, Rule, ToolRun

_PROPERTIES: Final = {
    "id", "thumbprint", "intendedPurpose", "userPrincipalName", "startDateTime", "expirationDateTime", "providerName",
    "keyName", "paddingScheme", "encryptedPfxBlob", "encryptedPfxPassword", "createdDateTime", "lastModifiedDateTime",
}  # fmt: skip
_REQUIRED: Final = _PROPERTIES - {"id", "createdDateTime", "lastModifiedDateTime"}
_OFFSET: Final = re.compile(r"(Z|[+-]\d\d:\d\d)$")
_TOKENS: Final = 2
"""Tokens that a tool may need at once: its own and its user's, or those of two processes."""

_PER_REQUEST: Final = 3
"""Fewer requests to Graph than this do not show whether a token is reused."""


def _bearer(run: ToolRun) -> Iterator[Finding]:
    for one in run.graph:
        scheme = one.headers.get("authorization", "").partition(" ")[0]
        yield Finding(scheme.lower() == "bearer", f"Authorization: {scheme or 'none'}", one.number)


def _own_token(run: ToolRun) -> Iterator[Finding]:
    for one in run.graph:
        code = "" if one.status != 401 else str((one.answer_json() or {}).get("error", {}).get("message", ""))
        foreign = one.status == 401 and "expired" not in code
        if "authorization" not in one.headers:
            continue
        yield Finding(not foreign, f"{one.line()} {code}".strip(), one.number)


def _token_reused(run: ToolRun) -> Iterator[Finding]:
    if len(run.graph) >= _PER_REQUEST:
        requested, refused = len(run.tokens), sum(one.status == 401 for one in run.graph)
        text = f"{requested} tokens requested, {len(run.graph)} requests to Graph, {refused} of them refused with 401"
        yield Finding(requested <= _TOKENS + refused, text, run.tokens[-1].number if run.tokens else 0)


def _beta(run: ToolRun) -> Iterator[Finding]:
    for one in run.graph:
        if "userpfxcertificates" in one.path.lower():
            version = one.path.strip("/").partition("/")[0]
            yield Finding(version.lower() == "beta", f"requested /{version}", one.number)


def _json_body(run: ToolRun) -> Iterator[Finding]:
    for one in run.on_records("POST", "PATCH"):
        kind = one.headers.get("content-type", "none")
        yield Finding("json" in kind and isinstance(one.json(), dict), f"Content-Type: {kind}", one.number)


def _known_properties(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        unknown = sorted(n for n in up.body if n not in _PROPERTIES and "@" not in n)
        yield Finding(not unknown, f"unknown: {', '.join(unknown) or 'none'}", up.exchange.number)


def _required(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.exchange.method == "POST":
            missing = sorted(n for n in _REQUIRED if up.body.get(n) in (None, ""))
            yield Finding(not missing, f"missing: {', '.join(missing) or 'none'}", up.exchange.number)


def _enum_names(run: ToolRun) -> Iterator[Finding]:
    enums: dict[str, Any] = {"intendedPurpose": IntendedPurpose, "paddingScheme": PaddingScheme}
    for up in run.uploads:
        for name, enum in enums.items():
            if name in up.body:
                value = up.body[name]
                known = isinstance(value, str) and value.lower() in {m.name.lower() for m in enum}
                yield Finding(known, f"{name}: {value!r}", up.exchange.number)


def _offsets(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        for name in ("startDateTime", "expirationDateTime"):
            value = str(up.body.get(name, ""))
            if value:
                yield Finding(bool(_OFFSET.search(value)), f"{name}: {value}", up.exchange.number)


def _no_invented_id(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.exchange.method == "POST":
            yield Finding(not up.body.get("id"), f"id: {up.body.get('id')!r}", up.exchange.number)


def _client_request_id(run: ToolRun) -> Iterator[Finding]:
    for one in run.graph:
        there = "client-request-id" in one.headers
        yield Finding(there, f"{'a' if there else 'no'} client-request-id", one.number)


def _user_agent(run: ToolRun) -> Iterator[Finding]:
    for one in run.graph:
        agent = one.headers.get("user-agent", "")
        yield Finding(bool(agent), f"User-Agent: {agent or 'none'}", one.number)


RULES: Final = (
    Rule("signin-bearer", "sign-in", "must", "Every request to Graph carries a bearer token.",
         broken="A request to Graph carries no bearer token.",
         source="access-tokens", tip="Send `Authorization: Bearer TOKEN` with every request.", judge=_bearer),
    Rule("signin-own-token", "sign-in", "must", "The token is issued by the tenant, for Graph.",
         broken="Graph refuses the token: the tenant did not issue it, or it is not for Graph.",
         source="token-refusals", tip="Request it from the tenant's token endpoint with scope `{graph_url}/.default`.",
         judge=_own_token),
    Rule("signin-token-reused", "sign-in", "should", "A token is reused until it expires.",
         broken="New tokens are requested although earlier ones are still valid.",
         source="token-lifetime", tip="Cache the token for its `expires_in`.", judge=_token_reused),
    Rule("request-beta", "request form", "must", "Imported certificates are requested under /beta.",
         broken="Imported certificates are requested outside /beta.",
         source="record-type", tip="Start the path with /beta.", judge=_beta),
    Rule("request-json", "request form", "must", "A record is sent as one JSON object with its Content-Type.",
         broken="A record is not sent as one JSON object with its Content-Type.",
         source="json-content-type", tip="Send `Content-Type: application/json`.", judge=_json_body),
    Rule("request-known-properties", "request form", "must", "A record has only properties that its type defines.",
         broken="A record has a property that its type does not define.",
         source="record-properties", tip="Leave the property out.", judge=_known_properties),
    Rule("request-required", "request form", "must", "A new record has every property that delivery needs.",
         broken="A new record lacks a property that delivery needs.",
         source="record-properties",
         tip="Send thumbprint, user, purpose, dates, provider, key, padding, blob and password.", judge=_required),
    Rule("request-enum-names", "request form", "should", "Purpose and padding are sent by name.",
         broken="Purpose or padding is not sent by a name that Graph knows.",
         source="purpose-and-padding-names", tip="Send `smimeEncryption`, not 1.", judge=_enum_names),
    Rule("request-offsets", "request form", "must", "Dates carry a UTC offset.",
         broken="A date carries no UTC offset.",
         source="record-dates", tip="Write `2026-03-01T08:00:00Z`.", judge=_offsets),
    Rule("request-no-id", "request form", "should", "The service chooses the id of a new record.",
         broken="The tool chooses the id of a new record.",
         source="record-id", tip="Leave `id` out, or send it empty.", judge=_no_invented_id),
    Rule("request-client-request-id", "request form", "may", "Requests carry a client-request-id for support.",
         broken="A request carries no client-request-id.",
         source="response-headers", tip="Send a GUID as `client-request-id`, and log it.", judge=_client_request_id),
    Rule("request-user-agent", "request form", "may", "The client names itself in User-Agent.",
         broken="The client does not name itself in User-Agent.",
         source="user-agent", tip="Send a User-Agent with name and version.", judge=_user_agent),
)  # fmt: skip
