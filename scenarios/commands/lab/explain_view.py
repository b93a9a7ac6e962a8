"""`pfxlab explain`: the path of one certificate to one device, link by link, up to the first that is broken."""

from typing import Any

from pfxlab.scenarios.terminal import Box, Fact


def path_of(explained: dict[str, Any]) -> Box:
    """Return one explanation: a fact for each link, and below the broken one what to do."""
    facts = []
    for link in explained["links"]:
        code = link["code"]
        mark = "✗" if code else "✓"
        facts.append(
            Fact(f"{mark} {link['name']:<9}", f"{code}: {link['evidence']}" if code else link["evidence"], _style(code))
        )
        if link["remedy"]:
            facts.append(Fact("  do", link["remedy"], "green"))
    thumbprint = (explained["thumbprint"] or "certificates")[:16]
    where = f" → {explained['deviceName']}" if explained["deviceName"] else ""
    return Box(f"{thumbprint} of {explained['user']}{where}", facts, "green" if explained["arrived"] else "red")


def _style(code: str | None) -> str:
    return "red" if code else ""
