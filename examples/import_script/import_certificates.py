"""Imports one PFX for one user into Intune: an administrator's script that knows Microsoft Graph and no lab."""

import argparse
import base64
import os
import sys
import time
from pathlib import Path

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

COLLECTION = "/beta/deviceManagement/userPfxCertificates"
ATTEMPTS = 5


def sign_in(authority: str, client_id: str, graph: str) -> str:
    """Return an access token of the application whose secret is in CLIENT_SECRET."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": os.environ["CLIENT_SECRET"],
        "scope": f"{graph}/.default",
    }
    answer = requests.post(f"{authority}/oauth2/v2.0/token", data=form, timeout=30)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def record_of(pfx: bytes, password: str, upn: str, key: rsa.RSAPublicKey, provider: str, key_name: str) -> dict:
    """Return the record to import."""
    certificate = pkcs12.load_pkcs12(pfx, password.encode()).cert.certificate
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA512()), algorithm=hashes.SHA512(), label=None)
    return {
        "thumbprint": certificate.fingerprint(hashes.SHA1()).hex(),
        "intendedPurpose": "smimeEncryption",
        "userPrincipalName": upn,
        "startDateTime": iso(certificate, "not_valid_before_utc"),
        "expirationDateTime": iso(certificate, "not_valid_after_utc"),
        "providerName": provider,
        "keyName": key_name,
        "paddingScheme": "oaepSha512",
        "encryptedPfxBlob": base64.b64encode(pfx).decode(),
        "encryptedPfxPassword": base64.b64encode(key.encrypt(password.encode("ascii"), oaep)).decode(),
    }


def iso(certificate: x509.Certificate, name: str) -> str:
    """Return a date of a certificate as Graph writes it."""
    return getattr(certificate, name).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_there(session: requests.Session, graph: str, record: dict) -> bool:
    """Return whether Graph has the record: after an unclear answer nothing may be sent twice."""
    upn, thumbprint = record["userPrincipalName"].replace("'", "''").lower(), record["thumbprint"]
    query = {"$filter": f"tolower(userPrincipalName) eq '{upn}' and tolower(thumbprint) eq '{thumbprint}'"}
    answer = session.get(f"{graph}{COLLECTION}", params=query, timeout=30)
    answer.raise_for_status()
    return bool(answer.json()["value"])


def import_record(session: requests.Session, graph: str, record: dict) -> None:
    """Create the record; wait when Graph says so, and look before repeating what may have been done."""
    for _ in range(ATTEMPTS):
        answer = session.post(f"{graph}{COLLECTION}", json=record, timeout=30)
        if answer.status_code == 201:
            return
        if answer.status_code == 429:
            time.sleep(float(answer.headers.get("Retry-After", 10)))
        elif answer.status_code >= 500:
            if is_there(session, graph, record):
                return
        else:
            sys.exit(f"Graph refused the record: {answer.status_code} {answer.text}")
    sys.exit("Graph did not take the record; try again later")


def main(arguments: list[str] | None = None) -> None:
    """Import what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", default="https://graph.microsoft.com")
    parser.add_argument("--authority", required=True, help="https://login.microsoftonline.com/TENANT")
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--public-key", type=Path, required=True, help="the connector's public key, PEM")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--key-name", required=True)
    parser.add_argument("--pfx", type=Path, required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--user", required=True)
    given = parser.parse_args(arguments)
    key = serialization.load_pem_public_key(given.public_key.read_bytes())
    password = given.password_file.read_text().splitlines()[0]
    record = record_of(given.pfx.read_bytes(), password, given.user, key, given.provider, given.key_name)
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {sign_in(given.authority, given.client_id, given.graph)}"
    import_record(session, given.graph, record)


if __name__ == "__main__":
    main()
