#!/usr/bin/env bash
# A user's way with the VM, from `vagrant up` to `vagrant destroy`; run in the project's folder:
#
#   session.sh BOX.box RESULTS SCENARIO[,OPTION...]...      RESULTS takes the records, each step's time is printed
#
# Without hardware virtualisation everything takes ten to a hundred times longer, but a second stays a second: the designs get
# slower BGP and BFD timers, the testbed more patience, and nothing is measured. With virtualisation none of this is needed.
set -euo pipefail
box=$1 results=$2
shift 2
export TESTBED_BOX=testbed/debian12
slow='timers: {bgp: {keepalive: 20s, hold: 60s}, bfd: {interval: 3s, multiplier: 5}}'

timed() { # NAME COMMAND...
    local name=$1 before=$SECONDS code=0
    shift
    "$@" 2>&1 </dev/null | sed -u 's/\r$//; s/.*\r//; /Progress:/d' || code=$?
    printf '== %s: %d s%s\n' "$name" $((SECONDS - before)) "$( ((code == 0)) || echo ", exit code $code")"
    return "$code"
}

in_vm() { vagrant ssh -c "$1" </dev/null; }

save_and_restore() { # a provisioned VM in seconds
    timed 'vagrant snapshot save' vagrant snapshot save provisioned
    in_vm 'touch /home/vagrant/after-the-snapshot'
    timed 'vagrant snapshot restore' vagrant snapshot restore --no-provision provisioned
    in_vm 'test ! -e /home/vagrant/after-the-snapshot'
    timed 'vagrant snapshot delete' vagrant snapshot delete provisioned
}

vagrant box add --name "$TESTBED_BOX" "$box"
trap 'vagrant destroy -f' EXIT
timed 'vagrant up' vagrant up
timed 'vagrant provision, once more' vagrant provision
timed 'doctor' in_vm 'cd / && sudo testbed doctor'
save_and_restore
in_vm "sudo sh -c 'mkdir -p /slow && cp -r /testbed/scenarios /testbed/topologies /slow &&
    cp /testbed/tests/vm/impaired.yaml /slow/topologies && sed -i \"/^    measure:/,/^      - /d\" /slow/scenarios/* &&
    for file in \$(grep -L ^timers: /slow/topologies/*); do echo \"$slow\" >>\$file; done'"
failed=0 # the records come home whatever happened
for run; do
    scenario=${run%%,*} options=${run#"$scenario"}
    timed "run $scenario ${options//,/ }" in_vm "cd / && sudo TESTBED_PATIENCE=20 testbed run /slow/scenarios/$scenario.yaml ${options//,/ }" || failed=1
done
python='sudo TESTBED_PATIENCE=20 PYTHONPATH=/testbed /testbed/.venv/bin/python -P /testbed/tests/vm'
timed 'buckets' in_vm "$python/buckets.py /slow/topologies/active-active.yaml" || failed=1
timed 'jitter, reordering and loss' in_vm "$python/impairments.py /slow/topologies/impaired.yaml netem 50" || failed=1
mkdir -p "$results"
in_vm 'sudo tar -C /testbed -c results' | tar -x -C "$results"
exit "$failed"
