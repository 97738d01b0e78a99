#!/usr/bin/env python3
"""Do --up and --down hold? Bytes on the wire (TCP and IP headers counted) that leave, or come to, the limited one, over every
10 s window, with one and ten peers.

    tests/measure/rates.py target/release/shoal

Needs root and nftables. Prints a line a case: the least and the greatest window, as a ratio to the limit.
"""
import sys
import time

import lab

lab.enter()
CASES = [("--up", 1, 5_000_000), ("--down", 1, 5_000_000), ("--up", 10, 5_000_000), ("--down", 10, 5_000_000),
         ("--up", 1, 500_000), ("--down", 1, 50_000_000)]
for flag, peers, rate in CASES:
    with lab.Lab(sys.argv[1], max(128 << 20, rate * 24)) as here:
        seeds, leeches = (1, peers) if flag == "--up" else (peers, 1)
        limit = [flag, str(rate)]
        for n in range(seeds):
            here.start("seed", "a.torrent", "--data", ".", "--bind", "10.77.0.%d" % (10 + n), "--port", "7000",
                       *(limit if flag == "--up" else []))
        time.sleep(3)
        to = [part for n in range(seeds) for part in ("--peer", "10.77.0.%d:7000" % (10 + n))]
        for n in range(leeches):
            here.start("download", "a.torrent", "-o", "out%d" % n, "--bind", "10.77.0.%d" % (100 + n), "--port", "7000",
                       *to, *(limit if flag == "--down" else []))
        lab.count("ip saddr 10.77.0.10" if flag == "--up" else "ip daddr 10.77.0.100")
        time.sleep(3)
        samples = []
        for _ in range(33):
            samples.append((time.monotonic(), lab.counted()))
            time.sleep(0.5)
        windows = [(b1 - b0) / (t1 - t0) / rate for (t0, b0), (t1, b1) in zip(samples, samples[20:])]
        print("%-6s %9d B/s, %2d peers: %.4f to %.4f" % (flag, rate, peers, min(windows), max(windows)), flush=True)
