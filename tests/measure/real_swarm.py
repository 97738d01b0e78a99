#!/usr/bin/env python3
"""Does a real swarm do what the simulator says? One source with a limit and several leeches, as processes on loopback.

    real_swarm.py SHOAL [LEECHES [MiB [RUNS]]]

The source uploads 20 MB/s; everybody knows everybody's address. Time runs from the first leech's start to the last one's `done`.
What the source sends is counted by nftables, headers included. Bars: 1.10 times payload over rate, 1.05 copies sent, and within
10 % of `shoal sim swarm` with the same figures. Needs root (network namespace), `ip` and `nft`. Exit code 1: a bar was missed.
"""
import json
import statistics
import subprocess
import sys
import threading
import time

import lab

RATE = 20_000_000


def simulated(shoal, leeches, size):
    words = ["--peers", leeches, "--payload", size, "--up", "none", "--seed-up", RATE, "--latency", "100us", "--runs", 5]
    out = subprocess.run([shoal, "sim", "swarm", "--json", "-q", *map(str, words)], check=True, capture_output=True, text=True)
    rows = json.loads(out.stdout)["rows"]
    mean = lambda key: statistics.mean(row[key] for row in rows)
    return mean("finish_s"), mean("copies_sent_by_seeds"), mean("first_s")


def real(shoal, leeches, size):
    """Seconds until each leech was done, and the copies that the source sent."""
    with lab.Lab(shoal, size) as swarm:
        swarm.start("seed", "a.torrent", "--data", ".", "--bind", "10.77.0.2", "--port", "6881", "--up", str(RATE))
        while subprocess.run(["ss", "-Hltn", "src", "10.77.0.2"], capture_output=True, text=True).stdout == "":
            time.sleep(0.01)
        lab.count("ip saddr 10.77.0.2 ip daddr != 10.77.0.2")
        done = []

        def watch(proc):
            for line in proc.stdout:
                if json.loads(line)["event"] == "done":
                    done.append(time.monotonic() - begun)
                    return

        begun = time.monotonic()
        addrs = ["10.77.0.%d" % (10 + n) for n in range(leeches)]
        watches = []
        for n, addr in enumerate(addrs):
            peers = " ".join("--peer %s:6881" % other for other in ["10.77.0.2", *addrs] if other != addr).split()
            proc = swarm.start("download", "a.torrent", "-o", "out%d" % n, "--seed", "--json", "--bind", addr,
                               "--port", "6881", *peers, stdout=subprocess.PIPE)
            watches.append(threading.Thread(target=watch, args=(proc,)))
            watches[-1].start()
        for thread in watches:
            thread.join(timeout=10 * size / RATE + 60)
        sent = lab.counted()
        if len(done) < leeches:
            sys.exit("only %d of %d leeches are done" % (len(done), leeches))
        return sorted(done), sent / size


def main():
    shoal = sys.argv[1]
    leeches, mib, runs = (int(word) for word in (sys.argv[2:] + ["8", "200", "3"][len(sys.argv) - 2:])[:3])
    lab.enter()
    size = mib << 20
    ideal = size / RATE
    sim_s, sim_copies, sim_first = simulated(shoal, leeches, size)
    print("payload / rate %.2f s; simulated: last %.2f s (%.3f), first %.2f s, %.3f copies" %
          (ideal, sim_s, sim_s / ideal, sim_first, sim_copies), flush=True)
    finishes, copies = [], []
    for run in range(runs):
        done, sent = real(shoal, leeches, size)
        finishes.append(done[-1])
        copies.append(sent)
        print("run %d: last %.2f s (%.3f of payload / rate, %.3f of simulated), first %.2f s, %.3f copies" %
              (run + 1, done[-1], done[-1] / ideal, done[-1] / sim_s, done[0], sent), flush=True)
    last, sent = statistics.median(finishes), statistics.median(copies)
    held = last <= 1.10 * ideal and sent <= 1.05 and abs(last / sim_s - 1) <= 0.10
    print("median %.3f of payload / rate, %.3f of simulated, %.3f copies: %s" %
          (last / ideal, last / sim_s, sent, "held" if held else "MISSED"))
    sys.exit(not held)


if __name__ == "__main__":
    main()
