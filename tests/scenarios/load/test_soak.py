"""A soak test: growth is found, and anything else is called flat."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pfxlab.scenarios.cli import main
from pfxlab.scenarios.load.drive.soak import Growth, growth

_HOUR = [float(minute) for minute in range(61)]


def test_figure_that_levels_off_is_flat() -> None:
    """A figure that rises in the first quarter and then stays level, with some noise, does not grow."""
    seen = growth(_HOUR, [100 + min(minute, 15) + minute % 2 for minute in _HOUR])
    assert seen.level == pytest.approx(115.5, abs=0.5)
    assert abs(seen.share) < 0.005
    assert seen.flat


def test_a_figure_that_grows_steadily_is_not_flat() -> None:
    """A figure that gains one percent a minute gains 45 over the three quarters that count."""
    seen = growth(_HOUR, [100 + minute for minute in _HOUR])
    assert seen.share * seen.level == pytest.approx(45)
    assert not seen.flat


def test_falling_figure_is_flat() -> None:
    """A figure that shrinks is not growth."""
    assert Growth(100, -0.3).flat


def test_too_short_a_soak_is_refused() -> None:
    """Fewer than three readings after settling are refused."""
    with pytest.raises(ValueError, match="expected a soak of several minutes"):
        growth([0, 1], [5, 5])


def test_soak_command_writes_readings_and_a_plot(tmp_path: Path, *, whole: bool) -> None:
    """`pfxlab soak` runs renewals, check-ins and lists by the lab's clock, one reading a minute, and plots them."""
    renewals, check_ins = (1, 1) if whole else (0, 0)
    load = ["--renewals", str(renewals), "--check-ins", str(check_ins)]
    arguments = ["soak", "--duration", "5m", *load, "--devices", "1", "--json"]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "soak")])
    assert result.exit_code in (0, 1), result.output
    told = json.loads(result.stdout)
    assert told["done"] == {"renewals": 301 * renewals, "check-ins": 301 * check_ins, "lists": 301}
    assert [one["minute"] for one in told["readings"]] == [0, 1, 2, 3, 4, 5]
    assert all(one["memory_mb"] > 10 and one["database_mb"] > 0.1 for one in told["readings"])
    assert {file.name for file in (tmp_path / "soak").iterdir()} == {"soak.json", "soak.svg", "soak.png"}
