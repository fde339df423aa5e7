"""Arrays on the host, made or read: no word of training.

modular   equations modulo a prime
"""
