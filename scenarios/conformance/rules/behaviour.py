"""Rules on what a tool does when things go wrong, on lists, updates, removals, and on its rights."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pfxlab.emulator.journal.exchanges import Exchange
from pfxlab.emulator.wire.numbers import counted
from pfxlab.scenarios.conformance.evidence import COLLECTION, Finding, Rule, ToolRun

_GRACE: Final = timedelta(seconds=0.08)
"""Tolerance for clocks and schedulers."""

_IN_FLIGHT: Final = timedelta(seconds=0.5)
"""How long another worker of the tool may not know of a refusal."""

_SILENT: Final = timedelta(seconds=0.5)
_BOUND: Final = 25
"""Requests after which a tool that is always refused, or follows links in a circle, should have given up."""

_LAST_WORDS: Final = 200
_MASKED: Final = ("AA==", "")


def _asked_wait(answer: Exchange) -> dict[str, timedelta]:
    """Return the waits an answer asks for, by form."""
    found: dict[str, timedelta] = {}
    text = answer.answer_headers.get("retry-after")
    if text is not None:
        try:
            seconds = float(text)
            found["fraction" if "." in text else "seconds"] = timedelta(seconds=seconds)
        except ValueError:
            moment = parsedate_to_datetime(text)
            found["date"] = max(timedelta(), moment - answer.ended.replace(microsecond=0))
    if "x-ms-retry-after-ms" in answer.answer_headers:
        found["milliseconds"] = timedelta(milliseconds=float(answer.answer_headers["x-ms-retry-after-ms"]))
    return found or {"silent": _SILENT}


def _waits(form: str) -> Callable[[ToolRun], Iterator[Finding]]:
    """Return a judge of whether the tool waits as one form of Retry-After asks."""

    def judge(run: ToolRun) -> Iterator[Finding]:
        requests = run.on_records()
        for place, answer in enumerate(requests):
            if answer.status != 429:
                continue
            asked = _asked_wait(answer).get(form)
            following = next((one for one in requests[place + 1 :] if _same_request(answer, one)), None)
            if asked is not None and following is not None:
                waited = _since(answer, following, form)
                text = f"expected a wait of {asked.total_seconds():.1f} s, got {waited.total_seconds():.1f} s"
                yield Finding(waited >= asked - _GRACE, text, following.number)

    return judge


def _same_request(one: Exchange, other: Exchange) -> bool:
    """Return whether a request repeats another; a record may be encrypted again, which changes its bytes."""
    if (one.method, _place(one)) != (other.method, _place(other)):
        return False
    return one.method in ("GET", "DELETE") or one.body == other.body or _same_record(one, other)


def _place(one: Exchange) -> tuple[str, list[tuple[str, str]]]:
    """Return path and query as the server reads them, however they were quoted."""
    return unquote(one.path).lower().rstrip("/"), sorted(parse_qsl(one.query, keep_blank_values=True))


def _unchanged(one: Exchange, other: Exchange) -> bool:
    """Return whether a request was repeated unchanged, ciphertexts aside, which differ each time."""

    def content(request: Exchange) -> object:
        body = request.json()
        if not isinstance(body, dict):
            return request.body
        return {n: bool(v) if n.startswith("encrypted") else v for n, v in body.items()}

    def form(request: Exchange) -> tuple[object, ...]:
        return request.method, _place(request), request.headers.get("content-type"), content(request)

    return form(one) == form(other)


def _since(answer: Exchange, following: Exchange, form: str) -> timedelta:
    # A date has whole seconds: what it asks for is counted from the second it was written in.
    begin: datetime = answer.ended.replace(microsecond=0) if form == "date" else answer.ended
    return following.began - begin


def _same_record(one: Exchange, other: Exchange) -> bool:
    bodies = one.json(), other.json()
    keys = [
        (str(body.get("userPrincipalName")).lower(), str(body.get("thumbprint")).lower())
        if isinstance(body, dict)
        else None
        for body in bodies
    ]
    return keys[0] is not None and keys[0] == keys[1]


def _no_blind_repeat(run: ToolRun) -> Iterator[Finding]:
    requests = run.on_records()
    for place, one in enumerate(requests):
        unclear = one.method == "POST" and (one.status == 0 or one.status >= 500 or _unreadable(one))
        if not unclear:
            continue
        later = requests[place + 1 :]
        again = next((n for n, two in enumerate(later) if two.method == "POST" and _same_record(one, two)), None)
        if again is None:
            yield Finding(True, f"{one.line()}: not sent again", one.number)
            continue
        looks = [look for two in later[:again] if (look := _looked_up(one, two)) is not None]
        text = (
            "sent again without a lookup" if not looks
            else "found, but sent again" if any(looks)
            else "looked up and not found before it was sent again"
        )  # fmt: skip
        yield Finding(bool(looks) and not any(looks), f"{one.line()}: {text}", later[again].number)


def _looked_up(one: Exchange, two: Exchange) -> bool | None:
    """Return whether a request that looked for a record found it, None when it did not look for this one."""
    body = one.json()
    if two.method != "GET" or two.status not in (200, 404) or two.began < one.ended or not isinstance(body, dict):
        return None
    thumbprint, upn = str(body.get("thumbprint")).lower(), str(body.get("userPrincipalName")).lower()
    asked = unquote(f"{two.path}?{two.query}").replace("''", "'").lower()
    if "filter" in asked and thumbprint not in asked and upn not in asked:
        return None
    if two.status == 404 and thumbprint not in asked:
        return None
    return two.status == 200 and thumbprint in two.answer.decode("utf-8", "replace").lower()


def _unreadable(one: Exchange) -> bool:
    return one.status in (200, 201) and one.answer_json() is None


def _no_duplicate(run: ToolRun) -> Iterator[Finding]:
    posts = run.on_records("POST")
    for place, one in enumerate(posts):
        if one.status in (200, 201):
            again = [two for two in posts[place + 1 :] if _same_record(one, two)]
            text = f"created, then sent {counted(len(again), 'time')} more"
            yield Finding(not again, text, again[0].number if again else one.number)


def _refusal_final(run: ToolRun) -> Iterator[Finding]:
    requests = run.on_records("POST", "PATCH", "DELETE")
    for place, one in enumerate(requests):
        if one.status in (400, 403, 404, 409):
            again = [two for two in requests[place + 1 :] if _unchanged(one, two)]
            yield Finding(not again, f"{one.line()}, then sent {counted(len(again), 'time')} more", one.number)


def _gives_up(run: ToolRun) -> Iterator[Finding]:
    if run.module in ("throttled-forever", "link-in-a-circle"):
        count = len(run.graph)
        ended = run.exit_code is not None
        text = f"{counted(count, 'request')}, {'ended by itself' if ended else 'had to be stopped'}"
        yield Finding(ended and count <= _BOUND, text, run.graph[-1].number if run.graph else 0)
    elif run.exit_code is None:
        yield Finding(False, f"{counted(len(run.graph), 'request')}, had to be stopped")


def _truth(run: ToolRun) -> Iterator[Finding]:
    if run.exit_code is None:
        return
    reached, unclear = bool(run.facts.get("reached")), bool(run.facts.get("unclear"))
    ok = run.succeeded is reached or (unclear and not run.succeeded)
    yield Finding(ok, f"exit code {run.exit_code}; the task is {'done' if reached else 'not done'}")


def _works(run: ToolRun) -> Iterator[Finding]:
    if run.facts.get("plain"):
        ok = run.succeeded and bool(run.facts.get("reached"))
        yield Finding(ok, f"{_ending(run)}, {'done' if run.facts.get('reached') else 'not done'}")


def _ending(run: ToolRun) -> str:
    """Return how a tool ended, with the last line it printed if it never reached the lab."""
    if run.exit_code is None:
        return f"had to be stopped after {counted(len(run.exchanges), 'request')}"
    how = f"ended by signal {-run.exit_code}" if run.exit_code < 0 else f"exit code {run.exit_code}"
    if run.exchanges or run.succeeded:
        return how
    # Cut only what is scrubbed: half a secret would not be known for one.
    last = next((line.strip() for line in reversed(run.scrub(run.output).splitlines()) if line.strip()), "nothing")
    return f"{how} before any request to the lab; last line printed: {last[:_LAST_WORDS]}"


def _recovers(run: ToolRun) -> Iterator[Finding]:
    if run.facts.get("passing") and any(run.struck.values()):
        ok = bool(run.facts.get("reached"))
        yield Finding(ok, f"exit code {run.exit_code}, {'done' if ok else 'not done'} in the end")


def _expired_token(run: ToolRun) -> Iterator[Finding]:
    requests = run.graph
    for place, one in enumerate(requests):
        if one.status == 401:
            token = one.headers.get("authorization")
            # Another worker of the tool may have sent its request before it could know of the refusal.
            again = [
                two
                for two in requests[place + 1 :]
                if two.headers.get("authorization") == token
                and (_same_request(one, two) or two.began > one.ended + _IN_FLIGHT)
            ]
            text = "the same token was sent again" if again else "the token was not sent again"
            yield Finding(not again, text, again[0].number if again else one.number)


def _odd_answers(run: ToolRun) -> Iterator[Finding]:
    if run.module.startswith("odd-") and any(run.struck.values()):
        yield Finding(run.succeeded, f"exit code {run.exit_code} after a valid but unusual answer")


def _in_a_sentence(run: ToolRun) -> Iterator[Finding]:
    if not run.succeeded and run.exit_code is not None and run.facts.get("output_seen", True):
        marks = ("Traceback (most recent call last)", "Unhandled exception", "\tat java.", "   at System.")
        found = any(mark in run.output for mark in marks)
        printed = bool(run.output.strip())
        text = "a stack trace" if found else "a message" if printed else "no output"
        yield Finding(printed and not found, f"failed with {text}")


def _continues(run: ToolRun) -> Iterator[Finding]:
    if run.module == "one-bad-file":
        sound = [g for g in run.given if run.facts.get("bad") != g.thumbprint]
        there = [g for g in sound if g.record_id in run.records]
        yield Finding(len(there) == len(sound), f"{len(there)} of {len(sound)} sound files imported")


def _next_link(run: ToolRun) -> Iterator[Finding]:
    lists = run.on_records("GET")
    for place, one in enumerate(lists):
        body = one.answer_json()
        link = body.get("@odata.nextLink") if isinstance(body, dict) else None
        if isinstance(link, str) and one.status == 200 and run.module == "pages":
            parts = urlsplit(link)
            wanted = _place(replace(one, path=parts.path, query=parts.query))
            followed = any(_place(two) == wanted for two in lists[place + 1 :])
            yield Finding(followed, "the next page was read" if followed else "the next page was not read", one.number)


def _own_host(run: ToolRun) -> Iterator[Finding]:
    hosts = [one.host for one in run.graph]
    if run.module == "link-elsewhere" and hosts:
        strangers = [one for one in run.graph if one.host != hosts[0]]
        text = f"sent its token to {strangers[0].host}" if strangers else "sent its token to no other host"
        yield Finding(not strangers, text, strangers[0].number if strangers else run.graph[-1].number)


def _filters(run: ToolRun) -> Iterator[tuple[Exchange, str]]:
    for one in run.graph:
        for name, value in parse_qsl(one.query, keep_blank_values=True):
            if name.lower().removeprefix("$") == "filter":
                yield one, value


def _quotes(run: ToolRun) -> Iterator[Finding]:
    for one, text in _filters(run):
        # Only filters whose value begins like the name count; this rule does not judge other filters.
        given = next((g for g in run.given if "'" in g.upn), None)
        head, _, tail = ("" if given is None else given.upn.lower()).partition("'")
        if head and head in text.lower():
            yield Finding(f"{head}'{tail[:1]}" not in text.lower(), f"$filter={text}", one.number)


def _guests(run: ToolRun) -> Iterator[Finding]:
    for one, text in _filters(run):
        given = next((g for g in run.given if "#" in g.upn), None)
        head = "" if given is None else given.upn.lower().partition("#")[0]
        if head and head in text.lower():
            # What follows an unencoded # never leaves the client; encoded twice it arrives as %23.
            whole = not text.lower().endswith(head) and f"{head}%23" not in text.lower()
            yield Finding(whole, f"$filter={text}", one.number)


def _server_filters(run: ToolRun) -> Iterator[Finding]:
    for one in run.on_records("GET"):
        listed = one.path.lower().rstrip("/").endswith(COLLECTION)
        if listed and run.given and run.module in ("plain", "apostrophe", "guest"):
            ok = "filter" in one.query.lower()
            yield Finding(ok, "requested with $filter" if ok else "read every record of the tenant", one.number)


def _key_of(one: Exchange) -> str:
    rest = unquote(one.path).lower().partition(COLLECTION)[2]
    return rest.strip("/()'")


def _patches(run: ToolRun) -> Iterator[Finding]:
    if run.facts.get("plan") == "update" and run.facts.get("plain"):
        posts = run.on_records("POST")
        yield Finding(
            not posts, "PATCH" if not posts else "POST of an existing record", posts[0].number if posts else 0
        )


def _record_keys(method: str) -> Callable[[ToolRun], Iterator[Finding]]:
    def judge(run: ToolRun) -> Iterator[Finding]:
        known = {given.record_id for given in run.given} | set(run.before)
        for one in run.on_records(method):
            yield Finding(_key_of(one) in known, f"{method} of {_key_of(one)}", one.number)

    return judge


def _no_masked(run: ToolRun) -> Iterator[Finding]:
    for one in run.on_records("PATCH"):
        body = one.json()
        if isinstance(body, dict):
            sent = [n for n in ("encryptedPfxBlob", "encryptedPfxPassword") if body.get(n, "x") in _MASKED]
            yield Finding(not sent, f"sent masked: {', '.join(sent) or 'nothing'}", one.number)


def _others_untouched(run: ToolRun) -> Iterator[Finding]:
    if run.facts.get("plan") in ("update", "remove"):
        mine = {given.record_id for given in run.given}
        others = {key: record for key, record in run.before.items() if key not in mine}
        if others:
            touched = sorted(key for key, record in others.items() if run.records.get(key) != record)
            yield Finding(not touched, f"other records changed or gone: {', '.join(touched) or 'none'}")


def _enough_rights(run: ToolRun) -> Iterator[Finding]:
    refused = [e for e in run.journal if e.fields.get("rule") in ("ScopeMissing", "RoleMissing")]
    if run.graph:
        text = f"{refused[0].fields.get('path')}: {refused[0].reason}" if refused else "no request lacked a right"
        yield Finding(not refused, text)


def _rights_used(run: ToolRun) -> Iterator[Finding]:
    if run.facts.get("plain") and run.succeeded:
        used = set(run.facts.get("used", ()))
        unused = sorted(run.rights - used)
        yield Finding(not unused, f"granted and never used: {', '.join(unused) or 'none'}")


RULES: Final = (
    Rule("works", "behaviour", "must", "The plain case works.",
         broken="The plain case does not work.",
         source="tool-does-its-work",
         tip="Look at the first refused request. If there is none, look at what the tool printed.", judge=_works),
    Rule("truth", "behaviour", "must", "The exit code matches the result.",
         broken="The exit code does not match the result.",
         source="exit-codes",
         tip="Exit with 0 only when everything requested is done, and with another code otherwise.", judge=_truth),
    Rule("failure-in-a-sentence", "behaviour", "should", "A failure is reported in a message, not as a stack trace.",
         broken="A failure is reported as a stack trace, or not at all.",
         source="opaque-400", tip="Catch Graph's error and print its message.", judge=_in_a_sentence),
    Rule("wait-seconds", "behaviour under stress", "must", "The tool waits as long as Retry-After says in seconds.",
         broken="The tool retries before Retry-After, given in seconds, has passed.",
         source="retry-after", tip="Sleep as long as the header says.", judge=_waits("seconds")),
    Rule("wait-fraction", "behaviour under stress", "should",
         "The tool waits as long as a fractional Retry-After says.",
         broken="The tool retries before a fractional Retry-After has passed.",
         source="throttling-guidance", tip="Parse it as a decimal number.", judge=_waits("fraction")),
    Rule("wait-date", "behaviour under stress", "should", "The tool waits until the date in Retry-After.",
         broken="The tool retries before the date in Retry-After.",
         source="retry-after", tip="Parse the HTTP date.", judge=_waits("date")),
    Rule("wait-milliseconds", "behaviour under stress", "should", "The tool waits as long as x-ms-retry-after-ms says.",
         broken="The tool retries before x-ms-retry-after-ms has passed.",
         source="retry-after-milliseconds", tip="Read it as milliseconds.", judge=_waits("milliseconds")),
    Rule("wait-silent", "behaviour under stress", "should", "The tool backs off after a 429 without a retry header.",
         broken="The tool retries at once after a 429 without a retry header.",
         source="throttling-without-header",
         tip="Back off exponentially when the answer does not say how long to wait.", judge=_waits("silent")),
    Rule("recovers", "behaviour under stress", "should", "The tool succeeds after a transient failure.",
         broken="The tool does not recover from a transient failure.",
         source="throttling-guidance", tip="Retry after the wait.", judge=_recovers),
    Rule("no-blind-repeat", "behaviour under stress", "must",
         "A POST without a clear answer is looked up before it is sent again.",
         broken="A POST without a clear answer is sent again without a lookup.",
         source="no-blind-repeat", tip="GET the record, or stop and report it.", judge=_no_blind_repeat),
    Rule("no-duplicate", "behaviour under stress", "must", "A record that was created is not sent again.",
         broken="A record that was already created is sent again.",
         source="duplicate-post", tip="Remember which records were answered with 201.", judge=_no_duplicate),
    Rule("refusal-final", "behaviour under stress", "must",
         "A request that was refused permanently is not sent again unchanged.",
         broken="A request that was refused permanently is sent again unchanged.",
         source="bad-request-is-final", tip="Retry after 429 and 503 only.", judge=_refusal_final),
    Rule("gives-up", "behaviour under stress", "must",
         "The tool ends by itself, even when it is refused again and again.",
         broken="The tool does not end by itself, or only after too many attempts.",
         source="pfximport-2", tip="Limit the attempts. For a slow tool, raise `--timeout`.", judge=_gives_up),
    Rule("token-expiry", "behaviour under stress", "must", "A token refused as expired is not sent again.",
         broken="A token refused as expired is sent again.",
         source="token-refusals", tip="Request a new token after a 401, once.", judge=_expired_token),
    Rule("odd-answers", "behaviour under stress", "must",
         "Unknown properties, unknown enum values and any 2xx status are accepted.",
         broken="An unknown property, an unknown enum value or a 2xx status breaks the tool.",
         source="tolerant-clients", tip="Ignore what you do not know; treat 200, 201 and 204 alike.",
         judge=_odd_answers),
    Rule("bulk-continues", "behaviour under stress", "must", "A file that cannot be imported does not stop the others.",
         broken="A file that cannot be imported stops the others.",
         source="pfximport-3", tip="Continue, and report failures at the end.", judge=_continues,
         modules=("one-bad-file",)),
    Rule("list-next-link", "lists", "must", "Every page of a list is read.",
         broken="Not every page of a list is read.",
         source="paging", tip="Follow @odata.nextLink until it is absent.", judge=_next_link, modules=("pages",)),
    Rule("list-own-host", "lists", "must", "The token is not sent to another host that a link names.",
         broken="The token is sent to another host that a link names.",
         source="pfximport-3", tip="Compare scheme, host and port.", judge=_own_host, modules=("link-elsewhere",)),
    Rule("filter-quotes", "lists", "must", "Apostrophes in a user name are doubled in $filter.",
         broken="An apostrophe in a user name is not doubled in $filter.",
         source="odata-quotes", tip="Double them, then percent-encode.", judge=_quotes),
    Rule("filter-encoded", "lists", "must", "Characters such as # in a guest's user name are percent-encoded.",
         broken="A character such as # in a guest's user name is not percent-encoded.",
         source="percent-encoding", tip="Encode the whole filter.", judge=_guests),
    Rule("filter-server", "lists", "may", "The list is filtered by the service.",
         broken="The list is not filtered by the service.",
         source="tolerant-clients", tip="Filter by user with $filter.", judge=_server_filters),
    Rule("update-patch", "update and removal", "must", "An existing record is changed by PATCH.",
         broken="An existing record is posted again instead of changed by PATCH.",
         source="duplicate-post", tip="PATCH the record by its id.", judge=_patches),
    Rule("update-key", "update and removal", "must", "PATCH identifies the record by user id and thumbprint.",
         broken="PATCH does not identify the record by user id and thumbprint.",
         source="record-id", tip="Look up the user's id and remove its dashes.", judge=_record_keys("PATCH")),
    Rule("update-no-masked", "update and removal", "must", "Masked values are not written back.",
         broken="Masked values are written back.",
         source="masked-reads", tip="Send the new blob and password, or neither.", judge=_no_masked),
    Rule("remove-key", "update and removal", "must", "DELETE identifies the record by user id and thumbprint.",
         broken="DELETE does not identify the record by user id and thumbprint.",
         source="delete-without-effect", tip="Use the id of the record as Graph lists it.",
         judge=_record_keys("DELETE")),
    Rule("others-untouched", "update and removal", "must", "Other records are not changed.",
         broken="Other records are changed.",
         source="record-operations", tip="Address exactly the intended record.", judge=_others_untouched),
    Rule("privilege-enough", "least privilege", "must", "The tool works with the rights it is documented to need.",
         broken="The tool does not work with the rights it is documented to need.",
         source="record-permissions", tip="Use no further permission, or document it.", judge=_enough_rights),
    Rule("privilege-unused", "least privilege", "may", "The tool uses every right it is granted.",
         broken="The tool is granted a right that it never uses.",
         source="least-privilege", tip="Grant the application fewer permissions.", judge=_rights_used),
)  # fmt: skip
