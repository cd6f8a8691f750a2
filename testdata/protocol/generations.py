from pyinotifyd.scheduler import *


def note(event):
    logging.info("noted %s", event.name)


async def job(event, task_id):
    pass


old = TaskScheduler(task=job, delay=30)
new = TaskScheduler(job=job, delay=0.5, singlejob=True, logname="new")
shell = ShellScheduler("/usr/local/bin/task.sh {maskname} {pathname}", slots=2)

pyinotifyd_config = PyinotifydConfig(shutdown_timeout=35)
pyinotifyd_config.add_watch("/w", EventMap({
    "IN_CLOSE_WRITE": [old.schedule, new, note],
    "IN_MODIFY": [old.cancel, Cancel(new)],
    "IN_OPEN": None,
    "IN_MOVED_TO": job}, default_sched=shell), rec=True, auto_add=True)
pyinotifyd_config.add_watch(watch=Watch(["/a", "/b*"], {"IN_CREATE": new}, exclude_filter=[r"\.tmp$"]))
