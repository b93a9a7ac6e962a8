"""Commands over a lab: up, exec, demo, scenario, world, journal, explain, bundle, replay."""
