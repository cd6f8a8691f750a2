async def task(event, task_id):
    logging.info(f"{task_id}: execute example task: {event}")

s = TaskScheduler(task=task, files=True, dirs=True)

pyinotifyd = Pyinotifyd(watches=[Watch("/tmp", EventMap(default_task=s.schedule), rec=True)])
