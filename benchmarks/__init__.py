"""MicroPie beside its peers: instructions, CPU time, requests per second and memory, from one command."""
