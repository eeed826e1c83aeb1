"""A real Slurm on this machine's loopback: a controller and four nodes, two of them with two pretended GPUs each."""

import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "sinfo", "scontrol", "scancel")
NODES = ("c1", "c2", "g1", "g2")

_CLIENTS = ("srun", "sbatch", "squeue", "sinfo", "scontrol", "scancel", "sacct", "sacctmgr", "sshare")
_WHERE = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
_START_SECONDS = 60
# In the environment of all daemons, to find what belongs to a cluster, and on which node.
_MARK = "MODECOLLAPSE_TEST_CLUSTER"

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0,defer_batch
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=600
KillWait=5
OverTimeLimit=0
SlurmctldTimeout=30
SlurmdTimeout=20
JobRequeue=1
GresTypes=gpu
DefMemPerCPU=100
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=c1 NodeHostname={host} NodeAddr=127.0.0.1 Port={c1} CPUs=8 RealMemory=16000
NodeName=c2 NodeHostname={host} NodeAddr=127.0.0.1 Port={c2} CPUs=8 RealMemory=16000
NodeName=g1 NodeHostname={host} NodeAddr=127.0.0.1 Port={g1} CPUs=8 RealMemory=16000 Gres=gpu:h200:2
NodeName=g2 NodeHostname={host} NodeAddr=127.0.0.1 Port={g2} CPUs=8 RealMemory=16000 Gres=gpu:h200:2
PartitionName=cpu Nodes=c[1-2] Default=YES MaxTime=240 State=UP
PartitionName=gpu Nodes=g[1-2] MaxTime=240 PriorityTier=1 GraceTime=30 State=UP
PartitionName=urgent Nodes=g[1-2] MaxTime=240 PriorityTier=9 PreemptMode=OFF State=UP
"""

# Slurm hands out devices, so they have to be some; these two are on every machine.
_GPUS = """\
AutoDetect=off
NodeName=g[1-2] Name=gpu Type=h200 File=/dev/null
NodeName=g[1-2] Name=gpu Type=h200 File=/dev/zero
"""

# The executor plugin takes SLURM_CONF out of a job's environment, and there is nothing in /etc/slurm here.
_CLIENT = """\
#!/bin/sh
SLURM_CONF={root}/slurm.conf exec {program} "$@"
"""


def missing_programs() -> list[str]:
    """What of Slurm and munge is not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=_WHERE) is None]


@dataclass(frozen=True)
class Cluster:
    """A running cluster. Its directory's path has to be short: it holds a socket."""

    root: Path

    @property
    def bin(self) -> Path:
        """Slurm's commands, set to this cluster: to be first on PATH."""
        return self.root / "bin"

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """`environment` with this cluster's commands first on PATH."""
        return {**environment, "PATH": os.pathsep.join([str(self.bin), environment["PATH"]])}

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def state(self, job: str) -> str:
        """The state of a job, in capitals."""
        return self.ask("squeue", "--noheader", "--states=all", f"--job={job}", "--format=%T").strip()

    def active_jobs(self) -> list[str]:
        """The numbers of all jobs that wait or run."""
        return self.ask("squeue", "--noheader", "--format=%i").split()

    def partitions_of(self, rule: str, directory: Path) -> set[str]:
        """The partitions that a rule's jobs were sent to from this directory; their comment begins with the rule."""
        lines = self.ask("squeue", "--noheader", "--states=all", "--format=%Z|%P|%k").splitlines()
        jobs = [line.split("|", 2) for line in lines]
        ours = re.compile(rf"rule_{rule}(_wildcards_.*)?")
        return {of for where, of, comment in jobs if where == str(directory) and ours.fullmatch(comment)}

    def is_down(self, node: str) -> bool:
        """Whether Slurm has noticed that the node is gone."""
        return "down" in self.ask("sinfo", "--noheader", f"--nodes={node}", "--format=%T")

    def start(self) -> None:
        """Start everything and wait until all nodes are idle. What was started is stopped if that fails."""
        for name in ("state", "bin"):
            (self.root / name).mkdir(parents=True)
        (self.root / "slurm.conf").write_text(self._configuration())
        (self.root / "gres.conf").write_text(_GPUS)
        for name in _CLIENTS:
            if (program := shutil.which(name, path=_WHERE)) is not None:
                client = self.bin / name
                client.write_text(_CLIENT.format(root=self.root, program=program))
                client.chmod(0o755)
        key = self.root / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        try:
            self._launch("munged", "--force", "--num-threads=2", *self._munge_files())
            self._launch("slurmctld", "-c", "-f", str(self.root / "slurm.conf"))
            for node in NODES:
                self.start_node(node)
            wait_for(self._is_idle, _START_SECONDS, f"all nodes idle (see {self.root}/*.log)")
        except BaseException:
            self.stop()
            raise

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._launch("slurmd", "-f", str(self.root / "slurm.conf"), "-N", node, mark=node)

    def kill_node(self, node: str) -> None:
        """Make a node vanish as a power cut does: its daemon and everything that runs on it, by SIGKILL."""
        processes = self._processes(node)
        # Slurm's own first: they would still report that a job of theirs has died.
        for process in sorted(processes, key=lambda process: process.name() not in ("slurmd", "slurmstepd")):
            _kill(process)

    def stop(self) -> None:
        """Kill everything that belongs to the cluster, jobs included, and wait until it is gone."""
        for _ in range(3):  # what is killed may just have started something
            processes = self._processes()
            for process in processes:
                _kill(process)
            psutil.wait_procs(processes, timeout=10)

    def _processes(self, node: str | None = None) -> list[psutil.Process]:
        """The processes of the cluster or of one node: daemons, the jobs, and the keepers of their steps."""
        ours = [process for process in psutil.process_iter() if self._is_ours(process, node)]
        keepers = [keeper for process in ours for keeper in _keepers(process)]
        return list({process.pid: process for process in [*ours, *keepers]}.values())

    def _is_ours(self, process: psutil.Process, node: str | None) -> bool:
        """Whether it is a daemon that was started here, or has the environment that jobs are submitted with."""
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            return False
        root, _, daemon_of = environment.get(_MARK, "").rpartition(":")
        if root == str(self.root):
            return node in (None, daemon_of)
        submitted = environment.get("PATH", "").startswith(f"{self.bin}{os.pathsep}")
        return submitted and node in (None, environment.get("SLURMD_NODENAME"))

    def _is_idle(self) -> bool:
        states = self.ask("sinfo", "--noheader", "--Node", "--format=%N %T").split("\n")
        return {line.strip() for line in states if line} == {f"{node} idle" for node in NODES}

    def _munge_files(self) -> list[str]:
        ends = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        return [f"--{option}={self.root}/munge.{end}" for option, end in ends.items()]

    def _launch(self, program: str, *arguments: str, mark: str = "-") -> None:
        path = shutil.which(program, path=_WHERE)
        assert path is not None, program
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        environment[_MARK] = f"{self.root}:{mark}"
        with (self.root / f"{program}.out").open("ab") as output:
            done = subprocess.run(
                [path, *arguments], stdout=output, stderr=output, env=environment, timeout=60, check=False
            )
        assert done.returncode == 0, (self.root / f"{program}.out").read_text()

    def _configuration(self) -> str:
        names = ("controller", *NODES)
        return _CONFIGURATION.format(
            root=self.root,
            host=socket.gethostname().split(".")[0],
            user=pwd.getpwuid(os.geteuid()).pw_name,
            **dict(zip(names, _free_ports(len(names)), strict=True)),
        )


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Ask again and again until it holds; fails if it does not within this time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for: {what}"
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _keepers(process: psutil.Process) -> list[psutil.Process]:
    """Slurm's own processes above a job's; their environment is not to be read."""
    try:
        return [above for above in process.parents() if above.name() == "slurmstepd"]
    except psutil.Error:
        return []


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.Error):
        process.kill()


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    sys.stdin.read()
    Cluster(directory).stop()
    shutil.rmtree(directory, ignore_errors=True)
