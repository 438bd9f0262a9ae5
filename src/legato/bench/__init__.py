"""The measurements that prove what the README says: load, connect and stream, each beside a baseline.

Owns how a figure is taken: who runs in which process, what is counted, and what it is compared with. It
must not know how the server works inside; it starts `legato serve` as anybody would and watches it from
outside.

Every server under measurement is a process of its own, so that its CPU time and memory are its own.
Processes are ended by their number on any way out. Nothing leaves the loopback interface.
"""
