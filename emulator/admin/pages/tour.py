"""The guided tour: the demo's scenario, page by page. A step is a box on the page that it is about: `?tour=3`."""

from dataclasses import dataclass
from typing import Final

from pfxlab.emulator.admin.page import PREFIX, Look


@dataclass(frozen=True)
class Step:
    """One step: the page it is on, what it is called, what it says."""

    path: str
    title: str
    text: str


STEPS: Final = (
    Step(
        PREFIX,
        "The chain",
        "An administrator's tool encrypts a PFX's password and imports it over Graph. Intune keeps what it cannot read,"
        " a connector encrypts it anew for each device, and the device opens it. The numbers change as it happens.",
    ),
    Step(
        f"{PREFIX}/certificates",
        "Imported certificates",
        "What came over Graph, for whom and for which purpose. The cloud holds the PFX and an encrypted password, and"
        " neither the key nor the password that would open it. Select one to see its way, hop by hop.",
    ),
    Step(
        f"{PREFIX}/profiles",
        "Profiles",
        "Nothing happens until a PKCS imported certificate profile of the same purpose is assigned to the user's group."
        " Create profile goes through the product's own steps.",
    ),
    Step(
        f"{PREFIX}/connectors",
        "The connector's green tick",
        "The connector decrypts with the key on its own server. A green tick says that it was heard of within the hour;"
        " without one, certificates wait.",
    ),
    Step(
        f"{PREFIX}/devices",
        "Devices",
        "Each device holds its own identity key, for which the connector encrypts. Select one to read what it and the"
        " service said to each other.",
    ),
    Step(
        f"{PREFIX}/journal",
        "The journal",
        "Everything that happened, and for every refusal what the client was told beside the true reason.",
    ),
    Step(
        f"{PREFIX}/world",
        "The world",
        "Let time pass, plan a fault, change what nobody knows about the real service, or begin anew.",
    ),
)


def step_of(look: Look) -> dict[str, object] | None:
    """Return the step of the tour that a look asks for, with where it goes on; None without one."""
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
