# What an administrator does with the package, from its installation to its end.
set -eu
export DEBIAN_FRONTEND=noninteractive

fail() {
    echo "FAILED: $1"
    systemctl status pyinotifyd --no-pager || true
    exit 1
}

step() {
    echo "--- $1"
}

# All that there is, without what any package changes.
list() {
    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp \
        -o -path /trial.log -o -path '/list.*' -o -path /var/log -o -path /var/cache \
        -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/tmp \) -prune \
        -o -print | sort >"/list.$1"
}

# Waits for a line of the log.
expect() {
    timeout 60 sh -c 'until journalctl -u pyinotifyd -o cat --no-pager | grep -F -- "$0"; do
        sleep 0.1; done' "$1" || fail "the log does not say: $1"
}

step "before"
list before

step "install"
dpkg --install /pyinotifyd.deb
for file in /usr/bin/pyinotifyd /usr/share/man/man1/pyinotifyd.1.gz \
    /usr/share/man/man1/pyinotifyd-watch.1.gz \
    /usr/share/bash-completion/completions/pyinotifyd /etc/pyinotifyd/config.toml; do
    [ -s "$file" ] || fail "there is no $file"
done
systemctl is-active pyinotifyd || fail "it was not started"
systemctl is-enabled pyinotifyd || fail "it is not enabled"
[ "$(systemctl show -p Type --value pyinotifyd)" = "$KIND" ] || fail "the unit is not $KIND"
systemd-analyze verify --man=no pyinotifyd.service 2>&1 | grep pyinotifyd && fail "the unit"
pyinotifyd check
expect "ready, 0 Watches"

step "its main job"
mkdir /srv/in
cat >/etc/pyinotifyd/config.toml <<'CONFIG'
[scheduler.job]
exec = ["/bin/sh", "-c", "echo \"$(id -un) got $0\"", "{basename}"]
user = "nobody"

[[watch]]
path = "/srv/in"
[watch.event_map]
IN_CLOSE_WRITE = "job"
CONFIG
systemctl restart pyinotifyd
expect "ready, 1 Watch, 1 directory"
echo x >/srv/in/dropped
expect ": nobody got dropped"
expect ": done for /srv/in/dropped "
pyinotifyd sync --tasks --timeout 1m
pyinotifyd history
pyinotifyd history --path /srv/in/dropped --json | grep -q '"how":"done"' ||
    fail "the task is not in its history"
pyinotifyd status | grep -q "^job  .*  1  " || fail "the status does not count it"

step "reload"
sed -i 's/ got / was given /' /etc/pyinotifyd/config.toml
systemctl reload pyinotifyd
expect "reloaded, 1 Watch, 1 scheduler"
echo x >/srv/in/second
expect ": nobody was given second"
echo nonsense >>/etc/pyinotifyd/config.toml
systemctl reload pyinotifyd || true
expect "not reloaded, what was in force stays so"
sed -i '$d' /etc/pyinotifyd/config.toml

step "killed, it goes on"
systemctl kill --signal=KILL --kill-whom=main pyinotifyd
timeout 60 sh -c 'until [ "$(systemctl show -p NRestarts --value pyinotifyd)" = 1 ] &&
    systemctl is-active --quiet pyinotifyd; do sleep 0.1; done' || fail "it stays down"
echo x >/srv/in/again
expect ": done for /srv/in/again "

step "hung, it is started anew"
mkdir -p /run/systemd/system/pyinotifyd.service.d
printf '[Service]\nWatchdogSec=1\n' >/run/systemd/system/pyinotifyd.service.d/soon.conf
systemctl daemon-reload
systemctl restart pyinotifyd
old=$(systemctl show -p MainPID --value pyinotifyd)
kill -STOP "$old"
timeout 60 sh -c 'until [ "$(systemctl show -p MainPID --value pyinotifyd)" != "$0" ] &&
    systemctl is-active --quiet pyinotifyd; do sleep 0.1; done' "$old" || fail "it still hangs"
echo x >/srv/in/third
expect ": done for /srv/in/third "
rm -r /run/systemd/system/pyinotifyd.service.d
systemctl daemon-reload

step "restarted again and again, it is not given up"
for _ in 1 2 3 4 5 6; do
    systemctl restart pyinotifyd || fail "it is given up"
done

step "installed once more, it is restarted and keeps its configuration"
old=$(systemctl show -p MainPID --value pyinotifyd)
dpkg --install /pyinotifyd.deb
systemctl is-active pyinotifyd || fail "it does not run"
[ "$(systemctl show -p MainPID --value pyinotifyd)" != "$old" ] || fail "it was not restarted"
grep -q 'was given' /etc/pyinotifyd/config.toml || fail "the configuration was changed"
pyinotifyd --uninstall && fail "it uninstalls what is the package's"

step "remove"
dpkg --remove pyinotifyd
systemctl is-active pyinotifyd && fail "it still runs"
[ ! -e /usr/bin/pyinotifyd ] || fail "the program is still there"
[ -e /var/lib/pyinotifyd/state.sqlite ] || fail "the state is gone before a purge"

step "purge"
dpkg --purge pyinotifyd
rm -r /srv/in
list after
diff /list.before /list.after >/list.diff || true
cat /list.diff
[ "$(grep -c '^[<>]' /list.diff)" = 2 ] || fail "something else is left, or gone"
grep -qx '> /etc/pyinotifyd/config.toml' /list.diff || fail "what was changed by hand is gone"

step "what was not changed goes with a purge"
rm -r /etc/pyinotifyd
dpkg --install /pyinotifyd.deb
dpkg --purge pyinotifyd
list after
diff /list.before /list.after || fail "something is left, or gone"

step "who comes from the original keeps config.py, and gets no other"
mkdir /etc/pyinotifyd
echo '# mine' >/etc/pyinotifyd/config.py
dpkg --install /pyinotifyd.deb
[ ! -e /etc/pyinotifyd/config.toml ] || fail "there is another configuration"
dpkg --purge pyinotifyd
[ "$(cat /etc/pyinotifyd/config.py)" = '# mine' ] || fail "the configuration is gone"

echo "the trial is over, and all was well"
