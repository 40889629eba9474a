//! A shard: the task that owns one lane.
//!
//! # Flow
//! 1. The socket task sends batches, one a turn.
//! 2. The shard runs them through its [`Lane`] and reports what has ended to its [`Work`].
//! 3. Once a turn it flushes: acknowledgements go out together.
//!
//! A lost connection pauses the start of queued jobs until the next one says whether the broker sends them
//! again; then they are given back unstarted, so that they are handled once.
//!
//! A stop has two steps, because acknowledgements go out in receive order (MQTT-4.6.0-2): what is finished can only be
//! acknowledged when all before it is. So all lanes halt and say how far they have come; then each finishes what
//! stands before the furthest of them, and drops what stands behind it. Nothing that was handled comes again.

use std::{
    collections::VecDeque,
    future::poll_fn,
    ops::Range,
    task::{Context, Poll},
};

use tokio::sync::{mpsc, oneshot};

use super::lane::{Entry, Lane, Mark, Panicked, Ticket};
use crate::{begun::Begun, clock, monitor::Beat};

/// Jobs that a shard starts or ends before it lets other tasks run: about a read's worth, some hundred microseconds.
const BUDGET: usize = 1024;

/// What a shard's jobs are, and what becomes of them.
pub(crate) trait Work: Send + 'static {
    /// Jobs as they are sent.
    type Batch: Send + 'static;
    /// The same as they are run: each is made when its turn comes, so that what it takes is still at hand from the one before.
    type Open: Iterator<Item = Entry<Self::Ticket, Self::Job>> + Send;
    /// What is owed for a job.
    type Ticket: Ticket;
    /// What is run.
    type Job: Send + 'static;
    /// How a job ends.
    type Output;

    /// Takes a batch apart.
    fn open(&mut self, batch: Self::Batch) -> Self::Open;
    /// A job has ended.
    fn finished(&mut self, ticket: Self::Ticket, result: Result<Self::Output, Panicked>);
    /// A job was not started, and comes again on the next connection.
    fn given_back(&mut self, ticket: Self::Ticket);
    /// The end of a turn.
    fn flush(&mut self);
}

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum Command<B> {
    /// Run these.
    Run(B),
    /// The connection is lost: start nothing until it is known what the broker sends again.
    Lost,
    /// Connected again. The broker sends what it owes of these connections once more.
    Found(Range<u32>),
    /// Say that the task turns.
    Beat(Beat),
    /// Start nothing more, and say how far the lane has come.
    Halt(oneshot::Sender<Option<Mark>>),
    /// Drop what stands behind this mark, finish the rest, end.
    Finish(Option<Mark>),
}

/// The task's state.
pub(crate) struct Shard<W: Work, F, B, Y> {
    work: W,
    lane: Lane<W::Ticket, W::Job, F, B, Y>,
    commands: mpsc::UnboundedReceiver<Command<W::Batch>>,
    incoming: VecDeque<W::Open>,
    /// Between two connections: nothing can be acknowledged.
    lost: bool,
    stopping: bool,
}

impl<W, F, R, B, Y> Shard<W, F, B, Y>
where
    W: Work,
    F: Future<Output = W::Output>,
    B: FnMut(&W::Ticket, W::Job) -> Begun<W::Output, R>,
    Y: FnMut(R) -> F,
{
    /// A shard. The channel needs no bound: what is in it is bounded by the receive maximum and, for QoS 0, by
    /// the sender.
    pub(crate) fn new(
        work: W,
        lane: Lane<W::Ticket, W::Job, F, B, Y>,
        commands: mpsc::UnboundedReceiver<Command<W::Batch>>,
    ) -> Self {
        Self { work, lane, commands, incoming: VecDeque::new(), lost: false, stopping: false }
    }

    /// Runs until it is stopped (or every sender is gone) and nothing is left to do. Dropping the future drops
    /// what is under way.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _turn = clock::Turn::begin();
        let mut budget = BUDGET;
        let waiting = self.turn(cx, &mut budget);
        self.work.flush();
        if !waiting {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.stopping && self.lane.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Works until there is nothing to do (true) or the budget is used up (false).
    fn turn(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> bool {
        loop {
            self.collect(cx, budget);
            self.feed(budget);
            if *budget == 0 {
                return false;
            }
            if !self.take_command(cx) && !self.lane.needs_poll() {
                return true;
            }
        }
    }

    fn collect(&mut self, cx: &mut Context<'_>, budget: &mut usize) {
        while *budget > 0 {
            let Poll::Ready((ticket, result)) = self.lane.poll_next(cx) else { return };
            self.work.finished(ticket, result);
            *budget -= 1;
        }
    }

    fn feed(&mut self, budget: &mut usize) {
        while *budget > 0 {
            let Some(batch) = self.incoming.front_mut() else { return };
            let Some(entry) = batch.next() else {
                self.incoming.pop_front();
                continue;
            };
            if let Some((ticket, result)) = self.lane.push(entry) {
                self.work.finished(ticket, result);
            }
            *budget -= 1;
        }
    }

    /// Obeys one command, if there is one.
    fn take_command(&mut self, cx: &mut Context<'_>) -> bool {
        if self.stopping {
            return false;
        }
        let Poll::Ready(command) = self.commands.poll_recv(cx) else { return false };
        match command {
            Some(Command::Run(batch)) => self.incoming.push_back(self.work.open(batch)),
            Some(Command::Lost) => self.lose(),
            Some(Command::Found(again)) => self.found(&again),
            Some(Command::Beat(beat)) => beat.answer(),
            Some(Command::Halt(reply)) => self.halt(reply),
            Some(Command::Finish(furthest)) => self.finish(furthest),
            None => self.finish(None),
        }
        true
    }

    fn lose(&mut self) {
        self.lost = true;
        self.lane.pause();
    }

    fn found(&mut self, again: &Range<u32>) {
        let comes_again =
            |ticket: &W::Ticket| ticket.mark().is_some_and(|(epoch, _)| again.contains(&epoch));
        for ticket in self.lane.discard(comes_again) {
            self.work.given_back(ticket);
        }
        self.lost = false;
        self.lane.resume();
    }

    fn halt(&mut self, reply: oneshot::Sender<Option<Mark>>) {
        self.lane.pause();
        // Whoever halts waits for the answer.
        let _ = reply.send(self.lane.furthest());
    }

    /// What nothing is owed for (QoS 0) is finished too: nobody sends it again. Without a connection nothing can be
    /// acknowledged, so everything owed is left.
    fn finish(&mut self, furthest: Option<Mark>) {
        self.stopping = true;
        let lost = self.lost;
        self.lane.discard(|ticket| ticket.mark().is_some_and(|mark| lost || Some(mark) > furthest));
        self.lane.resume();
    }
}

impl<W: Work, F, B, Y> std::fmt::Debug for Shard<W, F, B, Y> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("lane", &self.lane).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use proptest::prelude::*;
    use tokio::{sync::mpsc, time};

    use super::{Command, Entry, Lane, Mark, Panicked, Shard, Ticket, Work, oneshot};
    use crate::{begun, monitor::LaneBeat};

    #[derive(Clone, Debug)]
    struct Job {
        number: usize,
        key: u64,
        epoch: Option<u32>,
        /// Milliseconds; zero never waits.
        delay: u64,
        panics: bool,
    }

    fn job(number: usize, key: u64, delay: u64) -> Job {
        Job { number, key, epoch: Some(1), delay, panics: false }
    }

    #[derive(Clone, Debug)]
    struct Owed(usize, Option<u32>);

    impl Ticket for Owed {
        fn mark(&self) -> Option<Mark> {
            Some((self.1?, self.0 as u64))
        }
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Event {
        Started(usize),
        Done(usize),
        Panicked(usize),
        GivenBack(usize),
    }

    /// What happened, in order, and how many were at work at most.
    #[derive(Clone, Debug, Default)]
    struct Journal {
        events: Arc<Mutex<Vec<Event>>>,
        at_work: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    impl Journal {
        fn note(&self, event: Event) {
            self.events.lock().unwrap().push(event);
        }

        fn events(&self) -> Vec<Event> {
            self.events.lock().unwrap().clone()
        }

        async fn perform(self, job: Job) -> usize {
            self.note(Event::Started(job.number));
            let at_work = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(at_work, Ordering::SeqCst);
            if job.delay > 0 {
                time::sleep(Duration::from_millis(job.delay)).await;
            }
            self.at_work.fetch_sub(1, Ordering::SeqCst);
            assert!(!job.panics, "as asked");
            job.number
        }
    }

    impl Work for Journal {
        type Batch = Vec<Job>;
        type Open = std::vec::IntoIter<Entry<Owed, Job>>;
        type Ticket = Owed;
        type Job = Job;
        type Output = usize;

        fn open(&mut self, batch: Vec<Job>) -> Self::Open {
            let entry = |job: Job| Entry { key: job.key, ticket: Owed(job.number, job.epoch), job };
            batch.into_iter().map(entry).collect::<Vec<_>>().into_iter()
        }

        fn finished(&mut self, ticket: Owed, result: Result<usize, Panicked>) {
            self.note(match result {
                Ok(number) => {
                    assert_eq!(number, ticket.0, "the ticket of another job");
                    Event::Done(number)
                }
                Err(_) => Event::Panicked(ticket.0),
            });
        }

        fn given_back(&mut self, ticket: Owed) {
            self.note(Event::GivenBack(ticket.0));
        }

        fn flush(&mut self) {}
    }

    struct Bed {
        journal: Journal,
        commands: mpsc::UnboundedSender<Command<Vec<Job>>>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Bed {
        fn new(limit: usize) -> Self {
            let journal = Journal::default();
            let (commands, receiver) = mpsc::unbounded_channel();
            let performer = journal.clone();
            let perform =
                move |_: &Owed, job| begun::begin(Box::pin(performer.clone().perform(job)));
            let lane = Lane::new(limit, perform, std::convert::identity);
            let shard = Shard::new(journal.clone(), lane, receiver);
            Self { journal, commands, task: tokio::spawn(shard.run()) }
        }

        fn tell(&self, command: Command<Vec<Job>>) {
            self.commands.send(command).unwrap();
        }

        /// Until nothing happens for `milliseconds` of paused time.
        async fn pass(&self, milliseconds: u64) -> Vec<Event> {
            time::sleep(Duration::from_millis(milliseconds)).await;
            self.journal.events()
        }

        /// Ends it: what is queued and owed is dropped.
        async fn end(self) -> Journal {
            drop(self.commands);
            self.task.await.unwrap();
            self.journal
        }
    }

    /// The naive oracle: what every run must satisfy, whatever the delays.
    fn check(jobs: &[Job], limit: usize, journal: &Journal) -> Result<(), TestCaseError> {
        let mut expected: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
        for job in jobs {
            let end = if job.panics { Event::Panicked } else { Event::Done };
            expected
                .entry(job.key)
                .or_default()
                .extend([Event::Started(job.number), end(job.number)]);
        }
        let mut seen: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
        for event in journal.events() {
            let (Event::Started(n) | Event::Done(n) | Event::Panicked(n) | Event::GivenBack(n)) =
                event;
            seen.entry(jobs[n].key).or_default().push(event);
        }
        prop_assert_eq!(seen, expected);
        prop_assert!(journal.most.load(Ordering::SeqCst) <= limit);
        Ok(())
    }

    fn jobs() -> impl Strategy<Value = Vec<Job>> {
        let one = (0..6u64, prop_oneof![3 => Just(0), 2 => 1..20u64], prop::bool::weighted(0.05));
        prop::collection::vec(one, 0..600).prop_map(|all| {
            let numbered = all.into_iter().enumerate();
            let job = |(number, (key, delay, panics))| Job { panics, ..job(number, key, delay) };
            numbered.map(job).collect()
        })
    }

    fn paused() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn each_job_ends_once_in_the_order_of_its_key_and_within_the_limit(
            jobs in jobs(), limit in 1..6usize, batch in 1..40usize, pause in 0..10u64,
        ) {
            paused().block_on(async {
                let bed = Bed::new(limit);
                for batch in jobs.chunks(batch) {
                    bed.tell(Command::Run(batch.to_vec()));
                    time::sleep(Duration::from_millis(pause)).await;
                }
                // A stop drops what is queued, so wait until all have ended.
                while bed.journal.events().len() < 2 * jobs.len() {
                    time::sleep(Duration::from_millis(1)).await;
                }
                check(&jobs, limit, &bed.end().await)
            })?;
        }
    }

    use Event::{Done, GivenBack, Started};

    #[tokio::test(start_paused = true)]
    async fn a_slow_key_does_not_hold_up_others() {
        let bed = Bed::new(2);
        bed.tell(Command::Run(vec![job(0, 1, 1000), job(1, 1, 0), job(2, 2, 0), job(3, 3, 0)]));
        let events = bed.pass(1).await;
        assert_eq!(events, [Started(0), Started(2), Done(2), Started(3), Done(3)]);
        assert_eq!(bed.pass(1000).await[5..], [Done(0), Started(1), Done(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_beat_is_answered_while_jobs_wait_or_nothing_may_start() {
        let bed = Bed::new(1);
        let lane = bed.commands.clone();
        let beat = LaneBeat::new(move |beat| lane.send(Command::Beat(beat)).is_ok());
        bed.tell(Command::Run(vec![job(0, 1, 500_000), job(1, 1, 0)]));
        for lost in [false, true] {
            if lost {
                bed.tell(Command::Lost);
            }
            assert_eq!(beat.since_turn(), Duration::ZERO, "asked");
            bed.pass(100_000).await;
            assert_eq!(beat.since_turn(), Duration::ZERO, "answered, lost: {lost}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_broker_sends_again_is_given_back_unstarted() {
        let bed = Bed::new(1);
        let unowed = Job { epoch: None, ..job(2, 3, 0) };
        bed.tell(Command::Run(vec![job(0, 1, 10), job(1, 2, 0), unowed, job(3, 1, 0)]));
        bed.pass(1).await;
        bed.tell(Command::Lost);
        assert_eq!(bed.pass(20).await, [Started(0), Done(0)], "a lost connection starts nothing");
        bed.tell(Command::Found(0..2));
        bed.tell(Command::Run(vec![Job { epoch: Some(2), ..job(4, 1, 0) }]));
        let mut rest = bed.pass(1).await.split_off(2);
        rest[..2].sort_by_key(|event| *event == GivenBack(3));
        assert_eq!(rest, [GivenBack(1), GivenBack(3), Started(2), Done(2), Started(4), Done(4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_lost_session_leaves_is_still_handled() {
        let bed = Bed::new(1);
        bed.tell(Command::Lost);
        bed.tell(Command::Run(vec![job(0, 1, 0), job(1, 1, 0)]));
        assert_eq!(bed.pass(10).await, []);
        bed.tell(Command::Found(2..2));
        assert_eq!(bed.pass(10).await, [Started(0), Done(0), Started(1), Done(1)]);
    }

    impl Bed {
        async fn stop(&self) -> Option<Mark> {
            let (reply, furthest) = oneshot::channel();
            self.tell(Command::Halt(reply));
            let furthest = furthest.await.unwrap();
            self.tell(Command::Finish(furthest));
            furthest
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_finishes_what_stands_before_the_furthest_start_and_drops_the_rest() {
        let bed = Bed::new(2);
        // 1 waits for 0, and stands before 2, which is done; 3 and 4 stand behind; nothing is owed for 5.
        let unowed = Job { epoch: None, ..job(5, 1, 0) };
        let queued =
            [job(0, 1, 50), job(1, 1, 0), job(2, 2, 0), job(3, 1, 0), job(4, 1, 0), unowed];
        bed.tell(Command::Run(queued.to_vec()));
        bed.pass(1).await;
        assert_eq!(bed.stop().await, Some((1, 2)));
        assert_eq!(bed.pass(1).await, [Started(0), Started(2), Done(2)]);
        assert!(!bed.task.is_finished());
        let rest = bed.end().await.events().split_off(3);
        assert_eq!(rest, [Done(0), Started(1), Done(1), Started(5), Done(5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_without_a_connection_leaves_everything_queued_to_the_broker() {
        let bed = Bed::new(1);
        bed.tell(Command::Run(vec![job(0, 1, 50), job(1, 1, 0), job(2, 2, 0)]));
        bed.pass(1).await;
        bed.tell(Command::Lost);
        bed.stop().await;
        assert_eq!(bed.end().await.events(), [Started(0), Done(0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_shard_drops_what_is_under_way() {
        let bed = Bed::new(1);
        bed.tell(Command::Run(vec![job(0, 1, 50)]));
        bed.pass(1).await;
        bed.task.abort();
        assert_eq!(bed.pass(100).await, [Started(0)]);
    }
}
