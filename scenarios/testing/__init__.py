"""A lab for tests. `pytest_plugin.py` makes fixtures of it; other test frameworks can use `LabSession` themselves."""

from pfxlab.scenarios.testing.graph import Graph
from pfxlab.scenarios.testing.journal import Journal
from pfxlab.scenarios.testing.lab import DeviceHandle, TestLab
from pfxlab.scenarios.testing.session import LabSession
from pfxlab.scenarios.testing.values import Answer, Certificate, Finding

__all__ = ["Answer", "Certificate", "DeviceHandle", "Finding", "Graph", "Journal", "LabSession", "TestLab"]
