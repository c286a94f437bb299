"""A real SLURM of one node on this machine, for tests: started, used, and stopped again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")  # srun inside a job looks nowhere else
MARK = "# hifuflow: SLURM of one node for tests"
PACKAGES = ("slurm-wlm", "slurm-client", "munge")
CPUS, MEMORY_MB = 4, 6000  # more CPUs than the machine may have: the jobs are small

TEMPLATE = """{mark}
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=0
KillWait=1
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=tests Nodes=localhost Default=YES MaxTime=60 State=UP
"""


def why_not() -> str | None:
    """Reason for which no SLURM can be started here; installs it where that is possible."""
    if os.getuid() != 0:
        return "starting slurmctld and slurmd needs root"
    if CONFIGURATION.exists() and not CONFIGURATION.read_text().startswith(MARK):
        return f"this machine belongs to a cluster ({CONFIGURATION})"
    if shutil.which("slurmctld") is None or shutil.which("munged") is None:
        if shutil.which("apt-get") is None:
            return "SLURM is not installed, and there is no apt-get"
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(["apt-get", *command], env=environment, capture_output=True,
                                  text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            return f"apt-get could not install {' '.join(PACKAGES)}: {done.stderr[-300:]}"
    return None


class Slurm:
    """Daemons of one node; `stop` ends what was started, and removes the configuration."""

    def __init__(self, folder: Path):
        self.folder, self._daemons, self._scripts = folder, [], {}
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        ports = [_free_port(), _free_port()]
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.write_text(TEMPLATE.format(
            mark=MARK, folder=folder, host=socket.gethostname().split(".")[0], cpus=CPUS,
            memory=MEMORY_MB, port=ports[0], slurmd_port=ports[1]))
        self._start_munge()
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D")
        self._wait(lambda: "idle" in self._call("sinfo", "-h", "-o", "%T"), 30)

    def _start_munge(self) -> None:
        if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
            return
        for name in ("/run/munge", "/var/lib/munge", "/var/log/munge"):
            Path(name).mkdir(parents=True, exist_ok=True)
            shutil.chown(name, "munge", "munge")
        os.chmod("/run/munge", 0o755)
        self._daemon("munged", "--foreground", user="munge", group="munge")
        self._wait(lambda: subprocess.run(["munge", "-n"], capture_output=True).returncode == 0, 10)

    def _daemon(self, *command, **options) -> None:
        with open(self.folder / f"{command[0]}.out", "w") as output:
            self._daemons.append(subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True, **options))

    def _call(self, *command) -> str:
        return subprocess.run(command, capture_output=True, text=True).stdout

    def _wait(self, ready, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                logs = [p.read_text()[-1000:] for p in self.folder.glob("*.log")]
                raise RuntimeError("SLURM did not come up:\n" + "\n".join(logs))
            time.sleep(0.1)

    def jobs(self, states="PENDING,RUNNING") -> list[dict]:
        """Jobs in these states: their number, state and memory, and what they run."""
        lines = self._call("squeue", "-h", "-t", states, "-o", "%i|%T|%m").splitlines()
        found = [dict(zip(("id", "state", "memory"), line.split("|"), strict=True))
                 for line in lines]
        for job in found:
            if job["id"] not in self._scripts:
                self._scripts[job["id"]] = self._call("scontrol", "write", "batch_script",
                                                      job["id"], "-")
            job["script"] = self._scripts[job["id"]]
        return found

    def cancel(self, number: str) -> None:
        subprocess.run(["scancel", number], check=True)

    def stop(self) -> None:
        subprocess.run(["scancel", "--partition", "tests"], capture_output=True)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
        CONFIGURATION.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
