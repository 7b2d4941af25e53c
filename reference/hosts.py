"""Hosts on one machine: network namespaces with names and addresses of their own, and a wire between them that can be slow, long, lossy or cut.

  sudo python3 reference/hosts.py 2 -- mpirun {mpi} -n 2 inception dist doctor
  sudo python3 reference/hosts.py 2 --delay 10 --rate 1000 -- mpirun {mpi} …           10 ms and 1 Gbit/s each way
  sudo python3 reference/hosts.py 3 --delay-of 1=500 --loss 1 -- mpirun {mpi} …        500 ms more to the second, and from it; 1 % lost
  sudo python3 reference/hosts.py 2 --cut 1=20 -- mpirun {mpi} …                       the second is gone after 20 s

The command runs on the first host; `{mpi}` becomes the flags that tell Open MPI's mpirun of the hosts. Each host has a TUN device, and
this program carries the packets from one to the other: `tc netem` would do the same where the kernel has it, and this needs no module.
Needs root, iproute2 and util-linux.
"""
import argparse
import ctypes
import fcntl
import heapq
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

NETWORK = "10.77.0"
DEVICE = "wire"
# As much as a packet can hold: fewer of them for the same bytes.
MTU = 65535
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
CLONE_NEWNET = 0x40000000
# Packets that wait for a link; more are lost, as in a switch.
QUEUE = 1000


def sh(*words):
    subprocess.run(words, check=True)


class Host:
    """A namespace, its device, and when its link is free again, in each direction."""

    def __init__(self, number):
        self.namespace = f"inception-{os.getpid()}-{number}"
        self.name, self.address = f"host-{number}", f"{NETWORK}.{number + 1}"
        self.free = [0.0, 0.0]
        sh("ip", "netns", "add", self.namespace)

    def open(self):
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        other = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
        libc = ctypes.CDLL(None, use_errno=True)
        for namespace in [other, own]:
            if namespace == own:
                self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
            if libc.setns(namespace, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"no way into {self.namespace}")
        os.close(own)
        os.close(other)
        inside = ["ip", "-n", self.namespace]
        sh(*inside, "addr", "add", f"{self.address}/24", "dev", DEVICE)
        sh(*inside, "link", "set", DEVICE, "mtu", str(MTU), "txqueuelen", str(QUEUE), "up")
        sh(*inside, "link", "set", "lo", "up")

    def inside(self, command):
        """`command`, a list of words, on this host."""
        named = ["unshare", "--uts", "sh", "-c", f'hostname {self.name}; exec "$@"', "sh"]
        return ["ip", "netns", "exec", self.namespace, *named, *command]

    def close(self):
        # What still runs there, as where a host is switched off.
        found = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        for process in found.stdout.split():
            try:
                os.kill(int(process), signal.SIGKILL)
            except ProcessLookupError:
                pass
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)


class Wire:
    """Carries packets between hosts."""

    def __init__(self, hosts, args):
        self.hosts, self.args = hosts, args
        self.by_address = {bytes(map(int, host.address.split("."))): i for i, host in enumerate(hosts)}
        self.delays = [dict(args.delay_of).get(i, 0.0) for i in range(len(hosts))]
        self.cuts = dict(args.cut)
        self.random = random.Random(1)
        self.flying, self.count = [], 0
        self.start = time.monotonic()

    def is_cut(self, host):
        return time.monotonic() - self.start >= self.cuts.get(host, float("inf"))

    def pass_link(self, host, way, now, size):
        """When a packet that reaches a host's link now is through; `None` where too many wait."""
        link = self.hosts[host]
        if not self.args.rate:
            return now
        each = size * 8 / (self.args.rate * 1e6)
        if link.free[way] - now > QUEUE * each:
            return None
        link.free[way] = max(now, link.free[way]) + each
        return link.free[way]

    def take(self, source):
        while True:
            try:
                packet = os.read(self.hosts[source].device, MTU + 4)
            except BlockingIOError:
                return
            target = self.by_address.get(packet[16:20]) if packet[0] >> 4 == 4 else None
            if target is None or self.is_cut(source) or self.is_cut(target):
                continue
            if self.random.random() * 100 < self.args.loss:
                continue
            now = time.monotonic()
            when = self.pass_link(source, 0, now, len(packet))
            when = when and self.pass_link(target, 1, when, len(packet))
            if when:
                when += (self.args.delay + self.delays[source] + self.delays[target]) / 1e3
                self.count += 1
                heapq.heappush(self.flying, (when, self.count, target, packet))

    def carry(self, command):
        """Until `command` has ended."""
        devices = {host.device: i for i, host in enumerate(self.hosts)}
        while command.poll() is None:
            wait = min(self.flying[0][0] - time.monotonic(), 0.05) if self.flying else 0.05
            for device in select.select(list(devices), [], [], max(wait, 0.0))[0]:
                self.take(devices[device])
            while self.flying and self.flying[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(self.flying)
                try:
                    os.write(self.hosts[target].device, packet)
                except OSError:
                    pass  # Its queue is full: lost, as on a wire.


def of_host(text):
    host, value = text.split("=")
    return int(host), float(value)


def agent(words):
    """Runs what mpirun wants to have run on a host: `ADDRESS command …`, for whom `ssh` would do it elsewhere."""
    namespaces = os.environ["INCEPTION_HOSTS"].split(",")
    number = int(words[0].split(".")[-1]) - 1
    host = Host.__new__(Host)
    host.namespace, host.name = namespaces[number], f"host-{number}"
    command = host.inside(["sh", "-c", " ".join(words[1:])])
    os.execvp(command[0], command)


def main():
    if sys.argv[1:2] == ["--agent"]:
        agent(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", type=int)
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="from a host to another")
    parser.add_argument("--delay-of", type=of_host, action="append", default=[], metavar="HOST=MS", help="as much more to this one, and from it")
    parser.add_argument("--rate", type=float, default=0.0, metavar="MBIT", help="of each host, each way")
    parser.add_argument("--loss", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--cut", type=of_host, action="append", default=[], metavar="HOST=SECONDS")
    parser.add_argument("--slots", type=int, default=1, help="ranks of each host")
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    args, command = parser.parse_args(words[:split]), words[split + 1 :]
    unknown = [host for host, _ in args.delay_of + args.cut if host >= args.hosts]
    if unknown:
        parser.error(f"there is no host {unknown[0]}: the first of {args.hosts} is 0")
    if not command:
        parser.error("no command: give it behind --")
    hosts = []
    for number in [signal.SIGTERM, signal.SIGHUP]:
        signal.signal(number, lambda *_: sys.exit(143))
    try:
        for number in range(args.hosts):
            hosts.append(Host(number))
            hosts[-1].open()
        where = ",".join(f"{host.address}:{args.slots}" for host in hosts)
        here = f"python3 {os.path.abspath(__file__)} --agent"
        mpi = ["-H", where, "--mca", "plm_rsh_agent", here, "--mca", "btl", "tcp,self"]
        mpi += ["--mca", "btl_tcp_if_include", DEVICE, "--mca", "oob_tcp_if_include", DEVICE, "--bind-to", "none"]
        # Without these mpirun waits for minutes for a host that is gone.
        mpi += ["--mca", "oob_tcp_keepalive_time", "5", "--mca", "oob_tcp_keepalive_intvl", "2", "--mca", "oob_tcp_keepalive_probes", "5"]
        command = [word for given in command for word in (mpi if given == "{mpi}" else [given])]
        environment = dict(os.environ, INCEPTION_HOSTS=",".join(host.namespace for host in hosts))
        running = subprocess.Popen(hosts[0].inside(command), env=environment)
        Wire(hosts, args).carry(running)
        sys.exit(running.returncode)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for host in hosts:
            host.close()


if __name__ == "__main__":
    main()
