"""Lays the four top-level folders below the one import name `pfxlab`; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup

PARTIES = ("emulator", "connector_sim", "device_sim", "scenarios")

setup(
    packages=["pfxlab"]
    + [f"pfxlab.{name}" for party in PARTIES for name in (party, *find_packages(".", include=[f"{party}.*"]))],
    package_dir={"pfxlab": "pfxlab"} | {f"pfxlab.{party}": party for party in PARTIES},
)
