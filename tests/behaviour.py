"""Marks a test as the proof of a platform's behaviour; docs/platforms.md is made of these marks."""

from typing import Literal

import pytest

Platform = Literal["Windows", "iOS", "macOS", "Android"]


def behaviour(topic: str, platform: Platform, what: str, *, source: str) -> pytest.MarkDecorator:
    """Return the mark for a platform's behaviour on a topic; `source` is the anchor of its fact in docs/sources.md."""
    return pytest.mark.behaviour(topic, platform, what, source=source)
