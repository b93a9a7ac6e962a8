"""/deviceManagement/userPfxCertificates: imported certificates.

Sources: sources.md#record-type, sources.md#record-operations, sources.md#record-id, sources.md#masked-reads,
sources.md#duplicate-post, sources.md#delete-without-effect.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from pfxlab.emulator.entra.principals.users import is_licensed
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.bodies import check, read_json
from pfxlab.emulator.graph.collection import Collection
from pfxlab.emulator.graph.etags import check_precondition, with_etag
from pfxlab.emulator.graph.intune.import_notes import is_sha1, notes_on
from pfxlab.emulator.graph.odata.types import check_type
from pfxlab.emulator.graph.permissions import PFX_READ, PFX_WRITE
from pfxlab.emulator.graph.request import Answer, GraphRequest, Json
from pfxlab.emulator.graph.router import Route, Router
from pfxlab.emulator.intune.deliveries import certificates_changed
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.lists.views import CERTIFICATES, CERTIFICATES_WITHOUT_CIPHERTEXT
from pfxlab.emulator.store.pfx_certificates import PfxCertificate, from_row
from pfxlab.emulator.wire.edm import format_binary, format_date_time, parse_binary, parse_date_time, seventh_digit
from pfxlab.emulator.wire.enums import IntendedPurpose, PaddingScheme, parse_member
from pfxlab.emulator.wire.ids import parse_record_id, record_id
from pfxlab.emulator.wire.text import quoted

FRAGMENT = "deviceManagement/userPfxCertificates"
TYPE = "userPFXCertificate"
MASKED_BLOB = "AA=="
MASKED_PASSWORD = ""
_FIELDS = {
    "id": CERTIFICATES["id"],
    "thumbprint": CERTIFICATES["thumbprint"],
    "userPrincipalName": CERTIFICATES["user_principal_name"],
    "intendedPurpose": CERTIFICATES["intended_purpose"],
    "startDateTime": CERTIFICATES["start_date"],
    "expirationDateTime": CERTIFICATES["expiration_date"],
    "providerName": CERTIFICATES["provider_name"],
    "keyName": CERTIFICATES["key_name"],
    "paddingScheme": CERTIFICATES["padding_scheme"],
    "createdDateTime": CERTIFICATES["created"],
    "lastModifiedDateTime": CERTIFICATES["last_modified"],
}
_COLUMNS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "thumbprint": ("thumbprint", str),
    "userPrincipalName": ("user_principal_name", str),
    "intendedPurpose": ("intended_purpose", lambda text: parse_member(IntendedPurpose, text)),
    "startDateTime": ("start_date", parse_date_time),
    "expirationDateTime": ("expiration_date", parse_date_time),
    "providerName": ("provider_name", str),
    "keyName": ("key_name", str),
    "paddingScheme": ("padding_scheme", lambda text: parse_member(PaddingScheme, text)),
    "encryptedPfxBlob": ("encrypted_pfx_blob", parse_binary),
    "encryptedPfxPassword": ("encrypted_pfx_password", str),
}
_SEVENTH_DIGITS = {"startDateTime": "start_seventh", "expirationDateTime": "expiration_seventh"}
_REQUIRED = (
    "thumbprint", "userPrincipalName", "startDateTime", "expirationDateTime", "encryptedPfxBlob",
    "encryptedPfxPassword",
)  # fmt: skip
_SECRETS = {"encryptedPfxBlob": MASKED_BLOB, "encryptedPfxPassword": MASKED_PASSWORD}
_DELIVERED = ("encrypted_pfx_blob", "encrypted_pfx_password", "provider_name", "key_name", "padding_scheme")
_LEGACY_PADDING = (PaddingScheme.pkcs1, PaddingScheme.oaepSha1)


def to_json(record: PfxCertificate, *, masked: bool = True) -> Json:
    """Return the public entity; ciphertext is masked, whoever reads, unless the switch mask_reads is off."""
    return {
        "id": record.id,
        "thumbprint": record.thumbprint,
        "intendedPurpose": record.intended_purpose.name,
        "userPrincipalName": record.user_principal_name,
        "startDateTime": format_date_time(record.start_date, record.start_seventh),
        "expirationDateTime": format_date_time(record.expiration_date, record.expiration_seventh),
        "providerName": record.provider_name,
        "keyName": record.key_name,
        "paddingScheme": record.padding_scheme.name,
        "encryptedPfxBlob": MASKED_BLOB if masked else format_binary(record.encrypted_pfx_blob),
        "encryptedPfxPassword": MASKED_PASSWORD if masked else record.encrypted_pfx_password,
        "createdDateTime": format_date_time(record.created),
        "lastModifiedDateTime": format_date_time(record.last_modified),
    }


def _row_to_json(row: Row) -> Json:
    return to_json(from_row(row))


_COLLECTION = Collection(FRAGMENT, CERTIFICATES_WITHOUT_CIPHERTEXT, _FIELDS, TYPE, _row_to_json)
_UNMASKED = Collection(FRAGMENT, CERTIFICATES, _FIELDS, TYPE, lambda row: to_json(from_row(row), masked=False))


def _values(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body's writable properties as column values; nulls count as absent."""
    present = {name: value for name, value in body.items() if name in _COLUMNS and value is not None}
    values = {_COLUMNS[name][0]: _COLUMNS[name][1](value) for name, value in present.items()}
    digits = {column: seventh_digit(present[name]) for name, column in _SEVENTH_DIGITS.items() if name in present}
    return {**values, **digits}


def _entity(request: GraphRequest, record: PfxCertificate) -> Json:
    masked = request.cloud.config.switches.mask_reads == "on"
    entity = {"@odata.context": request.context(f"{FRAGMENT}/$entity"), **to_json(record, masked=masked)}
    return with_etag(request, entity, record.last_modified)


def _refuse(rule: str, reason: str) -> errors.GraphError:
    return errors.intune_bad_request(errors.PFX_SERVICE, reason, rule)


def list_all(request: GraphRequest) -> Answer:
    """GET the collection."""
    switches = request.cloud.config.switches
    collection = _COLLECTION if switches.mask_reads == "on" else _UNMASKED
    return collection.page(request, switches.page_size)


def count(request: GraphRequest) -> Answer:
    """GET /$count: digits as plain text."""
    return Answer(200, str(_COLLECTION.count(request)))


def _find(request: GraphRequest) -> PfxCertificate:
    record = request.cloud.certificates.get(request.caller.tenant_id, request.keys[0])
    if record is None:
        raise errors.intune_not_found(
            errors.PFX_SERVICE, f"no imported certificate has the key {quoted(request.keys[0])}"
        )
    return record


def get(request: GraphRequest) -> Answer:
    """GET one record."""
    return Answer(200, request.query.project(_entity(request, _find(request))))


def _resolve_user(request: GraphRequest, upn: str) -> Row:
    user = request.cloud.directory.user(request.caller.tenant_id, upn)
    if user is None or user["user_principal_name"].lower() != upn.lower():
        raise _refuse("UserUnknown", f"userPrincipalName: no user of this tenant is named {quoted(upn)}")
    if request.cloud.config.switches.unlicensed_user == "reject400" and not is_licensed(user):
        raise _refuse("UserUnlicensed", f"userPrincipalName: {quoted(upn)} has no licence for Intune")
    return user


def _check_padding(request: GraphRequest, values: dict[str, Any]) -> None:
    if request.cloud.config.switches.legacy_padding == "reject400" and values.get("padding_scheme") in _LEGACY_PADDING:
        raise _refuse("PaddingRetired", f"paddingScheme {values['padding_scheme'].name} is no longer supported")


def _check_thumbprint(request: GraphRequest, thumbprint: str) -> None:
    if request.cloud.config.switches.odd_thumbprint == "reject400" and not is_sha1(thumbprint):
        raise _refuse("ThumbprintForm", f"thumbprint: expected 40 hexadecimal digits, got {quoted(thumbprint)}")


def create(request: GraphRequest) -> Answer:
    """POST: import a certificate for the user its UPN names."""
    cloud, body = request.cloud, read_json(request)
    check_type(body, TYPE)
    check(TYPE, TYPE, body, errors.PFX_SERVICE)
    values = _values(body)
    empty = [name for name in _REQUIRED if not values.get(_COLUMNS[name][0])]
    if empty:
        raise _refuse("PropertyMissing", f"expected {', '.join(empty)}, got empty values")
    _check_padding(request, values)
    _check_thumbprint(request, values["thumbprint"])
    user = _resolve_user(request, values["user_principal_name"])
    now = cloud.clock.now()
    defaults = {
        "intended_purpose": IntendedPurpose.unassigned,
        "provider_name": "",
        "key_name": "",
        "padding_scheme": PaddingScheme.none,
    }
    record = PfxCertificate(
        **{**defaults, **values},
        id=record_id(user["id"], values["thumbprint"]),
        tenant_id=request.caller.tenant_id,
        user_id=user["id"],
        created=now,
        last_modified=now,
    )
    with cloud.store.atomic():
        fresh = cloud.certificates.add(record)
        if not fresh:
            record = _duplicate(request, record)
            cloud.certificates.save(record)
        certificates_changed(cloud, record.user_id, None if fresh else record.id)
    location = f"{request.root}/{FRAGMENT}('{quote(record.id)}')"
    return Answer(201, _entity(request, record), {"Location": location}, tuple(notes_on(record)), _facts(record))


def _facts(record: PfxCertificate) -> dict[str, Any]:
    return {
        "certificate": record.id,
        "purpose": record.intended_purpose.name,
        "padding": record.padding_scheme.name,
        "blob_bytes": len(record.encrypted_pfx_blob),
    }


def _duplicate(request: GraphRequest, record: PfxCertificate) -> PfxCertificate:
    reason = f"this user already has a record with the thumbprint {record.thumbprint}; PATCH changes it"
    match request.cloud.config.switches.duplicate_post:
        case "reject400":
            raise _refuse("Duplicate", reason)
        case "conflict409":
            raise errors.intune_conflict(errors.PFX_SERVICE, reason)
        case "upsert":
            existing = request.cloud.certificates.get(record.tenant_id, record.id)
            return record if existing is None else record.changed({"created": existing.created})


def update(request: GraphRequest) -> Answer:
    """PATCH: change what the body names; a read-back mask in it leaves the secret as it is."""
    cloud, body = request.cloud, read_json(request)
    record = _find(request)
    check_precondition(request, record.last_modified)
    check_type(body, TYPE)
    check(TYPE, TYPE, body, errors.PFX_SERVICE, partial=True)
    if cloud.config.switches.masked_values_in_patch == "ignore":
        body = {name: value for name, value in body.items() if _SECRETS.get(name) != value or name not in _SECRETS}
    values = _values(body)
    _check_padding(request, values)
    _check_identity(record, values)
    changed = record.changed({**values, "last_modified": cloud.clock.now()})
    with cloud.store.atomic():
        cloud.certificates.save(changed)
        facts = {"certificate": record.id, "properties": sorted(values)}
        content = any(getattr(changed, name) != getattr(record, name) for name in _DELIVERED)
        certificates_changed(cloud, record.user_id, record.id if content else None)
    if cloud.config.switches.code_profile == "documented":
        return Answer(200, _entity(request, changed), notes=tuple(notes_on(changed)), facts=facts)
    return Answer(204, notes=tuple(notes_on(changed)), facts=facts)


def _check_identity(record: PfxCertificate, values: dict[str, Any]) -> None:
    """Keep the parts of the key: the id is made of them, so a change would be another record."""
    thumbprint = values.get("thumbprint", record.thumbprint)
    if thumbprint.lower() != record.thumbprint.lower():
        raise _refuse("IdentityChanged", f"expected the record's own thumbprint {record.thumbprint}, got {thumbprint}")
    upn = values.pop("user_principal_name", record.user_principal_name)
    if upn.lower() != record.user_principal_name.lower():
        reason = f"expected the record's own userPrincipalName {record.user_principal_name}, got {upn}"
        raise _refuse("IdentityChanged", reason)


def put(request: GraphRequest) -> Answer:
    """PUT is refused with 400."""
    raise errors.put_refused(errors.PFX_SERVICE)


def delete(request: GraphRequest) -> Answer:
    """DELETE: a key that matches nothing is answered 204 too, unless the switch says otherwise."""
    cloud, key = request.cloud, request.keys[0]
    present = cloud.certificates.get(request.caller.tenant_id, key) if request.if_match is not None else None
    if present is not None:
        check_precondition(request, present.last_modified)
    with cloud.store.atomic():
        if cloud.certificates.delete(request.caller.tenant_id, key, cloud.clock.now()):
            certificates_changed(cloud, parse_record_id(key).user_id)
            return Answer(204, facts={"certificate": key.lower()})
    reason = f"no imported certificate has the key {quoted(key)}"
    if cloud.config.switches.delete_missing == "404":
        raise errors.intune_not_found(errors.PFX_SERVICE, reason)
    return Answer(204, notes=(f"EntityUnknown: {reason}; nothing was deleted",))


def add_routes(router: Router) -> None:
    """Register the resource; it exists in beta only."""
    beta = ("beta",)
    router.add("GET", FRAGMENT, Route(list_all, PFX_READ, beta))
    router.add("POST", FRAGMENT, Route(create, PFX_WRITE, beta))
    router.add("PUT", f"{FRAGMENT}/{{}}", Route(put, PFX_WRITE, beta))
    router.add("GET", f"{FRAGMENT}/$count", Route(count, PFX_READ, beta))
    router.add("GET", f"{FRAGMENT}/{{}}", Route(get, PFX_READ, beta))
    router.add("PATCH", f"{FRAGMENT}/{{}}", Route(update, PFX_WRITE, beta))
    router.add("DELETE", f"{FRAGMENT}/{{}}", Route(delete, PFX_WRITE, beta))
