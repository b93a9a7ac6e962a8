"""The OpenSSL command line as an independent witness: encrypts mail, verifies signatures. Not our code."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding


class OpenSslMissing(Exception):
    """The openssl command is not on this machine."""


class OpenSslFailed(Exception):
    """The openssl command ended with an error; the text is its last line."""


class OpenSsl:
    """The `openssl` command."""

    def __init__(self) -> None:
        found = shutil.which("openssl")
        if found is None:
            raise OpenSslMissing(
                "expected the openssl command, which encrypts and verifies the test mails, got none on PATH; "
                "install OpenSSL 3 (Debian: apt-get install openssl)"
            )
        self._command = found

    async def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Return the command's output.

        Raises:
            OpenSslFailed: it ended with another code than 0; what it wrote then is worthless.

        """
        process = await asyncio.create_subprocess_exec(
            self._command,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin)
        if process.returncode != 0:
            lines = err.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
            raise OpenSslFailed(lines[-1])
        return out

    async def encrypt_mail(
        self, text: bytes, to: x509.Certificate, cipher: str = "-aes256", *, oaep: bool = False
    ) -> bytes:
        """Return an S/MIME mail encrypted to a certificate."""
        with tempfile.TemporaryDirectory() as folder:
            recipient = _write(Path(folder) / "recipient.pem", to)
            options = ["-keyopt", "rsa_padding_mode:oaep"] if oaep else []
            arguments = ["cms", "-encrypt", cipher, "-text", "-outform", "SMIME", "-recip", recipient, *options]
            return await self.run(*arguments, stdin=text)

    async def verify_mail(self, mail: bytes, trusted: x509.Certificate, *, is_root: bool = True) -> bytes:
        """Return the text of a signed mail whose signature and chain verify.

        `is_root` False trusts the signer's certificate itself, for chains whose root we do not have.

        Raises:
            OpenSslFailed: signature, chain, dates or purpose do not hold.

        """
        with tempfile.TemporaryDirectory() as folder:
            anchor = _write(Path(folder) / "anchor.pem", trusted)
            options = [] if is_root else ["-partial_chain"]
            arguments = ["cms", "-verify", "-inform", "SMIME", "-text", "-purpose", "smimesign", "-CAfile", anchor]
            return await self.run(*arguments, *options, stdin=mail)


def _write(path: Path, certificate: x509.Certificate) -> str:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return str(path)
