"""The script against a whole lab: does what it imports arrive, and does it keep its head when Graph has a bad day?"""

import asyncio
from pathlib import Path

import import_certificates
import pytest


@pytest.fixture
def run(pfxlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs the script for a certificate, against the lab."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", pfxlab.facts["ca_file"])
    monkeypatch.setenv("CLIENT_SECRET", pfxlab.facts["application"]["client_secret"])

    def script(certificate) -> None:
        pfx, password = certificate.write(tmp_path)
        options = {
            "--graph": pfxlab.url,
            "--authority": pfxlab.facts["authority_url"],
            "--client-id": pfxlab.facts["application"]["client_id"],
            "--public-key": pfxlab.facts["connector_public_key_file"],
            "--provider": pfxlab.facts["provider_name"],
            "--key-name": pfxlab.facts["key_name"],
            "--pfx": pfx,
            "--password-file": password,
            "--user": certificate.upn,
        }
        import_certificates.main([str(part) for pair in options.items() for part in pair])

    return script


@pytest.mark.parametrize("pfxlab_device", ["ios", "macos", "windows", "androidForWork"], indirect=True)
def test_certificate_arrives(pfxlab, pfxlab_device, run):
    """What the script imports is on the user's device a day later."""
    mail = pfxlab.certificate()
    pfxlab.profile(pfxlab_device.name)
    run(mail)
    pfxlab.advance("1d")
    assert pfxlab_device.has(mail)


def test_throttled_graph_is_waited_for(pfxlab, pfxlab_graph, run):
    """When Graph answers 429 twice, the script waits and then imports once."""
    with pfxlab.fault(
        "status", route="POST */userPfxCertificates", status=429, retry_after="integer", wait=0.1, times=2
    ) as struck:
        run(pfxlab.certificate())
    assert struck() == 2
    assert len(pfxlab_graph.get("/beta/deviceManagement/userPfxCertificates")["value"]) == 1


def test_unclear_answer_leads_to_no_second_import(pfxlab, run):
    """When the record was written and the answer is 503 all the same, the script looks and sends nothing twice."""
    with pfxlab.fault("status", route="POST */userPfxCertificates", status=503, after_write=True):
        run(pfxlab.certificate())
    assert pfxlab.journal.count(method="POST", path="userPfxCertificates") == 1


def test_connector_that_is_down_on_monday(pfxlab, pfxlab_device, run):
    """The phone has nothing while the connector is down, and everything a day after it is back."""
    mail = pfxlab.certificate()
    pfxlab.profile("ios")
    with pfxlab.fault("offline", times="always"):
        run(mail)
        pfxlab.advance("1d")
        assert not pfxlab_device.has(mail)
    pfxlab.advance("1d")
    assert pfxlab_device.has(mail)


@pytest.mark.pfxlab(devices={"old phone": "ios"}, start="2026-03-02T08:00:00Z")
def test_new_phone_gets_the_old_certificates(pfxlab, run):
    """A phone that is enrolled later gets what was imported for its predecessor."""
    mail = pfxlab.certificate()
    pfxlab.profile("ios")
    run(mail)
    pfxlab.settle()
    assert pfxlab.device("old phone").has(mail)
    phone = pfxlab.add_device("new phone")
    pfxlab.settle()
    assert phone.has(mail)


def test_from_async_code(pfxlab, pfxlab_device, run):
    """The same verbs are awaited where a test, or the script, is asynchronous."""

    async def scenario() -> None:
        mail = await pfxlab.aio.certificate()
        await pfxlab.aio.profile("ios")
        await asyncio.to_thread(run, mail)
        await pfxlab.aio.advance("1d")
        assert await asyncio.to_thread(pfxlab_device.has, mail)

    asyncio.run(scenario())
