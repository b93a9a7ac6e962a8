"""Sign-ins with client assertions that are signed as they should be, around odd claims."""

import json
import ssl
from random import Random
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.emulator.entra.assertions import ASSERTION_TYPE
from pfxlab.scenarios.lab.lab import Lab
from tests.attack.recording import FORM, Recorded
from tests.emulator.entra.test_sign_in_flows import with_certificate
from tests.emulator.test_odd_input import signed

ODD_CLAIMS = (
    "Infinity", "-Infinity", "NaN", "1e400", "1e308", "-1", "0.5", "true", "null", "[]", "{}", "[[1]]", '""', '"x"',
    '"\\ud800"', '"\\u0000"', "9" * 400, "9" * 5000, "[" * 2000, '{"a": {"b": []}}', f'"{"A" * 9000}"',
)  # fmt: skip
"""Values as they are written in JSON, or in what is none."""

CLAIMS = ("iss", "sub", "aud", "exp", "nbf", "iat", "jti")


class Assertions:
    """Writes requests for tokens in the name of an application with a certificate."""

    def __init__(self, lab: Lab, key: rsa.RSAPrivateKey, certificate: x509.Certificate, tls: ssl.SSLContext) -> None:
        self._key, self._certificate, self._tls = key, certificate, tls
        self._app_id, self._lab = with_certificate(lab, certificate), lab

    def request(self, random: Random) -> Recorded:
        """Return a request whose assertion has an odd claim, or one twice."""
        now = int(self._lab.clock.now().timestamp())
        audience = f"{self._lab.authority_url}/oauth2/v2.0/token"
        sound = {"iss": self._app_id, "sub": self._app_id, "aud": audience, "exp": now + 600, "nbf": now, "jti": "1"}
        written = {name: json.dumps(value) for name, value in sound.items()}
        written[random.choice(CLAIMS)] = random.choice(ODD_CLAIMS)
        claims = "{" + ", ".join(f'"{name}": {value}' for name, value in written.items()) + "}"
        form = {
            "grant_type": "client_credentials", "client_id": self._app_id, "client_assertion_type": ASSERTION_TYPE,
            "scope": "https://graph.microsoft.com/.default",
            "client_assertion": signed(self._key, self._certificate, claims),
        }  # fmt: skip
        path = f"/{self._lab.operator.credentials.tenant_id}/oauth2/v2.0/token"
        return Recorded("POST", path, (("Content-Type", FORM),), urlencode(form).encode(), self._tls)
