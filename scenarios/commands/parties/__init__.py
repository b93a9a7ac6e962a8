"""Commands that stand for one party: keys, connector, pfx, devices."""
