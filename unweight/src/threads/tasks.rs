//! Task queue on a few threads. The caller's thread takes the results in order.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::executor::{Executor, ExecutorError, Job};
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
    mut then: impl FnMut(T) -> Result<(), E>,
) -> Result<Result<(), E>, ExecutorError> {
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
        then(result)?;
        done += 1;
        Ok(())
    };
    if wanted == 0 {
        // The executor is asked nevertheless, so that it can end threads that are not allowed.
        let lead = || (0..count).try_for_each(|item| then(work(item)?));
        executor.run(&Job::new(0, allowed, &|| ()), &mut once(lead, &mut outcome));
    } else {
        let share = Share {
            items_per_task,
            tasks_in_flight: (at_most / items_per_task)
                .clamp(1, TASKS_PER_THREAD.saturating_mul(threads)),
        };
        let tasks = Tasks::new(share, count, work);
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
struct Share {
    items_per_task: u64,
    /// The most tasks that are begun and not yet taken.
    tasks_in_flight: u64,
}

/// The tasks of an operation, which its threads take from.
struct Tasks<T, E, W> {
    share: Share,
    items: u64,
    work: W,
    /// The caller's thread.
    caller: ThreadId,
    progress: Mutex<Progress<T, E>>,
    /// Wakes helpers: another task may begin, or no task will follow.
    room: Condvar,
    /// Wakes the caller: the task that it waits for is done.
    done: Condvar,
}

/// The results of a task, or its panic. Without the panic the other side would wait forever.
type Done<T, E> = Result<Vec<Result<T, E>>, Box<dyn Any + Send>>;

struct Progress<T, E> {
    /// The number of tasks.
    tasks: u64,
    begun: u64,
    /// The number of tasks whose results the caller has taken, in order.
    taken: u64,
    /// The finished tasks that have not been taken.
    done: BTreeMap<u64, Done<T, E>>,
    /// The number of helpers that sleep. Waking a thread is a system call, so it is skipped if no
    /// helper sleeps.
    helpers_waiting: usize,
    caller_waits: bool,
    /// Whether `lead` has been called.
    is_led: bool,
}

/// The next action of the caller.
enum Next<T, E> {
    Take(Done<T, E>),
    Work(u64),
    Leave,
}

impl<T: Send, E: Send, W: Fn(u64) -> Result<T, E> + Sync> Tasks<T, E, W> {
    fn new(share: Share, items: u64, work: W) -> Tasks<T, E, W> {
        Tasks {
            share,
            items,
            work,
            caller: thread::current().id(),
            progress: Mutex::new(Progress {
                tasks: items.div_ceil(share.items_per_task),
                begun: 0,
                taken: 0,
                done: BTreeMap::new(),
                helpers_waiting: 0,
                caller_waits: false,
                is_led: false,
            }),
            room: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// The loop of a helper.
    fn help(&self) {
        // The caller would wait for itself to take results.
        if thread::current().id() == self.caller {
            return;
        }
        while let Some(task) = self.task_for_helper() {
            self.run(task);
        }
    }

    /// The loop of the caller. Taking results comes before work, because it lets other tasks begin.
    fn lead(&self, mut then: impl FnMut(T) -> Result<(), E>) -> Result<(), E> {
        // Helpers stop when the caller returns or panics.
        let _end = End(self);
        self.progress().is_led = true;
        loop {
            match self.next_of_caller() {
                Next::Take(done) => {
                    for result in done.unwrap_or_else(|panic| resume_unwind(panic)) {
                        then(result?)?;
                    }
                    self.note_taken();
                }
                Next::Work(task) => self.run(task),
                Next::Leave => return Ok(()),
            }
        }
    }

    fn task_for_helper(&self) -> Option<u64> {
        let mut progress = self.progress();
        loop {
            if progress.begun == progress.tasks {
                return None;
            }
            if let Some(task) = progress.begin(self.share) {
                return Some(task);
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
                return None;
            }
        }
    }

    fn next_of_caller(&self) -> Next<T, E> {
        let mut progress = self.progress();
        loop {
            let next = progress.taken;
            if next == progress.tasks {
                return Next::Leave;
            }
            if let Some(done) = progress.done.remove(&next) {
                return Next::Take(done);
            }
            if let Some(task) = progress.begin(self.share) {
                return Next::Work(task);
            }
            progress.caller_waits = true;
            progress = wait(&self.done, progress);
            progress.caller_waits = false;
        }
    }

    fn run(&self, task: u64) {
        let items = self.items_of(task);
        let done = catch_unwind(AssertUnwindSafe(|| items.map(&self.work).collect()));
        let mut progress = self.progress();
        progress.done.insert(task, done);
        if progress.caller_waits && task == progress.taken {
            self.done.notify_one();
        }
    }

    fn items_of(&self, task: u64) -> Range<u64> {
        let first = task * self.share.items_per_task;
        first..self.items.min(first + self.share.items_per_task)
    }

    fn note_taken(&self) {
        let mut progress = self.progress();
        progress.taken += 1;
        if progress.helpers_waiting > 0 {
            self.room.notify_one();
        }
    }
}

impl<T, E, W> Tasks<T, E, W> {
    fn progress(&self) -> MutexGuard<'_, Progress<T, E>> {
        // No code panics while it holds the lock.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, E> Progress<T, E> {
    /// The next task, if one is left and its results have room.
    fn begin(&mut self, share: Share) -> Option<u64> {
        let task = self.begun;
        let may_begin = task < self.tasks && task - self.taken < share.tasks_in_flight;
        may_begin.then(|| {
            self.begun += 1;
            task
        })
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
struct End<'t, T, E, W>(&'t Tasks<T, E, W>);

impl<T, E, W> Drop for End<'_, T, E, W> {
    fn drop(&mut self) {
        let mut progress = self.0.progress();
        progress.tasks = progress.begun;
        self.0.room.notify_all();
    }
}
