"""Every rule that a tool can be judged by."""

from typing import Final

from pfxlab.scenarios.conformance.evidence import Rule
from pfxlab.scenarios.conformance.rules import behaviour, material, parties, requests

RULES: Final[dict[str, Rule]] = {
    rule.id: rule for module in (requests, material, behaviour, parties) for rule in module.RULES
}
"""Id → rule, in the order in which they are shown."""
