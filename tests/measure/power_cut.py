#!/usr/bin/env python3
"""Cuts the power of a download again and again (docs/storage.md, F2). Needs root, loop devices and mkfs.ext4.

  tests/measure/power_cut.py target/release/shoal [CUTS] [SIZE_MIB] [PIECE_LENGTH] [UP]

The download and its state lie on an ext4 file system in a file. At a random moment the process is stopped, the file is copied
(what was not synced is in memory only, so not in the copy), the process is killed, and the copy is mounted in place of the
first. Then the next run goes on, and what it says that it has is compared with the bytes that are there.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

from lab import QUIET, enter

if os.environ.get("SHOAL_CUT") != "1":
    # Mounts of its own.
    os.environ["SHOAL_CUT"] = "1"
    os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv])
enter()
shoal = os.path.abspath(sys.argv[1])
cuts = int(sys.argv[2]) if len(sys.argv) > 2 else 50
size = (int(sys.argv[3]) if len(sys.argv) > 3 else 256) << 20
piece = sys.argv[4] if len(sys.argv) > 4 else "256KiB"
up = sys.argv[5] if len(sys.argv) > 5 else "16M"

random.seed(1)
work = subprocess.run(["mktemp", "-d", "/var/tmp/shoal-cut-XXXXXX"], check=True, capture_output=True, text=True).stdout.strip()
os.makedirs(work + "/seed")
disk = work + "/disk"
os.makedirs(disk)
with open(work + "/seed/a.bin", "wb") as f:
    for _ in range(size >> 20):
        f.write(random.randbytes(1 << 20))
source = open(work + "/seed/a.bin", "rb").read()
subprocess.run([shoal, "create", "seed/a.bin", "-o", "a.torrent", "-q", "--piece-length", piece], cwd=work, check=True,
               stdout=subprocess.DEVNULL)
env = dict(os.environ, XDG_STATE_HOME=work + "/seed-state")
seed = subprocess.Popen([shoal, "seed", "a.torrent", "--data", "seed", "--json", "--port", "0", "--bind", "10.77.0.2", "--up", up,
                         *QUIET], cwd=work, env=env, stdout=subprocess.PIPE, text=True)
peer = next(event["addr"] for event in map(json.loads, seed.stdout) if "addr" in event)
shown = json.loads(subprocess.run([shoal, "show", "a.torrent", "--json"], cwd=work, check=True, capture_output=True, text=True).stdout)
piece_length = shown["piece_length"]


def image(path):
    subprocess.run(["truncate", "-s", str(size + (192 << 20)), path], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)


def mount(path):
    subprocess.run(["mount", "-o", "loop", path, disk], check=True)


def right():
    """Pieces of the file on the mounted disk that are right, and their bytes."""
    try:
        there = open(disk + "/out/a.bin", "rb").read()
    except FileNotFoundError:
        return {}
    pieces = range(0, size, piece_length)
    return {n: len(source[at:at + piece_length]) for n, at in enumerate(pieces)
            if there[at:at + piece_length] == source[at:at + piece_length]}


def start():
    env = dict(os.environ, XDG_STATE_HOME=disk + "/state")
    return subprocess.Popen([shoal, "download", "a.torrent", "-o", disk + "/out", "--json", "--port", "0", "--bind", "10.77.0.3",
                             "--peer", peer, *QUIET], cwd=work, env=env, stdout=open(work + "/events", "w"))


def read_bytes(pid):
    for line in open("/proc/%d/io" % pid):
        if line.startswith("rchar:"):
            return int(line.split()[1])


def events():
    found = []
    for line in open(work + "/events"):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            pass
    return found


def began_with(seen):
    """What a run had at its start: the first progress without what came before it."""
    for at, event in enumerate(seen):
        if event["event"] == "progress":
            fetched = sum(1 for e in seen[:at] if e["event"] == "piece")
            # A piece may have been told while the progress before it was on its way.
            return max(0, event["done_bytes"] - fetched * piece_length)
    return None


image(work + "/image")
mount(work + "/image")
done_cuts, lost_most, read_most, slowest, restarts, wrong, lost_sum = 0, 0, 0, 0.0, 0, 0, 0
owed = 0  # Bytes that were told as written, at the last cut.
try:
    while done_cuts < cuts:
        there = right()
        began = time.monotonic()
        run = start()
        wait = random.uniform(0.3, 4.0)
        flowing, first = None, None
        seen = []
        while time.monotonic() - began < wait and run.poll() is None:
            seen = events()
            if flowing is None and any(e["event"] == "piece" for e in seen):
                flowing = time.monotonic() - began
                try:
                    read_most = max(read_most, read_bytes(run.pid))
                except (FileNotFoundError, TypeError):
                    pass
            time.sleep(0.005)
        if run.poll() is not None:
            assert run.returncode == 0, run.returncode
            assert open(disk + "/out/a.bin", "rb").read() == source, "every byte"
            subprocess.run(["umount", disk], check=True)
            image(work + "/image")
            mount(work + "/image")
            restarts += 1
            owed = 0
            continue
        os.kill(run.pid, signal.SIGSTOP)
        subprocess.run(["cp", "--sparse=always", work + "/image", work + "/next"], check=True)
        seen = events()
        run.kill()
        run.wait()
        had = began_with(seen)
        if had is not None:
            claimed_right = sum(there.values())
            if had > claimed_right:
                wrong += 1
                print("WRONG: claims %d bytes, %d are right" % (had, claimed_right))
            lost = max(0, owed - had)
            lost_most, lost_sum = max(lost_most, lost), lost_sum + lost
            owed = had + sum(1 for e in seen if e["event"] == "piece") * piece_length
        if flowing is not None:
            slowest = max(slowest, flowing)
        subprocess.run(["umount", disk], check=True)
        os.replace(work + "/next", work + "/image")
        mount(work + "/image")
        done_cuts += 1
        print("cut %d: began with %s MiB, had then %.1f MiB, %.1f MiB right on the disk after it" % (
            done_cuts, None if had is None else had >> 20, owed / 2**20, sum(right().values()) / 2**20), flush=True)
    run = start()
    run.wait()
    assert run.returncode == 0 and open(disk + "/out/a.bin", "rb").read() == source, "every byte"
    print("%d cuts, pieces of %s, %s/s: %d wrong claims; at most %.1f MiB of what was told lost (%.1f on average); at most %.1f MiB "
          "read before a new piece, which came after at most %.2f s; %d downloads completed, every byte right" % (
              done_cuts, piece, up, wrong, lost_most / 2**20, lost_sum / cuts / 2**20, read_most / 2**20, slowest, restarts + 1))
finally:
    seed.kill()
    subprocess.run(["umount", disk], check=False)
    subprocess.run(["rm", "-rf", work], check=False)
sys.exit(1 if wrong else 0)
