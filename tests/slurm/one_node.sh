#!/usr/bin/env bash
# one_node.sh up|down DIR: a private one-node Slurm on loopback, for tests (run as root).
#
# Debian: apt-get install --no-install-recommends slurm-wlm slurm-client munge
# Nothing under /etc is touched: own munge key and socket, own ports, no systemd. No cgroups either,
# unless SLURM_TEST_MEMORY=1 asks for jobs that are killed beyond their --mem (cgroup v1).
# `export SLURM_CONF=DIR/slurm.conf` lets sbatch and squeue find it. `down` stops by recorded pid.
set -euo pipefail
cmd=$1; mkdir -p "$2"; D=$(readlink -f "$2")
alive() { local f; for f in slurmd slurmctld munged; do
  [ -f "$D/run/$f.pid" ] && kill -0 "$(cat "$D/run/$f.pid")" 2>/dev/null && return 0; done; return 1; }
if [ "$cmd" = down ]; then
  for f in slurmd slurmctld munged; do
    if [ -f "$D/run/$f.pid" ]; then kill -TERM "$(cat "$D/run/$f.pid")" 2>/dev/null || true; fi; done
  for _ in $(seq 40); do alive || exit 0; sleep 0.25; done
  echo "daemons still alive under $D" >&2; exit 1
fi
N=$(hostname -s); C=${SLURM_TEST_CPUS:-$(nproc)}
M=$(awk '/MemTotal/{print int($2/1024*0.8)}' /proc/meminfo)
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
TASK=task/none; SELECT=CR_CPU
if [ "${SLURM_TEST_MEMORY:-0}" = 1 ]; then TASK=task/cgroup; SELECT=CR_CPU_Memory; fi
mkdir -p "$D"/{state,spool,log,run,munge}; chmod 755 "$D" "$D/run"; chmod 700 "$D/munge"
[ -f "$D/munge/key" ] || dd if=/dev/urandom of="$D/munge/key" bs=128 count=1 status=none
chmod 600 "$D/munge/key"
# --force: munged dislikes to run as root and in folders that others can enter.
munged --force --key-file="$D/munge/key" --socket="$D/run/munge.socket" \
  --pid-file="$D/run/munged.pid" --log-file="$D/log/munged.log" --seed-file="$D/munge/seed"
cat > "$D/slurm.conf" <<CONF
ClusterName=toolboxtest
SlurmctldHost=$N(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=$TASK
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$D/log/jobcomp.txt
SelectType=select/cons_tres
SelectTypeParameters=$SELECT
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
KillWait=3
ReturnToService=2
MaxArraySize=1001
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool
SlurmdParameters=config_overrides
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.log
NodeName=$N NodeAddr=127.0.0.1 CPUs=$C RealMemory=$M State=UNKNOWN
PartitionName=main Nodes=$N Default=YES MaxTime=INFINITE State=UP
CONF
[ $TASK = task/none ] || printf '%s\n' CgroupPlugin=cgroup/v1 ConstrainRAMSpace=yes \
  CgroupMountpoint=/sys/fs/cgroup > "$D/cgroup.conf"
export SLURM_CONF="$D/slurm.conf"
slurmctld -c
slurmd
for _ in $(seq 60); do sinfo -h -o %T 2>/dev/null | grep -q idle && exit 0; sleep 0.25; done
tail -n 20 "$D/log/slurmctld.log" "$D/log/slurmd.log" >&2; exit 1
