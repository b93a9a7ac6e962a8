"""The ClientCertificateInstall CSP of a Windows device: PFXCertInstall nodes, Atomic, installation, Status.

Sources: CSP and DDF rules as digested in reference devices A1, A2, A6, A7.
"""

import base64
import binascii
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from device_sim import pkcs12
from device_sim.certstore import CertStore, Identity
from device_sim.cms import CannotDecrypt, decrypt
from device_sim.identity import MdmIdentity
from emulator.wire import pfx_cert_install as csp
from emulator.wire.syncml import Atomic, Verb

Tree = dict[str, dict[str, str]]
"""UniqueID → node → value."""


@dataclass(frozen=True)
class Outcome:
    """A command's Status code, its originalerror, and the value a Get found."""

    code: str
    original_error: str | None = None
    data: str | None = None
    format: str | None = None


OK: Final = Outcome("200")
NOT_FOUND: Final = Outcome("404", csp.NODE_NOT_FOUND)
NOT_ALLOWED: Final = Outcome("405", csp.COMMAND_NOT_ALLOWED)
NEEDS_ATOMIC: Final = Outcome("500", csp.REQUIRES_ATOMIC)
FAILED: Final = Outcome("500")
EXISTS: Final = Outcome("418")
BAD_REQUEST: Final = Outcome("400")
ROLLED_BACK: Final = Outcome("216")
NOT_EXECUTED: Final = Outcome("215")


@dataclass(frozen=True)
class Behaviour:
    """What a PC has, and how it does what nobody has documented (reference devices A2).

    `hello_container`: a Windows Hello container for KeyLocation 4. `strict_export`: PFXKeyExportable true with a key
    that is not software fails, in place of being ignored. `roll_back_failed_import`: a failed import takes the whole
    Atomic back, in place of leaving the node with its Status.
    """

    tpm: bool = True
    hello_container: bool = False
    strict_export: bool = False
    roll_back_failed_import: bool = False


class _InstallFailed(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class PfxCertInstall:
    """The node tree of one device's user, and the certificate store it fills."""

    def __init__(
        self, identity: MdmIdentity, store: CertStore, tree: Tree | None = None, behaviour: Behaviour | None = None
    ) -> None:
        self.identity, self._store = identity, store
        self.behaviour = behaviour or Behaviour()
        self.tree: Tree = tree or {}

    def atomic(self, command: Atomic) -> tuple[Outcome, list[Outcome]]:
        """Carry out all commands or none; return the outcome of the whole and of each."""
        before = copy.deepcopy(self.tree)
        outcomes: list[Outcome] = []
        deleted: list[str] = []
        for verb in command.commands:
            outcome = FAILED if verb.name not in ("Add", "Replace", "Delete") else self._change(verb, deleted)
            outcomes.append(outcome)
            if outcome.code != "200":
                self.tree = before
                return Outcome("507"), self._rolled_back(outcomes, len(command.commands))
        touched = {name[0] for verb in command.commands if (name := _node_of(verb)) and name[0] in self.tree}
        ready = all(_complete(self.tree[unique_id]) for unique_id in touched)
        imports = [self._tried(unique_id) for unique_id in touched] if ready else []
        failed = any(isinstance(done, _InstallFailed) for _, done in imports)
        if not ready or (failed and self.behaviour.roll_back_failed_import):
            self.tree = before
            return Outcome("507"), [ROLLED_BACK for _ in command.commands]
        # From here on nothing is taken back: only now may the store change.
        for unique_id in deleted:
            self._store.remove(_source(unique_id))
        for unique_id, done in imports:
            self._settle(unique_id, done)
        return OK, outcomes

    @staticmethod
    def _rolled_back(outcomes: Sequence[Outcome], total: int) -> list[Outcome]:
        earlier = [ROLLED_BACK for _ in outcomes[:-1]]
        return [*earlier, outcomes[-1], *(NOT_EXECUTED for _ in range(total - len(outcomes)))]

    def single(self, verb: Verb) -> Outcome:
        """Carry out a command outside an Atomic: Get and Delete are allowed, changes are not."""
        name = _node_of(verb)
        if name is None:
            return NOT_FOUND
        if verb.name == "Get":
            return self._get(*name)
        if verb.name == "Delete" and name[1] is None:
            if self.tree.pop(name[0], None) is None:
                return NOT_FOUND
            self._store.remove(_source(name[0]))
            return OK
        return NEEDS_ATOMIC if verb.name in ("Add", "Replace") else NOT_ALLOWED

    def _get(self, unique_id: str, node: str | None) -> Outcome:
        if not unique_id:
            return Outcome("200", data="/".join(self.tree), format="node")
        nodes = self.tree.get(unique_id)
        if nodes is None or (node is not None and node not in nodes):
            return NOT_FOUND
        if node is None:
            return Outcome("200", data="/".join(nodes), format="node")
        if node == "Thumbprint" and self._store.get(_source(unique_id)) is None:
            # Its user took the certificate away by hand: there is none to read a thumbprint of.
            return NOT_FOUND
        return Outcome("200", data=nodes[node], format=csp.FORMATS[node])

    def _change(self, verb: Verb, deleted: list[str]) -> Outcome:
        name = _node_of(verb)
        if name is None or not name[0]:
            return NOT_FOUND
        unique_id, node = name
        if node is None:
            if verb.name != "Delete":
                return self._add_interior(unique_id)
            deleted.append(unique_id)
            return NOT_FOUND if self.tree.pop(unique_id, None) is None else OK
        if node in csp.READ_ONLY or verb.name == "Delete":
            return NOT_ALLOWED
        value = verb.items[0].data or ""
        if node not in csp.FORMATS:
            return NOT_FOUND
        if not _valid(node, value):
            return BAD_REQUEST
        nodes = self.tree.setdefault(unique_id, {})
        if node == "PFXCertBlob" and (verb.name == "Add") == (node in nodes):
            return EXISTS if verb.name == "Add" else NOT_FOUND
        if verb.name == "Add" and node in nodes:
            return EXISTS
        nodes[node] = value
        return OK

    def _add_interior(self, unique_id: str) -> Outcome:
        if unique_id in self.tree:
            return EXISTS
        self.tree[unique_id] = {}
        return OK

    def _tried(self, unique_id: str) -> "tuple[str, Identity | _InstallFailed]":
        """Return what a node's PFX holds, or why it cannot be imported; nothing is stored yet."""
        try:
            return unique_id, self._import(unique_id, self.tree[unique_id])
        except _InstallFailed as failed:
            return unique_id, failed

    def _settle(self, unique_id: str, done: "Identity | _InstallFailed") -> None:
        """Store what was imported; what PfxImportCertStore would say becomes the node's Status."""
        nodes = self.tree[unique_id]
        nodes.pop("Thumbprint", None)
        if isinstance(done, _InstallFailed):
            nodes["Status"] = str(done.status)
            return
        self._store.install(done)
        nodes["Thumbprint"] = done.thumbprint.upper()
        nodes["Status"] = "0"

    def _import(self, unique_id: str, nodes: dict[str, str]) -> Identity:
        location = int(nodes["KeyLocation"])
        software = location == csp.KEY_LOCATION_SOFTWARE
        if location == csp.KEY_LOCATION_TPM and not self.behaviour.tpm:
            raise _InstallFailed(csp.TBS_E_TPM_NOT_FOUND)
        if location == csp.KEY_LOCATION_HELLO and not (nodes.get("ContainerName") and self.behaviour.hello_container):
            raise _InstallFailed(csp.NTE_NOT_SUPPORTED)
        if self.behaviour.strict_export and not software and nodes.get("PFXKeyExportable") == "true":
            raise _InstallFailed(csp.NTE_NOT_SUPPORTED)
        try:
            opened = pkcs12.open_container(_decoded(nodes["PFXCertBlob"]), self._password(nodes))
        except pkcs12.WrongPassword:
            raise _InstallFailed(csp.ERROR_INVALID_PASSWORD) from None
        except (pkcs12.NotPkcs12, binascii.Error):
            raise _InstallFailed(csp.CRYPT_E_BAD_ENCODE) from None
        if opened.key is None or opened.certificate is None:
            raise _InstallFailed(csp.NTE_NOT_SUPPORTED)
        # The DDF's default is true, but only a software key may be exportable; absent with a TPM means no.
        exportable = software and nodes.get("PFXKeyExportable", "true") == "true"
        return Identity(_source(unique_id), opened.certificate, opened.key, exportable)

    def _password(self, nodes: dict[str, str]) -> bytes:
        password, kind = nodes.get("PFXCertPassword", ""), int(nodes.get("PFXCertPasswordEncryptionType", "0"))
        if kind == 0:
            return password.encode()
        openers: list[MdmIdentity | Identity] = [self.identity]
        if kind == csp.ENCRYPTED_WITH_CERTIFICATE_OF_A_STORE:
            openers = [*self._store.identities()]
        for opener in openers:
            try:
                return decrypt(_decoded(password), opener.certificate, opener.key)
            except (CannotDecrypt, binascii.Error):
                continue
        raise _InstallFailed(csp.NTE_BAD_DATA)


def _complete(nodes: dict[str, str]) -> bool:
    """Return whether a certificate has all its nodes: the DDF's required ones, and those that others depend on."""
    kind = int(nodes.get("PFXCertPasswordEncryptionType", "0"))
    needed = {"KeyLocation", "PFXCertBlob"}
    needed |= {"PFXCertPassword"} if kind else set()
    needed |= {"PFXCertPasswordEncryptionStore"} if kind == csp.ENCRYPTED_WITH_CERTIFICATE_OF_A_STORE else set()
    return needed <= nodes.keys()


def _decoded(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


def _valid(node: str, value: str) -> bool:
    allowed = {
        "KeyLocation": ("1", "2", "3", "4"),
        "PFXCertPasswordEncryptionType": ("0", "1", "2"),
        "PFXKeyExportable": ("true", "false"),
    }
    return node not in allowed or value in allowed[node]


def _source(unique_id: str) -> str:
    return f"{csp.USER_ROOT}/{unique_id}"


def _node_of(verb: Verb) -> tuple[str, str | None] | None:
    """Return (UniqueID, leaf node or None) a command addresses, ("", None) for the root, None outside the tree."""
    target = (verb.items[0].target or "") if verb.items else ""
    if target == csp.USER_ROOT:
        return "", None
    rest = target.removeprefix(f"{csp.USER_ROOT}/")
    if rest == target:
        return None
    unique_id, _, node = rest.partition("/")
    return unique_id, node or None
