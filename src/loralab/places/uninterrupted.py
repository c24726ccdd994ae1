"""Ctrl-C is for the process that asked for work: the server that does it imports this before all else.

It heeds Ctrl-C until its imports are done (Python 3.11), and ended with a traceback.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
