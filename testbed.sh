#!/usr/bin/env bash
# Starts the testbed: installs what this machine lacks, then runs the CLI or the tests.
#
#   ./testbed.sh COMMAND ...                   the CLI; ./testbed.sh --help lists its commands
#   ./testbed.sh test [--full|--vm] [ARG ...]  the project's tests; further arguments go to pytest
#   ./testbed.sh setup                         install and stop
#
# Debian packages are installed by apt-get, Python's into .venv beside this file. Nothing missing: nothing done.
# Commands that need root re-run themselves through sudo, unless it is root already. Exit code 3: cannot set up.
set -euo pipefail

PACKAGES=(openvswitch-switch mininet frr charon-systemd strongswan-swanctl libcharon-extra-plugins
    libstrongswan-standard-plugins iproute2 ethtool nftables tcpdump iputils-ping traceroute iperf3 procps
    graphviz faketime python3-venv)
TEST_PACKAGES=(shellcheck vagrant)
VM_PACKAGES=(vagrant-libvirt libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-clients
    qemu-system-x86 qemu-utils dnsmasq-base slirp4netns debootstrap rsync openssh-client fdisk cpio)
# Daemons that these packages bring and that would otherwise start with the machine.
UNITS=(frr.service openvswitch-switch.service openvswitch-testcontroller.service ovs-record-hostname.service
    strongswan.service strongswan-starter.service iperf3.service libvirtd.service libvirtd.socket
    libvirtd-ro.socket libvirtd-admin.socket libvirt-guests.service virtlogd.socket virtlockd.socket)
ROOT_COMMANDS=' up down status show trace exec cli fail heal run sweep soak benchmark '

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
self=$(readlink -f -- "${BASH_SOURCE[0]}")
here=${self%/*}
venv=$here/.venv
python=/usr/bin/python3
pending=/var/lib/testbed/new-units # daemons an unfinished installation brings: still to be disabled
unit_files=/lib/systemd/system
lock=/var/lib/dpkg # a folder that is always there: one set-up at a time on this machine
policy=/usr/sbin/policy-rc.d
policy_mark='# written by testbed.sh while it installs'
owner=$(stat -c %u -- "$here")
sudo=()
scratch=
installing=

note() { printf 'testbed: %s\n' "$*" >&2; }
die() { printf 'testbed: %s\n' "$@" >&2; exit 3; }
clean_up() {
    [[ -z $scratch ]] || rm -rf -- "$scratch"
    if [[ $installing ]] && grep -qsxF "$policy_mark" "$policy"; then rm -f "$policy"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- who does what ---------------------------------------------------------------------------------------------

need_root() { # WHAT: ask for the password now rather than in the middle
    ((EUID)) || return 0
    command -v sudo >/dev/null || die "$1 needs root and there is no sudo: run it as root."
    sudo -n true 2>/dev/null || sudo -v || die "$1 needs root: run it as root or as a user who may use sudo."
}

no_traces=() # root leaves no compiled files of its own in a user's clone
((owner == 0)) || no_traces=(PYTHONDONTWRITEBYTECODE=1)
if ((EUID)); then # our own settings survive sudo, nothing else of the user's environment does
    kept=$(compgen -e | grep -xE '(TESTBED|PIP)_[A-Z_]+|CI|NO_COLOR|FORCE_COLOR|COLUMNS|LINES|(http|https|no)_proxy' | paste -sd, || true)
    sudo=(sudo ${kept:+--preserve-env="$kept"} -- env "${no_traces[@]}")
elif ((owner)); then
    export "${no_traces[@]}"
fi

as_owner() { # what root does in somebody's clone stays that user's
    ((EUID == 0 && owner != 0)) || { "$@"; return; }
    HOME=$(getent passwd "$owner" | cut -d: -f6) setpriv --reuid "$owner" --regid "$(stat -c %g -- "$here")" --clear-groups -- "$@"
}

# --- a failed installation, explained --------------------------------------------------------------------------

logged() { "$@" >>"$scratch/log" 2>&1 </dev/null; }

disk_is_full() { # less than 20 MB where packages go; not every program that fails for it says so
    df --output=avail -k -- / "$here" "$venv" 2>/dev/null | awk 'NR > 1 && $1 < 20000 { full = 1 } END { exit !full }'
}

explain_failure() { # WHAT: ends with the likely reason and the last lines of the log
    local why='see the last lines above'
    said() { grep -qiE -- "$1" "$scratch/log"; }
    if said 'no space left|enough free space' || disk_is_full; then why='the disk is full: make room and start again'
    elif said 'could not get lock|unable to (acquire|lock)|cache lock'; then why='another apt or dpkg is busy: wait for it and start again'
    elif said 'temporary failure|could not resolve|name resolution|unreachable|timed out|could not connect|failed to establish|connection (refused|broken)'; then
        why='no connection to the package servers: check the network (or the proxy settings) and start again'
    elif said 'unable to locate package|no installation candidate'; then why='this distribution does not have all packages: Debian 12 or newer has'
    elif said 'no matching distribution'; then why='the package index does not offer a needed release: check the index and the network'
    fi
    tail -n 12 "$scratch/log" | sed 's/^/    /' >&2
    die "$1 failed: $why."
}

# --- Debian packages -------------------------------------------------------------------------------------------

missing() { # PACKAGE...: prints those that are not completely installed
    local have package
    have=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true)"
    for package; do [[ $have == *" installed:$package "* ]] || printf '%s\n' "$package"; done
}

ensure_packages() { # PACKAGE...
    command -v apt-get >/dev/null ||
        die "this is no Debian or relative of it (no apt-get). Install by hand what these Debian packages hold, or use the VM (vagrant up):" "  $*"
    [[ -n $(missing "$@") || -e $pending ]] || return 0
    need_root 'Installing packages'
    "${sudo[@]}" "$BASH" "$self" --install "$@"
}

apt_get() { logged apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@"; }

update_lists() { # the lock of the lists is the one apt does not wait for; a list less is no reason to stop
    local try
    for try in {1..60}; do
        : >"$scratch/log"
        apt_get update && return
        grep -q 'Could not get lock' "$scratch/log" || return 0
        ((try > 1)) || note 'apt is busy: waiting (5 minutes at most)'
        sleep 5
    done
}

install_packages() { # PACKAGE...: as root
    local new unit
    exec 9<"$lock" && flock 9
    mapfile -t new < <(missing "$@")
    installing=yes
    scratch=$(mktemp -d)
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    mkdir -p "${pending%/*}"
    if ((${#new[@]})); then
        note "installing Debian packages (a minute or two): ${new[*]}"
        for unit in "${UNITS[@]}"; do
            [[ -e $unit_files/$unit ]] || grep -qsxF "$unit" "$pending" || echo "$unit" >>"$pending"
        done
        [[ -e $policy ]] || printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" | install -m 755 /dev/stdin "$policy"
        update_lists
        apt_get install "${new[@]}" || { # what somebody interrupted is mended first
            grep -qE 'dpkg was interrupted|fix-broken' "$scratch/log" &&
                logged dpkg --configure -a && apt_get -f install && apt_get install "${new[@]}"
        } || explain_failure 'Installing Debian packages'
    fi
    quiet_units
}

quiet_units() { # disable the daemons we brought; those that were here before are the user's
    local unit now=()
    [[ ! -d /run/systemd/system ]] || now=(--now)
    if command -v systemctl >/dev/null; then
        while read -r unit; do
            [[ ! -e $unit_files/$unit ]] || logged systemctl disable "${now[@]}" "$unit" || note "could not disable $unit: please do"
        done < <(cat "$pending" 2>/dev/null)
    fi
    rm -f "$pending"
}

# --- Python's packages -----------------------------------------------------------------------------------------

stamp() { printf '%s %s %s' "$(sha256sum <"$here/pyproject.toml")" "$(readlink -f "$python")" "$here"; }

venv_has() { # run|test
    [[ -x $venv/bin/python && -x $venv/bin/testbed && $(cat "$venv/.testbed-$1" 2>/dev/null) == "$(stamp)" ]]
}

ensure_venv() { # run|test
    venv_has "$1" && return
    "$python" -c 'import ensurepip, venv' &>/dev/null || ensure_packages python3-venv
    local as=()
    if [[ ! -w $here ]]; then
        need_root "Installing into $here"
        as=("${sudo[@]}")
    fi
    "${as[@]}" "$BASH" "$self" --venv "$1"
}

install_venv() { # run|test
    local extra=''
    [[ $1 == run ]] || extra='[test]'
    exec 9<"$here" && flock 9    # one at a time in this clone
    venv_has "$1" && return
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$python is too old: Python 3.11 or newer is needed (Debian 12)."
    note "installing Python packages into $venv (half a minute)"
    scratch=$(mktemp -d)
    as_owner "$venv/bin/python" -m pip --version &>/dev/null ||
        logged as_owner "$python" -m venv --clear "$venv" || explain_failure 'Making the Python environment'
    (cd -- "$here" && logged as_owner "$venv/bin/python" -m pip install --disable-pip-version-check -e ".$extra") ||
        explain_failure 'Installing Python packages'
    stamp | as_owner tee "$venv/.testbed-run" >/dev/null
    if [[ $1 == test ]]; then stamp | as_owner tee "$venv/.testbed-test" >/dev/null; fi
}

# --- tests -----------------------------------------------------------------------------------------------------

step() { # NAME COMMAND...: one part of the tests; the run goes on after a failure and remembers it
    local name=$1 code=0
    shift
    printf '\n== %s\n' "$name"
    "$@" || code=$?
    [[ $code == 0 || ($code == 5 && $name == pytest*) ]] || failed+=("$name") # 5: no such test in this half
}

run_tests() { # [--full|--vm] [PYTEST ARGUMENT...]
    local level=quick run=("$venv/bin/python" -m) only='and not full and not vm' failed=()
    case ${1:-} in --full | --vm) level=${1#--}; shift ;; esac
    need_root "'test'"
    ensure_packages "${PACKAGES[@]}" "${TEST_PACKAGES[@]}"
    ensure_venv test
    cd -- "$here"
    scratch=$(as_owner mktemp -d)
    export TESTBED_TEST_TALLY=$scratch/tally
    ((EUID == 0)) || sudo+=("TESTBED_TEST_TALLY=$TESTBED_TEST_TALLY")
    [[ $level != full ]] || only='and not vm'
    if [[ $level == vm ]]; then
        ensure_packages "${VM_PACKAGES[@]}"
        step 'pytest vm' "${sudo[@]}" "${run[@]}" pytest -p no:cacheprovider -m vm "$@"
    else
        step 'ruff format' as_owner "${run[@]}" ruff format --check .
        step 'ruff check' as_owner "${run[@]}" ruff check .
        step 'mypy' as_owner "${run[@]}" mypy
        step 'pytest without root' as_owner "${run[@]}" pytest -n 2 -m "not root $only" "$@"
        step 'pytest as root' "${sudo[@]}" "${run[@]}" pytest -p no:cacheprovider -m "root $only" "$@"
    fi
    close_tests
}

close_tests() { # the closing lines: one of each pytest run, what else failed, and the sum
    printf '\n== all tests\n'
    cat "$TESTBED_TEST_TALLY" 2>/dev/null || failed+=('no test was run')
    ((${#failed[@]} == 0)) || printf 'FAILED: %s\n' "${failed[@]}"
    awk '{ for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^(failed|error)/) f += $(i-1) } }
         END { printf "%d passed, %d failed\n", p, f }' "$TESTBED_TEST_TALLY" 2>/dev/null || true
    ((${#failed[@]} == 0)) || exit 1
}

# --- the CLI ---------------------------------------------------------------------------------------------------

needs_root() { # ARGUMENT...
    local argument command='' predict='' live=''
    [[ -z ${_TESTBED_COMPLETE:-} ]] || return 1
    for argument; do
        case $argument in
            --) break ;;
            --help | -h) return 1 ;;
            --predict*) predict=yes ;;
            --live) live=yes ;;
            -*) ;;
            *) command=${command:-$argument} ;;
        esac
    done
    [[ $command == fuzz && $live ]] || [[ -n $command && $ROOT_COMMANDS == *" $command "* && ! ($command == show && $predict) ]]
}

[[ ${BASH_SOURCE[0]} == "$0" ]] || return 0 # sourced, by its test

case ${1:-} in
    --install) shift; install_packages "$@" ;;
    --venv) install_venv "$2" ;;
    setup)
        ensure_packages "${PACKAGES[@]}"
        ensure_venv run
        note 'ready' ;;
    test) shift; run_tests "$@" ;;
    *)
        if needs_root "$@"; then
            need_root "'$1'"
            ensure_packages "${PACKAGES[@]}"
            ensure_venv run
            exec "${sudo[@]}" "$venv/bin/testbed" "$@"
        fi
        ensure_venv run
        exec "$venv/bin/testbed" "$@" ;;
esac
