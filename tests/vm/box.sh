#!/usr/bin/env bash
# Builds the base box of the VM tests, BOX.box for vagrant-libvirt: a Debian 12 as the public box is one (ssh, sudo, rsync,
# the user vagrant) and nothing of the testbed. As root:  box.sh BOX.box
#
# Made of packages from this machine's own sources, which the guest keeps, with their certificates, so that
# provisioning inside works where these do. The kernel is started directly, so the disk needs no boot loader.
set -euo pipefail

[[ ${IN_PRIVATE_MOUNTS:-} ]] || IN_PRIVATE_MOUNTS=yes exec unshare --mount --propagation private "$BASH" "$0" "$@"

box=$(readlink -f -- "$1")
work=$(mktemp -d --tmpdir="$(dirname -- "$box")")
root=$work/root
trap 'umount "$root/proc" 2>/dev/null || true; rm -rf --one-file-system -- "$work"' EXIT
sources=(/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list)

mirror() { # the first address in the sources, of either format
    cat "${sources[@]}" 2>/dev/null | awk '$1 == "URIs:" { print $2; exit } $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z]+:\/\//) { print $i; exit } }'
}

as_guest() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }

install_system() {
    local packages=systemd-sysv,udev,dbus,kmod,procps,iproute2,ifupdown,isc-dhcp-client,ca-certificates,openssh-server,sudo,rsync
    debootstrap --variant=minbase --include="$packages,initramfs-tools,zstd" bookworm "$root" "$(mirror)"
    mount -t proc proc "$root/proc"
    local file
    for file in "${sources[@]}" /etc/apt/apt.conf.d/99* /usr/local/share/ca-certificates/*.crt; do
        [[ ! -f $file ]] || install -D -m 644 "$file" "$root$file"
    done
    as_guest update-ca-certificates
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
    printf 'MODULES=list\n' >"$root/etc/initramfs-tools/conf.d/box"
    printf '%s\n' virtio_pci virtio_blk virtio_net ext4 >>"$root/etc/initramfs-tools/modules"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    as_guest apt-get -q update
    as_guest apt-get -q install -y --no-install-recommends linux-image-amd64
    as_guest apt-get clean
}

configure_system() {
    local key
    key=$(dpkg -L vagrant | grep '/keys/vagrant.pub$')
    as_guest useradd -m -s /bin/bash vagrant
    install -D -m 600 "$key" "$root/home/vagrant/.ssh/authorized_keys"
    as_guest chown -R vagrant:vagrant /home/vagrant/.ssh
    chmod 700 "$root/home/vagrant/.ssh"
    echo 'vagrant ALL=(ALL:ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
    echo testbed >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 testbed\n' >"$root/etc/hosts"
    echo 'LABEL=root / ext4 defaults 0 1' >"$root/etc/fstab"
    printf 'auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n' >"$root/etc/network/interfaces"
    rm -f "$root/etc/resolv.conf"
}

pack() {
    umount "$root/proc"
    cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
    cp "$root"/boot/initrd.img-* "$work/initrd.img"
    mkfs.ext4 -q -d "$root" -L root "$work/disk" 8G
    qemu-img convert -O qcow2 "$work/disk" "$work/box.img"
    echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 8}' >"$work/metadata.json"
    cat >"$work/Vagrantfile" <<'RUBY'
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.kernel = File.expand_path("vmlinuz", __dir__)
    libvirt.initrd = File.expand_path("initrd.img", __dir__)
    libvirt.cmd_line = "root=/dev/vda rw net.ifnames=0 mitigations=off console=ttyS0 quiet"
  end
end
RUBY
    tar -C "$work" -czf "$box" box.img metadata.json Vagrantfile vmlinuz initrd.img
}

install_system
configure_system
pack
