#!/usr/bin/env python3
"""What `download --trace` costs: one torrent from one seed on loopback, in turn without and with it.

    tests/measure/trace.py SHOAL MIB PAIRS      as in: tests/measure/trace.py target/release/shoal 1024 8

Content, copies and traces lie in /dev/shm, so that no disk is measured. Prints a line a pair and the medians of the ratios.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

shoal, mib, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
home = tempfile.mkdtemp(prefix="trace-ab-", dir="/dev/shm")
env = {**os.environ, "HOME": home, "XDG_STATE_HOME": home + "/state", "XDG_CONFIG_HOME": home + "/c"}
src = home + "/src"; os.mkdir(src)
with open(src + "/blob", "wb") as f:
    for _ in range(mib): f.write(os.urandom(1 << 20))
q = ["--no-dht", "--no-lan", "--no-port-mapping", "--bind", "127.0.0.1", "--port", "0"]
subprocess.run([shoal, "create", src + "/blob", "-o", home + "/t.torrent", "-q"], env=env, check=True, stdout=subprocess.DEVNULL)
seed = subprocess.Popen([shoal, "seed", home + "/t.torrent", "--data", src, "--json", *q], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
addr = None
while addr is None:
    e = json.loads(seed.stdout.readline())
    if e["event"] == "listening": addr = e["addr"]
def once(traced):
    out = home + "/out"; shutil.rmtree(out, ignore_errors=True); shutil.rmtree(home + "/state", ignore_errors=True)
    more = ["--trace", home + "/t.trace"] if traced else []
    if os.path.exists(home + "/t.trace"): os.remove(home + "/t.trace")
    u0 = os.times()
    t = time.monotonic()
    subprocess.run([shoal, "download", home + "/t.torrent", "-o", out, "--peer", addr, "-q", *q, *more], env=env, check=True, stdout=subprocess.DEVNULL)
    t = time.monotonic() - t
    u1 = os.times()
    return t, (u1.children_user - u0.children_user) + (u1.children_system - u0.children_system)
try:
    once(False); once(True)
    ratios, cpu = [], []
    for n in range(rounds):
        order = [False, True] if n % 2 == 0 else [True, False]
        got = {t: once(t) for t in order}
        ratios.append(got[True][0] / got[False][0]); cpu.append(got[True][1] / got[False][1])
        print(f"{got[False][0]:.3f} s without, {got[True][0]:.3f} s with: {ratios[-1]:.3f}; processor {got[False][1]:.2f}, {got[True][1]:.2f}", flush=True)
    once(True)
    size = os.path.getsize(home + "/t.trace")
    print(f"ratio: median {statistics.median(ratios):.3f}; processor time: median {statistics.median(cpu):.3f}; trace {size} bytes for {mib} MiB")
finally:
    seed.kill(); shutil.rmtree(home)
