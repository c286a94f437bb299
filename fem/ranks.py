"""Run a function on several MPI ranks.

`LAUNCHER -n RANKS python -m fem.ranks FOLDER` is what is started, with `mpirun`, `srun`, ... for a
launcher. One that belongs to another MPI than mpi4py's starts as many processes of one rank each,
without a word: every process therefore holds the size of its communicator against what was asked.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import shlex
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

from hifuflow.errors import HifuflowError, InputError, NumericalError
from hifuflow.isolated import THREADS
from hifuflow.job import log
from hifuflow.provenance import PACKAGE

from . import MPI


def run_on_ranks(launcher: str, ranks: int, folder, function, *arguments) -> None:
    """Call `function(comm, *arguments)` on all ranks; on one, in this process.

    Parameters
    ----------
    launcher : command that starts ranks, e.g. "mpirun" or "srun --mpi=pmi2".
    folder : made for the time of the call, where all ranks' machines see it.
    function : of a module; it and its arguments must be picklable. It returns nothing.

    Raises
    ------
    InputError : no such launcher, or one that does not make a communicator of so many ranks.
    HifuflowError : what the function raised on some rank.
    NumericalError : a rank died.
    """
    if ranks == 1:
        return function(MPI.COMM_SELF, *arguments)
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)  # of a job that was killed
    folder.mkdir(parents=True)
    try:
        (folder / "call").write_bytes(pickle.dumps((function, arguments)))
        log.info("%d ranks, started by %s", ranks, launcher)
        status, last = _start([*shlex.split(launcher), "-n", str(ranks), sys.executable, "-m",
                               "hifuflow.fem.ranks", str(folder), str(ranks), launcher])
        if (folder / "error").is_file():
            family, text = pickle.loads((folder / "error").read_bytes())
            raise family(text)
        if status:
            raise NumericalError(f"{function.__name__} on {ranks} ranks ended with status "
                                 f"{status}: {last}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str]) -> tuple[int, str]:
    """Run a command and log its standard error; its exit status, and the last line of that."""
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mpirun of mpi4py
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": path, "PATH": beside}
    last = "no message"
    try:
        with subprocess.Popen(command, env=environment, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as process:
            for line in filter(str.strip, process.stderr):
                last = line.strip()
                log.info("%s", last)
    except FileNotFoundError as error:
        raise InputError("no such command", key="mpi", value=command[0],
                         allowed="what starts MPI ranks: mpirun, srun, ...") from error
    return process.returncode, last


def _main(folder: Path, ranks: int, launcher: str) -> None:
    comm = MPI.COMM_WORLD
    log.propagate = False
    log.addHandler(logging.StreamHandler() if comm.rank == 0 else logging.NullHandler())
    log.setLevel(logging.INFO)
    try:
        if comm.size != ranks:
            raise InputError(
                f"made a communicator of {comm.size} instead of {ranks} ranks", key="mpi",
                value=launcher, allowed="the launcher of the MPI that mpi4py has loaded, "
                + " ".join(MPI.Get_library_version().partition("\n")[0].split()))
        function, arguments = pickle.loads((folder / "call").read_bytes())
        function(comm, *arguments)
    except Exception as error:
        if isinstance(error, HifuflowError):
            family = InputError if isinstance(error, InputError) else NumericalError
            mine = folder / f"error-{platform.node()}-{os.getpid()}"
            mine.write_bytes(pickle.dumps((family, str(error))))
            mine.replace(folder / "error")
        else:
            traceback.print_exc()
        comm.Abort(1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
