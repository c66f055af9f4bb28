"""What docs/_ext/live_build.py does without npm and pip."""

from pathlib import Path

import pytest

from docs._ext import live_build

PINS = """\
jinja2==3.1.6 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
markupsafe==3.0.4 \\
    --hash=sha256:cc
pydantic-core==2.50.5 \\
    --hash=sha256:dd
"""


def test_packages_without_a_wheel_for_pyodide_are_pinned_apart() -> None:
    halves, whole = live_build.split_requirements(PINS)
    assert halves == "markupsafe==3.0.4 \\\n    --hash=sha256:cc\n"
    assert whole.count("--hash") == 3
    assert "markupsafe" not in whole


def test_each_package_of_the_live_apps_has_hashes() -> None:
    text = (live_build.SOURCE / "requirements.txt").read_text()
    halves, whole = live_build.split_requirements(text)
    assert halves.startswith("markupsafe==")
    for pin in (halves + whole).replace("\\\n", "").splitlines():
        assert "--hash=sha256:" in pin, pin
    assert text.count("==") == (halves + whole).count("==")


def test_the_lock_of_the_npm_packages_names_no_host() -> None:
    lock = (live_build.SOURCE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 10


def test_the_key_changes_with_each_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "docs/live"
    (source / "node_modules").mkdir(parents=True)
    (tmp_path / "micropie.py").write_text("")
    (source / "build.mjs").write_text("1")
    monkeypatch.setattr(live_build, "ROOT", tmp_path)
    monkeypatch.setattr(live_build, "SOURCE", source)
    keys = {live_build.key()}
    (source / "node_modules/a.js").write_text("what npm installs does not count, its lock does")
    assert live_build.key() in keys
    (source / "build.mjs").write_text("2")
    keys.add(live_build.key())
    (tmp_path / "micropie.py").write_text("2")
    keys.add(live_build.key())
    assert len(keys) == 3


def test_a_missing_program_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(live_build.CannotBuildError, match="npm is not installed"):
        live_build.program("npm")


def test_a_missing_source_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "docs/live"
    source.mkdir(parents=True)
    (tmp_path / "micropie.py").write_text("")
    for name in ("package.json", "package-lock.json"):
        (source / name).write_text("{}")
    monkeypatch.setattr(live_build, "ROOT", tmp_path)
    monkeypatch.setattr(live_build, "SOURCE", source)
    monkeypatch.setattr(live_build, "CACHE", tmp_path / "build")
    monkeypatch.setattr(live_build, "program", lambda *names: names[0])
    with pytest.raises(live_build.CannotBuildError, match=r"No such file.*\.npmrc"):
        live_build.cached_build()
