"""Events, as tasks see them."""

from daemon import Case, end

TELL = """
import pyinotify
async def tell(event, task_id):
    logging.info("%r|%s|%s|%s|%s", event, sorted(vars(event)), event.origin, event.attempt, type(event).__name__)
""" + "s = TaskScheduler(task=tell)" + end("s")


class Events(Case):

    def tell(self, **fields):
        host = self.start(TELL)
        self.assertEqual(host.result("s", **fields), ("done", None))
        return host.logged()[-1].split(" >|")[0] + " >"

    def test_the_repr_is_the_original_s(self):
        self.assertEqual(self.tell(), "<Event dir=False mask=0x100 maskname=IN_CREATE name=f path=/w "
                         "pathname=/w/f wd=1 >")

    def test_a_directory_is_in_the_mask_s_name(self):
        self.assertEqual(self.tell(mask=0x40000100, pathname="/w/d"),
                         "<Event dir=True mask=0x40000100 maskname=IN_CREATE|IN_ISDIR name=d path=/w "
                         "pathname=/w/d wd=1 >")

    def test_an_empty_name_is_shown_as_such(self):
        self.assertEqual(self.tell(mask=0x400, pathname="/w", path="/w", name=""),
                         "<Event dir=False mask=0x400 maskname=IN_DELETE_SELF name='' path=/w pathname=/w wd=1 >")

    def test_a_watched_directory_that_is_gone_is_a_directory(self):
        self.assertEqual(self.tell(mask=0x400, dir=True, pathname="/w", path="/w", name=""),
                         "<Event dir=True mask=0x400 maskname=IN_DELETE_SELF name='' path=/w pathname=/w wd=1 >")

    def test_the_second_half_of_a_move_knows_its_source(self):
        self.assertEqual(self.tell(mask=0x80, cookie=7, src_pathname="/w/e"),
                         "<Event cookie=7 dir=False mask=0x80 maskname=IN_MOVED_TO name=f path=/w "
                         "pathname=/w/f src_pathname=/w/e wd=1 >")

    def test_what_is_not_there_is_absent(self):
        host = self.start(TELL)
        host.result("s", attempt=3, origin="scan")
        _, names, origin, attempt, kind = host.logged()[-1].split("|")
        self.assertEqual(names, "['dir', 'mask', 'maskname', 'name', 'path', 'pathname', 'wd']")
        self.assertEqual((origin, attempt, kind), ("scan", "3", "Event"))

    def test_an_event_is_an_ordinary_object(self):
        host = self.start("""
            import copy, pickle
            async def job(event, task_id):
                event.mine = 1
                event.name = "other"
                event._hidden = 2
                twin = copy.copy(event)
                assert vars(twin) == vars(event) and twin is not event and twin.origin == event.origin
                assert repr(pickle.loads(pickle.dumps(event))) == repr(event)
                assert not hasattr(event, "src_pathname") and not hasattr(event, "cookie")
                logging.info("%s", event)
            s = TaskScheduler(job)""" .replace("\n            ", "\n") + end("s"))
        self.assertEqual(host.result("s"), ("done", None))
        self.assertEqual(host.logged(), ["<Event dir=False mask=0x100 maskname=IN_CREATE mine=1 name=other "
                                         "path=/w pathname=/w/f wd=1 >"])

    def test_a_name_that_is_not_utf_8_keeps_its_bytes(self):
        name = "\udcff\udc80\nü"
        host = self.start("""
async def job(event, task_id):
    assert os.fsencode(event.name) == b"\\xff\\x80\\n" + "ü".encode(), ascii(event.name)
    print(event.pathname)
    logging.info(event.pathname)
    s.schedule(event)
    raise ValueError(event.pathname)
s = TaskScheduler(job)""" + end("s"), env={"LC_ALL": "C.UTF-8"})
        self.assertEqual(host.result("s", pathname="/w/" + name), ("failed", f"ValueError: /w/{name}"))
        self.assertEqual(host.logged()[0], f"/w/{name}")
        self.assertEqual(host.all("order")[0][3]["name"], name)
        self.assertEqual(host.end(), 0)
        self.assertEqual(host.printed()[0], f"/w/{name}\n")

    def test_a_stand_in_for_pyinotify(self):
        host = self.start("""
import pyinotify
assert pyinotify.IN_CLOSE_WRITE == 8 and pyinotify.ALL_EVENTS & pyinotify.IN_CREATE
assert pyinotify.EventsCodes.maskname(0x40000100) == "IN_CREATE|IN_ISDIR"
class Process(pyinotify.ProcessEvent):
    def my_init(self, word=None): self.word = word
    def process_IN_CREATE(self, event): logging.info("%s create", self.word)
    def process_IN_CLOSE(self, event): logging.info("%s close", self.word)
    def process_default(self, event): logging.info("%s default", self.word)
p = Process(word="x")
""" + end("p"))
        for mask in (0x100, 0x8, 0x1):
            host.result("Process", mask=mask)
        self.assertEqual(host.logged(), ["x create", "x close", "x default"])


class Orders(Case):

    def test_user_code_schedules_and_cancels(self):
        host = self.start("""
            import types
            async def job(event, task_id):
                other.schedule(event)
                await other.cancel(event)
                asyncio.get_event_loop().create_task(other.process_event(event))
                other.schedule(types.SimpleNamespace(pathname="/x/y"))
                other.schedule(types.SimpleNamespace(pathname=b"/x/y", dir=True, mask=0x40000200, cookie=3))
            s = TaskScheduler(job)
            other = TaskScheduler(job, files=True, dirs=False)
            whole = EventMap({"IN_CREATE": s})
            pyinotifyd = Pyinotifyd(Watch("/w", whole))
            """)
        host.result("s", mask=0x80, cookie=9, src_pathname="/w/e", wd=5)
        host.ping()
        event = {"mask": 0x80, "wd": 5, "path": "/w", "name": "f", "pathname": "/w/f", "cookie": 9,
                 "src_pathname": "/w/e", "origin": "live"}
        bare = {"mask": 0x100, "wd": -1, "path": "/x", "name": "y", "pathname": "/x/y", "origin": "live"}
        # The last is a directory, and nothing for a scheduler of files.
        self.assertEqual(host.all("order"), [
            ["order", "schedule", "other", event, None], ["order", "cancel", "other", event, None],
            ["order", "schedule", "other", event, None], ["order", "schedule", "other", bare, None]])

    def test_taskindex_says_what_an_event_is_about(self):
        host = self.start("""
            class Sub(TaskScheduler):
                def taskindex(self, event): return len(event.path)
            async def job(event, task_id): pass
            s = Sub(job)
            one = Sub(job, singlejob=True)
            async def ask(event, task_id):
                s.schedule(event)
                one.schedule(event)
            a = TaskScheduler(ask)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [a, s, one]}))
            """)
        host.result("a")
        host.ping()
        self.assertEqual([(it[2], it[4]) for it in host.all("order")], [("s", "2"), ("one", None)])

    def test_a_thread_may_schedule(self):
        host = self.start("""
            import threading
            def work(event):
                s.schedule(event)
            def ask(event):
                threading.Thread(target=work, args=(event,)).start()
            s = ShellScheduler("true")
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [ask, s]}))
            """)
        host.run("ask")
        self.assertEqual(host.find("order")[1:3], ["schedule", "s"])

    def test_nothing_can_be_scheduled_before_the_daemon_runs(self):
        error = self.refused("""
            import types
            s = ShellScheduler("true")
            s.schedule(types.SimpleNamespace(pathname="/x"))
            """)
        self.assertEqual(error["message"], "RuntimeError: events can be scheduled once the daemon runs")
        self.assertEqual(error["line"], 4)

    def test_files_are_managed_by_the_daemon_when_asked(self):
        host = self.start("""
            fm = FileManager([Rule("delete", "x")])
            async def job(event, task_id):
                logging.info("begin")
                await fm.task(event, task_id)
                logging.info("end")
            s = TaskScheduler(job)
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
            """)
        good, bad = host.run("s", task_id="a"), host.run("s", task_id="b")
        _, first, name, event, task_id = host.next("files")
        self.assertEqual((name, event["pathname"], task_id), ("fm", "/w/f", "a"))
        self.assertIn("rules", host.scheduler("fm")["action"])
        _, second, _, _, task_id = host.next("files")
        self.assertEqual(task_id, "b")
        host.send(["done", second, False, "cannot delete /w/f"], ["done", first, True, None],
                  ["done", 99, True, None])
        self.assertEqual(host.ended(good), ("done", None))
        self.assertEqual(host.ended(bad), ("failed", "RuntimeError: cannot delete /w/f"))
        self.assertEqual(host.logged().count("end"), 1)
