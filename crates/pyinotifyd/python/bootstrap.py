import sys

if sys.version_info < (3, 8):
    sys.stderr.write("Python 3.8 or newer is needed, this is %d.%d\n" % sys.version_info[:2])
    sys.exit(3)
# The daemon's working directory is no place to import from.
if sys.path[:1] == [""]:
    del sys.path[0]

import json
import socket
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_loader


def _exactly(link, count):
    data = bytearray()
    while len(data) < count:
        part = link.recv(min(count - len(data), 1 << 20))
        if not part:
            sys.exit("the daemon has gone")
        data += part
    return bytes(data)


class _Memory(MetaPathFinder, Loader):
    """Serves the modules that the daemon brought."""

    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        return spec_from_loader(name, self, is_package=self.modules[name]["package"])

    def create_module(self, spec):
        return None

    def get_source(self, name):
        return self.modules[name]["source"]

    def exec_module(self, module):
        name = module.__spec__.name
        exec(compile(self.get_source(name), "<" + name + ">", "exec", dont_inherit=True), module.__dict__)


_link = socket.socket(fileno=0)
_start = json.loads(_exactly(_link, int.from_bytes(_exactly(_link, 4), "little")).decode())[0][1]
sys.dont_write_bytecode = True
_modules = _start.pop("modules")
sys.meta_path.insert(0, _Memory({k: v for k, v in _modules.items() if k != "pyinotify"}))
# The real one comes first, where there is one.
sys.meta_path.append(_Memory({k: v for k, v in _modules.items() if k == "pyinotify"}))

from pyinotifyd import _host

_host.main(_link, _start)
