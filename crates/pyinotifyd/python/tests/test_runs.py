"""How jobs run, and how they end."""

from daemon import Case


class Runs(Case):

    def test_many_runs_in_one_frame(self):
        host = self.start("""
            count = 0
            async def quick(event, task_id):
                global count
                count += 1
            async def slow(event, task_id):
                await asyncio.sleep(0)
                await quick(event, task_id)
            q, s = TaskScheduler(quick), TaskScheduler(slow)
            def told(event): logging.info("%d", count)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [q, s, told]}))
            """)
        runs = [host.message("s" if it % 3 else "q", task_id=str(it)) for it in range(3000)]
        host.send(*runs, ["end"])
        self.assertEqual(host.wait(), 0)
        self.assertEqual(sorted(it[1] for it in host.all("ended")), [it[1] for it in runs])
        self.assertEqual({it[2] for it in host.all("ended")}, {"done"})

    def test_runs_begin_in_the_order_of_their_messages(self):
        host = self.start("""
            order = []
            gate = asyncio.Event()
            class Map(EventMap):
                def process_IN_CREATE(self, event): order.append(event.name)
                async def process_IN_OPEN(self, event):
                    order.append(event.name)
                    await gate.wait()
                async def process_IN_MODIFY(self, event): order.append(event.name)
                def process_default(self, event):
                    gate.set()
                    logging.info("%s", " ".join(order))
            pyinotifyd = Pyinotifyd(Watch("/w", Map()))
            """)
        names = ["Map.process_" + it for it in ("IN_CREATE", "IN_OPEN", "IN_MODIFY")]
        runs = [host.message(names[it % 3], pathname=f"/w/{it}") for it in range(600)]
        host.send(*runs, host.message("Map.process_default"))
        for run in runs:
            self.assertEqual(host.ended(run[1]), ("done", None))
        self.assertEqual(host.logged(), [" ".join(map(str, range(600)))])

    def test_a_job_is_called_with_what_it_takes(self):
        host = self.start("""
            import functools
            async def two(event, task_id): logging.info("two %s", task_id)
            async def one(event): logging.info("one")
            async def more(*args): logging.info("more %d", len(args))
            async def optional(event, task_id=None): logging.info("optional %s", task_id)
            def plain(event, task_id): logging.info("plain %s", task_id)
            def gives(event, task_id): return two(event, task_id)
            class Thing:
                async def __call__(self, event, task_id): logging.info("thing %s", task_id)
                async def method(self, event, task_id): logging.info("method %s", task_id)
            async def three(word, event, task_id): logging.info("%s %s", word, task_id)
            all = [TaskScheduler(it) for it in (two, one, more, optional, plain, gives, Thing(), Thing().method,
                                                functools.partial(three, "partial"))]
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": all}))
            """)
        names = ["TaskScheduler"] + [f"TaskScheduler#{it}" for it in range(2, 10)]
        for name in names:
            self.assertEqual(host.result(name, task_id="t"), ("done", None))
        self.assertEqual(host.logged(), ["two t", "one", "more 2", "optional t", "plain t", "two t", "thing t",
                                         "method t", "partial t"])
        self.assertEqual([host.scheduler(it)["action"]["name"] for it in names[5:]],
                         ["gives", "Thing", "Thing.method", "three"])

    def test_each_run_has_a_context_and_a_task_of_its_own(self):
        host = self.start("""
            import contextvars
            mine = contextvars.ContextVar("mine", default="none")
            tasks = {}
            async def job(event, task_id):
                assert mine.get() == "none"
                mine.set(task_id)
                tasks[task_id] = asyncio.current_task()
                await asyncio.sleep(0)
                assert mine.get() == task_id
                assert asyncio.current_task() is tasks[task_id]
                assert len(set(map(id, tasks.values()))) == len(tasks)
                child = asyncio.ensure_future(inner())
                assert await child == task_id
                await asyncio.wait_for(asyncio.sleep(0), 100)
            async def inner():
                logging.info("inner")
                return mine.get()
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        runs = [host.message("s", task_id=f"t{it}") for it in range(20)]
        host.send(*runs)
        self.assertEqual({host.ended(it[1]) for it in runs}, {("done", None)}, host.logged()[-1:])
        self.assertEqual(sorted(it[5] for it in host.all("log")), sorted(f"t{it}" for it in range(20)))

    def test_a_failure_is_logged_with_its_own_lines_and_reported(self):
        host = self.start("""
            async def deeper(event):
                await asyncio.sleep(0)
                return event.nothing
            async def job(event, task_id):
                await deeper(event)
            s = TaskScheduler(job, logname="mine")
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        status, text = host.result("s", task_id="t9")
        self.assertEqual((status, text), ("failed", "AttributeError: 'Event' object has no attribute 'nothing'"))
        _, level, logname, text, _, task_id = host.all("log")[0]
        self.assertEqual((level, logname, task_id), (40, "mine", "t9"))
        lines = text.splitlines()
        self.assertEqual(lines[:4], ["t9: Traceback (most recent call last):",
                                     f'  File "{self.config}", line 6, in job', "    await deeper(event)",
                                     f'  File "{self.config}", line 4, in deeper'])
        self.assertNotIn("<pyinotifyd", text)

    def test_a_failure_of_any_kind_is_the_task_s_alone(self):
        host = self.start("""
            class Own(BaseException): pass
            class Bad(Exception):
                def __str__(self): raise ValueError
            kinds = {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "own": Own("x"), "bad": Bad(),
                     "stop": StopIteration(), "generator": GeneratorExit(), "memory": MemoryError()}
            async def at_once(event, task_id): raise kinds[event.name]
            async def later(event, task_id):
                await asyncio.sleep(0)
                raise kinds[event.name]
            def plain(event): raise kinds[event.name]
            async def child(event, task_id):
                await asyncio.ensure_future(later(event, task_id))
            a, l, c = TaskScheduler(at_once), TaskScheduler(later), TaskScheduler(child)
            async def good(event, task_id): pass
            g = TaskScheduler(good)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [a, l, plain, c, g]}))
            """)
        for kind in ("exit", "interrupt", "own", "bad", "stop", "generator", "memory"):
            for name in ("a", "l", "plain", "c"):
                with self.subTest(kind=kind, name=name):
                    if (kind, name) in (("stop", "c"),):
                        continue
                    status, text = host.result(name, pathname="/w/" + kind)
                    self.assertEqual(status, "failed")
                    self.assertTrue(text)
        self.assertEqual(host.result("a", pathname="/w/exit"), ("failed", "SystemExit: sys.exit(3)"))
        self.assertEqual(host.result("g"), ("done", None))
        self.assertEqual(host.end(), 0)

    def test_a_stop_cancels(self):
        host = self.start("""
            gate = asyncio.Event()
            async def waits(event, task_id):
                logging.info("begun")
                try:
                    await gate.wait()
                finally:
                    logging.info("cleaned up")
            async def stubborn(event, task_id):
                logging.info("begun")
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    logging.info("no")
                await gate.wait()
            w, s = TaskScheduler(waits), TaskScheduler(stubborn)
            def opens(event): gate.set()
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [w, s, opens]}))
            """)
        run = host.run("w")
        host.next("log")
        host.send(["stop", run])
        self.assertEqual(host.ended(run), ("cancelled", None))
        self.assertEqual(host.logged(), ["begun", "cleaned up"])
        run = host.run("s")
        host.next("log", 20, "root", "begun")
        host.send(["stop", run])
        host.find("log", 20, "root", "no")
        self.assertEqual([it for it in host.all("ended") if it[1] == run], [])
        host.run("opens")
        self.assertEqual(host.ended(run), ("done", None))
        host.send(["stop", run], ["stop", 12345])
        self.assertEqual(host.end(), 0)

    def test_a_run_that_has_not_begun_never_does(self):
        host = self.start("""
            async def job(event, task_id): logging.info("begun %s", task_id)
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        runs = [host.message("s", task_id=str(it)) for it in range(3)]
        host.send(*runs, ["stop", runs[1][1]])
        self.assertEqual([host.ended(it[1])[0] for it in runs], ["done", "cancelled", "done"])
        self.assertEqual(host.logged(), ["begun 0", "begun 2"])

    def test_user_code_that_cancels_tasks_harms_no_other_run(self):
        host = self.start("""
            async def itself(event, task_id): asyncio.current_task().cancel()
            async def everyone(event, task_id):
                for task in asyncio.all_tasks():
                    task.cancel()
            async def waits(event, task_id): await asyncio.sleep(0)
            i, e, w = TaskScheduler(itself), TaskScheduler(everyone), TaskScheduler(waits)
            def stops(event): asyncio.get_event_loop().stop()
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [i, e, w, stops]}))
            """)
        names = ["i", "w", "stops", "w", "i", "i", "w", "e", "w"]
        runs = [host.message(it) for it in names]
        host.send(*runs)
        # `w` that waits while `everyone` is cancelled is cancelled too: that is what was asked.
        ends = [host.ended(it[1])[0] for it in runs]
        self.assertEqual({ends[at] for at, it in enumerate(names) if it != "w"}, {"done"})
        self.assertEqual(ends[-1], "done")
        self.assertEqual(host.result("w"), ("done", None))
        self.assertEqual(host.end(), 0)

    def test_a_job_that_is_not_there(self):
        host = self.start("pyinotifyd = Pyinotifyd()")
        host.send(["run", 5, 77, "t", {"mask": 256}, 1])
        self.assertEqual(host.ended(5), ("failed", "there is no job 77"))

    def test_background_errors_are_logged(self):
        host = self.start("""
            async def fails(): raise ValueError("in the background")
            def start(event): asyncio.get_event_loop().create_task(fails())
            def call(event): asyncio.get_event_loop().call_soon(lambda: 1 / 0)
            def leave(event): asyncio.get_event_loop().call_soon(sys.exit)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [start, call, leave]}))
            """)
        for name, text in (("start", "in the background"), ("call", "ZeroDivisionError"),
                           ("leave", "tried to end the process")):
            host.run(name)
            message = host.next("log")
            self.assertEqual(message[1], 40)
            self.assertIn(text, message[3])
        self.assertEqual(host.end(), 0)

    def test_prints_are_seen_at_once(self):
        host = self.start("""
            def say(event):
                print("said")
                print("wrong", file=sys.stderr)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": say}))
            """)
        host.result("say")
        self.assertEqual(host.printed(), ("said\n", "wrong\n"))


class Changes(Case):

    def test_attributes_changed_at_run_time_are_described_again(self):
        host = self.start("""
            async def job(event, task_id): s.runs = getattr(s, "runs", 0) + 1
            async def change(event, task_id):
                s.delay = 5
                s.delay = 7
                watch.event_map = EventMap({"IN_OPEN": c})
                pyinotifyd.add_watch("/v", {"IN_OPEN": [s, late(event)]})
            def late(event):
                new = TaskScheduler(job)
                new.schedule(event)
                return new
            s, c = TaskScheduler(job), TaskScheduler(change)
            watch = Watch("/w", {"IN_CREATE": [s, c]})
            pyinotifyd = Pyinotifyd(watch)
            """)
        first = host.next("document")[1]
        host.result("s")
        host.result("s")
        host.ping()
        self.assertEqual(len(host.all("document")), 1)
        host.result("c")
        host.ping()
        *_, last = host.all("document")
        self.assertEqual([it["name"] for it in last[1]["schedulers"]], ["c", "s", "TaskScheduler"])
        self.assertEqual([it["delay"] for it in last[1]["schedulers"]], [0, 7, 0])
        before = {it["name"]: it["action"] for it in first["schedulers"]}
        after = {it["name"]: it["action"] for it in last[1]["schedulers"]}
        self.assertEqual((before["s"], before["c"]), (after["s"], after["c"]))
        self.assertEqual([it["path"] for it in last[1]["watches"]], [["/w"], ["/v"]])
        # The daemon hears of a scheduler before it is asked of it.
        before = host.messages[:host.messages.index(host.find("order"))]
        known = [it for it in before if it[0] == "document"][-1][1]["schedulers"]
        self.assertEqual(host.find("order")[2], "TaskScheduler")
        self.assertIn("TaskScheduler", [it["name"] for it in known])

    def test_a_change_that_makes_no_sense_is_an_error_and_no_change(self):
        host = self.start("""
            async def change(event, task_id):
                s.delay = float("inf")
            def mend(event): s.delay = 3
            async def job(event, task_id): pass
            s, c = TaskScheduler(job), TaskScheduler(change)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [s, c, mend]}), logname="d")
            """)
        host.result("c")
        host.ping()
        _, level, logname, text, _, _ = host.next("log")
        self.assertEqual((level, logname), (40, "d"))
        self.assertIn("delay cannot be inf", text)
        self.assertEqual(len(host.all("document")), 1)
        host.result("mend")
        self.assertEqual([it["delay"] for it in host.next("document")[1]["schedulers"]], [3, 0, 0])


class Ends(Case):

    def test_an_end_waits_for_what_runs(self):
        host = self.start("""
            import atexit
            gate = asyncio.Event()
            atexit.register(lambda: print("at exit"))
            async def waits(event, task_id): await gate.wait()
            s = TaskScheduler(waits)
            def opens(event):
                asyncio.get_event_loop().call_later(0.01, gate.set)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [s, opens]}))
            """)
        run = host.message("s")
        host.send(run, host.message("opens"), ["end"])
        self.assertEqual(host.wait(), 0)
        self.assertEqual(host.ended(run[1]), ("done", None))
        self.assertEqual(host.printed(), ("at exit\n", ""))

    def test_without_the_daemon_runs_are_cancelled(self):
        host = self.start("""
            import atexit
            atexit.register(lambda: print("at exit"))
            async def waits(event, task_id):
                try:
                    logging.info("begun")
                    await asyncio.Event().wait()
                finally:
                    print("cleaned up")
            s = TaskScheduler(waits)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        host.run("s")
        host.find("log")
        host.link.close()
        self.assertEqual(host.process.wait(30), 0)
        self.assertEqual(host.printed(), ("cleaned up\nat exit\n", ""))

    def test_without_the_daemon_nothing_can_hold_the_host(self):
        host = self.start("""
            import threading
            async def stubborn(event, task_id):
                logging.info("begun")
                while True:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        pass
            threading.Thread(target=threading.Event().wait).start()
            asyncio.get_event_loop().create_task(stubborn(None, None))
            s = TaskScheduler(stubborn)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        host.run("s")
        host.find("log")
        host.link.close()
        self.assertEqual(host.process.wait(30), 0)

    def test_a_background_task_ends_with_the_host(self):
        host = self.start("""
            async def background():
                try:
                    await asyncio.Event().wait()
                finally:
                    print("background is cancelled")
            task = asyncio.get_event_loop().create_task(background())
            pyinotifyd = Pyinotifyd()
            """)
        self.assertEqual(host.end(), 0)
        self.assertEqual(host.printed(), ("background is cancelled\n", ""))

    def test_signals_are_the_daemon_s(self):
        import signal
        host = self.start("""
            async def job(event, task_id):
                os.kill(os.getpid(), signal.SIGHUP)
                await asyncio.sleep(0)
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        got = []
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = [signal.signal(it, lambda number, frame: got.append(number)) for it in numbers]
        try:
            for number in numbers:
                host.process.send_signal(number)
                # Who is answered has handled the signal before.
                host.ping()
            self.assertEqual(host.result("s"), ("done", None))
        finally:
            for number, handler in zip(numbers, before):
                signal.signal(number, handler)
        self.assertEqual(sorted(got), sorted([*numbers, signal.SIGHUP]))
        self.assertEqual(host.end(), 0)


class Blocked(Case):

    def test_code_that_holds_the_loop_is_told(self):
        host = self.start("""
            def waits():
                # Until the test, which has been told, opens it.
                with open(os.path.dirname(__file__) + "/gate") as gate:
                    gate.read()
            async def job(event, task_id):
                await asyncio.sleep(0)
                waits()
            s = TaskScheduler(job)
            os.mkfifo(os.path.dirname(__file__) + "/gate")
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """, blocked_after=0.05)
        run = host.run("s")
        _, which, seconds, stack = host.find("blocked")
        self.assertEqual(which, run)
        self.assertGreaterEqual(seconds, 0.05)
        lines = stack.splitlines()
        self.assertIn(f'  File "{self.config}", line 8, in job', lines)
        self.assertIn(f'  File "{self.config}", line 4, in waits', lines)
        self.assertNotIn("<pyinotifyd", stack)
        self.assertNotIn("<string>", stack)
        self.assertNotIn("base_events", stack)
        open(self.folder + "/gate", "w").close()
        self.assertEqual(host.ended(run), ("done", None))
        self.assertEqual(host.end(), 0)
        self.assertEqual(len(host.all("blocked")), 1)

    def test_a_blocked_host_ends_when_the_daemon_does(self):
        host = self.start("""
            import threading
            async def job(event, task_id): threading.Event().wait()
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """, blocked_after=0.05)
        host.run("s")
        host.find("blocked")
        host.link.close()
        self.assertEqual(host.process.wait(30), 1)
