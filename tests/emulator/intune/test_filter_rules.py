"""Rules of assignment filters. Expected values: sources.md#filter-rules, sources.md#filter-properties.

Where these say nothing, the lab's choice is tested: sources.md#filter-rule-gaps.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfxlab.emulator.intune.filter_rules import RuleInvalid, read_rule

PHONE = {
    "devicename": "Scott's Device",
    "manufacturer": "Samsung",
    "model": "Galaxy Note 9",
    "osversion": "10.15.3 (19D2064)",
    "operatingsystemversion": "10.0.22631.3235",
    "deviceownership": "Personal",
    "devicetrusttype": "Azure AD joined",
    "enrollmentprofilename": None,
}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # The page's own examples.
        ('(device.manufacturer -eq "Samsung") or (device.model -contains "Galaxy S")', True),
        ('(device.manufacturer -eq "Samsung") and (device.model -contains "Galaxy Note")', True),
        ('(device.manufacturer -ne "Samsung") or (device.model -ne "Galaxy Note")', True),
        ('(device.manufacturer -startsWith "Sams")', True),
        ('(device.manufacturer -in ["Samsung","Lenovo","Microsoft"])', True),
        ('(device.manufacturer -notIn ["Samsung","Lenovo","Microsoft"])', False),
        ('(device.manufacturer -contains "Samsung")', True),
        ('(device.manufacturer -notContains "Samsung")', False),
        ('(device.deviceName -eq "Scott\'s Device")', True),
        ('(device.deviceName -in ["Sara\'s device", "Scott\'s device"])', True),
        ('(device.deviceOwnership -eq "Personal")', True),
        ('(device.deviceTrustType -in ["Hybrid Azure AD joined","Azure AD joined"])', True),
        ("(device.enrollmentProfileName -ne $null)", False),
        ('(device.osVersion -in ["10.15.3 (19D2064)","10.14.2 (18C54)"])', True),
        ("(device.operatingSystemVersion -eq 14.2.1)", False),
        ("(device.operatingSystemVersion -gt 10.0.22000.1000)", True),
        ("(device.operatingSystemVersion -le 10.0.22631.3235)", True),
        ('(device.operatingSystemVersion -ne "10.0.22000.1000")', True),
        ("(device.operatingSystemVersion -lt 10.0.9000.1)", False),
        # Dashes may be left out, nothing depends on case, parentheses nest.
        ('device.manufacturer eq "SAMSUNG"', True),
        ('((DEVICE.MODEL -CONTAINS "note") -AND (Device.Manufacturer -EQ "samsung"))', True),
        ("(device.enrollmentProfileName -eq Null)", True),
        # Operators that the model alone names.
        ('(device.model -endsWith "9")', True),
        ('(device.model -notEndsWith "9")', False),
        ('(device.model -notStartsWith "Surface")', True),
        # Choices of the lab.
        ('not (device.manufacturer -eq "Samsung")', False),
        (
            '(device.model -eq "x") and (device.model -eq "x") or (device.manufacturer -eq "Samsung")',
            True,
        ),
        (
            '(device.manufacturer -eq "Samsung") or (device.model -eq "x") and (device.model -eq "x")',
            True,
        ),
        ("(device.operatingSystemVersion -ge 10)", True),
        ("(device.operatingSystemVersion -gt 10.0.22631.3235.0)", None),
        ('(device.enrollmentProfileName -contains "a")', False),
        ('(device.enrollmentProfileName -startsWith "")', False),
        ('(device.enrollmentProfileName -ne "a")', True),
        ('(device.deviceCategory -eq "Engineering devices")', False),
    ],
)
def test_rules_match_as_documented(rule: str, expected: bool | None) -> None:
    """A rule holds of a device as its operators say; a version of five numbers is none."""
    if expected is None:
        with pytest.raises(RuleInvalid):
            read_rule(rule)
    else:
        assert read_rule(rule).matches(PHONE) is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("", "a property such as device.model at character 0, got the end of the rule"),
        ('(device.colour -eq "red")', "a property such as device.model at character 1, got 'device.colour'"),
        ('(device.model -gt "x")', "-contains, -endswith, -eq, "),
        ('(device.deviceOwnership -contains "Pers")', "one of -eq, -ne for deviceownership at character 24"),
        ('(device.model -eq "x"', "expected ')' at character 21, got the end of the rule"),
        ('(device.model -eq "x', "a closing quotation mark"),
        ("(device.model -eq x)", "a value in double quotation marks at character 18, got 'x'"),
        ('(device.model -in "x")', "expected '[' at character 18"),
        ('(device.model -in ["x" "y"])', "expected ']'"),
        ('(device.model -eq "x") (device.model -eq "y")', "and, or, or the end at character 23"),
        ('(device.model -eq "x") and (app.appVersion -eq "1")', "properties of devices or of apps, got both"),
        ('(device.operatingSystemVersion -ge "new")', "a version such as 14.2.1"),
        (f'(device.model -eq "{"x" * 3072}")', "at most 3072 characters, got 3093"),
        ("(" * 500 + 'device.model -eq "x"' + ")" * 500, "nested at most"),
        ("not " * 500 + 'device.model -eq "x"', "nested at most"),
    ],
)
def test_what_is_no_rule_is_refused(rule: str, expected: str) -> None:
    """A rule that cannot be read is refused with what was expected, and where."""
    with pytest.raises(RuleInvalid) as caught:
        read_rule(rule)
    assert expected in str(caught.value)


def test_longest_rule_is_read() -> None:
    """A rule of exactly 3072 characters is taken."""
    start, end = '(device.model -eq "', '")'
    rule = f"{start}{'x' * (3072 - len(start) - len(end))}{end}"
    assert len(rule) == 3072
    assert read_rule(rule).entity == "device"


PARTS = ["(", ")", "[", "]", ",", '"', " ", "device.model", "-eq", "-in", "and", "not", "null", '"x"', "10.0", "é"]


@given(st.lists(st.sampled_from(PARTS), max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    """Whatever the text, reading it gives a rule that decides, or RuleInvalid."""
    try:
        rule = read_rule(text)
    except RuleInvalid:
        return
    assert rule.matches(PHONE) in (True, False)


WORDS = st.text(st.characters(exclude_characters='"', exclude_categories=["Cs"]), max_size=8)


@given(model=WORDS, value=WORDS)
def test_operators_agree_with_python(model: str, value: str) -> None:
    """Each operator on texts, and its negation, agrees with Python's own comparison of the folded texts."""
    left, right = model.casefold(), value.casefold()
    for operator, expected in {
        "eq": left == right,
        "startsWith": left.startswith(right),
        "endsWith": left.endswith(right),
        "contains": right in left,
    }.items():
        opposite = "ne" if operator == "eq" else f"not{operator}"
        phone = {"model": model}
        assert read_rule(f'device.model -{operator} "{value}"').matches(phone) is expected
        assert read_rule(f'device.model -{opposite} "{value}"').matches(phone) is not expected


VERSIONS = st.lists(st.integers(0, 30), min_size=4, max_size=4)


@given(VERSIONS, VERSIONS)
def test_versions_compare_by_number(present: list[int], wanted: list[int]) -> None:
    """Versions compare number by number, so that 10.0.9 comes before 10.0.10."""
    phone = {"operatingsystemversion": ".".join(map(str, present))}
    rule = f"device.operatingSystemVersion -{{}} {'.'.join(map(str, wanted))}"
    expected = {"lt": present < wanted, "le": present <= wanted, "gt": present > wanted, "ge": present >= wanted}
    assert {name: read_rule(rule.format(name)).matches(phone) for name in expected} == expected
