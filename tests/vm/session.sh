#!/usr/bin/env bash
# A user's way with the VM, from `vagrant up` to `vagrant destroy`; run in the project's folder:
#
#   session.sh BOX.box RESULTS SCENARIO...      RESULTS takes the records, each step's time is printed
set -euo pipefail
box=$1 results=$2
shift 2
export TESTBED_BOX=testbed/debian12

timed() { # NAME COMMAND...
    local name=$1 before=$SECONDS
    shift
    "$@" 2>&1 </dev/null | tr '\r' '\n' | sed -u '/^Progress:/d'
    printf '== %s: %d s\n' "$name" $((SECONDS - before))
}

vagrant box add --name "$TESTBED_BOX" "$box"
trap 'vagrant destroy -f' EXIT
timed 'vagrant up' vagrant up
timed 'vagrant provision, once more' vagrant provision
timed 'doctor' vagrant ssh -c 'cd / && sudo testbed doctor'
for scenario; do
    timed "run $scenario" vagrant ssh -c "sudo testbed run /testbed/$scenario"
done
mkdir -p "$results"
vagrant ssh -c 'sudo tar -C /testbed -c results' </dev/null | tar -x -C "$results"
