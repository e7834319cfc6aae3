//! Task queue on a few threads. The caller's thread takes the results in order.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rayon::ThreadPool;

/// How the items are divided into tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) items_per_task: u64,
    /// The most tasks that are begun and not yet taken.
    pub(super) tasks_in_flight: u64,
}

/// Implements [`Executor::in_order`](super::Executor::in_order) on the threads of `helpers` and on
/// the caller's thread, which works whenever there is no result to take.
pub(super) fn in_order_on<T: Send, E: Send>(
    helpers: &ThreadPool,
    share: Share,
    items: u64,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    then: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let tasks = Tasks {
        share,
        items,
        work,
        progress: Mutex::new(Progress {
            tasks: items.div_ceil(share.items_per_task),
            begun: 0,
            taken: 0,
            done: BTreeMap::new(),
            helpers_waiting: 0,
            caller_waits: false,
        }),
        room: Condvar::new(),
        done: Condvar::new(),
    };
    let tasks = &tasks;
    helpers.in_place_scope(|scope| {
        // Helpers stop when the caller returns or panics.
        let _end = End(tasks);
        // The caller runs at least one task itself.
        let most = items.div_ceil(share.items_per_task).saturating_sub(1);
        for _ in 0..most.min(helpers.current_num_threads() as u64) {
            scope.spawn(|_| tasks.help());
        }
        tasks.lead(then)
    })
}

struct Tasks<T, E, W> {
    share: Share,
    items: u64,
    work: W,
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
}

/// The next action of the caller.
enum Turn<T, E> {
    Take(Done<T, E>),
    Work(u64),
    Leave,
}

impl<T: Send, E: Send, W: Fn(u64) -> Result<T, E> + Sync> Tasks<T, E, W> {
    /// The loop of a helper.
    fn help(&self) {
        while let Some(task) = self.task_for_helper() {
            self.run(task);
        }
    }

    /// The loop of the caller. Taking results comes before work, because it lets other tasks begin.
    fn lead(&self, mut then: impl FnMut(T) -> Result<(), E>) -> Result<(), E> {
        loop {
            match self.turn_of_caller() {
                Turn::Take(done) => {
                    for result in done.unwrap_or_else(|panic| resume_unwind(panic)) {
                        then(result?)?;
                    }
                    self.note_taken();
                }
                Turn::Work(task) => self.run(task),
                Turn::Leave => return Ok(()),
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
            progress = wait(&self.room, progress);
            progress.helpers_waiting -= 1;
        }
    }

    fn turn_of_caller(&self) -> Turn<T, E> {
        let mut progress = self.progress();
        loop {
            let next = progress.taken;
            if next == progress.tasks {
                return Turn::Leave;
            }
            if let Some(done) = progress.done.remove(&next) {
                return Turn::Take(done);
            }
            if let Some(task) = progress.begin(self.share) {
                return Turn::Work(task);
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
        let may_begin = task < self.tasks && task < self.taken + share.tasks_in_flight;
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

/// Drop guard for the end of the caller, by success, error or panic. No task begins after it.
struct End<'t, T, E, W>(&'t Tasks<T, E, W>);

impl<T, E, W> Drop for End<'_, T, E, W> {
    fn drop(&mut self) {
        let mut progress = self.0.progress();
        progress.tasks = progress.begun;
        self.0.room.notify_all();
    }
}
