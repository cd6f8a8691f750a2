//! The queue, and the thread at its end.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use super::{Reply, Say, Stats};

/// Whom to say everything. Dropping it is [`Writer::join`].
#[derive(Debug)]
pub struct Writer {
    said: mpsc::Sender<Say>,
    stats: Arc<Stats>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn spawn(reply: Box<dyn Fn(Reply) + Send>) -> io::Result<Self> {
        let (said, heard) = mpsc::channel();
        let thread = thread::Builder::new().name("store".into()).spawn(move || {
            while let Ok(say) = heard.recv() {
                match say {
                    Say::Sync(number) => reply(Reply::Committed(number)),
                    Say::Stop => break,
                    _ => (),
                }
            }
        })?;
        Ok(Self { said, stats: Arc::default(), thread: Some(thread) })
    }

    /// Queues something. Never waits.
    pub fn say(&self, say: Say) {
        let _ = self.said.send(say);
    }

    /// How it goes.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Says [`Say::Stop`], and waits until everything is written and the thread has ended.
    pub fn join(self) {}
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.say(Say::Stop);
        if let Some(thread) = self.thread.take() {
            // What it died of, it has told.
            let _ = thread.join();
        }
    }
}
