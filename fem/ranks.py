"""Run a function on several MPI ranks.

The command is `LAUNCHER -n RANKS python -m hifuflow.fem.ranks FOLDER RANKS LAUNCHER`, with
`mpirun`, `srun`, ... as the launcher. A launcher of another MPI than mpi4py's silently starts that
many processes of one rank each. Every process therefore compares the size of its communicator with
the number that was asked for.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from hifuflow.errors import HifuflowError, InputError, NumericalError, StorageError
from hifuflow.isolated import THREADS
from hifuflow.job import log
from hifuflow.provenance import PACKAGE

from . import MPI

ERROR = "error"  # name of the file
FAMILIES = {"input": InputError, "storage": StorageError, "numerical": NumericalError,
            "other": HifuflowError}


def run_on_ranks(launcher: str, ranks: int, place, function, *arguments) -> None:
    """Call `function(comm, *arguments)` on all ranks; on one, in this process.

    The call goes to rank 0 by its standard input, and an error comes back as JSON in a folder that
    nobody else may enter: write access to the results is not enough to run code.

    Parameters
    ----------
    launcher : command that starts ranks, e.g. "mpirun" or "srun --mpi=pmi2".
    place : path that all ranks' machines can see; the folder is created there, with a longer name,
        for the duration of the call.
    function : of a module; it and its arguments must be picklable. It returns nothing.

    Raises
    ------
    InputError : the launcher does not exist, or does not make a communicator of so many ranks.
    HifuflowError : raised by the function on some rank.
    NumericalError : a rank died.
    """
    if ranks == 1:
        return function(MPI.COMM_SELF, *arguments)
    call = base64.b64encode(pickle.dumps((function, arguments)))  # launchers pass on text
    place = Path(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    for stale in place.parent.glob(f"{place.name}-*"):  # of a job that was killed
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{place.name}-") as private:
        log.info("%d ranks, started by %s", ranks, launcher)
        status, last = _start([*shlex.split(launcher), "-n", str(ranks), sys.executable, "-m",
                               "hifuflow.fem.ranks", private, str(ranks), launcher], call)
        error = Path(private) / ERROR
        if error.is_file():
            family, text = json.loads(error.read_text())
            raise FAMILIES[family](text)
        if status:
            raise NumericalError(f"{function.__name__} on {ranks} ranks ended with status "
                                 f"{status}: {last}")


def _start(command: list[str], call: bytes) -> tuple[int, str]:
    """Run a command and log its standard error; return its exit status and its last line."""
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mpirun of mpi4py
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": path, "PATH": beside}
    last = "no message"
    try:
        # An unnamed file instead of a pipe: PETSc ends a process that writes into a closed pipe.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(call)
            stdin.seek(0)
            with subprocess.Popen(command, env=environment, text=True, errors="replace",
                                  stdin=stdin, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE) as process:
                for line in filter(str.strip, process.stderr):
                    last = line.strip()
                    log.info("%s", last)
    except FileNotFoundError as error:
        raise InputError("no such command", key="mpi", value=command[0],
                         allowed="a launcher of MPI ranks: mpirun, srun, ...") from error
    return process.returncode, last


def _main(private: Path, ranks: int, launcher: str) -> None:
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
        call = comm.bcast(sys.stdin.read() if comm.rank == 0 else None)
        if not call:
            raise InputError("does not pass standard input on to rank 0", key="mpi", value=launcher,
                             allowed="a launcher that does, such as mpirun or srun")
        function, arguments = pickle.loads(base64.b64decode(call))
        function(comm, *arguments)
    except Exception as error:
        if isinstance(error, HifuflowError):
            _leave(private, error)
        else:
            traceback.print_exc()
        comm.Abort(1)


def _leave(private: Path, error: HifuflowError) -> None:
    """Write an error into the folder, if it still is the private one that was made for it."""
    family = next(name for name, kind in FAMILIES.items() if isinstance(error, kind))
    folder = os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    made = os.fstat(folder)
    if made.st_uid != os.getuid() or made.st_mode & 0o077:
        print(f"{private} is not a private folder: {error}", file=sys.stderr)
        return
    mine = f"{ERROR}-{platform.node()}-{os.getpid()}"
    handle = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    with os.fdopen(handle, "w") as stream:
        json.dump([family, str(error)], stream)
    os.replace(mine, ERROR, src_dir_fd=folder, dst_dir_fd=folder)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
