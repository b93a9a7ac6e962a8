"""The on-premises validation: can this service account decrypt with this key? Follows OnPremValidation of PFXImport.

A line of PFXImportTestFile.txt has six fields, `plain:encrypted:provider:key:hash:padding`: the expected text, the
base64 of its encryption, where the key is, and how it was padded (sources.md#connector-validation). The result goes to
PFXImportTestResultsMarker.txt beside it. Microsoft's helper writes the texts there; ours names the line only.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pfxlab import private_file
from pfxlab.connector_sim.errors import ConnectorError
from pfxlab.connector_sim.keys.provider import Providers
from pfxlab.emulator.wire.enums import PaddingScheme

TEST_FILE: Final = "PFXImportTestFile.txt"
RESULT_FILE: Final = "PFXImportTestResultsMarker.txt"
_FIELDS: Final = 6
_OAEP_FLAG: Final = "4"
_SCHEMES: Final = {
    "SHA256": PaddingScheme.oaepSha256,
    "SHA384": PaddingScheme.oaepSha384,
    "SHA512": PaddingScheme.oaepSha512,
}


@dataclass(frozen=True)
class LineResult:
    """What came of a line; `text` holds neither the expected nor the decrypted value."""

    line: int
    passed: bool
    text: str


def check_line(number: int, line: str, providers: Providers) -> LineResult:
    """Return what comes of one line of a test file."""
    fields = line.split(":")
    if len(fields) != _FIELDS:
        expected = "plain:encrypted:provider:key:hash:padding"
        return LineResult(number, False, f"line {number}: expected {_FIELDS} fields ({expected}), got {len(fields)}")
    plain, encrypted, provider, key, digest, flags = fields
    if flags.strip() != _OAEP_FLAG or digest.upper() not in _SCHEMES:
        # What stands there is not repeated: where fields have slipped, it is the secret.
        wanted = f"padding 4 (OAEP) with {', '.join(_SCHEMES)}"
        return LineResult(number, False, f"line {number}: expected {wanted}, got something else")
    try:
        ciphertext = base64.b64decode(encrypted, validate=True)
        decrypted = providers.open(provider, key).decrypt(ciphertext, _SCHEMES[digest.upper()])
    except ValueError:
        return LineResult(number, False, f"line {number}: expected base64 as second field, got something else")
    except ConnectorError as error:
        return LineResult(number, False, f"line {number}: {error.code}: {error}")
    if decrypted.decode("ascii", "replace") != plain:
        return LineResult(
            number, False, f"line {number}: the key {key!r} decrypts it to another value than the first field"
        )
    return LineResult(number, True, f"line {number}: decrypted to the expected value with {key!r} of {provider}")


def validate(test_file: Path, providers: Providers) -> list[LineResult]:
    """Return what comes of every line, and leave it in the result file beside the test file.

    Raises:
        OSError: the test file cannot be read, or the result file not written.
        UnicodeDecodeError: the test file is no text.

    """
    lines = test_file.read_text("utf-8-sig").splitlines()
    outcomes = [check_line(n, line, providers) for n, line in enumerate(lines, 1) if line.strip()]
    text = "".join(f"{'Passed' if one.passed else 'Failed'}: {one.text}\n" for one in outcomes)
    private_file.replace(test_file.with_name(RESULT_FILE), text.encode())
    return outcomes
