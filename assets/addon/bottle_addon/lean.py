"""Keeps mitmproxy's other add-ons out of the process: half of its start-up time, and code that is of no use here.

`mitmproxy.addons` imports every add-on there is (and with them flask, ldap3 and more) only to
list the default ones, which this process never asks for. The package is put in place without that list; its modules
load one by one, as they are named.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

import mitmproxy

PACKAGE = "mitmproxy.addons"


def leave_out_unused() -> None:
    """Before anything of mitmproxy but its top is imported; without effect after that."""
    spec = PathFinder.find_spec(PACKAGE, mitmproxy.__path__)
    if PACKAGE in sys.modules or spec is None:
        return
    mitmproxy.addons = sys.modules[PACKAGE] = module_from_spec(spec)
