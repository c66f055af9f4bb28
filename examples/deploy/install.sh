#!/bin/bash
# Put the app of this folder on this Debian server, with HTTPS. As root:
#
#   bash install.sh shop.example.com ada@example.com    with a certificate of Let's Encrypt, which
#                                                       writes to you if something is wrong
#   bash install.sh shop.example.com --self-signed      with one that browsers warn of
#
# Type the same command again for a new version, or after an error has been mended. What is done
# already stays as it is.
set -Eeuo pipefail

name=${1:-} contact=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
url=http://127.0.0.1:8000/health
changed=  # whether the service must be restarted

say() { printf '==> %s\n' "$*"; }
fail() {
    trap - ERR
    printf 'install.sh: %s\n' "$@" >&2
    exit 1
}
trap 'fail "line $LINENO failed: $BASH_COMMAND"' ERR

check() {
    [[ $name =~ ^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?$ &&
        $contact =~ ^(--self-signed|[^@ ]+@[^@ ]+)$ ]] ||
        fail "Type NAME EMAIL or NAME --self-signed, for example shop.example.com ada@example.com."
    [ "$(id -u)" = 0 ] || fail "Run it as root: sudo bash $0 $name $contact"
    command -v apt-get >/dev/null || fail "This is no Debian: it has no apt-get."
    [ -d /run/systemd/system ] || fail "systemd does not run here, so nothing could start the app."
    compgen -G "$here/micropie-*.whl" >/dev/null || fail "Put MicroPie's wheel into $here."
    command -v ss >/dev/null || return 0
    local others
    others=$(ss -Hltnp 'sport = :80 or sport = :443' | grep -v '"nginx"' || true)
    [ -z "$others" ] || fail "Another program has the port 80 or 443. Stop it:" "$others"
}

install_packages() {
    local wanted=(ca-certificates curl nginx openssl python3-venv) missing=() package
    [ "$contact" = --self-signed ] || wanted+=(certbot)
    for package in "${wanted[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "Installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update --quiet=2
        # confold: settings of these packages that are there already stay.
        apt-get install --yes --quiet=2 --no-install-recommends \
            --option Dpkg::Options::=--force-confold "${missing[@]}" </dev/null >/dev/null
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$(python3 --version) is too old: take Debian 12 or newer."
}

make_user() {
    getent passwd shop >/dev/null || useradd --system --user-group --no-create-home \
        --home-dir /nonexistent --shell /usr/sbin/nologin shop
    install -d -o shop -g shop -m 700 /var/backups/shop
    # It has your settings later, so it is never replaced.
    [ -e /etc/shop.env ] || install -m 600 "$here/shop.env" /etc/shop.env
}

# The files of the app; the same files make the same bytes. All users of the server can read them,
# so what is private stays out.
pack() {
    tar -C "$here" --sort=name --mtime=@0 --owner=root --group=root --mode=u=rwX,go=rX \
        --exclude='./.*' --exclude=./data --exclude=./backups --exclude=./trial \
        --exclude='*.pem' --exclude=.env --exclude=__pycache__ -cf - .
}

# Each version has its own folder with its own packages, so the one that runs stays whole.
install_version() {
    version=$({ pack && python3 --version; } | sha256sum | cut -c 1-12)
    folder=/srv/shop/$version
    before=$(readlink /srv/shop/current || true)
    if [ ! -e "$folder/.complete" ]; then
        say "Installing version $version"
        rm -rf "$folder"
        mkdir -p "$folder"
        pack | tar -C "$folder" -xf -
        python3 -m venv "$folder/.venv"
        (cd "$folder" && .venv/bin/pip install --quiet --disable-pip-version-check \
            -r requirements.txt) || fail "pip could not install $here/requirements.txt."
        touch "$folder/.complete"
    fi
    use_version "$version"
}

use_version() {
    [ "$(readlink /srv/shop/current)" != "$1" ] || return 0
    ln -sfn "$1" /srv/shop/current
    changed=yes
}

put_unit() {
    cmp --silent "$here/systemd/$1" "/etc/systemd/system/$1" && return
    install -m 644 "$here/systemd/$1" "/etc/systemd/system/$1"
    changed=yes
}

answers() {
    curl --silent --fail --output /dev/null --retry 20 --retry-delay 1 --retry-all-errors "$@"
}

start_app() {
    put_unit shop.service
    put_unit shop-backup.service
    put_unit shop-backup.timer
    systemctl daemon-reload
    systemctl enable --quiet --now shop-backup.timer
    systemctl enable --quiet shop.service
    if [ "$changed" ]; then
        say "Starting the app"
        systemctl restart shop.service
    else
        systemctl start shop.service
    fi
    answers "$url" && return
    journalctl --unit=shop.service --lines=30 --no-pager >&2 || true
    if [ "$before" ] && [ "$before" != "$version" ]; then
        use_version "$before"
        systemctl restart shop.service
        answers "$url" || fail "Neither version $version nor $before answers, see above."
        fail "Version $version does not answer, see above. Version $before runs again."
    fi
    fail "The app does not answer at $url, see above."
}

# nginx needs a certificate before it can answer Let's Encrypt.
make_certificate() {
    certificate=/etc/ssl/shop/$name
    if ! openssl x509 -checkend 2592000 -noout -in "$certificate/fullchain.pem" &>/dev/null; then
        say "Signing a certificate"
        install -d -m 700 "$certificate"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
            -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
            -keyout "$certificate/privkey.pem" -out "$certificate/fullchain.pem" 2>/dev/null
    fi
    [ "$contact" = --self-signed ] || use_certificate_of_lets_encrypt
}

use_certificate_of_lets_encrypt() {
    [ ! -e "/etc/letsencrypt/live/$name/fullchain.pem" ] ||
        certificate=/etc/letsencrypt/live/$name
}

start_site() {
    local site=/etc/nginx/conf.d/shop.conf new
    new=$(mktemp)
    sed -e "s#/etc/letsencrypt/live/shop\.example\.com#$certificate#" \
        -e "s/shop\.example\.com/$name/" "$here/nginx/shop.conf" >"$new"
    systemctl enable --quiet --now nginx.service
    if ! cmp --silent "$new" "$site"; then
        say "Turning the site on with $certificate"
        [ ! -e "$site" ] || mv "$site" "$site.old"
        install -m 644 "$new" "$site"
        if ! nginx -t -q; then
            if [ -e "$site.old" ]; then mv "$site.old" "$site"; else rm "$site"; fi
            fail "nginx refuses $here/nginx/shop.conf, see above. The site is as it was before."
        fi
        systemctl reload nginx.service
    fi
    rm "$new"
}

get_certificate() {
    say "Asking Let's Encrypt for a certificate"
    getent ahosts "$name" >/dev/null || fail "The name $name leads nowhere yet. Add a record A" \
        "for this server where you bought the domain, wait some minutes, and try again."
    certbot certonly --webroot --webroot-path /var/www/html --domain "$name" --email "$contact" \
        --agree-tos --no-eff-email --non-interactive --quiet \
        --deploy-hook 'systemctl reload nginx' ||
        fail "Let's Encrypt gave no certificate, see above. The site runs with one that browsers" \
            "warn of. Does $name lead to this server, and do firewalls let the port 80 through?"
    use_certificate_of_lets_encrypt
    start_site
}

check
install_packages
make_user
install_version
start_app
make_certificate
start_site
if [ "$contact" != --self-signed ] && [[ $certificate != /etc/letsencrypt/* ]]; then
    get_certificate
fi
answers --resolve "$name:443:127.0.0.1" --cacert "$certificate/fullchain.pem" \
    "https://$name/health" || fail "https://$name/health does not answer on this machine." \
    "See /var/log/nginx/error.log."
say "https://$name/ answers with version $version."
