//! Task queue on a few threads. The caller's thread takes the results in order.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;
use std::time::Duration;

use super::executor::{Executor, ExecutorError, Job};
use super::sync::{Condvar, Mutex, MutexGuard, ThreadId, current};
use crate::ReadError;

/// Items of an operation, in order: how many there are and how many may be in memory.
#[derive(Clone, Copy, Debug)]
pub struct Items {
    count: u64,
    at_most: u64,
    per_task: u64,
}

impl Items {
    /// Items that a thread takes at a time. A chunk takes 4 to 40 us, and fetching a task's data
    /// from another processor some tenths of a microsecond.
    pub(crate) const PER_TASK: u64 = 8;

    /// This many items, any number of which may be in memory.
    pub const fn new(count: u64) -> Items {
        Items {
            count,
            at_most: u64::MAX,
            per_task: Items::PER_TASK,
        }
    }

    /// Limits the items that are begun and not yet used at a time to this many, and at least one.
    /// No more threads than that work. A greater limit has no effect on a smaller one.
    pub const fn at_most(self, items: u64) -> Items {
        let least = match items < self.at_most {
            true => items,
            false => self.at_most,
        };
        let at_most = if least == 0 { 1 } else { least };
        Items { at_most, ..self }
    }

    /// Sets the number of items that a thread takes at a time. They are fewer if that would leave
    /// threads without work.
    pub(crate) const fn per_task(self, per_task: u64) -> Items {
        Items { per_task, ..self }
    }
}

/// Calls `work` once for each of `items`, on the threads of `executor`, and calls `then` with each
/// result, in order and on the caller's thread. Stops at the first error.
///
/// # Errors
/// The first error, in the order of the items, of `work` or `then`;
/// [`ReadError::Executor`] if the executor breaks its contract.
pub fn in_order<T: Send, E: Send + From<ReadError>>(
    executor: &dyn Executor,
    items: Items,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    then: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    match run(executor, items, work, then) {
        Ok(outcome) => outcome,
        Err(broken) => Err(ReadError::Executor(broken).into()),
    }
}

/// Same as [`in_order`], but `then` returns what is left to do for the item, for example the place
/// of its bytes, and `finish` does it: in any order, on any thread, if possible on the one that
/// worked on the item and has its data in the cache.
///
/// # Errors
/// The errors of [`in_order`]; an error of `finish`, which is the first one in time.
pub(crate) fn in_order_and_finish<T: Send, P: Send, E: Send + From<ReadError>>(
    executor: &dyn Executor,
    items: Items,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    then: impl FnMut(T) -> Result<P, E>,
    finish: impl Fn(P) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let stages = Stages {
        work,
        finish: Some(finish),
    };
    match run_stages(executor, items, stages, then) {
        Ok(outcome) => outcome,
        Err(broken) => Err(ReadError::Executor(broken).into()),
    }
}

/// Tasks in flight per thread. With this many, threads seldom wait for the task that is taken next.
pub(super) const TASKS_PER_THREAD: u64 = 3;
/// How long a helper waits for the call of `lead`. Only an executor that calls `help` first, and
/// `lead` when it has returned, lets so much time pass.
const LONGEST_WAIT_FOR_LEAD: Duration = Duration::from_secs(1);

/// Same as [`in_order`], for errors of any type. The outer error is the executor's.
pub(super) fn run<T: Send, E: Send>(
    executor: &dyn Executor,
    items: Items,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    then: impl FnMut(T) -> Result<(), E>,
) -> Result<Result<(), E>, ExecutorError> {
    let stages = Stages {
        work,
        finish: None::<fn(()) -> Result<(), E>>,
    };
    run_stages(executor, items, stages, then)
}

/// The work that any thread does for an item.
pub(super) struct Stages<W, F> {
    /// Before the caller takes the result.
    pub(super) work: W,
    /// After it, with what the caller returned.
    pub(super) finish: Option<F>,
}

/// Same as [`in_order_and_finish`], for errors of any type. The outer error is the executor's.
fn run_stages<T: Send, P: Send, E: Send, W, F>(
    executor: &dyn Executor,
    items: Items,
    stages: Stages<W, F>,
    mut then: impl FnMut(T) -> Result<P, E>,
) -> Result<Result<(), E>, ExecutorError>
where
    W: Fn(u64) -> Result<T, E> + Sync,
    F: Fn(P) -> Result<(), E> + Sync,
{
    let Items {
        count,
        at_most,
        per_task,
    } = items;
    let threads = at_most.min(executor.threads() as u64).max(1);
    // If few items are allowed, tasks become shorter first, so that every thread gets one.
    let items_per_task = (at_most / threads).clamp(1, per_task);
    let tasks = count.div_ceil(items_per_task);
    // The caller runs at least one task itself.
    let wanted = tasks.min(threads).saturating_sub(1) as usize;
    let allowed = usize::try_from(at_most - 1).unwrap_or(usize::MAX);
    let mut done = 0;
    let mut outcome = None;
    let mut then = |result| {
        let left = then(result)?;
        done += 1;
        Ok(left)
    };
    if wanted == 0 {
        let mut item = |item| {
            let left = then((stages.work)(item)?)?;
            (stages.finish.as_ref()).map_or(Ok(()), |finish| finish(left))
        };
        // The executor is asked nevertheless, so that it can end threads that are not allowed.
        let lead = || (0..count).try_for_each(&mut item);
        executor.run(&Job::new(0, allowed, &|| ()), &mut once(lead, &mut outcome));
    } else {
        let share = Share {
            items_per_task,
            tasks_in_flight: (at_most / items_per_task)
                .clamp(1, TASKS_PER_THREAD.saturating_mul(threads)),
        };
        let tasks = Tasks::new(share, count, stages);
        let help = || tasks.help();
        let job = Job::new(wanted, allowed, &help);
        executor.run(&job, &mut once(|| tasks.lead(&mut then), &mut outcome));
    }
    outcome.ok_or(ExecutorError::Incomplete { done, items: count })
}

/// Calls `lead` once, however often the executor calls the result. A panic of `lead`, which the
/// executor may catch, leaves no outcome.
fn once<T>(lead: impl FnOnce() -> T, outcome: &mut Option<T>) -> impl FnMut() {
    let mut lead = Some(lead);
    move || {
        if let Some(lead) = lead.take() {
            *outcome = Some(lead());
        }
    }
}

/// How the items are divided into tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) items_per_task: u64,
    /// The most tasks that are begun and not yet taken.
    pub(super) tasks_in_flight: u64,
}

/// The tasks of an operation, which its threads take from.
pub(super) struct Tasks<T, P, E, W, F> {
    share: Share,
    items: u64,
    stages: Stages<W, F>,
    /// The caller's thread.
    caller: ThreadId,
    progress: Mutex<Progress<T, P, E>>,
    /// Wakes helpers: another task may begin or be finished, or no task will follow.
    room: Condvar,
    /// Wakes the caller: the task that it waits for is done, or all tasks are finished.
    done: Condvar,
}

type Panic = Box<dyn Any + Send>;
/// The results of a task, or its panic. Without the panic the other side would wait forever.
type Done<T, E> = Result<Vec<Result<T, E>>, Panic>;

struct Progress<T, P, E> {
    /// The number of tasks.
    tasks: u64,
    begun: u64,
    /// The number of tasks whose results the caller has taken, in order.
    taken: u64,
    /// The number of tasks for which nothing is left to do.
    finished: u64,
    /// The tasks that are worked on and have not been taken, and the threads that did the work.
    done: BTreeMap<u64, (ThreadId, Done<T, E>)>,
    /// What is left to do for tasks that have been taken, and the threads that worked on them.
    left: VecDeque<(ThreadId, Vec<P>)>,
    /// The first failure to finish a task.
    failure: Option<Result<E, Panic>>,
    /// The number of helpers that sleep. Waking a thread is a system call, so it is skipped if no
    /// helper sleeps.
    helpers_waiting: usize,
    caller_waits: bool,
    /// Whether `lead` has been called.
    is_led: bool,
    /// Whether `lead` has returned.
    has_ended: bool,
}

/// The next action of the caller.
enum Next<T, P, E> {
    Take(ThreadId, Done<T, E>),
    Finish(Vec<P>),
    Work(u64),
    Fail(Result<E, Panic>),
    Leave,
}

/// The next action of a helper.
enum NextOfHelper<P> {
    Finish(Vec<P>),
    Work(u64),
    Leave,
}

impl<T: Send, P: Send, E: Send, W, F> Tasks<T, P, E, W, F>
where
    W: Fn(u64) -> Result<T, E> + Sync,
    F: Fn(P) -> Result<(), E> + Sync,
{
    pub(super) fn new(share: Share, items: u64, stages: Stages<W, F>) -> Tasks<T, P, E, W, F> {
        Tasks {
            share,
            items,
            stages,
            caller: current().id(),
            progress: Mutex::new(Progress {
                tasks: items.div_ceil(share.items_per_task),
                begun: 0,
                taken: 0,
                finished: 0,
                done: BTreeMap::new(),
                left: VecDeque::new(),
                failure: None,
                helpers_waiting: 0,
                caller_waits: false,
                is_led: false,
                has_ended: false,
            }),
            room: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// The loop of a helper.
    pub(super) fn help(&self) {
        let helper = current().id();
        // The caller would wait for itself to take results.
        if helper == self.caller {
            return;
        }
        loop {
            match self.next_of_helper(helper) {
                NextOfHelper::Finish(left) => self.finish(left),
                NextOfHelper::Work(task) => self.work(helper, task),
                NextOfHelper::Leave => return,
            }
        }
    }

    /// The loop of the caller. Taking results comes before work, because it lets other tasks begin.
    pub(super) fn lead(&self, mut then: impl FnMut(T) -> Result<P, E>) -> Result<(), E> {
        // Helpers stop when the caller returns or panics.
        let _end = End(self);
        self.progress().is_led = true;
        loop {
            match self.next_of_caller() {
                Next::Take(worker, done) => {
                    let results = done.unwrap_or_else(|panic| resume_unwind(panic));
                    let left = results.into_iter().map(|result| then(result?));
                    let left = left.collect::<Result<Vec<P>, E>>()?;
                    self.note_taken(worker, left);
                }
                Next::Finish(left) => self.finish(left),
                Next::Work(task) => self.work(self.caller, task),
                Next::Fail(Ok(error)) => return Err(error),
                Next::Fail(Err(panic)) => resume_unwind(panic),
                Next::Leave => return Ok(()),
            }
        }
    }

    fn next_of_helper(&self, helper: ThreadId) -> NextOfHelper<P> {
        let mut progress = self.progress();
        loop {
            if progress.has_ended {
                return NextOfHelper::Leave;
            }
            if let Some(left) = progress.left_by(helper) {
                return NextOfHelper::Finish(left);
            }
            if let Some(task) = progress.begin(self.share) {
                return NextOfHelper::Work(task);
            }
            if let Some((_, left)) = progress.left.pop_front() {
                return NextOfHelper::Finish(left);
            }
            let awaited = match self.stages.finish {
                Some(_) => progress.taken,
                None => progress.begun,
            };
            if awaited == progress.tasks {
                return NextOfHelper::Leave;
            }
            progress.helpers_waiting += 1;
            let is_led = progress.is_led;
            let (woken, timed_out) = match is_led {
                true => (wait(&self.room, progress), false),
                false => wait_for_lead(&self.room, progress),
            };
            progress = woken;
            progress.helpers_waiting -= 1;
            if timed_out && !progress.is_led {
                return NextOfHelper::Leave;
            }
        }
    }

    fn next_of_caller(&self) -> Next<T, P, E> {
        let mut progress = self.progress();
        loop {
            if let Some(failure) = progress.failure.take() {
                return Next::Fail(failure);
            }
            let next = progress.taken;
            if let Some((worker, done)) = progress.done.remove(&next) {
                return Next::Take(worker, done);
            }
            if let Some(left) = progress.left_by(self.caller) {
                return Next::Finish(left);
            }
            if let Some(task) = progress.begin(self.share) {
                return Next::Work(task);
            }
            if let Some((_, left)) = progress.left.pop_front() {
                return Next::Finish(left);
            }
            if progress.finished == progress.tasks {
                return Next::Leave;
            }
            progress.caller_waits = true;
            progress = wait(&self.done, progress);
            progress.caller_waits = false;
        }
    }

    fn work(&self, worker: ThreadId, task: u64) {
        let items = self.items_of(task);
        let work = || items.map(&self.stages.work).collect();
        let done = catch_unwind(AssertUnwindSafe(work));
        let mut progress = self.progress();
        progress.done.insert(task, (worker, done));
        if progress.caller_waits && task == progress.taken {
            self.done.notify_one();
        }
    }

    fn items_of(&self, task: u64) -> Range<u64> {
        let first = task * self.share.items_per_task;
        first..self.items.min(first + self.share.items_per_task)
    }

    /// Notes that the next task has been taken, and what is left to do for it.
    fn note_taken(&self, worker: ThreadId, left: Vec<P>) {
        let mut progress = self.progress();
        progress.taken += 1;
        match self.stages.finish {
            Some(_) => progress.left.push_back((worker, left)),
            None => progress.finished += 1,
        }
        let all_are_taken = progress.taken == progress.tasks;
        match progress.helpers_waiting {
            0 => {}
            _ if all_are_taken => self.room.notify_all(),
            _ => self.room.notify_one(),
        }
    }

    /// Finishes a task.
    fn finish(&self, left: Vec<P>) {
        let Some(finish) = &self.stages.finish else {
            return;
        };
        let finish = || left.into_iter().try_for_each(finish);
        let done = catch_unwind(AssertUnwindSafe(finish));
        let mut progress = self.progress();
        // The thread that has finished this task begins another one, if one is left.
        progress.finished += 1;
        let failure = match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Ok(error)),
            Err(panic) => Some(Err(panic)),
        };
        let has_failed = failure.is_some();
        progress.failure = progress.failure.take().or(failure);
        if progress.caller_waits && (has_failed || progress.finished == progress.tasks) {
            self.done.notify_one();
        }
    }
}

impl<T, P, E, W, F> Tasks<T, P, E, W, F> {
    fn progress(&self) -> MutexGuard<'_, Progress<T, P, E>> {
        // No code panics while it holds the lock.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, P, E> Progress<T, P, E> {
    /// The next task, if one is left and its results have room.
    fn begin(&mut self, share: Share) -> Option<u64> {
        let task = self.begun;
        let may_begin = task < self.tasks && task - self.finished < share.tasks_in_flight;
        may_begin.then(|| {
            self.begun += 1;
            task
        })
    }

    /// Takes what is left to do for a task that this thread worked on.
    fn left_by(&mut self, worker: ThreadId) -> Option<Vec<P>> {
        let at = self.left.iter().position(|&(of, _)| of == worker)?;
        Some(self.left.remove(at)?.1)
    }
}

fn wait<'p, P>(condition: &Condvar, progress: MutexGuard<'p, P>) -> MutexGuard<'p, P> {
    let progress = condition.wait(progress);
    progress.unwrap_or_else(PoisonError::into_inner)
}

/// Same as [`wait`], but for a limited time. Also returns whether it has passed.
fn wait_for_lead<'p, P>(
    condition: &Condvar,
    progress: MutexGuard<'p, P>,
) -> (MutexGuard<'p, P>, bool) {
    let waited = condition.wait_timeout(progress, LONGEST_WAIT_FOR_LEAD);
    let (progress, result) = waited.unwrap_or_else(PoisonError::into_inner);
    (progress, result.timed_out())
}

/// Drop guard for the end of the caller, by success, error or panic. No task begins after it.
struct End<'t, T, P, E, W, F>(&'t Tasks<T, P, E, W, F>);

impl<T, P, E, W, F> Drop for End<'_, T, P, E, W, F> {
    fn drop(&mut self) {
        self.0.progress().has_ended = true;
        self.0.room.notify_all();
    }
}
