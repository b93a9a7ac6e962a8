"""Marks a test as the proof of a platform's behaviour; docs/platforms.md is made of these marks."""

from typing import Literal

import pytest

Platform = Literal["Windows", "iOS", "macOS", "Android"]


def behaviour(topic: str, platform: Platform, what: str, *, source: str) -> pytest.MarkDecorator:
    """Return the mark: on a topic, a platform does `what`, as the fact under an anchor of docs/sources.md says."""
    return pytest.mark.behaviour(topic, platform, what, source=source)
