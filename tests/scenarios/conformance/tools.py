"""A small import tool that does everything right, and its variants with one flaw each, which verdicts must find.

It speaks HTTP by `requests` and runs in a thread of the test; each flaw is named after the rule it breaks.
"""

import asyncio
import base64
import csv
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12
from urllib3.util import SKIP_HEADER

from pfxlab.connector_sim.pfx import count_keys
from pfxlab.scenarios.conformance.tool import Ended
from pfxlab.scenarios.mail.authority import export_pfx

PATH = "/beta/deviceManagement/userPfxCertificates"
ATTEMPTS = 5


class Failed(Exception):
    """The tool ends with this message."""


def oaep(algorithm: hashes.HashAlgorithm) -> padding.OAEP:
    """Return OAEP with one hash for everything."""
    return padding.OAEP(padding.MGF1(algorithm), algorithm, None)


@dataclass
class Run:
    """One run of the tool."""

    plan: str
    flaw: str
    given: Mapping[str, str]
    printed: list[str] = field(default_factory=list)
    token: str = ""
    afterwards: Failed | None = None

    def __post_init__(self) -> None:
        """Open a session that trusts the lab."""
        self.session = requests.Session()
        self.session.verify = self.given["ca_file"]
        self.session.trust_env = False
        self.session.headers["User-Agent"] = "careful-import/1.0"

    # HTTP

    def sign_in(self) -> None:
        """Get a token."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.given["client_id"],
            "client_secret": self.given["client_secret"],
            "scope": f"{self.given['graph_url']}/.default",
        }
        url = f"{self.given['authority_url']}/oauth2/v2.0/token"
        if self.flaw == "secret-url":
            url += f"?client_secret={self.given['client_secret']}"
        answer = self.session.post(url, data=form)
        if answer.status_code != 200:
            raise Failed(f"sign-in: {answer.text}")
        self.token = answer.json()["access_token"]
        if self.flaw == "secret-output":
            self.printed.append(f"token: {self.token}")

    def once(self, method: str, url: str, body: Any = None, **headers: Any) -> requests.Response | None:
        """Send a request; return None without a response."""
        if self.flaw == "signin-token-reused":
            self.sign_in()
        sent = {"Authorization": f"Bearer {self.token}", "client-request-id": str(uuid.uuid4()), **headers}
        if self.flaw == "request-client-request-id":
            del sent["client-request-id"]
        if self.flaw == "request-user-agent":
            sent["User-Agent"] = SKIP_HEADER
        if self.flaw == "secret-password" and "password" in self.given:
            sent["X-Pfx-Password"] = self.given["password"]
        sent = {name: value for name, value in sent.items() if value is not None}
        url = url if url.startswith("https:") else self.given["graph_url"] + url
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            return self.session.request(method, url, data=data, headers=sent)
        except requests.RequestException:
            return None

    def call(self, method: str, url: str, body: Any = None) -> requests.Response | None:
        """Send a request, wait where Graph says so, and renew the token once."""
        renewed = False
        for attempt in range(1, 31):
            answer = self.once(method, url, body)
            if answer is None or answer.status_code < 400:
                return answer
            if answer.status_code == 429:
                if self.flaw == "recovers":
                    raise Failed("throttled")
                if attempt >= ATTEMPTS and self.flaw != "gives-up":
                    raise Failed("still throttled; try again later")
                time.sleep(self.pause(answer))
            elif answer.status_code == 401 and not renewed:
                renewed = True
                if self.flaw != "token-expiry":
                    self.sign_in()
            else:
                return answer
        raise Failed("gave up")

    def pause(self, answer: requests.Response) -> float:
        """Return how long to wait."""
        headers = answer.headers
        if "x-ms-retry-after-ms" in headers:
            return 0.0 if self.flaw == "wait-milliseconds" else float(headers["x-ms-retry-after-ms"]) / 1000
        text = headers.get("Retry-After")
        if text is None:
            return 0.0 if self.flaw == "wait-silent" else 0.6
        try:
            wait = float(text)
        except ValueError:
            if self.flaw == "wait-date":
                return 0.0
            return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        return 0.0 if self.flaw == ("wait-fraction" if "." in text else "wait-seconds") else wait

    # Records

    def open(self, path: Path, password: str) -> Any:
        """Return the content of a PFX, or end with a message."""
        try:
            return pkcs12.load_pkcs12(path.read_bytes(), password.encode())
        except ValueError:
            raise Failed(f"{path.name}: expected a PFX and its password") from None

    def record(self, path: Path, password: str, upn: str, purpose: str) -> dict[str, Any]:
        """Return the record of a PFX."""
        opened = self.open(path, password)
        certificate = opened.cert.certificate
        self.look(path, opened, purpose)
        if not password.isascii():
            self.careless(Failed("the password is not ASCII"), "crypto-ascii")
        data = self.blob(path, opened, password)
        thumbprint = certificate.fingerprint(hashes.SHA1()).hex()
        return self.body(
            data, password, upn, purpose, thumbprint, certificate.not_valid_before_utc, certificate.not_valid_after_utc
        )

    def look(self, path: Path, opened: Any, purpose: str) -> None:
        """Warn about what devices or connectors may refuse."""
        if opened.additional_certs and self.flaw != "crypto-no-chain":
            self.printed.append(f"WARNING {path.name} brings a chain")
        if count_keys(path.read_bytes()) > 1:
            self.careless(Failed(f"{path.name} holds several keys"), "crypto-one-key")
        usage = opened.cert.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        if purpose == "smimeEncryption" and not usage.key_encipherment and self.flaw != "crypto-usage-fits":
            self.printed.append(f"WARNING {path.name}: key usage does not fit the purpose")

    def careless(self, reason: Failed, flaw: str) -> None:
        """Refuse for a reason; with the flaw only after the import."""
        if self.flaw != flaw:
            raise reason
        self.afterwards = reason

    def blob(self, path: Path, opened: Any, password: str) -> bytes:
        """Return the bytes to send as PFX."""
        if self.flaw == "crypto-pkcs12":
            return bytes(opened.cert.certificate.public_bytes(serialization.Encoding.PEM))
        if self.flaw in ("crypto-unchanged", "crypto-old-platforms"):
            legacy = self.flaw == "crypto-unchanged"
            return export_pfx("again", opened.key, opened.cert.certificate, password, legacy=legacy)
        return path.read_bytes()

    def body(
        self, data: bytes, password: str, upn: str, purpose: str, thumbprint: str, start: datetime, end: datetime
    ) -> dict[str, Any]:
        """Return the record, changed by the flaw."""
        hours = {"identity-start": "startDateTime", "identity-end": "expirationDateTime"}
        dates = {
            "startDateTime": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "expirationDateTime": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if self.flaw in hours:
            dates[hours[self.flaw]] = dates[hours[self.flaw]].replace("Z", "+01:00")
        record = {
            "thumbprint": thumbprint.upper() if self.flaw == "identity-thumbprint-form" else thumbprint,
            "intendedPurpose": "vpn" if self.flaw == "identity-purpose" else purpose,
            "userPrincipalName": upn,
            **dates,
            "providerName": self.given["provider"],
            "keyName": "SomeOtherKey" if self.flaw == "identity-key-names" else self.given["key_name"],
            "paddingScheme": "oaepSha1" if self.flaw == "crypto-padding-processed" else "oaepSha512",
            "encryptedPfxBlob": base64.b64encode(data).decode(),
            "encryptedPfxPassword": base64.b64encode(self.encrypt(password)).decode(),
        }
        return {**record, "id": "mine"} if self.flaw == "request-no-id" else record

    def encrypt(self, password: str) -> bytes:
        """Return the encrypted password."""
        key = serialization.load_pem_public_key(Path(self.given["public_key_file"]).read_bytes())
        assert isinstance(key, rsa.RSAPublicKey)
        if self.flaw == "crypto-connector-key":
            key = OTHER_KEY.public_key()
        algorithms = {"crypto-padding-declared": hashes.SHA256(), "crypto-padding-processed": hashes.SHA1()}
        told = password + "\n" if self.flaw == "crypto-password-opens" else password
        done = key.encrypt(told.encode(), oaep(algorithms.get(self.flaw, hashes.SHA512())))
        if self.flaw == "crypto-length":
            return done + b"\0"
        return base64.b64encode(done) if self.flaw == "crypto-base64" else done

    def first_tries(self, record: dict[str, Any]) -> None:
        """Carry out what some flaws do first."""
        without: dict[str, dict[str, Any]] = {
            "signin-bearer": {"Authorization": None},
            "signin-own-token": {"Authorization": "Bearer a.b.c"},
        }
        bodies: dict[str, Any] = {
            "request-known-properties": {**record, "keyAlgorithm": "RSA"},
            "request-required": {n: v for n, v in record.items() if n != "encryptedPfxPassword"},
            "request-enum-names": {**record, "intendedPurpose": "1"},
            "request-offsets": {**record, "startDateTime": record["startDateTime"].rstrip("Z")},
            "identity-thumbprint": {**record, "thumbprint": "ab" * 20},
            "identity-user": {**record, "userPrincipalName": "user@pfxlab.example"},
        }
        if self.flaw in without:
            self.once("POST", PATH, record, **without[self.flaw])
        elif self.flaw in bodies:
            self.once("POST", PATH, bodies[self.flaw])
        elif self.flaw == "request-beta":
            self.once("POST", PATH.replace("beta", "v1.0"), record)
        elif self.flaw == "request-json":
            self.once("POST", PATH, json.dumps(record, indent=1).encode(), **{"Content-Type": "text/plain"})
        elif self.flaw == "secret-graph":
            self.once("GET", "/beta/users", {"client_secret": self.given["client_secret"]})
        elif self.flaw == "secret-key":
            pem = OTHER_KEY.private_bytes(serialization.Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
            self.once("POST", "/beta/me/backup", {"key": pem.decode()})
        elif self.flaw == "privilege-enough":
            self.once("GET", "/beta/groups")

    def look_up_user(self, upn: str) -> str:
        """Return a user's id."""
        text = upn.replace("'", "''")
        answer = self.call(
            "GET", f"/beta/users?$filter={quote(f'userPrincipalName eq {chr(39)}{text}{chr(39)}', safe='')}"
        )
        found = answer.json()["value"] if answer is not None and answer.status_code == 200 else []
        if not found:
            raise Failed(f"no user is named {upn}")
        return str(found[0]["id"])

    def exists(self, record: Mapping[str, Any]) -> bool:
        """Return whether Graph has a record."""
        return any(
            one["thumbprint"].lower() == record["thumbprint"].lower()
            for one in self.listed(record["userPrincipalName"])
        )

    def import_one(self, record: dict[str, Any]) -> None:
        """Create a record, never twice."""
        answer = self.call("POST", PATH, record)
        unclear = answer is None or answer.status_code >= 500 or (answer.ok and not _is_json(answer))
        if unclear:
            if self.flaw == "no-blind-repeat":
                self.once("POST", PATH, record)
                return
            if not self.exists(record):
                raise Failed("no clear answer came, and the record is not there")
            return
        assert answer is not None
        if answer.ok:
            if self.flaw == "odd-answers" and answer.status_code != 201:
                raise Failed(f"unexpected status {answer.status_code}")
            if self.flaw == "no-duplicate":
                self.once("POST", PATH, record)
            return
        if self.flaw == "refusal-final":
            for _ in range(2):
                self.once("POST", PATH, record)
        if self.flaw == "truth":
            self.printed.append("done")
            return
        raise Failed(f"Graph refused: {answer.status_code} {answer.text}")

    # Lists

    def listed(self, upn: str) -> list[dict[str, Any]]:
        """Return the records of a user, page by page."""
        quoted = upn.lower() if self.flaw == "filter-quotes" else upn.lower().replace("'", "''")
        text = f"tolower(userPrincipalName) eq '{quoted}'"
        link = (
            f"{self.given['graph_url']}{PATH}?$filter={text if self.flaw == 'filter-encoded' else quote(text, safe='')}"
        )
        if self.flaw == "filter-server":
            link = f"{self.given['graph_url']}{PATH}"
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        while link:
            if link in seen and len(seen) < 40 and self.flaw != "gives-up":
                raise Failed("the list goes in a circle")
            if link.split("/")[2] != self.given["graph_url"].split("/")[2] and self.flaw != "list-own-host":
                raise Failed("the list goes on at another host")
            seen.add(link)
            answer = self.call("GET", link)
            if answer is None or answer.status_code != 200:
                if self.flaw in ("filter-quotes", "filter-encoded"):
                    self.flaw = ""
                    return self.listed(upn)
                raise Failed(f"the list was refused: {None if answer is None else answer.text}")
            body = answer.json()
            found += body["value"]
            link = "" if self.flaw == "list-next-link" else body.get("@odata.nextLink", "")
        return found

    # Plans

    def import_plan(self) -> None:
        """Import one certificate."""
        given = self.given
        record = self.record(Path(given["pfx"]), given["password"], given["upn"], given["purpose"])
        if self.flaw == "works":
            raise Failed("not today")
        self.sign_in()
        if self.flaw != "privilege-unused":
            self.look_up_user(given["upn"])
        self.first_tries(record)
        self.import_one(record)
        if self.afterwards is not None:
            raise self.afterwards

    def bulk_plan(self) -> None:
        """Import the files of a manifest."""
        self.sign_in()
        manifest, failed = Path(self.given["manifest"]), []
        with manifest.open(encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        for row in rows:
            password = (manifest.parent / row["password_file"]).read_text().splitlines()[0]
            try:
                self.look_up_user(row["upn"])
                self.import_one(self.record(manifest.parent / row["pfx"], password, row["upn"], row["purpose"]))
            except Failed as error:
                failed.append(str(error))
                if self.flaw == "bulk-continues":
                    break
        if failed:
            raise Failed("; ".join(failed))

    def update_plan(self) -> None:
        """Change a record."""
        given = self.given
        record = self.record(Path(given["pfx"]), given["password"], given["upn"], given["purpose"])
        self.sign_in()
        user = self.look_up_user(given["upn"])
        if self.flaw == "update-patch":
            self.once("POST", PATH, record)
        if self.flaw == "update-key":
            self.once("PATCH", f"{PATH}/{user}-{given['thumbprint']}", record)
        if self.flaw == "update-no-masked":
            record |= {"encryptedPfxBlob": "AA==", "encryptedPfxPassword": ""}
        answer = self.call("PATCH", f"{PATH}/{user.replace('-', '')}-{given['thumbprint']}", record)
        if answer is None or not answer.ok:
            raise Failed(f"the change was refused: {None if answer is None else answer.status_code}")

    def remove_plan(self) -> None:
        """Remove a record."""
        self.sign_in()
        user = self.look_up_user(self.given["upn"])
        wanted = [f"{user.replace('-', '')}-{self.given['thumbprint']}"]
        if not any(one["thumbprint"] == self.given["thumbprint"] for one in self.listed(self.given["upn"])):
            raise Failed("there is no such record")
        if self.flaw == "remove-key":
            wanted.insert(0, f"{quote(self.given['upn'])}-{self.given['thumbprint']}")
        if self.flaw == "others-untouched":
            wanted += [one["id"] for one in self.listed("other@pfxlab.example")]
        for key in wanted:
            answer = self.call("DELETE", f"{PATH}/{key}")
            if answer is None or not answer.ok:
                raise Failed(f"the removal was refused: {None if answer is None else answer.status_code}")

    def read_plan(self) -> None:
        """Read a user's records."""
        self.sign_in()
        self.look_up_user(self.given["upn"])
        self.printed += [one["thumbprint"] for one in self.listed(self.given["upn"])]

    def main(self) -> int:
        """Run, and return the exit code."""
        try:
            getattr(self, f"{self.plan}_plan")()
        except Failed as error:
            trace = "Traceback (most recent call last):\n  File …\n"
            self.printed.append(f"{trace if self.flaw == 'failure-in-a-sentence' else ''}{error}")
            return 1
        finally:
            self.session.close()
        return 0


def _is_json(answer: requests.Response) -> bool:
    try:
        answer.json()
    except ValueError:
        return answer.status_code == 204
    return True


OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class SmallTool:
    """The tool for one plan, with one flaw or none."""

    plan: str
    flaw: str = ""
    kind: type[Run] = Run

    async def __call__(self, arguments: Mapping[str, str], variables: Mapping[str, str], seconds: float) -> Ended:
        """Run in a thread."""
        run = self.kind(self.plan, self.flaw, arguments)
        code = await asyncio.to_thread(run.main)
        return Ended(code, "\n".join(run.printed))
