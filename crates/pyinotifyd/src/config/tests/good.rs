//! Configurations that can be used, and what they mean.

use std::{path::PathBuf, time::Duration};

use pyinotifyd_core::{
    event::EventType,
    filerule::Matching,
    filter::Matcher,
    plan::{
        Action, BatchInput, Binding, Breaker, Busy, Level, NamePattern, Output, Plan, Ready,
        Scheduler, SchedulerId,
    },
    task::OrderKind,
};

use super::{EXAMPLE, loaded, machine, scheduler, show, watch};
use crate::{
    config::{
        diagnostic::render_all,
        keys::{Section, TOP},
        parse_str,
    },
    log::{Facility, Format, SyslogAddress},
};

fn only(text: &str) -> Scheduler {
    let loaded = loaded(&scheduler(text));
    assert!(loaded.warnings.is_empty(), "{}", show(&loaded.warnings));
    loaded.plan.schedulers.into_iter().next().unwrap()
}

fn orders(plan: &Plan, event_type: EventType) -> Vec<(OrderKind, u16)> {
    plan.watches[0].map.get(event_type).iter().map(|it| (it.kind, it.scheduler.0)).collect()
}

#[test]
fn the_example_means_what_it_says() {
    let it = loaded(EXAMPLE);
    insta::assert_snapshot!("example_warnings", render_all(&it.warnings, "config.toml", false));
    let plan = it.plan;
    assert_eq!(plan.shutdown_timeout, Duration::from_secs(35));
    assert_eq!(&*plan.logname, "daemon");
    assert_eq!(plan.slots.get(), 256);
    assert_eq!(it.settings.state_dir, Some(PathBuf::from("/var/lib/pyinotifyd")));
    assert_eq!(it.settings.log.levels["sched"], Level::Debug);
    let syslog = it.settings.log.syslog.unwrap();
    assert_eq!(syslog.address, SyslogAddress::Unix("/dev/log".into()));
    assert_eq!((syslog.level, syslog.facility), (Level::Info, Facility::DAEMON));

    let [archive, notify] = plan.schedulers.as_slice() else { panic!("{:?}", plan.schedulers) };
    assert_eq!((&*archive.name, &*archive.logname), ("archive", "archive"));
    assert_eq!(archive.delay, Duration::from_secs(30));
    assert_eq!((archive.files, archive.dirs), (true, false));
    assert_eq!(archive.slots.get(), 2);
    let Action::Rules(rules) = &archive.action else { panic!("{:?}", archive.action) };
    assert_eq!((rules[0].filemode, rules[0].dirmode), (Some(0o644), Some(0o755)));
    assert!(rules[0].auto_create && !rules[0].overwrite && !rules[0].rec);
    assert!(matches!(rules[0].matching, Matching::Own { dst_re: Some(_), .. }));
    assert_eq!(notify.slots.get(), 8);
    assert_eq!(notify.timeout, Some(Duration::from_secs(120)));
    assert!(matches!(notify.action, Action::Shell(_)));

    let watch = &plan.watches[0];
    assert_eq!(&*watch.paths[0].source, b"/src_path");
    assert!(watch.rec && watch.auto_add);
    assert_eq!(watch.filter.exclude.len(), 1);
    let (schedule, cancel) = (OrderKind::Schedule, OrderKind::Cancel);
    assert_eq!(orders(&plan, EventType::CloseWrite), [(schedule, 0)]);
    assert_eq!(orders(&plan, EventType::MovedTo), [(schedule, 0), (schedule, 1)]);
    assert_eq!(orders(&plan, EventType::Modify), [(cancel, 0)]);
    assert_eq!(orders(&plan, EventType::Delete), [(cancel, 0)]);
    assert_eq!(watch.map.mask().event_types().count(), 4);
}

#[test]
fn defaults_are_those_of_the_table() {
    insta::assert_debug_snapshot!("defaults", only("exec = [\"/bin/true\"]"));
    let it = loaded(&scheduler("exec = [\"/bin/true\"]"));
    assert_eq!(it.plan.shutdown_timeout, Duration::from_secs(30));
    assert!(it.plan.watches[0].rec && it.plan.watches[0].auto_add);
    assert_eq!(it.settings.log.format, Format::Auto);
    assert_eq!(it.settings.log.level, Level::Info);
    assert_eq!(it.settings.state_dir, None);
    assert_eq!(only("log = \"x\"").slots.get(), 1);
}

#[test]
fn a_scheduler_says_how_it_runs() {
    let it = only(
        "cmd = '/bin/x {pathname}'\ndelay = 1.5\nmax_wait = '1m'\nready = ['closed', 'quiet:1m30s', 'done-file:{dirname}/.done']\nfiles = false\ndirs = true\n\
         singlejob = true\nbusy = 'restart'\nslots = 3\ntimeout = '2 min'\nkill_after = 0\n\
         retry = { tries = 5, backoff = '2s', max_backoff = 60 }\nfollow = false\n\
         breaker = { runs = 3, rest = '5m' }\nbatch = { max_items = 7, input = 'stdin' }\n\
         logname = 'other'\nuser = 'alice'\ngroup = 50\nenv = { A = 'b', C = false }\n\
         cwd = '/tmp/../srv/'\numask = 0o027\nnice = -5\n\
         rlimits = { nofile = 64, CORE = 'unlimited' }\noutput_level = 'DEBUG'",
    );
    insta::assert_debug_snapshot!("every_setting", it);
}

#[test]
fn switches_and_short_forms() {
    assert_eq!(only("exec = ['/x']\nready = 'closed'").ready, [Ready::Closed]);
    assert_eq!(only("exec = ['/x']").ready, []);
    assert_eq!(only("exec = ['/x']\nbreaker = false").breaker, None);
    assert!(only("exec = ['/x']\nbreaker = true").breaker.is_some());
    assert_eq!(only("exec = ['/x']\nretry = 4").retry.tries, 4);
    assert_eq!(only("exec = ['/x']\nretry = {}").retry.tries, 3);
    let batch = only("exec = ['/x', '{pathname}']\nbatch = true").batch.unwrap();
    assert_eq!((batch.max_items.get(), batch.input), (100, BatchInput::Args));
    assert_eq!(only("exec = ['/x']\nbatch = false").batch, None);
    assert_eq!(only("exec = ['/x']\nbusy = 'skip'").busy, Busy::Skip);
    let output = |lines: &str| match only(&format!("exec = ['/x']\n{lines}")).action {
        Action::Exec(exec) => exec.process.output,
        other => panic!("{other:?}"),
    };
    assert_eq!(output(""), Output::Log(Level::Info));
    assert_eq!(output("output = 'inherit'"), Output::Inherit);
    assert_eq!(output("output = 'discard'"), Output::Discard);
    assert_eq!(output("output_level = 'warn'"), Output::Log(Level::Warning));
    // A first wait beyond the bound that nobody wrote.
    let retry = only("exec = ['/x']\nretry = { backoff = '2h' }").retry;
    assert_eq!(retry.max_backoff, Duration::from_secs(7200));
}

#[test]
fn event_maps_take_every_form() {
    let text = "[scheduler]\na = { exec = ['/a'] }\nb = { exec = ['/b'] }\n[watch]\npath = '/w'\n\
                [watch.event_map]\nIN_OPEN = 'none'\nIN_ACCESS = []\nIN_CREATE = 'a'\n\
                IN_DELETE = { cancel = ['a', 'b'] }\nIN_MODIFY = ['b', { cancel = 'a' }]\n\
                IN_ATTRIB = { cancel = 'a', schedule = 'b' }\ndefault = { schedule = 'b' }\n";
    let plan = loaded(text).plan;
    let (schedule, cancel) = (OrderKind::Schedule, OrderKind::Cancel);
    assert_eq!(orders(&plan, EventType::Open), []);
    assert_eq!(orders(&plan, EventType::Access), []);
    assert_eq!(orders(&plan, EventType::Create), [(schedule, 0)]);
    assert_eq!(orders(&plan, EventType::Delete), [(cancel, 0), (cancel, 1)]);
    assert_eq!(orders(&plan, EventType::Modify), [(schedule, 1), (cancel, 0)]);
    assert_eq!(orders(&plan, EventType::Attrib), [(cancel, 0), (schedule, 1)]);
    assert_eq!(orders(&plan, EventType::QOverflow), [(schedule, 1)]);
    let default = Binding { kind: schedule, scheduler: SchedulerId(1) };
    let by_default =
        EventType::ALL.iter().filter(|it| plan.watches[0].map.get(**it) == [default]).count();
    assert_eq!(by_default, 15 - 6);
}

#[test]
fn schedulers_and_watches_keep_their_order() {
    let text = "[scheduler.z]\nexec = ['/z']\n[scheduler.a]\nexec = ['/a']\n\
                [[watch]]\npath = '/2'\nevent_map.IN_OPEN = 'z'\n\
                [[watch]]\npath = ['/1', '/3']\nevent_map.IN_OPEN = 'a'\n";
    let plan = loaded(text).plan;
    let names: Vec<_> = plan.schedulers.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["z", "a"]);
    assert_eq!(&*plan.watches[0].paths[0].source, b"/2");
    assert_eq!(plan.watches[1].paths.len(), 2);
    assert_eq!(plan.watches[1].map.get(EventType::Open)[0].scheduler, SchedulerId(1));
}

#[test]
fn filters_take_every_form() {
    let text = "path = '/w'\ninclude_filter = '.*\\.pdf'\n\
                exclude_filter = ['^/w/x', { glob = '*.tmp' }, { file = '/etc/patterns' }]\n\
                event_map = { IN_CREATE = 'x' }";
    let filter = loaded(&watch(text)).plan.watches.remove(0).filter;
    let sources = |matchers: &[Matcher]| -> Vec<String> {
        matchers
            .iter()
            .map(|it| match it {
                Matcher::Regex(pattern) => pattern.source().to_owned(),
                Matcher::Glob(_) => "glob".to_owned(),
            })
            .collect()
    };
    assert_eq!(sources(&filter.include), [".*\\.pdf"]);
    assert_eq!(sources(&filter.exclude), ["^/w/x", "glob", "^.*\\.tmp$", "^/srv/#recycle"]);
}

#[test]
fn names_of_a_path_may_be_globs() {
    let text = "path = '/srv/./user-*/{in,out}//'\nevent_map = { IN_CREATE = 'x' }";
    let path = loaded(&watch(text)).plan.watches.remove(0).paths.remove(0);
    assert_eq!(&*path.source, b"/srv/user-*/{in,out}");
    assert!(matches!(
        path.names.as_slice(),
        [NamePattern::Literal(_), NamePattern::Glob(_), NamePattern::Glob(_)]
    ));
    // An escaped letter is not the name with its backslash.
    let text = "path = '/\\[x'\nevent_map = { IN_CREATE = 'x' }";
    let path = loaded(&watch(text)).plan.watches.remove(0).paths.remove(0);
    let [NamePattern::Glob(glob)] = path.names.as_slice() else { panic!("{path:?}") };
    assert!(glob.matches_name(b"[x") && !glob.matches_name(b"\\[x"));
}

#[test]
fn a_user_without_an_entry_needs_a_group() {
    let Action::Exec(exec) = only("exec = ['/x']\nuser = 4711\ngroup = 'staff'").action else {
        panic!("exec")
    };
    let user = exec.process.user.unwrap();
    assert_eq!((user.uid, user.gid, &*user.name), (4711, 50, "4711"));
}

#[test]
fn metrics_are_served_on_this_machine_if_at_all() {
    let listen = |text: &str| loaded(&format!("{text}\n{}", scheduler("log = 'x'"))).settings;
    assert_eq!(listen("").metrics_listen, None);
    for address in ["127.0.0.1:9469", "127.1.2.3:0", "[::1]:9469"] {
        let settings = listen(&format!("metrics_listen = '{address}'"));
        assert_eq!(settings.metrics_listen.unwrap().address(), address.parse().unwrap());
    }
}

#[test]
fn the_state_directory_of_the_service_is_the_default() {
    let mut machine = machine();
    machine.state_directory = Some("/var/lib/x".into());
    let dir = |text: &str| parse_str("c", text, &machine).unwrap().settings.state_dir;
    assert_eq!(dir(&scheduler("log = 'x'")), Some("/var/lib/x".into()));
    assert_eq!(dir(&format!("state_dir = ''\n{}", scheduler("log = 'x'"))), None);
}

/// Every section that can be reached from the top.
fn sections() -> Vec<&'static Section> {
    use crate::config::keys::{
        BATCH, BREAKER, LOG, MATCHER, ORDER, RETRY, RULE, SCHEDULER, SYSLOG, WATCH,
    };
    vec![&TOP, &LOG, &SYSLOG, &SCHEDULER, &RULE, &RETRY, &BREAKER, &BATCH, &WATCH, &MATCHER, &ORDER]
}

#[test]
fn schema_and_parser_know_the_same_keys() {
    let schema = crate::config::schema::schema();
    let defined = schema["$defs"].as_object().unwrap();
    assert_eq!(defined.len() + 1, sections().len());
    for section in sections() {
        let schema = if section.name == "config" { &schema } else { &defined[section.name] };
        let mut in_schema: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        let mut in_table: Vec<_> =
            section.keys.iter().flat_map(|it| [Some(it.name), it.alias]).flatten().collect();
        in_table.sort_unstable();
        in_schema.sort_unstable();
        assert_eq!(in_schema, in_table, "{}", section.title);
        assert_eq!(schema["additionalProperties"], false);
        for key in section.keys {
            assert!(key.doc.ends_with('.'), "{}", key.name);
            assert!(section.find(key.name).is_some_and(|at| section.keys[at].name == key.name));
        }
    }
}

#[test]
fn without_a_word_the_breaker_is_the_default_one() {
    let breaker = |text: &str| only(text).breaker;
    for text in ["", "breaker = true\n", "breaker = {}\n"] {
        assert_eq!(breaker(&format!("cmd = '/bin/x'\n{text}")), Some(Breaker::DEFAULT), "{text}");
    }
    assert_eq!(breaker("cmd = '/bin/x'\nbreaker = false\n"), None);
}

#[test]
fn the_schema_in_the_documentation_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/config.schema.json");
    let text = serde_json::to_string_pretty(&crate::config::schema::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == text, "run the tests with UPDATE=1 to write {path} anew");
}
