# The configuration of pyinotifyd, in Python. `pyinotifyd -t` checks it, `systemctl reload
# pyinotifyd` puts it in force.
#
# A configuration that needs no Python is a config.toml beside this file, in place of it.

# What to do. A task in Python:
#
# async def task(event, task_id):
#     logging.info(f"{task_id}: {event}")
#
# python = TaskScheduler(job=task, files=True, dirs=False, delay=0)

# A command; file names are safe in it, whatever is in them:
#
# shell = ShellScheduler(cmd="/usr/local/sbin/task.sh {pathname}", delay=5)

# Rules that move, copy or delete files; the first that matches counts:
#
# rule = FileManagerRule(
#     action="move",
#     src_re=r"^/src_path/(?P<path>.*)\.to_move$",
#     dst_re=r"/dst_path/\g<path>",
#     auto_create=True)
# files = FileManagerScheduler(rules=[rule], delay=30)

# When to do it: an event type, and what it asks for. `pyinotifyd -l` lists the types.
#
# event_map = EventMap({
#     "IN_CLOSE_WRITE": [python, shell],
#     "IN_MOVED_TO": files,
#     "IN_DELETE": Cancel(files)})

# Where to look:
#
# watch = Watch(path="/tmp", event_map=event_map, rec=True, auto_add=True)

pyinotifyd = Pyinotifyd(watches=[], shutdown_timeout=30)
