"""What Python imports first of all, as `sitecustomize`: it hides a file of this name in the tree."""

import _imp
import importlib
import os
import sys
from typing import Any

# A compiled file says itself whether its source is to be looked at; here it always is.
_imp.check_hash_based_pycs = "always"


class Finder:
    """Lets the observer into unittest as soon as that is imported; pytest has a plugin for it."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name != "unittest":
            return None
        # The plain finder, whatever the tree has put before it.
        spec: Any = sys.modules["_frozen_importlib_external"].PathFinder.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module: object) -> None:
            sys.meta_path.remove(self)  # now, as it may be looked for without being imported
            run(module)
            importlib.import_module("self_coding_observer.unittest_runner").install()

        spec.loader.exec_module = exec_module
        return spec


if "SELF_CODING_REPORT" in os.environ and not any("pytest" in one for one in sys.orig_argv[:3]):
    sys.meta_path.insert(0, Finder())
