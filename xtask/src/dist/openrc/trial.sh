# What an administrator does with the service under OpenRC, from its installation to its end.
set -eu
export LC_ALL=C
log=/var/log/pyinotifyd.log
config=/etc/pyinotifyd/config.toml

fail() {
    echo "FAILED: $1"
    rc-service pyinotifyd status || true
    cat "$log" || true
    exit 1
}

step() {
    echo "--- $1"
}

service() {
    rc-service pyinotifyd "$1"
}

# All that there is, without what OpenRC writes.
list() {
    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp \
        -o -path /trial.log -o -path '/list.*' -o -path /var/log -o -path /var/cache \
        -o -path '*/rc/cache' \) -prune -o -print | sort >"/list.$1"
}

# Waits for a line of the log.
expect() {
    timeout 60 sh -c 'until grep -F -- "$0" "$1"; do sleep 0.1; done' "$1" "$log" ||
        fail "the log does not say: $1"
}

# Waits until a process is no more, or awaits nothing but its parent.
gone() {
    timeout 60 sh -c 'while grep -q "^State:.[^Z]" "/proc/$0/status" 2>/dev/null; do
        sleep 0.1; done' "$1" || fail "process $1 is still there"
}

supervisor() {
    cat /run/pyinotifyd.pid
}

daemon() {
    cat /run/openrc/options/pyinotifyd/child_pid
}

step "before"
# What OpenRC makes there would stay with the machine that this runs on.
umount /sys/fs/cgroup
rc-update del cgroups sysinit
mkdir -p /etc/conf.d
openrc sysinit
openrc boot
list before

step "install"
pyinotifyd --install
service checkconfig && fail "there is no Python, and the configuration needs one"
rm /etc/pyinotifyd/config.py
mkdir /srv/in
cat >"$config" <<'CONFIG'
[scheduler.job]
exec = ["/bin/sh", "-c", "echo \"$(id -un) got $0\"", "{basename}"]
user = "nobody"

[scheduler.long]
exec = ["/bin/sh", "-c", "echo began; until [ -e /srv/go ]; do sleep 0.1; done"]

[scheduler.late]
exec = ["/bin/echo", "late", "{basename}"]
delay = "1h"

[[watch]]
path = "/srv/in"
[watch.event_map]
IN_CLOSE_WRITE = "job"
IN_MOVED_TO = ["long", "late"]
CONFIG
service checkconfig
rc-update add pyinotifyd default
service start
service status

step "its main job, right after the start"
echo x >/srv/in/dropped
expect ": nobody got dropped"
expect ": done for /srv/in/dropped "
[ "$(stat -c %a /run/pyinotifyd /var/lib/pyinotifyd)" = "$(printf '700\n700')" ] ||
    fail "others can read what is its own"

step "reload"
sed -i 's/ got / was given /' "$config"
service reload
echo x >/srv/in/second
expect ": nobody was given second"

step "a broken configuration ends nothing"
old=$(daemon)
echo nonsense >>"$config"
service reload && fail "it was reloaded"
service restart && fail "it was restarted"
[ "$(daemon)" = "$old" ] || fail "it is another daemon"
echo x >/srv/in/third
expect ": done for /srv/in/third "
sed -i '$d' "$config"

step "a restart waits for what runs, and keeps what waits"
echo x >/srv/moved
mv /srv/moved /srv/in/moved
expect ": began"
service restart &
expect "stopping, 1 running"
[ "$(daemon)" = "$old" ] || fail "it did not wait"
touch /srv/go
wait $!
expect ": done for /srv/in/moved "
expect "1 task is kept for the next start"
expect "1 task goes on from before the start"
pyinotifyd tasks | grep -q late || fail "the task is gone"

step "killed, it goes on"
: >"$log"
kill -KILL "$(daemon)"
expect " - ready, 1 Watch, "
service status

step "its supervisor killed, it is still stopped and restarted"
old=$(daemon)
kill -KILL "$(supervisor)"
gone "$(supervisor)"
service restart
gone "$old"
old=$(daemon)
kill -KILL "$(supervisor)"
gone "$(supervisor)"
service stop
gone "$old"
service status && fail "it is not stopped"

step "nobody else is taken for its supervisor"
sleep 1000 &
other=$!
echo "$other" >/run/pyinotifyd.pid
service start
kill -KILL "$(supervisor)" "$(daemon)"
gone "$(supervisor)"
echo "$other" >/run/pyinotifyd.pid
service stop
kill "$other" || fail "another was ended in its place"

step "options and a log of its own, and no socket"
mkdir "/srv/my own"
{ echo 'control_socket = ""'; cat "$config"; } >"/srv/my own/config.toml"
cat >/etc/conf.d/pyinotifyd <<'CONFIG'
PYINOTIFYD_OPTS='--config "/srv/my own/config.toml"'
PYINOTIFYD_LOG=/srv/log
CONFIG
service start
log=/srv/log
expect " - ready, 1 Watch, "
service reload
expect "reloaded, 1 Watch, 3 schedulers"

step "the system ends and begins anew"
old=$(daemon)
openrc shutdown
gone "$old"
expect " - stopped"
: >"$log"
openrc sysinit
openrc boot
openrc default
expect " - ready, 1 Watch, "
service stop

step "uninstall"
# What he has made.
rm -r /srv/* "$config" /var/lib/pyinotifyd /etc/conf.d/pyinotifyd
pyinotifyd --uninstall
rmdir /etc/pyinotifyd
list after
diff /list.before /list.after || fail "something is left, or gone"

echo "the trial is over, and all was well"
