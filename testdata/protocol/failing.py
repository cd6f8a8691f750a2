async def raises(event, task_id):
    await asyncio.sleep(0)
    raise ValueError(f"no {event.name}")


async def leaves(event, task_id):
    sys.exit(3)


class Uploads(TaskScheduler):
    async def job(self, event, task_id):
        await asyncio.Event().wait()


r = TaskScheduler(raises, logname="mine")
l = TaskScheduler(leaves)
u = Uploads()
pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [r, l, u]}))
