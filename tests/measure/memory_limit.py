#!/usr/bin/env python3
"""A download within a memory limit of 256 MiB, page cache counted (docs/storage.md, F14). Needs root and cgroup v1.

  tests/measure/memory_limit.py target/release/shoal [SIZE_MIB] [PEERS]

The seed's file is sparse; PEERS idle connections stay at the download. The limit is a cgroup's, so it counts what the system caches
for the process, too; the peak of the process's own memory is what matters of shoal.
"""
import os
import socket
import subprocess
import sys
import tempfile
import time

from lab import QUIET, enter

enter()
shoal = os.path.abspath(sys.argv[1])
size = (int(sys.argv[2]) if len(sys.argv) > 2 else 4096) << 20
peers = int(sys.argv[3]) if len(sys.argv) > 3 else 500
group = "/sys/fs/cgroup/memory/shoal-limit-%d" % os.getpid()

with tempfile.TemporaryDirectory(dir="/var/tmp") as work:
    with open(work + "/a.bin", "wb") as f:
        f.truncate(size)
        # Not all pieces alike.
        for at in range(0, size, 64 << 20):
            f.seek(at)
            f.write(os.urandom(1 << 16))
    subprocess.run([shoal, "create", "a.bin", "-o", "a.torrent", "-q"], cwd=work, check=True, stdout=subprocess.DEVNULL)
    seed = subprocess.Popen([shoal, "seed", "a.torrent", "--data", ".", "--port", "7001", "--bind", "10.77.0.1", *QUIET], cwd=work,
                            env=dict(os.environ, XDG_STATE_HOME=work + "/seed-state"), stdout=subprocess.DEVNULL)
    os.mkdir(group)
    try:
        with open(group + "/memory.limit_in_bytes", "w") as f:
            f.write(str(256 << 20))
        time.sleep(3)
        command = [shoal, "download", "a.torrent", "-o", "out", "--port", "7002", "--bind", "10.77.0.3", "--peer", "10.77.0.1:7001", *QUIET]
        shell = "echo $$ > %s/cgroup.procs; exec \"$@\"" % group
        start = time.monotonic()
        run = subprocess.Popen(["sh", "-c", shell, "sh", *command], cwd=work, env=dict(os.environ, XDG_STATE_HOME=work + "/state"),
                               stdout=subprocess.DEVNULL)
        crowd = []
        peak = 0
        while run.poll() is None:
            if len(crowd) < peers:
                try:
                    crowd.append(socket.create_connection(("10.77.0.3", 7002), timeout=1))
                except OSError:
                    pass
            try:
                status = open("/proc/%d/status" % run.pid).read()
                peak = int(status.split("VmHWM:")[1].split()[0]) >> 10
            except (OSError, IndexError):
                pass
            time.sleep(0.01)
        failcnt = open(group + "/memory.failcnt").read().strip()
        print("%d MiB, %d connections, limit 256 MiB: exit code %d after %.0f s, peak of the process %d MiB (the limit made the system "
              "reclaim its cache %s times)" % (size >> 20, len(crowd), run.returncode, time.monotonic() - start, peak, failcnt))
        same = subprocess.run(["cmp", "a.bin", "out/a.bin"], cwd=work).returncode == 0
        print("every byte right" if same else "WRONG BYTES")
    finally:
        seed.kill()
        time.sleep(0.5)
        os.rmdir(group)
