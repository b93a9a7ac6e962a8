"""The ClientCertificateInstall CSP of a Windows device: PFXCertInstall nodes, Atomic, installation, Status.

Sources: sources.md#pfx-csp-nodes, sources.md#pfx-csp-rules, sources.md#pfx-password-cms, sources.md#syncml-statuses.
"""

import base64
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pfxlab.device_sim import pkcs12
from pfxlab.device_sim.certstore import CertStore, Identity
from pfxlab.device_sim.cms import CannotDecrypt, decrypt
from pfxlab.device_sim.identity import MdmIdentity
from pfxlab.device_sim.trouble import Trouble
from pfxlab.emulator.wire.omadm import pfx_cert_install as csp
from pfxlab.emulator.wire.omadm.syncml import Atomic, Verb

Tree = dict[str, dict[str, str]]
"""URI of a UniqueID → node below it → value."""


@dataclass(frozen=True)
class CommandResult:
    """A command's Status code, its originalerror, and the value a Get found."""

    code: str
    original_error: str | None = None
    data: str | None = None
    format: str | None = None


OK: Final = CommandResult("200")
NOT_FOUND: Final = CommandResult("404", csp.NODE_NOT_FOUND)
NOT_ALLOWED: Final = CommandResult("405", csp.COMMAND_NOT_ALLOWED)
NEEDS_ATOMIC: Final = CommandResult("500", csp.REQUIRES_ATOMIC)
NO_USER: Final = CommandResult("500", csp.NO_IMPERSONATION_TARGET)
FAILED: Final = CommandResult("500")
EXISTS: Final = CommandResult("418")
BAD_REQUEST: Final = CommandResult("400")
ROLLED_BACK: Final = CommandResult("216")
NOT_EXECUTED: Final = CommandResult("215")


@dataclass(frozen=True)
class Behaviour:
    """What a PC has, and how it does what nobody has documented.

    Assumed: sources.md#pfx-exportable-default, sources.md#pfx-status-after-failure.

    `hello_container`: a Windows Hello container for KeyLocation 4. `strict_export`: PFXKeyExportable true with a key
    that is not software fails, in place of being ignored. `roll_back_failed_import`: a failed import takes the whole
    Atomic back, in place of leaving the node with its Status.
    """

    tpm: bool = True
    hello_container: bool = False
    strict_export: bool = False
    roll_back_failed_import: bool = False


_TROUBLES: Final = {Trouble.STORAGE_FULL: csp.ERROR_DISK_FULL, Trouble.REFUSES: csp.NTE_PERM}


class InstallFailed(Exception):
    """A PFX is not imported; `status` is what the Status node will say."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class PfxCertInstall:
    """The node tree of one device, in user and device scope, and the certificate store it fills."""

    def __init__(
        self,
        identity: MdmIdentity,
        store: CertStore,
        tree: Tree | None = None,
        behaviour: Behaviour | None = None,
        roots: tuple[str, ...] = (csp.USER_ROOT, csp.DEVICE_ROOT),
    ) -> None:
        self.identity, self._store = identity, store
        self.behaviour = behaviour or Behaviour()
        self.trouble: Trouble | None = None
        self.tree: Tree = tree or {}
        self._roots = roots

    def holds(self, uri: str) -> bool:
        """Return whether a URI lies in this tree."""
        return self._place(uri) is not None

    def _place(self, uri: str) -> tuple[str, str, str | None] | None:
        """Return (root, URI of the UniqueID or "", leaf node or None) for a URI, None outside the tree."""
        if uri == csp.DEVICE_CONTEXT_ROOT or uri.startswith(f"{csp.DEVICE_CONTEXT_ROOT}/"):
            uri = csp.DEVICE_ROOT + uri.removeprefix(csp.DEVICE_CONTEXT_ROOT)
        for root in self._roots:
            if uri == root:
                return root, "", None
            if uri.startswith(f"{root}/"):
                base, _, node = uri.removeprefix(f"{root}/").partition("/")
                return root, f"{root}/{base}", node or None
        return None

    def _node_of(self, verb: Verb) -> tuple[str, str | None] | None:
        place = self._place((verb.items[0].target or "") if verb.items else "")
        return None if place is None else place[1:]

    async def atomic(self, command: Atomic) -> tuple[CommandResult, list[CommandResult]]:
        """Carry out all commands or none; return the outcome of the whole and of each."""
        before = copy.deepcopy(self.tree)
        outcomes: list[CommandResult] = []
        deleted: list[str] = []
        for verb in command.commands:
            outcome = FAILED if verb.name not in ("Add", "Replace", "Delete") else self._change(verb, deleted)
            outcomes.append(outcome)
            if outcome.code != "200":
                self.tree = before
                return CommandResult("507"), self._rolled_back(outcomes, len(command.commands))
        touched = {name[0] for verb in command.commands if (name := self._node_of(verb)) and name[0] in self.tree}
        ready = all(_complete(self.tree[base]) for base in touched)
        imports = [await self.tried(base) for base in touched] if ready else []
        failed = any(isinstance(done, InstallFailed) for _, done in imports)
        if not ready or (failed and self.behaviour.roll_back_failed_import):
            self.tree = before
            return CommandResult("507"), [ROLLED_BACK for _ in command.commands]
        # From here on nothing is taken back: only now may the store change.
        for base in deleted:
            self._store.remove(base)
        for base, done in imports:
            self.settle(base, done)
        return OK, outcomes

    @staticmethod
    def _rolled_back(outcomes: Sequence[CommandResult], total: int) -> list[CommandResult]:
        earlier = [ROLLED_BACK for _ in outcomes[:-1]]
        return [*earlier, outcomes[-1], *(NOT_EXECUTED for _ in range(total - len(outcomes)))]

    def single(self, verb: Verb) -> CommandResult:
        """Carry out a command outside an Atomic: Get and Delete are allowed, changes are not."""
        name = self._node_of(verb)
        if name is None:
            return NOT_FOUND
        if verb.name == "Get":
            return self._get(verb.items[0].target or "", *name)
        if verb.name == "Delete" and name[1] is None:
            if self.tree.pop(name[0], None) is None:
                return NOT_FOUND
            self._store.remove(name[0])
            return OK
        return NEEDS_ATOMIC if verb.name in ("Add", "Replace") else NOT_ALLOWED

    def _get(self, uri: str, base: str, node: str | None) -> CommandResult:
        if not base:
            place = self._place(uri)
            root = "" if place is None else place[0]
            names = [base.removeprefix(f"{root}/") for base in self.tree if base.startswith(f"{root}/")]
            return CommandResult("200", data="/".join(names), format="node")
        nodes = self.tree.get(base)
        if nodes is None or (node is not None and node not in nodes):
            return NOT_FOUND
        if node is None:
            return CommandResult("200", data="/".join(nodes), format="node")
        if node == "Thumbprint" and self._store.get(base) is None:
            # Its user took the certificate away by hand: there is none to read a thumbprint of.
            return NOT_FOUND
        return CommandResult("200", data=nodes[node], format=csp.FORMATS[node])

    def _change(self, verb: Verb, deleted: list[str]) -> CommandResult:
        name = self._node_of(verb)
        if name is None or not name[0]:
            return NOT_FOUND
        base, node = name
        if node is None:
            if verb.name != "Delete":
                return self._add_interior(base)
            deleted.append(base)
            return NOT_FOUND if self.tree.pop(base, None) is None else OK
        if node in csp.READ_ONLY or verb.name == "Delete":
            return NOT_ALLOWED
        value = verb.items[0].data or ""
        if node not in csp.FORMATS:
            return NOT_FOUND
        if not _valid(node, value):
            return BAD_REQUEST
        nodes = self.tree.setdefault(base, {})
        if node == "PFXCertBlob" and (verb.name == "Add") == (node in nodes):
            return EXISTS if verb.name == "Add" else NOT_FOUND
        if verb.name == "Add" and node in nodes:
            return EXISTS
        nodes[node] = value
        return OK

    def _add_interior(self, base: str) -> CommandResult:
        if base in self.tree:
            return EXISTS
        self.tree[base] = {}
        return OK

    async def tried(self, base: str) -> "tuple[str, Identity | InstallFailed]":
        """Return what a node's PFX holds, or why it cannot be imported; nothing is stored yet."""
        try:
            return base, await self.open_pfx(base, self.tree[base])
        except InstallFailed as failed:
            return base, failed

    def settle(self, base: str, done: "Identity | InstallFailed") -> None:
        """Store what was imported; what PfxImportCertStore would say becomes the node's Status."""
        nodes = self.tree[base]
        nodes.pop("Thumbprint", None)
        if isinstance(done, InstallFailed):
            nodes["Status"] = str(done.status)
            return
        self._store.install(done)
        nodes["Thumbprint"] = done.thumbprint.upper()
        nodes["Status"] = "0"

    async def open_pfx(self, base: str, nodes: dict[str, str]) -> Identity:
        """Return what a node's PFX holds.

        Raises:
            InstallFailed: it cannot be imported.

        """
        if self.trouble is not None:
            raise InstallFailed(_TROUBLES[self.trouble])
        location = int(nodes["KeyLocation"])
        software = location == csp.KEY_LOCATION_SOFTWARE
        if location == csp.KEY_LOCATION_TPM and not self.behaviour.tpm:
            raise InstallFailed(csp.TBS_E_TPM_NOT_FOUND)
        if location == csp.KEY_LOCATION_HELLO and not (nodes.get("ContainerName") and self.behaviour.hello_container):
            raise InstallFailed(csp.NTE_NOT_SUPPORTED)
        if self.behaviour.strict_export and not software and nodes.get("PFXKeyExportable") == "true":
            raise InstallFailed(csp.NTE_NOT_SUPPORTED)
        try:
            opened = await pkcs12.open_container(_decoded(nodes["PFXCertBlob"]), self._password(nodes))
        except pkcs12.WrongPassword:
            raise InstallFailed(csp.ERROR_INVALID_PASSWORD) from None
        except (pkcs12.NotPkcs12, ValueError):
            raise InstallFailed(csp.CRYPT_E_BAD_ENCODE) from None
        if opened.key is None or opened.certificate is None:
            raise InstallFailed(csp.NTE_NOT_SUPPORTED)
        # The DDF's default is true, but only a software key may be exportable; absent with a TPM means no.
        exportable = software and nodes.get("PFXKeyExportable", "true") == "true"
        return Identity(base, opened.certificate, opened.key, exportable)

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
            except (CannotDecrypt, ValueError):
                continue
        raise InstallFailed(csp.NTE_BAD_DATA)


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
