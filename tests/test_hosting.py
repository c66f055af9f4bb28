"""The files that hosts and tools read: workflows, hooks, containers, requirements."""

import json
import re
import subprocess
import tomllib

import pytest
import yaml

from tests.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def programs(*groups: str) -> set[str]:
    """Return the packages with the programs of these groups."""
    command = [".ci/system-packages", "--list", *groups]
    return set(subprocess.check_output(command, cwd=ROOT, text=True, timeout=60).split())


# --- what the hosts read ----------------------------------------------------------------------

GITHUB = ROOT / ".github"
MAKEFILE = (ROOT / "Makefile").read_text()
CI = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text())
RELEASE = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())
PREPARE = yaml.safe_load((GITHUB / "actions" / "prepare" / "action.yml").read_text())
MATRIX = CI["jobs"]["framework"]["strategy"]["matrix"]["include"]


def steps() -> list[dict[str, object]]:
    """Return each step of each job, the matrix expanded, and those of the shared action."""
    found: list[dict[str, object]] = [*PREPARE["runs"]["steps"]]
    for workflow in (CI, RELEASE):
        for name, job in workflow["jobs"].items():
            for row in MATRIX if name == "framework" else [{}]:
                text = json.dumps(job["steps"])
                for key, value in row.items():
                    text = text.replace(f"${{{{ matrix.{key} }}}}", value)
                assert "matrix." not in text
                found += json.loads(text)
    return found


def make_targets(text: str) -> set[str]:
    """Return the targets of the lines `make TARGET`, which may set variables."""
    return set(re.findall(r"^make ([\w.-]+)(?: [A-Z]+=\S+)*$", text, flags=re.M))


YAML = [*sorted(GITHUB.rglob("*.yml")), ROOT / ".pre-commit-config.yaml"]


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_files_can_be_read(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_each_command_of_the_workflows_is_a_make_target_or_a_script_of_the_repository():
    commands = [str(step["run"]) for step in steps() if "run" in step]
    assert len(commands) >= 11

    for command in commands:
        if command.startswith("sudo "):
            assert (ROOT / command.split()[1]).stat().st_mode & 0o100, command
        else:
            [target] = make_targets(command)
            assert re.search(rf"^({re.escape(target)}|test-%):", MAKEFILE, flags=re.M), command
            assert target.startswith("test-3.") or re.search(
                rf"^{re.escape(target)}:", MAKEFILE, flags=re.M
            ), command


def test_hosted_ci_runs_what_ci_run_runs():
    wanted = make_targets((ROOT / ".ci" / "run").read_text())
    parts = set(
        re.findall(r"\btest-\w+", re.search(r"^test:.*\n(?:\t.*\n)+", MAKEFILE, flags=re.M)[0])
    )
    wanted = (wanted - {"test", "test-versions"}) | parts | {row["target"] for row in MATRIX}

    found = make_targets("\n".join(str(step.get("run", "")) for step in steps()))
    assert found - {"release-check"} == wanted | {"release-rehearsal"}


def test_one_list_of_python_versions():
    versions = [
        line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)
    ]
    searched = re.findall(
        r"\bpython(3\.\d+)", (ROOT / ".ci" / "find-python").read_text().split("candidates=")[2]
    )
    others = re.search(r"^OTHER_PYTHONS := (.+)$", MAKEFILE, flags=re.M)[1].split()

    assert [row["python"] for row in MATRIX] == versions
    assert [row["target"] for row in MATRIX] == [
        "test-framework",
        *(f"test-{version}" for version in others),
    ]
    assert searched == versions
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert [versions[0], *others] == versions


def test_actions_are_pinned_by_commit():
    used = [str(step["uses"]) for step in steps() if "uses" in step]

    for action in used:
        assert (
            re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)
            or action == "./.github/actions/prepare"
        ), action


def test_workflows_may_read_and_only_publishing_gets_a_token():
    for workflow in (CI, RELEASE):
        assert workflow["permissions"] == {"contents": "read"}
    jobs = {**CI["jobs"], **RELEASE["jobs"]}
    extra = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}
    publish = RELEASE["jobs"]["publish"]

    assert extra == {"publish": {"id-token": "write"}}
    assert publish["environment"] == "pypi" and publish["needs"] == "build"
    assert RELEASE[True] == {"push": {"tags": ["v*"]}}, "YAML reads `on` as true"


def test_each_job_installs_the_programs_that_it_needs():
    for name, job in CI["jobs"].items():
        for step in job["steps"]:
            if groups := step.get("with", {}).get("programs"):
                assert programs(*groups.split()), name
    of_jobs = {
        name: job["steps"][1].get("with", {}).get("programs") for name, job in CI["jobs"].items()
    }
    assert {name for name, groups in of_jobs.items() if groups} == {
        "framework",
        "examples",
        "site",
        "slow",
        "faults",
        "guard",
    }
    assert {"valgrind", "gcc"} <= programs(of_jobs["guard"])


def test_system_packages_refuses_an_unknown_group():
    result = subprocess.run(
        [ROOT / ".ci" / "system-packages", "tset"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 2 and "no group is named tset" in result.stderr


def test_pre_commit_runs_the_pinned_tools_of_the_project():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook for one in repositories if one["repo"] == "local" for hook in one["hooks"]]

    assert [hook["entry"].split()[0] for hook in hooks] == [
        ".venv/dev/bin/ruff",
        ".venv/dev/bin/ruff",
        ".venv/dev/bin/python",
    ]
    assert (
        ".ci/check_functions.py" in hooks[2]["entry"]
        and (ROOT / ".ci" / "check_functions.py").exists()
    )


def test_pre_commit_checks_the_style_as_make_lint_does():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    recipe = MAKEFILE.partition("\nlint:")[2].partition("\n\n")[0]
    checks = re.findall(r"\$\(DEV\)(/bin/ruff .+) \.$", recipe, flags=re.M)

    assert len(checks) == 2
    assert [check for check in checks if f"entry: .venv/dev{check}" not in hooks] == []


def test_development_container_has_the_programs_of_all_groups():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    recipe = (ROOT / ".devcontainer" / settings["build"]["dockerfile"]).read_text()

    assert "system-packages tests bench" in recipe
    of_all = "tests", "framework", "examples", "site", "slow", "bench"
    assert programs("tests", "bench") == programs(*of_all)


# --- what is pinned ---------------------------------------------------------------------------

PINNED = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.name)
def test_pinned_packages_have_hashes_and_name_no_index(path):
    heading, *lines = path.read_text().splitlines()
    packages = re.split(r"\n(?=\S)", "\n".join(lines))

    assert heading == f"# Pinned from {path.stem}.in by `make requirements`."
    for package in packages:
        assert re.fullmatch(
            r"[\w.-]+(\[\w+(, \w+)*\])?==[\w.]+( ; [^\\\n]+)? \\\n"
            r"(    --hash=sha256:[0-9a-f]{64}( \\\n|$))+",
            package,
        ), package


def test_each_list_of_requirements_is_pinned():
    # A part of dev.in.
    lists = {path.stem for path in (ROOT / "requirements").glob("*.in")} - {"examples"}

    assert {path.stem for path in PINNED} == lists
    assert (
        set(
            re.search(r"for name in (.+);", (ROOT / ".ci" / "pin-requirements").read_text())[
                1
            ].split()
        )
        == lists
    )


# --- CONTRIBUTING.md --------------------------------------------------------------------------

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_contributing_names_targets_that_exist():
    named = set(re.findall(r"(?:`|^ +)make\s+([a-z][\w-]+)", CONTRIBUTING, flags=re.M))
    targets = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, flags=re.M))

    assert {"test-framework", "release-check"} <= named
    assert named <= targets


def test_line_that_contributing_changes_is_tested_as_it_says():
    line = re.search(r"search for `(def \w+)`, and change its `(.+)` to", CONTRIBUTING)
    test = re.search(r"-k (test_\w+)\"", CONTRIBUTING)[1]

    start = (ROOT / "micropie.py").read_text().partition(line[1])[2]
    assert line[2] in start[:200]
    assert f"def {test}(" in (ROOT / "tests" / "test_responses.py").read_text()
