//! Waiting for descriptors and for one moment in time: what a room's loop sleeps in.
//!
//! One timer for the whole room, set only when an earlier moment is wanted than the one it already waits for, since
//! a time-out in every wait costs a timer in every wait. An idle room wakes once for a moment that nobody wants any
//! more, and then sleeps.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::clock::Monotonic;
use crate::sys::{ready, stream};

/// Events that one wait hands back at most; the rest come with the next.
pub const EVENTS_MAX: usize = 256;

/// What the caller calls a descriptor. [`Token::TIMER`] is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The loop's own timer; it never comes out of [`Poll::wait`].
    const TIMER: Token = Token(u64::MAX);
}

/// What to wake for. Hang-ups and errors always wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
    ReadWrite,
    /// Hang-ups and errors only: of use while a neighbour must not send more.
    Nothing,
}

/// Whether a descriptor wakes for as long as it is ready, or once each time it becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Level,
    /// Read or write until [`crate::io::Flow::NotNow`] before waiting again.
    Edge,
}

/// One descriptor is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub token: Token,
    /// A read would not block; true also at the end of file and on an error.
    pub readable: bool,
    /// A write would not block; true also when nobody reads any more and on an error.
    pub writable: bool,
    /// The other side will send no more, or has gone.
    pub hung_up: bool,
}

/// The set of descriptors that one loop waits for. A descriptor leaves it when its last copy is closed.
pub struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// When the timer goes off; `None` when it is not set.
    armed: Option<Monotonic>,
    events: Vec<libc::epoll_event>,
    ready: Vec<Event>,
}

impl Poll {
    pub fn new() -> io::Result<Poll> {
        let epoll = ready::epoll()?;
        let timer = ready::timerfd()?;
        ready::control(
            epoll.as_fd(),
            libc::EPOLL_CTL_ADD,
            timer.as_raw_fd(),
            libc::EPOLLIN as u32,
            Token::TIMER.0,
        )?;
        Ok(Poll {
            epoll,
            timer,
            armed: None,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
            ready: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Starts to watch a descriptor. Refuses the one token that the timer has, a descriptor that is watched already, and
    /// what cannot be waited for (plain files).
    pub fn add(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_fd(), token, interest, trigger)
    }

    /// Changes what a watched descriptor wakes for. With [`Trigger::Edge`], wakes again if it is ready now.
    pub fn change(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_fd(), token, interest, trigger)
    }

    /// Stops watching. Of need only before a descriptor that has copies elsewhere is closed.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        ready::control(
            self.epoll.as_fd(),
            libc::EPOLL_CTL_DEL,
            fd.as_fd().as_raw_fd(),
            0,
            0,
        )
    }

    /// Sleeps until a descriptor is ready or `deadline` has come; without a deadline, as long as it takes.
    ///
    /// May come back early and empty: look at the clock. A deadline that has passed does not sleep.
    pub fn wait(&mut self, deadline: Option<Monotonic>) -> io::Result<&[Event]> {
        if let Some(deadline) = deadline
            && self.armed.is_none_or(|armed| deadline < armed)
        {
            ready::arm(self.timer.as_fd(), deadline.as_nanos())?;
            self.armed = Some(deadline);
        }
        self.collect(-1)
    }

    /// What is ready now; never sleeps.
    pub fn look(&mut self) -> io::Result<&[Event]> {
        self.collect(0)
    }

    fn collect(&mut self, timeout_ms: i32) -> io::Result<&[Event]> {
        self.ready.clear();
        let count = match ready::wait(self.epoll.as_fd(), &mut self.events, timeout_ms) {
            Ok(count) => count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => 0,
            Err(why) => return Err(why),
        };
        for event in self.events.iter().take(count) {
            let (bits, token) = (event.events, Token(event.u64));
            if token == Token::TIMER {
                let mut times = [0; 8];
                // Reading is what quiets the timer; how often it went off does not matter.
                let _ = crate::io::read(&self.timer, &mut times)?;
                self.armed = None;
                continue;
            }
            let has = |wanted: libc::c_int| bits & wanted as u32 != 0;
            self.ready.push(Event {
                token,
                readable: has(libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLRDHUP | libc::EPOLLERR),
                writable: has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR),
                hung_up: has(libc::EPOLLHUP | libc::EPOLLRDHUP | libc::EPOLLERR),
            });
        }
        Ok(&self.ready)
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        if token == Token::TIMER {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let interest = match interest {
            Interest::Read => libc::EPOLLIN | libc::EPOLLRDHUP,
            Interest::Write => libc::EPOLLOUT,
            Interest::ReadWrite => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLOUT,
            Interest::Nothing => 0,
        };
        let trigger = match trigger {
            Trigger::Level => 0,
            Trigger::Edge => libc::EPOLLET,
        };
        ready::control(
            self.epoll.as_fd(),
            operation,
            fd.as_raw_fd(),
            (interest | trigger) as u32,
            token.0,
        )
    }
}

/// Wakes a loop from a helper thread. Copies wake the same loop; any number of wakes is one event.
#[derive(Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Add it to the loop with [`Interest::Read`]; call [`Waker::quiet`] when its token comes.
    pub fn new() -> io::Result<Waker> {
        ready::eventfd().map(|fd| Waker(Arc::new(fd)))
    }

    /// Cannot fail: a counter that is full has woken the loop already.
    pub fn wake(&self) {
        let _ = stream::write(self.0.as_fd(), &1u64.to_ne_bytes());
    }

    /// Takes the wake-up back. Look at the helpers' results *after* it, or one may be missed.
    pub fn quiet(&self) {
        let _ = stream::read(self.0.as_fd(), &mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_wakes_and_does_not_wake_again() {
        let mut poll = Poll::new().unwrap();
        let start = Monotonic::now();
        assert!(
            poll.wait(Some(start.after(Duration::from_millis(5))))
                .unwrap()
                .is_empty()
        );
        assert!(Monotonic::now().since(start) >= Duration::from_millis(5));
        assert!(poll.armed.is_none());
        assert!(poll.look().unwrap().is_empty());
        // A moment that has passed.
        assert!(poll.wait(Some(start)).unwrap().is_empty());
    }

    #[test]
    fn a_later_deadline_leaves_the_timer_and_an_earlier_one_sets_it() {
        let mut poll = Poll::new().unwrap();
        let waker = Waker::new().unwrap();
        poll.add(&waker, Token(1), Interest::Read, Trigger::Level)
            .unwrap();
        let start = Monotonic::now();
        let (soon, late) = (
            start.after(Duration::from_secs(50)),
            start.after(Duration::from_secs(90)),
        );
        for (deadline, armed) in [(late, late), (soon, soon), (late, soon)] {
            waker.wake();
            let events = poll.wait(Some(deadline)).unwrap();
            assert_eq!(
                events.iter().map(|event| event.token).collect::<Vec<_>>(),
                [Token(1)]
            );
            assert_eq!(poll.armed, Some(armed));
            waker.quiet();
        }
    }

    #[test]
    fn wakes_from_a_thread_fold_into_one() {
        let mut poll = Poll::new().unwrap();
        let waker = Waker::new().unwrap();
        poll.add(&waker, Token(7), Interest::Read, Trigger::Level)
            .unwrap();
        let far = waker.clone();
        std::thread::spawn(move || (0..1000).for_each(|_| far.wake()))
            .join()
            .unwrap();
        assert_eq!(poll.wait(None).unwrap().len(), 1);
        waker.quiet();
        assert!(poll.look().unwrap().is_empty());
    }

    #[test]
    fn edges_come_once_and_hang_ups_always() {
        let mut poll = Poll::new().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        poll.add(&reader, Token(3), Interest::Read, Trigger::Edge)
            .unwrap();
        std::io::Write::write_all(&mut writer, b"x").unwrap();
        assert!(
            poll.wait(None)
                .unwrap()
                .iter()
                .any(|event| event.readable && !event.hung_up)
        );
        assert!(poll.look().unwrap().is_empty());
        drop(writer);
        assert!(poll.wait(None).unwrap().iter().any(|event| event.hung_up));
        assert!(
            poll.add(&reader, Token(u64::MAX), Interest::Read, Trigger::Level)
                .is_err()
        );
    }
}
