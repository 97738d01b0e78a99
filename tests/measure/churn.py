#!/usr/bin/env python3
"""Does a process get back what connections took? Descriptors, threads and memory of a seed under peers that come and go.

    tests/measure/churn.py target/release/shoal [CYCLES [SECONDS [PEERS [PAUSE]]]]

CYCLES (10,000) connections one after another, each of a kind: closed at once, cut inside the handshake, closed after it, after
some messages, reset, with half a frame, with requests that are never read. Then SECONDS (600) of churn: PEERS (40) such peers at
a time, and shoal leeches that fetch all of it and leave, one after another with a PAUSE of so many seconds (0) between them. Needs
root. A line a sample; the last compares with the first after warming up. Exit code 1 if descriptors differ, threads are more, or
memory is more by over 1 % and 2 MiB.
"""
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time

import lab

lab.enter()
CYCLES = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 600
PEERS = int(sys.argv[4]) if len(sys.argv) > 4 else 40
PAUSE = float(sys.argv[5]) if len(sys.argv) > 5 else 0
SEED = ("10.77.0.10", 7000)


def state(pid):
    """Descriptors, threads, resident KiB."""
    with open(f"/proc/{pid}/status") as file:
        status = file.read()
    number = lambda key: int(re.search(rf"{key}:\s+(\d+)", status).group(1))
    return len(os.listdir(f"/proc/{pid}/fd")), number("Threads"), number("VmRSS")


def settled(pid):
    """The state once it is quiet: the same descriptors three times in a row."""
    last = []
    for _ in range(60):
        last = [*last, state(pid)][-3:]
        if len(last) == 3 and len({fds for fds, _, _ in last}) == 1:
            break
        time.sleep(1)
    return last[-1]


def frame(number, body=b""):
    return struct.pack(">IB", len(body) + 1, number) + body


def come_and_go(info_hash, rng, stay):
    """One connection of a random kind. Whatever the other side does about it is fine."""
    hello = b"\x13BitTorrent protocol" + bytes([0, 0, 0, 0, 0, 0x10, 0, 4]) + info_hash + rng.randbytes(20)
    kind = rng.randrange(7)
    sock = socket.socket()
    sock.settimeout(5)
    try:
        sock.bind(("10.77.0.%d" % rng.randrange(20, 250), 0))
        sock.connect(SEED)
        if kind == 0:
            return
        sock.sendall(hello[:rng.randrange(1, 68)] if kind == 1 else hello)
        if kind in (1, 2):
            return
        sock.recv(68)
        sock.sendall(frame(15) + frame(2))
        if kind == 3:
            sock.sendall(b"".join(frame(4, struct.pack(">I", rng.randrange(8))) for _ in range(5)))
        elif kind == 4:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif kind == 5:
            sock.sendall(struct.pack(">IB", 13, 6) + b"\0\0")
        else:
            sock.sendall(b"".join(frame(6, struct.pack(">III", n % 8, 0, 16384)) for n in range(300)))
        time.sleep(stay)
    except OSError:
        pass
    finally:
        sock.close()


def main():
    rng = random.Random(1)
    with lab.Lab(sys.argv[1], 32 << 20) as here:
        shown = subprocess.run([here.shoal, "show", "a.torrent", "--json"], cwd=here.dir, stdout=subprocess.PIPE, check=True)
        info_hash = bytes.fromhex(re.search(rb'"info_hash_v1": ?"(\w{40})"', shown.stdout).group(1).decode())
        pid = here.start("seed", "a.torrent", "--data", ".", "--bind", SEED[0], "--port", str(SEED[1])).pid
        time.sleep(3)

        def leech(n):
            out, addr = f"out{n}", "10.77.0.%d" % (11 + n % 8)
            done = here.start("download", "a.torrent", "-o", out, "--bind", addr, "--port", "7000", "--peer", "%s:%d" % SEED)
            code = done.wait()
            here.procs.remove(done)
            subprocess.run(["rm", "-rf", os.path.join(here.dir, out)], check=True)
            return code

        # Warm: addresses, banned ids and spare blocks are kept up to bounds, and the allocator keeps what PEERS at a time took.
        for _ in range(2_000):
            come_and_go(info_hash, rng, 0)
        crowd = [threading.Thread(target=lambda n=n: [come_and_go(info_hash, random.Random(-n), 1) for _ in range(10)])
                 for n in range(PEERS)]
        for thread in crowd:
            thread.start()
        for n in range(8):
            leech(n)
        for thread in crowd:
            thread.join()
        first = settled(pid)
        print(f"{'':>22} descriptors threads      KiB")
        show = lambda what, now: print(f"{what:>22} {now[0]:>11} {now[1]:>7} {now[2]:>8}", flush=True)
        show("warm", first)
        began = time.monotonic()
        for cycle in range(CYCLES):
            come_and_go(info_hash, rng, 0)
            if (cycle + 1) % max(CYCLES // 5, 1) == 0:
                show(f"{cycle + 1} cycles", state(pid))
        after_cycles = settled(pid)
        show(f"quiet, {time.monotonic() - began:.0f} s", after_cycles)
        end = time.monotonic() + SECONDS
        counts = {"peers": 0, "leeches": 0, "failed": 0}

        def churn(seed):
            own = random.Random(seed)
            while time.monotonic() < end:
                come_and_go(info_hash, own, own.uniform(0, 2))
                counts["peers"] += 1

        def leeches():
            n = 0
            while time.monotonic() < end:
                n += 1
                counts["leeches"] += 1
                counts["failed"] += leech(n) != 0
                time.sleep(max(min(PAUSE, end - time.monotonic()), 0))

        threads = [threading.Thread(target=churn, args=(n,)) for n in range(PEERS)] + [threading.Thread(target=leeches)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(max(SECONDS / 12, 1))
            if time.monotonic() < end:
                show(f"{SECONDS - (end - time.monotonic()):.0f} s of churn", state(pid))
        for thread in threads:
            thread.join()
        last = settled(pid)
        show("quiet", last)
        print(f"{CYCLES} cycles, then {counts['peers']} peers and {counts['leeches']} leeches in {SECONDS:.0f} s, "
              f"{counts['failed']} of which failed")
        # Idle threads of the disk pool may have ended meanwhile.
        flat = all(now[0] == first[0] and now[1] <= first[1] and now[2] - first[2] <= max(first[2] * 0.01, 2048) for now in (after_cycles, last))
        print("flat" if flat and not counts["failed"] else "NOT FLAT")
        return 0 if flat and not counts["failed"] else 1


sys.exit(main())
