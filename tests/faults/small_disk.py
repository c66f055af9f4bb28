"""Run a module with a disk of 2 MiB: `python -m tests.faults.small_disk FOLDER MODULE ARGUMENTS`.

The folder is a separate file system, which no other process sees, and holds the temporary files.
If the system lets this user mount none, no file may grow beyond 2 MiB instead: the error is then
EFBIG in place of ENOSPC.
"""

import os
import resource
import subprocess
import sys

SIZE = 2 * 2**20
MOUNT = f'mount -t tmpfs -o size={SIZE} none "$0" && exec "$@"'
WAYS = [["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]]


def main(folder: str, *command: str) -> None:
    os.environ["TMPDIR"] = folder
    module = [sys.executable, "-m", *command]
    for way in WAYS:
        if subprocess.run([*way, "sh", "-c", MOUNT, folder, "true"], check=False).returncode == 0:
            os.execvp(way[0], [*way, "sh", "-c", MOUNT, folder, *module])
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, SIZE))
    os.execv(sys.executable, module)


if __name__ == "__main__":
    main(*sys.argv[1:])
