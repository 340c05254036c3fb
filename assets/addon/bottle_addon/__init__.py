"""The content lock: judges every decrypted request before a byte of it leaves.

Runs as ``python3 -m bottle_addon`` inside the interceptor's container. One JSON line on standard input
configures it, further lines control it, and every decision leaves as one JSON line on standard output.
The rule that overrides all others: whatever is missing, slow, broken or not understood is a refusal.
"""
