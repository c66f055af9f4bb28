"""examples/deploy/install.sh, as its README says, on a new Debian with systemd.

The Debian is a folder (see tests/debian.py): its systemd is a real one, so the units run with all
of their limits. Three things differ from a server. The kernel is this machine's. The files are
copied without ssh. And Let's Encrypt is a program in the place of certbot, which fetches its proof
by HTTP from nginx as Let's Encrypt would, and then signs a certificate itself.
"""

import contextlib
import importlib
import json
import re
import shutil

import pytest

from docs._ext.blocks import blocks
from tests.blocks import commands, matches
from tests.debian import debian
from tests.examples import harness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
README = (harness.EXAMPLES / "deploy" / "README.md").read_text()
SITE = "shop.example.com"
SELF_SIGNED = f"/etc/ssl/shop/{SITE}/fullchain.pem"
CURL = f"curl --silent --resolve {SITE}:443:127.0.0.1 --cacert {SELF_SIGNED}"
SCRIPT = f"cd shop; bash install.sh {SITE} --self-signed"
RETRY = "--fail --retry 20 --retry-all-errors --retry-delay 1"
CERTBOT = """#!/bin/bash
# In the place of certbot and Let's Encrypt: fetches the proof, and signs.
set -eu
while [ $# -gt 0 ]; do
    case $1 in --webroot-path) folder=$2 ;; --domain) name=$2 ;; --email) email=$2 ;; esac
    shift
done
[ "$email" = ada@example.com ]
mkdir -p "$folder/.well-known/acme-challenge"
echo proof >"$folder/.well-known/acme-challenge/token"
[ "$(curl --silent --fail "http://$name/.well-known/acme-challenge/token")" = proof ]
live=/etc/letsencrypt/live/$name
mkdir -p "$live"
openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj "/CN=$name" \\
    -addext "subjectAltName=DNS:$name" -keyout "$live/privkey.pem" -out "$live/fullchain.pem"
"""


def readme_blocks(word):
    """Return the commands of the blocks of the README in which a word is."""
    return [
        command
        for block in blocks(README)
        if block.kind == "not run" and word in block.text
        for command in commands(block.text)
    ]


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A Debian on which the script has run once, as the README says."""
    folder = tmp_path_factory.mktemp("debian")
    with debian(folder) as started:
        example = started.root / "root" / "shop"
        shutil.copytree(harness.EXAMPLES / "deploy", example, ignore=harness.NOT_COPIED)
        importlib.import_module("docs._ext.micropie_examples").build_wheel(example)
        for path in example.rglob("*"):  # as an archive without modes leaves them
            path.chmod(0o755 if path.is_dir() else 0o644)
        [command] = readme_blocks("--self-signed")
        printed = started.output(f"cd shop; {command.line}", 800)
        assert matches(command.output, printed), printed
        yield started


def answer(machine, path, options=""):
    return machine.output(f"{CURL} {options} https://{SITE}/{path}")


def version(machine):
    return machine.output("readlink /srv/shop/current").strip()


def main_process(machine):
    return machine.output("systemctl show --property MainPID shop")


@contextlib.contextmanager
def changed(machine, name, change):
    """Change a file of the example on the machine, and at the end put it back."""
    path = machine.root / "root" / "shop" / name
    before = path.read_text()
    path.write_text(change(before))
    try:
        yield
    finally:
        path.write_text(before)


def test_https_answers_and_carries_everything(machine):
    assert answer(machine, "health") == "ready\n"
    forged = "-H 'X-Forwarded-For: 203.0.113.9' -H 'X-Forwarded-Proto: http'"
    seen = json.loads(answer(machine, "client", forged))
    assert (seen["scheme"], seen["address"]) == ("https", "127.0.0.1")
    size = len((machine.root / "root" / "shop" / "app.py").read_bytes())
    uploaded = json.loads(answer(machine, "upload", "-F file=@shop/app.py"))
    assert uploaded == {"name": "app.py", "bytes": size}
    assert "; Secure;" in answer(machine, "name", "-i -d name=Ada")
    ticks = f"{CURL} -N --max-time 60 https://{SITE}/ticks"
    assert machine.run(f"{ticks} | grep -m 1 'data: 2'").stdout == "data: 2\n"
    # At once, or nginx would keep to one connection and so to one worker. The kernel chooses it, so
    # one may get many in a row.
    workers: set[str] = set()
    for _ in range(20):
        many = machine.output(f"seq 200 | xargs -P 40 -I N {CURL} https://{SITE}/client")
        workers.update(re.findall(r'"worker":(\d+)', many))
        if len(workers) > 1:
            break
    assert len(workers) == 2
    redirected = machine.output(f"curl -s -i --resolve {SITE}:80:127.0.0.1 http://{SITE}/a?b=c")
    assert f"Location: https://{SITE}/a?b=c" in redirected
    other = machine.output("curl -s -H 'Host: evil.example' http://127.0.0.1/health || true")
    assert "ready" not in other  # Debian's page, which knows no such file
    assert "nginx" in machine.output("curl -s -H 'Host: evil.example' http://127.0.0.1/").lower()


def test_second_run_changes_nothing(machine):
    before = main_process(machine)
    printed = machine.output(SCRIPT)

    assert printed == f"==> https://{SITE}/ answers with version {version(machine)}.\n"
    assert main_process(machine) == before


def test_app_can_do_little(machine):
    processes = machine.output("systemctl show --property ControlGroup --value shop").strip()
    ids = machine.output(f"cat /sys/fs/cgroup{processes}/cgroup.procs").split()
    assert len(ids) >= 3
    for one in ids:
        status = (machine.output(f"cat /proc/{one}/status")).replace("\t", " ")
        user = machine.output("id -u shop").strip()
        assert f"Uid: {user} {user} {user} {user}" in status
        assert "CapBnd: 0000000000000000" in status
        assert "NoNewPrivs: 1" in status
        assert "Seccomp: 2" in status
    assert machine.run("runuser -u shop -- cat /etc/shop.env").returncode != 0
    assert machine.run("runuser -u shop -- touch /srv/shop/current/app.py").returncode != 0
    assert (
        machine.output("stat --format '%U %a' /var/lib/shop /var/backups/shop").split()
        == [
            "shop",
            "700",
        ]
        * 2
    )


def test_timer_is_on_and_its_service_makes_a_backup(machine):
    assert machine.output("systemctl is-active shop-backup.timer") == "active\n"
    machine.output("systemctl start shop-backup.service")
    kept = machine.output("ls /var/backups/shop/*")
    assert "shop.sqlite3\nuploads" in kept


def test_app_of_the_guide_runs_with_the_unit_and_all_its_limits(machine):
    """The guide has the same unit, and more packages."""
    guide = (harness.ROOT / "docs" / "howto" / "nginx.md").read_text()
    [app] = [block.text for block in blocks(guide) if block.detail == "app.py"]
    sessions = machine.root / "root" / "shop" / "sql_sessions.py"
    shutil.copy(harness.EXAMPLES / "session_backends" / "sql_sessions.py", sessions)
    more = "sqlalchemy[asyncio]\naiosqlite\n"
    with (
        changed(machine, "app.py", lambda _: app),
        changed(machine, "requirements.txt", lambda text: text + more),
    ):
        machine.output(SCRIPT)
        line = f"{CURL} -c jar -b jar https://{SITE}/"
        assert "yours: 2<" in machine.output(f"{line} >answer; {line}")
    sessions.unlink()
    machine.output(SCRIPT)


def test_app_that_dies_or_is_killed_comes_back(machine):
    before = main_process(machine)
    machine.output("systemctl kill --kill-whom=main --signal=KILL shop")
    assert answer(machine, "health", RETRY) == "ready\n"
    assert main_process(machine) != before


def test_new_version_that_fails_leaves_the_old_one_running(machine):
    before = version(machine)
    with changed(machine, "app.py", lambda text: text + '\nraise RuntimeError("no pies")\n'):
        done = machine.run(SCRIPT)
    assert done.returncode == 1
    assert "RuntimeError: no pies" in done.stderr
    assert done.stderr.endswith(f"does not answer, see above. Version {before} runs again.\n")
    assert version(machine) == before
    assert answer(machine, "health") == "ready\n"

    with changed(machine, "requirements.txt", lambda text: text + "no_such_file.whl\n"):
        done = machine.run(SCRIPT)
    assert done.returncode == 1
    assert "pip could not install /root/shop/requirements.txt" in done.stderr
    assert version(machine) == before
    with changed(machine, "nginx/shop.conf", lambda text: text + "garbage\n"):
        done = machine.run(SCRIPT)
    assert done.returncode == 1
    assert "nginx refuses" in done.stderr
    assert answer(machine, "health") == "ready\n"
    machine.output(SCRIPT)
    assert version(machine) == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bash install.sh", "Type NAME EMAIL or NAME --self-signed"),
        (f"bash install.sh {SITE}", "Type NAME EMAIL or NAME --self-signed"),
        ("bash install.sh 'shop;id' --self-signed", "Type NAME EMAIL or NAME --self-signed"),
        (f"runuser -u shop -- bash install.sh {SITE} --self-signed", "Run it as root"),
        (
            f"mv micropie-*.whl /tmp; bash install.sh {SITE} --self-signed; "
            "code=$?; mv /tmp/micropie-*.whl .; exit $code",
            "Put MicroPie's wheel into /root/shop",
        ),
    ],
)
def test_mistake_is_said_before_anything_is_done(machine, line, message):
    machine.output("chmod 755 /root")
    before = main_process(machine)
    done = machine.run(f"cd shop; {line}")

    assert done.returncode == 1
    assert message in done.stderr
    assert main_process(machine) == before


@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_other_server_takes_over_as_the_readme_says(machine, server):
    packages = {"gunicorn": ("gunicorn", "uvicorn-worker"), "granian": ("granian",)}[server]
    names = "|".join(packages)

    def wanted(text):
        return re.sub(rf"(?m)^# (?=(?:{names})>)", "", text)

    with changed(machine, "requirements.txt", wanted):
        machine.output(SCRIPT)
        for command in readme_blocks("server.conf"):
            line = command.line.replace("gunicorn.conf", f"{server}.conf")
            machine.output(f"cd shop; {line}")
            assert answer(machine, "health", RETRY) == "ready\n"
        assert server in machine.output("systemctl status --no-pager shop")
        seen = json.loads(answer(machine, "client"))
        assert (seen["scheme"], seen["address"]) == ("https", "127.0.0.1")
        # Within the time, or systemd says `Result: timeout`.
        machine.output("systemctl stop shop")
        assert "Result=success" in machine.output("systemctl show --property Result shop")
    machine.output("rm -r /etc/systemd/system/shop.service.d; systemctl daemon-reload")
    machine.output(SCRIPT)


def test_app_moves_below_a_path_as_the_readme_says(machine):
    site = machine.root / "etc" / "nginx" / "conf.d" / "shop.conf"
    before = site.read_text()
    machine.output(
        "echo UVICORN_ROOT_PATH=/shop >>/etc/shop.env; systemctl restart shop;"
        "cp shop/nginx/below-path.conf /etc/nginx/snippets/shop.conf"
    )
    head, location, _ = before.rpartition("    location / {")
    assert location
    site.write_text(
        f'{head}    include snippets/shop.conf;\n{location} return 200 "rest"; }}\n}}\n'
    )
    machine.output("nginx -t && systemctl restart nginx")
    page = answer(machine, "shop/", RETRY)
    assert 'action="/shop/upload"' in page
    assert "location: /shop/" in answer(machine, "shop/name", "-i -d name=Ada").lower()
    assert answer(machine, "") == "rest"
    machine.output("sed -i /ROOT_PATH/d /etc/shop.env; systemctl restart shop")
    site.write_text(before)
    machine.output("nginx -t && systemctl restart nginx")
    assert answer(machine, "health", RETRY) == "ready\n"


def test_certificate_of_lets_encrypt_takes_over(machine):
    """The package certbot is installed, and finds no Let's Encrypt; a stand-in signs then."""
    (machine.root / "etc" / "letsencrypt").mkdir(exist_ok=True)
    nowhere = "server = https://127.0.0.1:14000/dir\n"
    (machine.root / "etc" / "letsencrypt" / "cli.ini").write_text(nowhere)
    line = readme_blocks("ada@example.com")[-1].line
    done = machine.run(f"cd shop; {line}")
    assert done.returncode == 1
    assert f"The name {SITE} leads nowhere yet." in done.stderr

    machine.output(f"echo 127.0.0.1 {SITE} >>/etc/hosts")
    done = machine.run(f"cd shop; {line}")
    assert done.returncode == 1
    assert "Let's Encrypt gave no certificate, see above." in done.stderr
    assert answer(machine, "health") == "ready\n"  # with the certificate of its own

    certbot = machine.root / "usr" / "local" / "bin" / "certbot"
    certbot.write_text(CERTBOT)
    machine.output(f"chmod 755 /usr/local/{certbot.relative_to(machine.root / 'usr' / 'local')}")
    for _ in range(2):
        assert "answers with version" in machine.output(f"cd shop; {line}")
    chain = f"/etc/letsencrypt/live/{SITE}/fullchain.pem"
    assert machine.output(f"curl -s --cacert {chain} https://{SITE}/health") == "ready\n"
    assert machine.run(f"{CURL} https://{SITE}/health").returncode == 60
    machine.output(SCRIPT)
    assert answer(machine, "health") == "ready\n"
