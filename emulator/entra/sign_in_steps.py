"""What a person meets on the sign-in pages after the password: second factor, new password, or why there is no way.

The pages say what Entra ID's say. Source: sources.md#sign-in-states.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra import errors, pages
from pfxlab.emulator.entra.principals.users import check_sign_in, renew_password, state_of
from pfxlab.emulator.entra.tenants import note_refusal
from pfxlab.emulator.entra.token_checks import revoke_sessions_of
from pfxlab.emulator.store.database import Row
from pfxlab.emulator.store.tickets import SECOND_FACTOR

_SECONDS: Final = 300
_WRONG: Final = "User name or password is wrong."
_TEXTS: Final = {
    50057: ("Sign in", "Your account has been locked. Contact your support person to unlock it, then try again."),
    53003: (
        "You cannot access this right now",
        "Your sign-in was successful but does not meet the criteria to access this resource. For example, you might be"
        " signing in from a browser, app, location, or an authentication flow that is restricted by your admin.",
    ),
}


@dataclass(frozen=True)
class Form:
    """The form in which a sign-in began: title, address, fields that each further page keeps.

    `code`: it has a field for the user code, which the person sees.
    """

    title: str
    action: str
    hidden: Mapping[str, str] = field(default_factory=dict)
    code: bool = False


@dataclass(frozen=True)
class SignedIn:
    """A user who has signed in, with or without a second factor."""

    user: Row
    second_factor: bool = False


@dataclass(frozen=True)
class Page:
    """The page to show next, with its HTTP status."""

    text: str
    status: int = 200


def next_step(cloud: Cloud, tenant_id: str, fields: Mapping[str, str], form: Form) -> SignedIn | Page:
    """Return who has signed in with the fields of a form, or the page that comes next."""
    flow = fields.get("flow", "")
    if flow:
        return _with_second_factor(cloud, tenant_id, flow, form)
    user = cloud.directory.user(tenant_id, fields.get("username", ""))
    if user is None or not cloud.secrets.matches(fields.get("password", ""), user["password_hash"]):
        return _again(form, _WRONG)
    if state_of(user) == "password_expired":
        return _with_new_password(cloud, user, fields, form)
    return _judged(cloud, user, form)


def automatic(cloud: Cloud, tenant_id: str) -> SignedIn | None:
    """Return the user who signs in by itself, second factor included, where the configuration names one."""
    upn = cloud.config.auto_approve_upn
    user = None if upn is None else cloud.directory.user(tenant_id, upn)
    if user is None or state_of(user) not in ("allowed", "mfa"):
        return None
    return SignedIn(user, state_of(user) == "mfa")


def _again(form: Form, problem: str) -> Page:
    hidden = {} if form.code else form.hidden
    return Page(pages.sign_in(form.title, form.action, hidden, problem, code=form.code), 400 if form.code else 200)


def _judged(cloud: Cloud, user: Row, form: Form, *, second_factor: bool = False) -> SignedIn | Page:
    try:
        check_sign_in(user, "", password=True, second_factor=second_factor)
    except errors.EntraError as error:
        if error.number == errors.SECOND_FACTOR_REQUIRED:
            return _ask_second_factor(cloud, user, form)
        note_refusal(cloud, error)
        title, text = _TEXTS[error.number]
        return Page(pages.done(title, f"{text} AADSTS{error.number}"), 400)
    return SignedIn(user, second_factor)


def _ask_second_factor(cloud: Cloud, user: Row, form: Form) -> Page:
    flow = cloud.tickets.issue(
        SECOND_FACTOR, cloud.wall.now(), _SECONDS, tenant_id=user["tenant_id"], app_id="", scope="", user_id=user["id"]
    )
    return Page(pages.approve(form.action, {**form.hidden, "flow": flow}))


def _with_second_factor(cloud: Cloud, tenant_id: str, flow: str, form: Form) -> SignedIn | Page:
    ticket = cloud.tickets.find(SECOND_FACTOR, flow)
    user = None if ticket is None or ticket.user_id is None else cloud.directory.user(tenant_id, ticket.user_id)
    if ticket is None or user is None or ticket.expires <= cloud.wall.now():
        return _again(form, "The request has expired. Sign in again.")
    cloud.tickets.spend(ticket)
    return _judged(cloud, user, form, second_factor=True)


def _with_new_password(cloud: Cloud, user: Row, fields: Mapping[str, str], form: Form) -> SignedIn | Page:
    old, new = fields.get("password", ""), fields.get("new_password")
    hidden = {**form.hidden, "username": str(user["user_principal_name"])}
    if new is None:
        note_refusal(cloud, errors.expired_password(user["user_principal_name"]))
        return Page(pages.new_password(form.action, hidden))
    if not new or new != fields.get("confirm_password") or new == old:
        return Page(pages.new_password(form.action, hidden, "Enter another password twice."), 400)
    cloud.directory.change_user(user["id"], password=new)
    renew_password(cloud, user["id"], user["tenant_id"])
    revoke_sessions_of(cloud, user["id"])
    cloud.journal.record("entra", "password changed", user=user["id"])
    return _judged(cloud, {**user, **(cloud.directory.user(user["tenant_id"], user["id"]) or {})}, form)
