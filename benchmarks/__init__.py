"""Compares MicroPie with its peers by instructions, CPU time, requests per second and memory."""
