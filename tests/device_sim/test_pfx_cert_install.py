import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pfxlab.connector_sim.cms import envelop
from pfxlab.device_sim.certstore import CertStore
from pfxlab.device_sim.identity import MdmIdentity
from pfxlab.device_sim.omadm.pfx_cert_install import Behaviour, PfxCertInstall
from pfxlab.emulator.wire.omadm import pfx_cert_install as csp
from pfxlab.emulator.wire.omadm.syncml import Atomic, Item, Verb
from pfxlab.scenarios.mail.authority import export_pfx
from tests.behaviour import behaviour
from tests.conftest import self_signed

ID = "6F9619FF-8B86-D011-B42D-00CF4FC964FF"
PASSWORD = "correct horse"


@pytest.fixture
def mdm(other_key: rsa.RSAPrivateKey) -> MdmIdentity:
    """Return a device's MDM identity."""
    return MdmIdentity("device", self_signed(other_key), other_key)


@pytest.fixture
def tree(mdm: MdmIdentity) -> PfxCertInstall:
    """Return the CSP of a device with a TPM."""
    return PfxCertInstall(mdm, CertStore())


def b64(data: bytes) -> str:
    """Return base64 text."""
    return base64.b64encode(data).decode()


@pytest.fixture
def nodes(mdm: MdmIdentity, rsa_key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> dict[str, str]:
    """Return the nodes of a right delivery."""
    recipient = mdm.certificate.public_bytes(serialization.Encoding.DER)
    return {
        "KeyLocation": "3",
        "PFXCertPasswordEncryptionType": "1",
        "PFXCertPassword": b64(envelop(PASSWORD.encode(), recipient)),
        "PFXKeyExportable": "true",
        "PFXCertBlob": b64(export_pfx("n", rsa_key, certificate, PASSWORD)),
    }


def add(nodes: dict[str, str], verb: str = "Add") -> Atomic:
    """Return one Atomic that sets these nodes."""
    commands = [
        Verb(verb, str(n), (Item(target=f"{csp.USER_ROOT}/{ID}/{name}", data=value),))
        for n, (name, value) in enumerate(nodes.items(), 2)
    ]
    return Atomic("1", tuple(commands))


def get(tree: PfxCertInstall, node: str) -> str | None:
    """Return the value of a node."""
    return tree.single(Verb("Get", "1", (Item(target=f"{csp.USER_ROOT}/{ID}/{node}"),))).data


@behaviour(
    "how a PFX arrives",
    "Windows",
    "PFXCertInstall nodes, password as CMS for the MDM certificate",
    source="pfx-password-cms",
)
async def test_right_delivery_is_installed(
    tree: PfxCertInstall, nodes: dict[str, str], certificate: x509.Certificate
) -> None:
    """A right Atomic ends with 200 for each command, Status 0 and the certificate's thumbprint."""
    whole, parts = await tree.atomic(add(nodes))
    assert (whole.code, {part.code for part in parts}) == ("200", {"200"})
    assert get(tree, "Status") == "0"
    installed = tree._store.get(f"{csp.USER_ROOT}/{ID}")
    assert installed is not None
    assert installed.certificate == certificate
    assert get(tree, "Thumbprint") == installed.thumbprint.upper()
    assert installed.exportable


@pytest.mark.parametrize("order", [1, -1])
async def test_order_inside_the_atomic_does_not_matter(tree: PfxCertInstall, nodes: dict[str, str], order: int) -> None:
    """The blob may come before or after the password: installation happens at the end of the Atomic."""
    await tree.atomic(add(dict(list(nodes.items())[::order])))
    assert get(tree, "Status") == "0"


@pytest.mark.parametrize(
    ("node", "value", "status"),
    [
        ("PFXCertPassword", b64(b"no CMS"), csp.NTE_BAD_DATA),
        ("PFXCertPassword", "*", csp.NTE_BAD_DATA),
        ("PFXCertBlob", b64(b"no PFX"), csp.CRYPT_E_BAD_ENCODE),
        ("PFXCertBlob", "*", csp.CRYPT_E_BAD_ENCODE),
        ("PFXCertPasswordEncryptionType", "0", csp.ERROR_INVALID_PASSWORD),
        ("KeyLocation", "4", csp.NTE_NOT_SUPPORTED),
    ],
)
async def test_failed_import_shows_its_reason_as_status(
    tree: PfxCertInstall, nodes: dict[str, str], node: str, value: str, status: int
) -> None:
    """On failure Status has the error of PFXImportCertStore, there is no thumbprint and nothing is stored."""
    whole, _ = await tree.atomic(add({**nodes, node: value}))
    assert whole.code == "200"
    assert get(tree, "Status") == str(status)
    assert get(tree, "Thumbprint") is None
    assert tree._store.identities() == []


@behaviour("wrong PFX password", "Windows", "Status 86, the node stays", source="pfx-status-after-failure")
async def test_wrong_pfx_password_is_86(tree: PfxCertInstall, mdm: MdmIdentity, nodes: dict[str, str]) -> None:
    """A password that decrypts but does not open the PFX gives ERROR_INVALID_PASSWORD."""
    recipient = mdm.certificate.public_bytes(serialization.Encoding.DER)
    await tree.atomic(add({**nodes, "PFXCertPassword": b64(envelop(b"another", recipient))}))
    assert get(tree, "Status") == "86"


@behaviour(
    "key storage", "Windows", "KeyLocation 1 without TPM fails, 2 falls back to software", source="pfx-csp-rules"
)
async def test_tpm_or_fail_fails_without_tpm(mdm: MdmIdentity, nodes: dict[str, str]) -> None:
    """KeyLocation 1 on a device without TPM fails with TBS_E_TPM_NOT_FOUND, KeyLocation 2 falls back to software."""
    without = PfxCertInstall(mdm, CertStore(), behaviour=Behaviour(tpm=False))
    await without.atomic(add({**nodes, "KeyLocation": "1", "PFXKeyExportable": "false"}))
    assert get(without, "Status") == str(csp.TBS_E_TPM_NOT_FOUND)
    other = PfxCertInstall(mdm, CertStore(), behaviour=Behaviour(tpm=False))
    await other.atomic(add({**nodes, "KeyLocation": "2", "PFXKeyExportable": "false"}))
    assert get(other, "Status") == "0"


@behaviour("Hello container", "Windows", "KeyLocation 4 needs ContainerName and a container", source="pfx-csp-rules")
async def test_hello_needs_a_container_and_its_name(mdm: MdmIdentity, nodes: dict[str, str]) -> None:
    """KeyLocation 4 installs where there is a Windows Hello container and its name was sent, and fails elsewhere."""
    named = {**nodes, "KeyLocation": "4", "ContainerName": "Windows Hello"}
    for hello, sent, status in ((True, named, 0), (False, named, csp.NTE_NOT_SUPPORTED),
                                (True, {**nodes, "KeyLocation": "4"}, csp.NTE_NOT_SUPPORTED)):  # fmt: skip
        csp_tree = PfxCertInstall(mdm, CertStore(), behaviour=Behaviour(hello_container=hello))
        await csp_tree.atomic(add(sent))
        assert get(csp_tree, "Status") == str(status)


@pytest.mark.parametrize(("strict", "status"), [(False, 0), (True, csp.NTE_NOT_SUPPORTED)])
@behaviour(
    "exportable key",
    "Windows",
    "only with a software key; otherwise ignored, or failing by `strict_export`",
    source="pfx-exportable-default",
)
async def test_exportable_key_in_a_tpm_by_behaviour(
    mdm: MdmIdentity, nodes: dict[str, str], strict: bool, status: int
) -> None:
    """An exportable key for the TPM is stored without leave to export, or refused where the PC is strict."""
    store = CertStore()
    csp_tree = PfxCertInstall(mdm, store, behaviour=Behaviour(strict_export=strict))
    await csp_tree.atomic(add({**nodes, "KeyLocation": "2"}))
    assert get(csp_tree, "Status") == str(status)
    assert [identity.exportable for identity in store.identities()] == ([False] if status == 0 else [])


async def test_failed_import_is_taken_back_by_behaviour(mdm: MdmIdentity, nodes: dict[str, str]) -> None:
    """Where a failed import rolls back, the Atomic is 507 and no node is left to read a Status from."""
    csp_tree = PfxCertInstall(mdm, CertStore(), behaviour=Behaviour(roll_back_failed_import=True))
    whole, parts = await csp_tree.atomic(add({**nodes, "PFXCertBlob": b64(b"no PFX")}))
    assert (whole.code, {part.code for part in parts}, csp_tree.tree) == ("507", {"216"}, {})


async def test_password_for_a_certificate_of_a_store(
    tree: PfxCertInstall, nodes: dict[str, str], certificate: x509.Certificate
) -> None:
    """Encryption type 2 is decrypted with an installed certificate, and fails while that is missing."""
    recipient = certificate.public_bytes(serialization.Encoding.DER)
    second = {**nodes, "PFXCertPasswordEncryptionType": "2", "PFXCertPasswordEncryptionStore": "My",
              "PFXCertPassword": b64(envelop(PASSWORD.encode(), recipient))}  # fmt: skip
    other = f"{csp.USER_ROOT}/second"
    commands = [Verb("Add", str(n), (Item(target=f"{other}/{name}", data=value),)) for n, (name, value) in
                enumerate(second.items(), 2)]  # fmt: skip
    status = Verb("Get", "1", (Item(target=f"{other}/Status"),))
    await tree.atomic(Atomic("1", tuple(commands)))
    assert tree.single(status).data == str(csp.NTE_BAD_DATA)
    await tree.atomic(add(nodes))
    tree.single(Verb("Delete", "1", (Item(target=other),)))
    await tree.atomic(Atomic("1", tuple(commands)))
    assert tree.single(status).data == "0"


async def test_atomic_that_is_taken_back_removes_nothing(
    tree: PfxCertInstall, nodes: dict[str, str], certificate: x509.Certificate
) -> None:
    """A Delete in a failed Atomic keeps the certificate, its key and its nodes."""
    await tree.atomic(add(nodes))
    delete = Verb("Delete", "9", (Item(target=f"{csp.USER_ROOT}/{ID}"),))
    whole, _ = await tree.atomic(Atomic("1", (delete, *add({"KeyLocation": "9"}).commands)))
    assert (whole.code, get(tree, "Status")) == ("507", "0")
    assert [identity.certificate for identity in tree._store.identities()] == [certificate]
    whole, _ = await tree.atomic(Atomic("1", (delete, *add(nodes).commands)))
    assert (whole.code, get(tree, "Status"), len(tree._store.identities())) == ("200", "0", 1)


@behaviour("change outside an Atomic", "Windows", "refused: 0x86000010", source="pfx-csp-rules")
def test_change_outside_an_atomic_is_refused(tree: PfxCertInstall) -> None:
    """A single Add below PFXCertInstall fails with an error that demands a transaction."""
    outcome = tree.single(Verb("Add", "1", (Item(target=f"{csp.USER_ROOT}/{ID}/KeyLocation", data="3"),)))
    assert (outcome.code, outcome.original_error) == ("500", "0x86000010")


@behaviour(
    "certificate already present", "Windows", "Add fails with 418 and the Atomic is rolled back", source="pfx-csp-rules"
)
async def test_second_add_fails_and_rolls_back(tree: PfxCertInstall, nodes: dict[str, str]) -> None:
    """Adding an existing node fails the Atomic: that command 418, earlier ones 216, later ones 215, the Atomic 507."""
    await tree.atomic(add({"KeyLocation": "3", "PFXCertBlob": nodes["PFXCertBlob"]}))
    again = {"PFXKeyExportable": "false", "KeyLocation": "1", "PFXCertPassword": "x"}
    whole, parts = await tree.atomic(add(again))
    assert (whole.code, [part.code for part in parts]) == ("507", ["216", "418", "215"])
    assert get(tree, "PFXKeyExportable") is None
    assert get(tree, "KeyLocation") == "3"


async def test_replace_of_a_missing_blob_fails(tree: PfxCertInstall, nodes: dict[str, str]) -> None:
    """Replace on a missing PFXCertBlob fails; on an existing one it installs again."""
    whole, _ = await tree.atomic(add(nodes, "Replace"))
    assert whole.code == "507"
    await tree.atomic(add(nodes))
    whole, _ = await tree.atomic(add(nodes, "Replace"))
    assert (whole.code, get(tree, "Status")) == ("200", "0")


@pytest.mark.parametrize("missing", ["KeyLocation", "PFXCertBlob", "PFXCertPassword", "PFXCertPasswordEncryptionStore"])
async def test_incomplete_delivery_is_rolled_back(tree: PfxCertInstall, nodes: dict[str, str], missing: str) -> None:
    """Without KeyLocation, blob, or the password or store that its encryption type requires, nothing is stored."""
    nodes |= {"PFXCertPasswordEncryptionStore": "My", "PFXCertPasswordEncryptionType": "2"}
    del nodes[missing]
    whole, _ = await tree.atomic(add(nodes))
    assert whole.code == "507"
    assert tree.tree == {}


async def test_read_only_and_odd_values_are_refused(tree: PfxCertInstall, nodes: dict[str, str]) -> None:
    """Status cannot be written, and KeyLocation knows four values."""
    assert (await tree.atomic(add({**nodes, "Status": "0"})))[1][-1].code == "405"
    assert (await tree.atomic(add({"KeyLocation": "9"})))[1][0].code == "400"


@behaviour("Delete of a node", "Windows", "removes certificate and key; a second Delete is 404", source="pfx-csp-rules")
async def test_delete_removes_certificate_and_key(tree: PfxCertInstall, nodes: dict[str, str]) -> None:
    """Deleting the UniqueID removes certificate and key; a second time there is nothing to delete."""
    await tree.atomic(add(nodes))
    delete = Verb("Delete", "1", (Item(target=f"{csp.USER_ROOT}/{ID}"),))
    assert tree.single(delete).code == "200"
    assert tree._store.identities() == []
    assert tree.single(delete).code == "404"


def test_missing_node_is_404_with_its_hresult(tree: PfxCertInstall) -> None:
    """Get of a missing certificate answers 404 with originalerror 0x86000002."""
    outcome = tree.single(Verb("Get", "1", (Item(target=f"{csp.USER_ROOT}/{ID}/Status"),)))
    assert (outcome.code, outcome.original_error) == ("404", "0x86000002")


async def test_interior_get_lists_children(tree: PfxCertInstall, nodes: dict[str, str]) -> None:
    """Get of PFXCertInstall lists the UniqueIDs, joined by slashes."""
    await tree.atomic(add(nodes))
    root = tree.single(Verb("Get", "1", (Item(target=csp.USER_ROOT),)))
    assert (root.data, root.format) == (ID, "node")


def test_foreign_path_is_not_found(tree: PfxCertInstall) -> None:
    """A node of another CSP answers 404 and does not break the session."""
    assert tree.single(Verb("Get", "1", (Item(target="./DevDetail/SwV"),))).code == "404"
