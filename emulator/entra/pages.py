"""The few sign-in pages a browser or a test sees: sign-in form, device code, consent, form_post. No scripts but one."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Final
from urllib.parse import urlsplit

_FRAME: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px system-ui;max-width:26rem;margin:4rem auto}}label,input,button{{display:block;width:100%;
margin:.4rem 0;font:inherit}}p.bad{{color:#b00}}</style></head><body><h1>{title}</h1>{body}
<p><small>PFX Lab, TEST ONLY. Not Microsoft.</small></p></body></html>"""

_SUBMIT: Final = "document.forms[0].submit()"
_SUBMIT_HASH: Final = base64.b64encode(hashlib.sha256(_SUBMIT.encode()).digest()).decode("ascii")


def headers(redirect_uri: str | None = None) -> dict[str, str]:
    """Return what a page tells the browser: no script but its own, no frame around it, no address passed on.

    Forms go to the lab and, as browsers count the redirect that follows, to `redirect_uri`.
    """
    target = urlsplit(redirect_uri or "")
    # A source of a policy cannot be an IPv6 address (Content Security Policy Level 3, section 2.3.1).
    there = f"{target.scheme}:" if "[" in target.netloc else f"{target.scheme}://{target.netloc}"
    forms = f"'self' {there}" if target.scheme else "'self'"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_SUBMIT_HASH}'; form-action {forms}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def _page(title: str, body: str) -> str:
    return _FRAME.format(title=escape(title), body=body)


def _inputs(hidden: Mapping[str, str]) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden.items()
    )


def sign_in(
    title: str, action: str, hidden: Mapping[str, str], problem: str | None = None, *, code: bool = False
) -> str:
    """Return a form for user name and password, with a field for the user code when `code`."""
    field = '<label>Code <input name="user_code" autocomplete="off" required></label>' if code else ""
    bad = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    form = (
        f'{bad}<form method="post" action="{escape(action)}">{_inputs(hidden)}{field}'
        '<label>User name <input name="username" type="email" autocomplete="username" required></label>'
        '<label>Password <input name="password" type="password" autocomplete="current-password" required></label>'
        '<button type="submit">Sign in</button></form>'
    )
    return _page(title, form)


def approve(action: str, hidden: Mapping[str, str]) -> str:
    """Return the page that asks for a second factor; its button stands for the person's telephone."""
    form = (
        "<p>Open your Authenticator app, and approve the request to sign in.</p>"
        f'<form method="post" action="{escape(action)}">{_inputs(hidden)}<button type="submit">Approve</button></form>'
    )
    return _page("Approve sign in request", form)


def new_password(action: str, hidden: Mapping[str, str], problem: str | None = None) -> str:
    """Return the page that asks for a new password in place of one that has expired."""
    bad = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    fields = (("Current password", "password", "current"), ("New password", "new_password", "new"),
              ("Confirm password", "confirm_password", "new"))  # fmt: skip
    inputs = "".join(
        f'<label>{label} <input name="{name}" type="password" autocomplete="{kind}-password" required></label>'
        for label, name, kind in fields
    )
    text = (
        "You need to update your password because this is the first time you are signing in, or because your password"
        " has expired."
    )
    form = f'{_inputs(hidden)}{inputs}<button type="submit">Sign in</button>'
    return _page(
        "Update your password", f'{bad}<p>{text}</p><form method="post" action="{escape(action)}">{form}</form>'
    )


def done(title: str, text: str) -> str:
    """Return a page that says that something was done, or not."""
    return _page(title, f"<p>{escape(text)}</p>")


def form_post(redirect_uri: str, fields: Mapping[str, str]) -> str:
    """Return a page whose form posts the answer to the client's address by itself."""
    form = f'<form method="post" action="{escape(redirect_uri)}">{_inputs(fields)}<button>Continue</button></form>'
    return _page("Signed in", f"{form}<script>{_SUBMIT}</script>")
