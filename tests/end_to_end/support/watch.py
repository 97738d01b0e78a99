"""Looks at, and speaks to, the network namespace that it runs in. Prints one JSON line for each new fact.

watch.py capture            every (protocol, source, destination) of IP packets on every interface, with ports
watch.py lan IP PORT HASH   announces HASH on the local network (BEP 14) from IP, as a peer on PORT, twice a second
"""
import json
import socket
import struct
import sys
import time

GROUP, PORT = "239.192.152.143", 6771


def endpoints(packet):
    """Protocol, source and destination of an IP packet; None for what is neither TCP nor UDP."""
    if packet[0] >> 4 == 4:
        protocol, header = packet[9], 4 * (packet[0] & 15)
        ips = [socket.inet_ntop(socket.AF_INET, packet[at:at + 4]) for at in (12, 16)]
    elif packet[0] >> 4 == 6:
        protocol, header = packet[6], 40
        ips = [socket.inet_ntop(socket.AF_INET6, packet[at:at + 16]) for at in (8, 24)]
    else:
        return None
    if protocol not in (6, 17):
        return None
    ports = struct.unpack("!HH", packet[header:header + 4])
    return ("tcp" if protocol == 6 else "udp", ips[0], ports[0], ips[1], ports[1])


def capture():
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    seen = set()
    print(json.dumps({"event": "ready"}), flush=True)
    while True:
        found = endpoints(raw.recv(65535) or b"\0")
        if found and found not in seen:
            seen.add(found)
            protocol, source, source_port, to, to_port = found
            print(json.dumps({"event": "packet", "protocol": protocol, "from": source, "from_port": source_port,
                              "to": to, "to_port": to_port}), flush=True)


def announce(ip, port, info_hash):
    speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ip))
    speaker.bind((ip, 0))
    message = "BT-SEARCH * HTTP/1.1\r\nHost: %s:%d\r\nPort: %s\r\nInfohash: %s\r\ncookie: test\r\n\r\n\r\n" % (
        GROUP, PORT, port, info_hash)
    while True:
        speaker.sendto(message.encode(), (GROUP, PORT))
        time.sleep(0.5)


if __name__ == "__main__":
    capture() if sys.argv[1] == "capture" else announce(*sys.argv[2:5])
