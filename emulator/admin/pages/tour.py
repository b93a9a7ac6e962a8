"""The guided tour: the demo's scenario, page by page. A step is a box on the page it describes: `?tour=3`."""

from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.admin.page import PREFIX, Look


@dataclass(frozen=True)
class Step:
    """One step: the path of its page, its title, its text."""

    path: str
    title: str
    text: str


STEPS: Final = (
    Step(
        PREFIX,
        "The chain",
        "An administrator's tool encrypts a PFX's password and imports the PFX over Graph. Intune stores it but cannot"
        " read it. A connector re-encrypts the password for each device, and the device opens the PFX. The numbers are"
        " live.",
    ),
    Step(
        f"{PREFIX}/certificates",
        "Imported certificates",
        "The certificates imported over Graph, with user and purpose. The cloud stores the PFX and its encrypted"
        " password, but no key that decrypts the password. Select a certificate to see its timeline.",
    ),
    Step(
        f"{PREFIX}/profiles",
        "Profiles",
        "Nothing is delivered until a PKCS imported certificate profile with the same purpose is assigned to the user's"
        " group. Create profile follows the steps of the real product.",
    ),
    Step(
        f"{PREFIX}/connectors",
        "The connector's green tick",
        "The connector decrypts with the key on its own server. A green tick means contact within the last hour;"
        " without an active connector, certificates wait.",
    ),
    Step(
        f"{PREFIX}/devices",
        "Devices",
        "Each device has an identity key, for which the connector encrypts. Select a device to read the messages"
        " between it and the service.",
    ),
    Step(
        f"{PREFIX}/journal",
        "The journal",
        "Every event. A refusal shows the answer to the client and the true reason.",
    ),
    Step(
        f"{PREFIX}/world",
        "The world",
        "Advance the clock, plan a fault, set how the lab behaves where the real service is unknown, or reset.",
    ),
)


def step_of(look: Look) -> dict[str, object] | None:
    """Return the tour step of a page view with links to its neighbours, or None."""
    number = look.number("tour")
    if not 1 <= number <= len(STEPS) or STEPS[number - 1].path != look.path:
        return None
    step = STEPS[number - 1]
    following = f"{STEPS[number].path}?tour={number + 1}" if number < len(STEPS) else ""
    before = f"{STEPS[number - 2].path}?tour={number - 1}" if number > 1 else ""
    return {
        "number": number,
        "of": len(STEPS),
        "title": step.title,
        "text": step.text,
        "next": following,
        "back": before,
    }
