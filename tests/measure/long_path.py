#!/usr/bin/env python3
"""How much of a path of 100 Mbit/s with 100 ms round trip does one peer use?

    tests/measure/long_path.py target/release/shoal

A relay between seed and leech holds each byte back 50 ms and lets 12.5 MB/s through each way. Needs root.
"""
import collections
import socket
import sys
import threading
import time

import lab

lab.enter()
RATE, DELAY, SIZE = 12_500_000, 0.05, 128 << 20


def carry(source, sink):
    """Bytes from one socket to the other, each DELAY late and RATE a second; what is under way is bounded by the path."""
    queue, more = collections.deque(), threading.Condition()

    def read():
        while True:
            data = source.recv(16384)
            with more:
                # A path holds rate times delay, and a router's queue as much again.
                more.wait_for(lambda: sum(len(d) for _, d in queue) < 2 * RATE * DELAY)
                queue.append((time.monotonic() + DELAY, data))
                more.notify_all()
            if not data:
                return

    threading.Thread(target=read, daemon=True).start()
    free = 0.0
    while True:
        with more:
            more.wait_for(lambda: queue)
            due, data = queue.popleft()
            more.notify_all()
        free = max(free, due)
        time.sleep(max(0.0, free - time.monotonic()))
        if not data:
            return sink.close()
        sink.sendall(data)
        free += len(data) / RATE


listener = socket.create_server(("10.77.0.2", 7000))


def relay():
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("10.77.0.10", 7000))
        for ends in ((near, far), (far, near)):
            threading.Thread(target=carry, args=ends, daemon=True).start()


threading.Thread(target=relay, daemon=True).start()
with lab.Lab(sys.argv[1], SIZE) as here:
    here.start("seed", "a.torrent", "--data", ".", "--bind", "10.77.0.10", "--port", "7000")
    time.sleep(2)
    began = time.monotonic()
    leech = here.start("download", "a.torrent", "-o", "out", "--bind", "10.77.0.3", "--port", "7000",
                       "--peer", "10.77.0.2:7000")
    code = leech.wait()
    took = time.monotonic() - began
    print("exit %d, %.2f s, %.1f %% of the path" % (code, took, 100 * SIZE / RATE / took))
