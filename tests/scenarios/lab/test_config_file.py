"""The configuration file: its effects, its errors, and tenants that are isolated from each other."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pfxlab.emulator.config import Config, Switches
from pfxlab.emulator.entra.principals.users import is_licensed, state_of
from pfxlab.scenarios.cli import main
from pfxlab.scenarios.lab.config_file import ConfigProblem, read_config
from tests.conftest import new_lab
from tests.emulator.graph.client import PFX, Raw, admin, record, setup

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
EXAMPLE = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]


def written(folder: Path, text: str) -> Path:
    """Return a file with that text."""
    path = folder / "lab.yaml"
    path.write_text(text, "utf-8")
    return path


def test_documented_example_is_read(tmp_path: Path) -> None:
    """The example of the documentation has the documented effect."""
    config = read_config(written(tmp_path, EXAMPLE))
    assert (config.seed, config.explain, config.auto_approve_upn) == (7, True, "user@pfxlab.example")
    switches = config.switches
    assert (switches.duplicate_post, switches.page_size, switches.throttling) == ("upsert", 2, "documented")
    assert [tenant["domain"] for tenant in config.tenants] == ["pfxlab.example", "fabrikam.example"]


async def test_own_tenant_gets_further_users(tmp_path: Path) -> None:
    """An entry under the lab's own domain adds its users to the lab's tenant, for sign-in and imports."""
    async with new_lab(tmp_path / "lab", read_config(written(tmp_path, EXAMPLE))) as lab:
        lab.cloud.config = replace(lab.cloud.config, switches=Switches())
        graph = await admin(lab)
        assert (await graph("POST", PFX, record(lab, userPrincipalName="second@pfxlab.example"))).status == 201
        assert await lab.user_token("second@pfxlab.example", "only for tests as well")


async def test_users_are_in_the_state_of_the_file(tmp_path: Path) -> None:
    """A user of the file must show a second factor and has no licence, where it says so; others sign in as ever."""
    async with new_lab(tmp_path / "lab", read_config(written(tmp_path, EXAMPLE))) as lab:
        tenant, fabrikam = lab.operator.credentials.tenant_id, lab.cloud.directory.tenant("fabrikam.example")
        assert fabrikam is not None
        second = lab.cloud.directory.user(tenant, "second@pfxlab.example")
        mail = lab.cloud.directory.user(fabrikam["id"], "mail@fabrikam.example")
        assert second is not None
        assert mail is not None
        assert [(state_of(one), is_licensed(one)) for one in (second, mail)] == [("mfa", False), ("allowed", True)]


async def test_changes_over_graph_outlive_a_restart(tmp_path: Path) -> None:
    """A user changed through Graph is still changed after a restart with the same file."""
    config = read_config(written(tmp_path, EXAMPLE))
    async with new_lab(tmp_path / "lab", config) as lab:
        graph = await setup(lab)
        change = {"jobTitle": "Postmaster", "displayName": "Second"}
        assert (await graph("PATCH", "/v1.0/users/second@pfxlab.example", change)).status == 204
    async with new_lab(tmp_path / "lab", config) as lab:
        graph = await setup(lab)
        shown = (await graph("GET", "/v1.0/users/second@pfxlab.example")).json
        assert (shown["jobTitle"], shown["displayName"]) == ("Postmaster", "Second")


def test_command_line_wins(tmp_path: Path) -> None:
    """Seed and explain of the command line win over the file; no file means defaults."""
    config = read_config(written(tmp_path, "seed: 3"), 5, explain=True)
    assert (config.seed, config.explain) == (5, True)
    assert read_config(None) == Config()
    assert read_config(written(tmp_path, "")) == Config()


def test_unquoted_numbers_are_the_texts_they_look_like(tmp_path: Path) -> None:
    """A switch with text values accepts 404 and off without quotes, one with seconds accepts 1 and 0.5."""
    text = "switches: {throttling: off, delete_missing: 404, connector_retry_seconds: 1, connector_lease_seconds: 0.5}"
    switches = read_config(written(tmp_path, text)).switches
    assert (switches.throttling, switches.delete_missing, switches.connector_retry_seconds) == ("off", "404", 1.0)
    assert switches.connector_lease_seconds == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: [", "line 1: expected YAML"),
        ("seed: x", "seed: expected type"),
        ("cheese: 1", "the file: expected seed, auto_approve_upn, explain, journal_entries, switches, tenants, got 'cheese'"),
        ("switches: {cheese: 1}", "expected switches of docs/divergences.md, got cheese"),
        ("switches: {duplicate_post: maybe}", "expected one of reject400, upsert, conflict409, got 'maybe'"),
        ("switches: {page_size: -1}", "switches/page_size: expected int from 1, got -1"),
        ("switches: {page_size: 1.5}", "expected int from 1, got 1.5"),
        ("tenants: [{domain: x}]", "tenants/0/domain: expected pattern"),
        ("tenants: [{domain: a.example, users: [{upn: x, password: y}]}]", "expected a user principal name"),
        ("switches: {1: 2}", "got 1"),
        ("tenants: [{domain: a.example, users: [{upn: b@a.example, password: y, sign_in: never}]}]", 'sign_in: expected enum ["allowed", "mfa", "blocked"'),
        ("tenants: [{domain: pfxlab.example, users: [{upn: Admin@pfxlab.example, password: y}]}]", "beside those the lab makes"),
        ("tenants: [{domain: pfxlab.example, id: 11111111-2222-4333-8444-555555555555}]", "expected no id"),
        ("switches: {connector_retry_seconds: .nan}", "connector_retry_seconds: expected a finite number, got nan"),
        ("tenants: [{domain: a.example}, {domain: A.example}]", "expected each domain once, got a.example"),
        ("tenants: [{domain: a.example, users: [{upn: user@pfxlab.example, password: y}]}]", "users of its own domain"),
        ("tenants: [{domain: a.example, groups: [{name: g, members: [b@a.example]}]}]", "group g: expected users of the tenant"),
    ],
)  # fmt: skip
def test_invalid_file_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """An invalid file is refused with the place, the expected and the actual value; the command ends with code 2."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigProblem, match=re.escape(said)):
        read_config(path)
    result = CliRunner().invoke(main, ["exec", "--config", str(path), "true"])
    assert result.exit_code == 2
    assert said in result.stderr


async def test_tenants_are_blind_to_each_other(tmp_path: Path) -> None:
    """Two tenants sign in under their own domains and see no users or certificates of each other."""
    config = read_config(written(tmp_path, EXAMPLE.replace("throttling: documented", "throttling: off")))
    async with new_lab(tmp_path / "lab", config) as lab:
        ours = await admin(lab)
        async with lab.graph() as client:
            client._authority_url = f"{lab.emulator.origin}/fabrikam.example"
            form = {"client_id": "11111111-2222-4333-8444-555555555555", "client_secret": "only for tests too"}
            theirs = Raw(lab, await client.sign_in({"grant_type": "client_credentials", **form}))
        mine = await ours("POST", PFX, record(lab))
        other = await theirs("POST", PFX, record(lab, userPrincipalName="mail@fabrikam.example"))
        assert (mine.status, other.status) == (201, 201)
        for graph, own in ((ours, mine), (theirs, other)):
            assert [item["id"] for item in (await graph("GET", PFX)).json["value"]] == [own.json["id"]]
        assert (await theirs("GET", f"{PFX}/{mine.json['id']}")).status == 404
        assert (await theirs("PATCH", f"{PFX}/{mine.json['id']}", {"keyName": "x"})).status == 404
        await theirs("DELETE", f"{PFX}/{mine.json['id']}")
        assert (await ours("GET", f"{PFX}/{mine.json['id']}")).status == 200
        users = (await theirs("GET", "/beta/users")).json["value"]
        assert [user["userPrincipalName"] for user in users] == ["mail@fabrikam.example"]
        assert (await theirs("GET", f"/beta/users/{lab.operator.credentials.user_upn}")).status == 404
        assert (await theirs("POST", PFX, record(lab, thumbprint="ff" * 20))).status == 400


async def test_restart_keeps_consent_and_follows_the_file(tmp_path: Path) -> None:
    """After a restart consent is kept, while roles and members follow the file."""
    first = read_config(written(tmp_path, EXAMPLE.replace("roles: [intune_administrator]", "roles: []")))
    async with new_lab(tmp_path / "lab", first) as lab:
        directory = lab.cloud.directory
        app = directory.app("11111111-2222-4333-8444-555555555555")
        assert app is not None
        directory.consent(replace(app, requested_app_roles=("Group.Read.All",)))
        tenant = directory.tenant("fabrikam.example")
        before = directory.user(tenant["id"], "mail@fabrikam.example") if tenant is not None else None
        assert tenant is not None
        assert before is not None
    second = read_config(written(tmp_path, EXAMPLE.replace("members: [mail@fabrikam.example]", "members: []")))
    async with new_lab(tmp_path / "lab", second) as lab:
        directory = lab.cloud.directory
        app, after = directory.app(app.id), directory.user(tenant["id"], "mail@fabrikam.example")
        assert app is not None
        assert after is not None
        assert "Group.Read.All" in app.app_roles
        assert (after["created"], before["directory_roles"]) == (before["created"], "[]")
        assert after["directory_roles"] != "[]"
        assert directory.groups_of(after["id"]) == frozenset()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sede: 3", "the file: expected seed, .*, got 'sede'; did you mean seed"),
        (
            "switches: {page_sise: 3}",
            "switches: expected switches of docs/divergences.md, got page_sise; did you mean",
        ),
        ("tenants: [{domain: a.example, user: []}]", "tenants/0: expected domain, .*, got 'user'; did you mean users"),
        ("seed: .inf", "seed: expected a finite number, got inf"),
        ("seed: 2026-01-01", "seed: expected a text, a number, true or false, got date"),
        ("seed: !!binary AAAA", "seed: expected a text, a number, true or false, got bytes"),
        ("1: 2", "the file: expected texts as names, got 1 .int."),
        ("switches: &a {page_size: *a}", "line 1: expected an alias to what stands before it, 'a' holds itself"),
        ("seed: 9999-99-99", "line 1: expected a valid timestamp, or quotes"),
        ("- 1", "the file: expected type"),
        ("switches: {page_size: .nan}", "switches/page_size: expected a finite number"),
    ],
)
def test_odd_value_is_refused_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    """Valid YAML that is not a configuration is refused in a sentence with file, place and a suggestion."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigProblem, match=sentence) as problem:
        read_config(path)
    assert str(path) in str(problem.value)
