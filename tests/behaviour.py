"""Marks a test as the proof of a platform's behaviour; docs/platforms.md is made of these marks."""

from typing import Literal

import pytest

Platform = Literal["Windows", "iOS", "macOS", "Android"]
Confidence = Literal["documented", "observed", "assumed"]


def behaviour(topic: str, platform: Platform, what: str, confidence: Confidence, source: str) -> pytest.MarkDecorator:
    """Return the mark: on a topic, a platform does `what`; how sure that is, and where it is from."""
    return pytest.mark.behaviour(topic, platform, what, confidence, source)
