"""Rules on connectors and devices: the contract, the work, the secrets."""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from pfxlab.emulator.journal.exchanges import Exchange
from pfxlab.emulator.wire import connector as contract
from pfxlab.emulator.wire.enrollment import ANDROID_PATH, APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH, OMADM_PATH
from pfxlab.scenarios.conformance.evidence import Finding, Rule, ToolRun

_CONNECTOR: Final = ("connector",)
_DEVICE: Final = ("device",)
_MANAGEMENT: Final = (OMADM_PATH, ANDROID_PATH, APPLE_CHECKIN_PATH, APPLE_COMMAND_PATH)
_DEVICE_ERROR: Final = re.compile(r"Status -?[1-9]|MC\w+Domain \d")
"""How platforms name an error: sources.md#syncml-statuses, sources.md#apple-error-codes."""

_PREFIX: Final = "/connector/v1/"
_PAUSE: Final = timedelta(seconds=0.4)
_POLLS_A_SECOND: Final = 5
_AT_ONCE: Final = 4


def _to(run: ToolRun, *ends: str) -> list[Exchange]:
    found = [one for one in run.exchanges if one.path.startswith(_PREFIX)]
    return [one for one in found if not ends or one.path.rpartition("/")[2] in ends]


def _contract(run: ToolRun) -> Iterator[Finding]:
    for one in _to(run):
        answer = one.answer_json()
        code = answer.get("error", {}).get("code", "") if isinstance(answer, dict) else ""
        yield Finding(one.status not in (400, 413), f"{one.line()} {code}".rstrip(), one.number)


def _own_certificate(run: ToolRun) -> Iterator[Finding]:
    for one in _to(run):
        if not one.path.endswith("/enroll"):
            yield Finding(
                one.certificate, f"{one.path}: {'its certificate' if one.certificate else 'no certificate'}", one.number
            )


def _started(run: ToolRun) -> Iterator[Finding]:
    first = next((one for one in _to(run) if not one.path.endswith("/enroll")), None)
    if first is not None:
        body = first.json()
        ok = first.path.endswith("/heartbeat") and isinstance(body, dict) and body.get("started") is True
        yield Finding(ok, "reported its start first" if ok else f"first message: {first.path}", first.number)


def _completions(run: ToolRun) -> Iterator[tuple[Exchange, contract.Completion]]:
    for one in _to(run, "complete"):
        try:
            yield one, contract.read_completion(one.body)
        except ValueError:
            continue


def _completes(run: ToolRun) -> Iterator[Finding]:
    told = {result.request_id for _, done in _completions(run) for result in done.results}
    for entry in run.journal:
        if entry.event == "lease taken":
            missing = [one for one in entry.fields["deliveries"] if one not in told]
            text = f"{len(missing)} of {len(entry.fields['deliveries'])} leased requests never completed"
            yield Finding(not missing, text)


def _installed(run: ToolRun) -> Iterator[Finding]:
    if run.facts.get("plan") == "connector" and run.facts.get("plain"):
        reasons = sorted({e.reason or "" for e in run.journal if e.outcome == "failed" and e.fields.get("device")})
        text = (
            "every device proved what it was sent"
            if run.facts["reached"]
            else f"devices reported: {'; '.join(reasons) or 'nothing'}"
        )
        yield Finding(bool(run.facts["reached"]), text)


def _reasons(run: ToolRun) -> Iterator[Finding]:
    expected = run.facts.get("expected")
    if expected:
        bad = run.facts["bad"]
        told = [e.reason or "" for e in run.journal if e.outcome == "failed" and e.fields.get("thumbprint") == bad]
        ok = bool(told) and all(text.partition(":")[0] in expected for text in told)
        yield Finding(ok, f"told {'; '.join(sorted(set(told))) or 'no reason'}, expected {' or '.join(expected)}")


def _one_bad(run: ToolRun) -> Iterator[Finding]:
    if run.module in ("key-missing", "wrong-key"):
        text = "delivered" if run.facts["reached"] else "not all delivered"
        yield Finding(bool(run.facts["reached"]), f"the sound requests beside a bad one: {text}")


def _recovers(run: ToolRun) -> Iterator[Finding]:
    if run.facts.get("plan") == "connector" and run.facts.get("passing") and any(run.struck.values()):
        yield Finding(bool(run.facts["reached"]), "delivered in the end" if run.facts["reached"] else "not delivered")


def _backs_off(run: ToolRun) -> Iterator[Finding]:
    leases = _to(run, "lease")
    for place, one in enumerate(leases):
        # Several requests may wait at once; each of them may find out by itself.
        soon = [two for two in leases[place + 1 :] if one.ended <= two.began < one.ended + _PAUSE]
        if one.status == 503:
            text = f"{len(soon)} requests in the {_PAUSE.total_seconds():.1f} s after"
            yield Finding(len(soon) <= _AT_ONCE, text, soon[0].number if soon else one.number)


def _polls(run: ToolRun) -> Iterator[Finding]:
    idle, stopped = run.facts.get("idle"), run.facts.get("stopped")
    if idle is not None and stopped is not None:
        polls = [one for one in _to(run, "lease") if idle <= one.began <= stopped]
        seconds = (stopped - idle).total_seconds()
        ok = len(polls) <= _POLLS_A_SECOND * seconds
        yield Finding(ok, f"{len(polls)} polls in {seconds:.1f} idle seconds", polls[0].number if polls else 0)


def _farewell(run: ToolRun) -> Iterator[Finding]:
    if run.facts.get("plan") == "connector":
        beats = _to(run, "heartbeat")
        last = beats[-1].json() if beats else None
        reported = isinstance(last, dict) and last.get("stopping") is True
        ended = run.exit_code is not None
        text = (
            f"{'reported its stop' if reported else 'did not report its stop'}, {'exited' if ended else 'was killed'}"
        )
        yield Finding(reported and ended, text, beats[-1].number if beats else 0)


def _clear(which: Callable[[ToolRun], list[Exchange]]) -> Callable[[ToolRun], Iterator[Finding]]:
    def judge(run: ToolRun) -> Iterator[Finding]:
        for one in which(run):
            for given in run.given:
                clear = given.password.encode()
                found = clear in one.body or base64.b64encode(clear) in one.body or given.key_material in one.body
                found = found or b"PRIVATE KEY" in one.body
                yield Finding(
                    not found,
                    f"{one.path}: {'a secret in clear text' if found else 'no secret in clear text'}",
                    one.number,
                )

    return judge


def _management(run: ToolRun) -> list[Exchange]:
    return [one for one in run.exchanges if one.path in _MANAGEMENT]


def _of_device(run: ToolRun) -> list[Exchange]:
    return [o for o in run.exchanges if not (o.is_graph or o.is_token or o.path.startswith(_PREFIX))]


def _identity(run: ToolRun) -> Iterator[Finding]:
    for one in _management(run):
        yield Finding(
            one.certificate,
            f"{one.path}: {'its client certificate' if one.certificate else 'no client certificate'}",
            one.number,
        )


def _session(run: ToolRun) -> Iterator[Finding]:
    for one in _management(run):
        if one.certificate:
            # The service answers a message it cannot read with 200 and an empty body.
            read = bool(one.answer) or one.path not in (OMADM_PATH, ANDROID_PATH)
            yield Finding(one.status < 400 and read, f"{one.line()}{'' if read else ', empty'}", one.number)


def _device_module(module: str, done: str, not_done: str) -> Callable[[ToolRun], Iterator[Finding]]:
    def judge(run: ToolRun) -> Iterator[Finding]:
        if run.module == module:
            reasons = [
                e.reason or "" for e in run.journal if e.outcome in ("failed", "refused") and e.fields.get("device")
            ]
            why = f" ({reasons[-1]})" if reasons and not run.facts["reached"] else ""
            yield Finding(bool(run.facts["reached"]), done if run.facts["reached"] else not_done + why)

    return judge


def _fails_openly(run: ToolRun) -> Iterator[Finding]:
    reasons = [e.reason or "" for e in run.journal if e.outcome == "failed" and e.fields.get("device")]
    ok = any(_DEVICE_ERROR.search(reason) for reason in reasons)
    yield Finding(ok, f"reported {reasons[-1] if reasons else 'nothing'}")


RULES: Final = (
    Rule("connector-contract", "connector", "must", "Every message conforms to the contract.",
         broken="A message does not conform to the contract.",
         source="connector-contract", tip="Read the answer: it says what was expected and what it got.",
         judge=_contract, plans=_CONNECTOR),
    Rule("connector-certificate", "connector", "must",
         "After enrolment, every message presents the client certificate.",
         broken="A message after enrolment does not present the client certificate.",
         source="connector-contract", tip="Use mutual TLS with the certificate from enrolment.", judge=_own_certificate,
         plans=_CONNECTOR),
    Rule("connector-started", "connector", "must", "A new connector process first reports that it has started.",
         broken="A new connector process does not first report that it has started.",
         source="connector-contract-start", tip="Send a heartbeat with `started: true` before anything else.",
         judge=_started, plans=_CONNECTOR),
    Rule("connector-completes", "connector", "must", "Every leased request is completed, with a result or a reason.",
         broken="A leased request is not completed.",
         source="connector-contract", tip="Report requests that fail, too.", judge=_completes, plans=_CONNECTOR),
    Rule("connector-usable", "connector", "must", "Devices can use the connector's results.",
         broken="A device cannot use the connector's result.",
         source="recryption", tip="Encrypt for the device's certificate; fill the payload for Apple devices.",
         judge=_installed, plans=_CONNECTOR),
    Rule("connector-reasons", "connector", "must", "A failed request is reported with the right reason code.",
         broken="A failed request is not reported with the right reason code.",
         source="connector-contract", tip="Distinguish KeyNotFound from DecryptFailed.", judge=_reasons,
         plans=_CONNECTOR),
    Rule("connector-one-bad", "connector", "must", "A request that fails does not affect the others in its batch.",
         broken="A request that fails affects the others in its batch.",
         source="connector-contract", tip="Process each request independently.", judge=_one_bad, plans=_CONNECTOR),
    Rule("connector-recovers", "connector", "must", "Work continues after a busy service or a lost answer.",
         broken="Work does not continue after a busy service or a lost answer.",
         source="connector-events", tip="Retry; completing twice is harmless.", judge=_recovers, plans=_CONNECTOR),
    Rule("connector-backs-off", "connector", "should", "The connector backs off when the service is busy.",
         broken="The connector retries at once when the service is busy.",
         source="service-unavailable", tip="Wait longer after each failure.", judge=_backs_off, plans=_CONNECTOR),
    Rule("connector-polls", "connector", "should", "An idle connector pauses between polls.",
         broken="An idle connector polls too often.",
         source="connector-poll", tip="Use `waitSeconds`, or pause between requests.", judge=_polls, plans=_CONNECTOR),
    Rule("connector-farewell", "connector", "should", "A stopped connector reports that it stops, then exits.",
         broken="A stopped connector does not report that it stops, or does not exit.",
         source="connector-contract",
         tip="Send a heartbeat with `stopping: true`, so that its work goes to another connector at once.",
         judge=_farewell, plans=_CONNECTOR),
    Rule("connector-clear", "connector", "must", "No password and no private key is sent in clear text.",
         broken="A password or private key is sent in clear text.",
         source="how-delivery-works", tip="Encrypt for the device; log identifiers only.", judge=_clear(_to),
         plans=_CONNECTOR),
    Rule("device-identity", "device", "must",
         "Every management message presents the client certificate from enrolment.",
         broken="A management message does not present the client certificate from enrolment.",
         source="device-identities", tip="Use the client certificate.", judge=_identity, plans=_DEVICE),
    Rule("device-session", "device", "must", "The service accepts every management message.",
         broken="The service does not accept a management message.",
         source="device-sessions", tip="Look up the reason in the journal.", judge=_session, plans=_DEVICE),
    Rule("device-installs", "device", "must", "A certificate is installed and reported by its thumbprint.",
         broken="A certificate is not installed, or not reported by its thumbprint.",
         source="how-delivery-works", tip="Decrypt the password, import the PFX, report what is in the store.",
         judge=_device_module("plain", "installed and reported", "not installed, or not reported"), modules=("plain",),
         plans=_DEVICE),
    Rule("device-removes", "device", "must", "A withdrawn certificate is removed.",
         broken="A withdrawn certificate is not removed.",
         source="removal", tip="Carry out the removal and report it.",
         judge=_device_module("removed", "removed", "still installed"), modules=("removed",), plans=_DEVICE),
    Rule("device-fails-openly", "device", "must", "A PFX that cannot be opened is reported as failed.",
         broken="A PFX that cannot be opened is not reported as failed.",
         source="portal-error-numbers", tip="Report the platform's error for it.", judge=_fails_openly,
         modules=("wrong-password",), plans=_DEVICE),
    Rule("device-clear", "device", "must", "No password and no private key is sent in clear text.",
         broken="A password or private key is sent in clear text.",
         source="how-delivery-works", tip="Report thumbprints and states only.", judge=_clear(_of_device),
         plans=_DEVICE),
)  # fmt: skip
