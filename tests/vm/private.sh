#!/usr/bin/env bash
# Runs a command with a libvirt of its own: own network (its only way out is slirp4netns), own mounts, own processes.
# The machine's network and libvirt are not touched, and all that runs in it ends with the command, or with this script. As root:
#
#   private.sh FOLDER COMMAND...      FOLDER takes Vagrant's files and the disks: several GB
set -euo pipefail

inside() { # as process 1 of the new namespaces
    local folder=$1
    shift
    mount --make-rprivate /
    mount -t sysfs sysfs /sys # of the new network
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /etc/libvirt
    mount -t tmpfs tmpfs /var/lib/libvirt
    mkdir -p /run/libvirt /run/lock "$folder"/{images,vagrant} /var/lib/libvirt/images
    mount --bind "$folder/images" /var/lib/libvirt/images
    echo 'nameserver 10.0.2.3' >"$folder/resolv.conf" # slirp4netns answers there
    mount --bind "$folder/resolv.conf" /etc/resolv.conf
    printf '%s\n' 'user = "root"' 'group = "root"' 'security_driver = "none"' 'cgroup_controllers = []' 'namespaces = []' \
        'remember_owner = 0' 'stdio_handler = "file"' >/etc/libvirt/qemu.conf
    ip link set lo up
    await 'the way out of slirp4netns' ip route get 10.0.2.2
    echo 1 >/proc/sys/net/ipv4/ip_forward
    libvirtd >"$folder/libvirtd.log" 2>&1 &
    export LIBVIRT_DEFAULT_URI=qemu:///system VAGRANT_DEFAULT_PROVIDER=libvirt VAGRANT_CHECKPOINT_DISABLE=1
    # Emulation in software works everywhere, also where /dev/kvm is there and does not boot a stock kernel.
    export TESTBED_EMULATE=yes VAGRANT_HOME=$folder/vagrant VAGRANT_DOTFILE_PATH=$folder/machine HOME=$folder
    await 'libvirtd' virsh version
    "$@"
}

await() { # WHAT PROBE...: polls for 30 seconds
    local what=$1 try
    shift
    for try in {1..150}; do
        "$@" &>/dev/null && return
        sleep 0.2
    done
    echo "private.sh: $what is not there after $((try / 5)) s" >&2
    return 1
}

if [[ ${1:-} == --inside ]]; then
    shift
    inside "$@"
    exit
fi

mkdir -p -- "$1"
folder=$(readlink -f -- "$1")
shift
uplink=
setpriv --pdeathsig KILL -- unshare --net --mount --pid --fork --kill-child --mount-proc "$BASH" "$0" --inside "$folder" "$@" &
outer=$!
trap 'kill -KILL "$outer" $uplink 2>/dev/null || true; wait' EXIT # nothing milder ends unshare while it waits; gone when we are
await 'the new namespace' pgrep -P "$outer"
first=$(pgrep -P "$outer")
setpriv --pdeathsig KILL -- slirp4netns --configure --mtu=1400 --disable-host-loopback "$first" tap0 >"$folder/slirp4netns.log" 2>&1 &
uplink=$!
code=0
wait "$outer" || code=$?
exit "$code"
