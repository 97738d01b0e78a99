#!/usr/bin/env python3
"""What syncing costs a download: the same build with fsync and fdatasync as they are and as calls that do nothing, in turn.

  tests/measure/sync_cost.py target/release/shoal [SIZE_MIB] [ROUNDS] [FOLDER] [UP]

The seed's data is in memory; the download goes to FOLDER (default /var/tmp, which should be ext4). UP limits the seed (default:
no limit). Without syncing the system would still write; the disk is idle again before each run. Needs root and cc.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

from lab import QUIET, Lab, enter

enter()
shoal = os.path.abspath(sys.argv[1])
size = (int(sys.argv[2]) if len(sys.argv) > 2 else 2048) << 20
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
folder = sys.argv[4] if len(sys.argv) > 4 else "/var/tmp"
up = sys.argv[5] if len(sys.argv) > 5 else "none"

with tempfile.TemporaryDirectory(dir=folder) as work, Lab(shoal, size) as lab:
    with open(work + "/stub.c", "w") as f:
        f.write("int fsync(int fd) { return 0; }\nint fdatasync(int fd) { return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", work + "/stub.so", work + "/stub.c"], check=True)
    seed = lab.start("seed", "a.torrent", "--data", ".", "--port", "7001", "--bind", "10.77.0.1", "--up", up)
    time.sleep(1.0)
    # Its own check of the data is not measured.
    while sum(map(float, open("/proc/%d/stat" % seed.pid).read().rsplit(")", 1)[1].split()[11:13])) < 1:
        time.sleep(0.1)

    def run(preload):
        subprocess.run(["rm", "-rf", work + "/out", work + "/state"], check=True)
        os.sync()
        env = dict(os.environ, XDG_STATE_HOME=work + "/state", **({"LD_PRELOAD": work + "/stub.so"} if preload else {}))
        start = time.monotonic()
        subprocess.run([shoal, "download", lab.dir + "/a.torrent", "-o", work + "/out", "--port", "0", "--bind", "10.77.0.3",
                        "--peer", "10.77.0.1:7001", *QUIET], env=env, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - start

    run(False)
    took = {False: [], True: []}
    for _ in range(rounds):
        for preload in (False, True):
            took[preload].append(run(preload))
            print("%s: %.2f s" % ("without" if preload else "synced ", took[preload][-1]), flush=True)
    synced, without = statistics.median(took[False]), statistics.median(took[True])
    print("%d MiB, %d rounds: synced %.2f s, without %.2f s (medians): %+.1f %%" % (
        size >> 20, rounds, synced, without, 100 * (synced / without - 1)))
