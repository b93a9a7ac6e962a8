"""Imports a PFX with Microsoft's Graph SDK, written in the obvious way: one that looks right and was never tried."""

import asyncio
import base64
import os
import sys
from pathlib import Path

from azure.identity import ClientSecretCredential
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import pkcs12
from msgraph_beta import GraphServiceClient
from msgraph_beta.generated.models.user_p_f_x_certificate import UserPFXCertificate
from msgraph_beta.generated.models.user_pfx_intended_purpose import UserPfxIntendedPurpose
from msgraph_beta.generated.models.user_pfx_padding_scheme import UserPfxPaddingScheme


async def main(pfx: str, password_file: str, upn: str, public_key: str, provider: str, key_name: str) -> None:
    """Import one PFX for one user."""
    data, password = Path(pfx).read_bytes(), Path(password_file).read_text()
    certificate = pkcs12.load_pkcs12(data, password.strip().encode()).cert.certificate
    key = serialization.load_pem_public_key(Path(public_key).read_bytes())
    encrypted = key.encrypt(password.encode(), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    credential = ClientSecretCredential(
        os.environ["AZURE_TENANT_ID"],
        os.environ["AZURE_CLIENT_ID"],
        os.environ["AZURE_CLIENT_SECRET"],
        authority=os.environ["AZURE_AUTHORITY_HOST"],
        disable_instance_discovery=True,
    )
    client = GraphServiceClient(credential, scopes=["https://graph.microsoft.com/.default"])
    client.request_adapter.base_url = os.environ["PFXLAB_GRAPH_URL"] + "/beta"
    record = UserPFXCertificate(
        thumbprint=certificate.fingerprint(hashes.SHA1()).hex().upper(),
        intended_purpose=UserPfxIntendedPurpose.SmimeEncryption,
        user_principal_name=upn,
        start_date_time=certificate.not_valid_before_utc,
        expiration_date_time=certificate.not_valid_after_utc,
        provider_name=provider,
        key_name=key_name,
        padding_scheme=UserPfxPaddingScheme.OaepSha512,
        encrypted_pfx_blob=base64.b64encode(data),
        encrypted_pfx_password=base64.b64encode(encrypted).decode(),
    )
    created = await client.device_management.user_pfx_certificates.post(record)
    print("imported", created.id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
