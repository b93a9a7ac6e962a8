"""Rules on the content of a record: identity, metadata, cryptography, secrets."""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

from pfxlab.emulator.journal.exchanges import Exchange
from pfxlab.scenarios.conformance import forensics
from pfxlab.scenarios.conformance.evidence import Finding, Given, Rule, ToolRun, Upload
from pfxlab.scenarios.conformance.scrub import forms

_MODULUS: Final = 256
_MASKED_BLOB: Final = "AA=="
_TOKEN_END: Final = 100
"""Characters at the end of a token, most of its signature, by which a part of it is known."""

_WARNING: Final = re.compile(r"\bwarn(ing|ed)?\b", re.IGNORECASE)
"""A warning from the tool itself. A library's, such as DeprecationWarning, does not match: no word boundary."""

_USAGE: Final = re.compile(r"key ?usage", re.IGNORECASE)


def _each(look: Callable[[Upload, Given], Iterator[Finding]]) -> Callable[[ToolRun], Iterator[Finding]]:
    """Return a judge that compares each upload with the certificate it was made from."""

    def judge(run: ToolRun) -> Iterator[Finding]:
        for up in run.uploads:
            if up.given is not None:
                yield from look(up, up.given)

    return judge


def _thumbprint(up: Upload, given: Given) -> Iterator[Finding]:
    sent = str(up.body.get("thumbprint", ""))
    plain = sent.replace(" ", "").replace(":", "").lower()
    if sent:
        yield Finding(plain == given.thumbprint, f"expected {given.thumbprint}, got {sent}", up.exchange.number)


def _thumbprint_form(up: Upload, _: Given) -> Iterator[Finding]:
    sent = str(up.body.get("thumbprint", ""))
    if sent:
        ok = sent == sent.lower() and sent.isalnum()
        yield Finding(ok, f"sent {sent}", up.exchange.number)


def _moment(text: str) -> datetime | None:
    try:
        head, dot, rest = text.replace("Z", "+00:00").partition(".")
        offset = rest.lstrip("0123456789")
        found = datetime.fromisoformat(head + offset if dot else head)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _start(up: Upload, given: Given) -> Iterator[Finding]:
    sent = str(up.body.get("startDateTime", ""))
    if sent:
        ok = _moment(sent) == _moment(given.start)
        yield Finding(ok, f"expected {given.start}, got {sent}", up.exchange.number)


def _end(up: Upload, given: Given) -> Iterator[Finding]:
    sent = str(up.body.get("expirationDateTime", ""))
    if sent:
        ok = _moment(sent) == _moment(given.end)
        yield Finding(ok, f"expected {given.end}, got {sent}", up.exchange.number)


def _upn(up: Upload, given: Given) -> Iterator[Finding]:
    sent = str(up.body.get("userPrincipalName", ""))
    if sent:
        yield Finding(sent.lower() == given.upn.lower(), f"expected {given.upn}, got {sent}", up.exchange.number)


def _purpose(up: Upload, given: Given) -> Iterator[Finding]:
    sent = str(up.body.get("intendedPurpose", ""))
    if sent and not sent.isdigit():
        yield Finding(
            sent.lower() == given.purpose.lower(), f"expected {given.purpose}, got {sent}", up.exchange.number
        )


def _key_names(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        sent = (str(up.body.get("providerName", "")), str(up.body.get("keyName", "")))
        if all(sent):
            ok = sent[0].lower() == run.provider.lower() and sent[1].lower() == run.key_name.lower()
            yield Finding(
                ok, f"expected {run.key_name} in {run.provider}, got {sent[1]} in {sent[0]}", up.exchange.number
            )


def _encrypted_to_connector(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.password.ciphertext is not None and len(up.password.ciphertext) == _MODULUS:
            ok = up.password.key_name == run.key_name
            opened = up.password.key_name or "a key that the lab does not hold"
            yield Finding(ok, f"expected {run.key_name}, got {opened}", up.exchange.number)


def _padding_declared(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        declared = str(up.body.get("paddingScheme", ""))
        if up.password.padding is not None and declared:
            ok = declared.lower() == up.password.padding.lower()
            yield Finding(ok, f"declared {declared}, used {up.password.padding}", up.exchange.number)


def _padding_processed(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.password.padding is not None:
            ok = up.password.padding in forensics.PROCESSED
            yield Finding(ok, f"encrypted with {up.password.padding}", up.exchange.number)


def _length(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.password.ciphertext and not up.password.in_clear:
            size = len(up.password.ciphertext)
            yield Finding(size == _MODULUS, f"expected {_MODULUS} bytes, got {size}", up.exchange.number)


def _encoded_once(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        value = up.body.get("encryptedPfxPassword")
        if value and not up.password.in_clear:
            ok = forensics.decoded(value) is not None and not up.password.encoded_twice
            how = "encoded twice" if up.password.encoded_twice else "standard base64" if ok else "not standard base64"
            yield Finding(ok, how, up.exchange.number)


def _ascii(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.password.clear is not None:
            strange = sum(byte > 127 for byte in up.password.clear)
            text = f"{strange} of {len(up.password.clear)} bytes of the password are not ASCII"
            yield Finding(not strange, text, up.exchange.number)


def _opens(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.container.is_pfx and up.password.clear is not None:
            wide = up.given is not None and up.password.clear == up.given.password.encode("utf-16-le")
            text = (
                "the decrypted password opens the PFX" if up.container.opens
                else f"the PFX was not opened, it holds {up.container.costly}" if up.container.costly
                else "the password was encrypted as UTF-16, which does not open the PFX" if wide
                else "the decrypted password does not open the PFX"
            )  # fmt: skip
            yield Finding(up.container.opens, text, up.exchange.number)


def _is_pfx(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        # A change with the masked value, as read, is judged by update-no-masked.
        masked = up.exchange.method == "PATCH" and up.body.get("encryptedPfxBlob") == _MASKED_BLOB
        if up.body.get("encryptedPfxBlob") not in (None, "") and not masked:
            text = (
                "encoded twice" if up.container.encoded_twice else "PKCS#12" if up.container.is_pfx else "not PKCS#12"
            )
            yield Finding(up.container.is_pfx, f"encryptedPfxBlob is {text}", up.exchange.number)


def _unchanged(up: Upload, given: Given) -> Iterator[Finding]:
    if up.container.is_pfx and up.container.modern == _is_modern(given):
        same = forensics.decoded(up.body.get("encryptedPfxBlob")) == given.pfx
        yield Finding(
            same, "the same bytes as the file" if same else "not the same bytes as the file", up.exchange.number
        )


def _one_key(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.container.leaf is not None:
            yield Finding(up.container.keys == 1, f"{up.container.keys} private keys", up.exchange.number)


def _no_chain(run: ToolRun) -> Iterator[Finding]:
    for up in run.uploads:
        if up.container.leaf is not None:
            others, warned = up.container.others, bool(_WARNING.search(run.output))
            if others and not run.facts.get("output_seen", True):
                continue
            text = f"{others} further certificates{', with a warning' if others and warned else ''}"
            yield Finding(others == 0 or warned, text, up.exchange.number)


def _old_platforms(up: Upload, given: Given) -> Iterator[Finding]:
    if up.container.leaf is not None and not _is_modern(given):
        text = "AES and SHA-2" if up.container.modern else "3DES and SHA-1"
        yield Finding(
            not up.container.modern, f"expected 3DES and SHA-1 as in the file, got {text}", up.exchange.number
        )


def _is_modern(given: Given) -> bool:
    return forensics.examine_pfx(base64.b64encode(given.pfx).decode(), [given.password.encode()]).modern


def _usage_fits(run: ToolRun) -> Iterator[Finding]:
    if run.module != "purpose-mismatch" or (run.succeeded and not run.facts.get("output_seen", True)):
        return
    warned = bool(_WARNING.search(run.output) or _USAGE.search(run.output))
    ok = not run.succeeded or warned
    if not ok and not run.uploads:
        # Nothing was imported: an exit code that does not say so is judged by truth.
        return
    text = "refused or warned" if ok else "imported a signing certificate for encryption without a warning"
    yield Finding(ok, text, run.uploads[0].exchange.number if run.uploads else 0)


def _places(one: Exchange) -> dict[str, str]:
    headers = {n: v for n, v in one.headers.items() if n != "authorization"}
    return {
        "URL": unquote(f"{one.path}?{one.query}"),
        "headers": " ".join(f"{n}: {v}" for n, v in headers.items()),
        "body": one.body.decode("utf-8", "replace"),
    }


def _clear_password(run: ToolRun) -> Iterator[Finding]:
    for one in run.exchanges:
        places = _places(one)
        for given in run.given:
            encoded = base64.b64encode(given.password.encode()).decode()
            found = [n for n, text in places.items() if given.password in text or encoded in text]
            yield Finding(not found, f"the PFX password in {', '.join(found) or 'no part of the request'}", one.number)


def _clear_key(run: ToolRun) -> Iterator[Finding]:
    for one in run.exchanges:
        data = one.body.decode("latin-1")
        for given in run.given:
            blob = (
                forensics.decoded((one.json() or {}).get("encryptedPfxBlob")) if isinstance(one.json(), dict) else None
            )
            found = "PRIVATE KEY" in data or given.key_material in (blob or b"") or given.key_material in one.body
            yield Finding(
                not found, "a private key in clear text" if found else "no private key in clear text", one.number
            )


def _secret_in_url(run: ToolRun) -> Iterator[Finding]:
    for one in run.exchanges:
        places = _places(one)
        held = {**run.secrets, "token": one.headers.get("authorization", "").partition(" ")[2]}
        found = [
            f"{name} in {place}"
            for name, secret in held.items()
            for place in ("URL", "headers")
            if len(secret) > 8 and secret in places[place]
        ]
        yield Finding(not found, ", ".join(found) or "no secret in URL or headers", one.number)


def _secret_to_graph(run: ToolRun) -> Iterator[Finding]:
    for one in run.graph:
        text = _places(one)["body"]
        found = [name for name, secret in run.secrets.items() if secret in text]
        yield Finding(not found, f"sent to Graph: {', '.join(found) or 'no sign-in secret'}", one.number)


def _secret_in_output(run: ToolRun) -> Iterator[Finding]:
    held = {**run.secrets, **{f"password of {g.upn}": g.password for g in run.given}}
    tokens = {one.headers.get("authorization", "").partition(" ")[2] for one in run.graph} - {""}
    found = [name for name, secret in held.items() if any(form in run.output for form in forms(secret))]
    found += ["the access token"] if any(token[-_TOKEN_END:] in run.output for token in tokens) else []
    yield Finding(not found, f"the tool printed {', '.join(found) or 'no secret'}")


RULES: Final = (
    Rule("identity-thumbprint", "identity", "must", "The thumbprint is the SHA-1 of the leaf certificate.",
         broken="The thumbprint is not the SHA-1 of the leaf certificate.",
         source="record-thumbprint", tip="Take the SHA-1 of the DER of the certificate that belongs to the key.",
         judge=_each(_thumbprint)),
    Rule("identity-thumbprint-form", "identity", "should",
         "The thumbprint is lower-case hexadecimal without separators.",
         broken="The thumbprint has capital letters or separators.",
         source="record-thumbprint", tip="Convert it to lower case and remove colons and spaces.",
         judge=_each(_thumbprint_form)),
    Rule("identity-start", "identity", "must", "startDateTime is the certificate's NotBefore.",
         broken="startDateTime is not the certificate's NotBefore.",
         source="record-dates", tip="Convert to UTC, or send the offset.", judge=_each(_start)),
    Rule("identity-end", "identity", "must", "expirationDateTime is the certificate's NotAfter.",
         broken="expirationDateTime is not the certificate's NotAfter.",
         source="record-dates", tip="Convert to UTC, or send the offset.", judge=_each(_end)),
    Rule("identity-user", "identity", "must", "The record names the intended user.",
         broken="The record names another user.",
         source="record-user", tip="Send the UPN unchanged.", judge=_each(_upn)),
    Rule("identity-purpose", "identity", "must", "The record has the requested purpose.",
         broken="The record has another purpose than the requested one.",
         source="intended-purpose", tip="Send the purpose's name.", judge=_each(_purpose)),
    Rule("identity-key-names", "identity", "must", "The record names the connector's provider and key.",
         broken="The record names another provider or key than the connector's.",
         source="provider-and-key-name", tip="Send provider and key name unchanged.", judge=_key_names),
    Rule("crypto-connector-key", "cryptography", "must", "The password is encrypted to the connector's key.",
         broken="The password is not encrypted to the connector's key.",
         source="secret-fields", tip="Encrypt with the public key file that belongs to provider and key name.",
         judge=_encrypted_to_connector),
    Rule("crypto-padding-declared", "cryptography", "must", "The declared padding is the one used.",
         broken="The declared padding is not the one used.",
         source="oaep-paddings", tip="Use OAEP with MGF1 of the same hash, and declare that hash.",
         judge=_padding_declared),
    Rule("crypto-padding-processed", "cryptography", "must", "The padding is one that connectors accept.",
         broken="The padding is one that connectors do not accept.",
         source="retired-paddings", tip="Use OAEP with SHA-256 or longer, for both the hash and MGF1.",
         judge=_padding_processed),
    Rule("crypto-length", "cryptography", "must", "The encrypted password is as long as the key's modulus.",
         broken="The encrypted password is not as long as the key's modulus.",
         source="oaep-length", tip="Send the bare RSA ciphertext, not a hybrid format.", judge=_length),
    Rule("crypto-base64", "cryptography", "must", "The encrypted password is encoded once, in standard base64.",
         broken="The encrypted password is not encoded once in standard base64.",
         source="record-base64", tip="Encode the ciphertext's bytes once, with + and /.", judge=_encoded_once),
    Rule("crypto-ascii", "cryptography", "must", "The password is ASCII.",
         broken="The password is not ASCII.",
         source="ascii-passwords", tip="Reject such passwords before sending.", judge=_ascii),
    Rule("crypto-password-opens", "cryptography", "must", "The encrypted password opens the PFX.",
         broken="The encrypted password does not open the PFX.",
         source="secret-fields", tip="Try it on the PFX before sending. Check password files for a trailing line end.",
         judge=_opens),
    Rule("crypto-pkcs12", "cryptography", "must", "encryptedPfxBlob is a PKCS#12 file in standard base64.",
         broken="encryptedPfxBlob is not a PKCS#12 file in standard base64.",
         source="pkcs12", tip="Send the bytes of the .pfx file, not PEM.", judge=_is_pfx),
    Rule("crypto-unchanged", "cryptography", "should", "The PFX is sent byte for byte.",
         broken="The PFX was changed before it was sent.",
         source="secret-fields", tip="Do not re-encode the PFX.", judge=_each(_unchanged)),
    Rule("crypto-one-key", "cryptography", "must", "The PFX holds one private key.",
         broken="The PFX does not hold exactly one private key.",
         source="apple-pkcs12-payload", tip="Export each certificate into a PFX of its own.", judge=_one_key),
    Rule("crypto-no-chain", "cryptography", "should", "The PFX holds no chain, or the tool warns about it.",
         broken="The PFX holds further certificates, and the tool does not warn.",
         source="apple-pkcs12-payload", tip="Reject a PFX with a chain, or warn.", judge=_no_chain),
    Rule("crypto-old-platforms", "cryptography", "should", "Old platforms can still open the PFX after the import.",
         broken="Old platforms cannot open the PFX after the import.",
         source="pkcs12-on-apple", tip="Keep 3DES and SHA-1 if the file uses them.", judge=_each(_old_platforms)),
    Rule("crypto-usage-fits", "cryptography", "should",
         "A certificate whose key usage does not fit the purpose is rejected, or the tool warns.",
         broken="A certificate whose key usage does not fit the purpose is imported without a warning.",
         source="purpose-is-a-tag", tip="Compare key usage and purpose; reject or warn.", judge=_usage_fits,
         modules=("purpose-mismatch",)),
    Rule("secret-password", "secrets", "must", "The PFX password is never sent in clear text.",
         broken="The PFX password is sent in clear text.",
         source="no-key-in-the-cloud", tip="Encrypt it, and send it nowhere else.", judge=_clear_password),
    Rule("secret-key", "secrets", "must", "No private key is sent in clear text.",
         broken="A private key is sent in clear text.",
         source="no-key-in-the-cloud", tip="Send the key only inside a password-protected PFX.", judge=_clear_key),
    Rule("secret-url", "secrets", "must", "No secret is in a URL or in a header other than Authorization.",
         broken="A secret is in a URL or in a header other than Authorization.",
         source="tokens-not-in-addresses", tip="Put secrets into the body and tokens into Authorization.",
         judge=_secret_in_url),
    Rule("secret-graph", "secrets", "must", "The application's secret is sent to the token endpoint only.",
         broken="The application's secret is sent to Graph.",
         source="client-secret-in-the-body", tip="Send Graph only the token.", judge=_secret_to_graph),
    Rule("secret-output", "secrets", "must", "The tool prints no password, secret or token.",
         broken="The tool prints a password, secret or token.",
         source="secrets-in-logs", tip="Leave secrets out of messages, error messages included.",
         judge=_secret_in_output),
)  # fmt: skip
