//! Uploads and launches of a load.

#![expect(
    unsafe_code,
    reason = "copies and kernel launches at raw device addresses"
)]

use std::collections::VecDeque;
use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, result};

use super::pieces::Destination;
use super::pinned::{PinnedBuffer, PinnedPool};
use super::plan::{GroupAddresses, LoadLimits, LoadPlan, combine};
use super::stream::CallerStream;
use super::task::Source;
use crate::decode::jobs::Jobs;
use crate::decode::launches::{JobKernels, JobLaunches};
use crate::decode::status;
use crate::memory::{DeviceBuffer, Output, WaitAtEnd};
use crate::{BadChunk, Device, GpuError};

/// Groups that are in work at a time: one is uploaded while the other is decoded.
const SLOTS: usize = 2;
/// Bytes of a status word.
const STATUS_BYTES: u64 = size_of::<u64>() as u64;
/// Bytes of a chunk's checksum.
const CHECKSUM_BYTES: u64 = size_of::<u32>() as u64;

/// The memory that loads use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// How much is read, uploaded and decoded at a time.
    pub limits: LoadLimits,
    /// Pieces that may be read at a time.
    pub pieces_in_work: usize,
    /// Pieces that may be copied to the device at a time.
    pub pieces_in_copy: usize,
}

/// Streams, pinned buffers and scratch memory for loads. It keeps them from load to load.
#[derive(Debug)]
pub struct Loader {
    device: Device,
    options: LoaderOptions,
    copying: Arc<CudaStream>,
    decoding: Arc<CudaStream>,
    kernels: JobKernels,
    pool: Arc<PinnedPool>,
    /// Buffers of the pool, and those that are in use.
    buffers: usize,
    slots: [Slot; SLOTS],
}

/// What a group uses until it is decoded.
#[derive(Debug)]
struct Slot {
    scratch: Option<DeviceBuffer<u8>>,
    header: Option<Header>,
    /// Recorded behind the last launch that reads the scratch memory.
    decoded: CudaEvent,
}

/// Jobs, palettes and record ends of a group.
#[derive(Debug)]
struct Header {
    host: PinnedBuffer,
    device: DeviceBuffer<u8>,
}

impl Loader {
    /// A loader without memory; loads allocate what they need.
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Panics
    /// If the options allow no piece in work.
    pub fn new(device: &Device, options: LoaderOptions) -> Result<Loader, GpuError> {
        assert!(options.pieces_in_work > 0, "no piece may be in work");
        let context = device.context();
        let slot = || -> Result<Slot, GpuError> {
            Ok(Slot {
                scratch: None,
                header: None,
                decoded: context.new_event(None)?,
            })
        };
        Ok(Loader {
            device: device.clone(),
            options,
            copying: device.stream()?,
            decoding: device.stream()?,
            kernels: JobKernels::new(device)?,
            pool: Arc::default(),
            buffers: 0,
            slots: [slot()?, slot()?],
        })
    }

    /// The options.
    pub const fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// Begins a load, behind the work that is on `stream` now.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`] for an output that is too short; [`GpuError::Capturing`] and
    /// [`GpuError::OtherContext`] for the stream; the errors of the driver, including out of
    /// memory.
    ///
    /// # Panics
    /// If the plan was made with other limits.
    pub fn begin(mut self, mut plan: LoadPlan, stream: &CallerStream) -> Result<Load, GpuError> {
        assert_eq!(plan.limits, self.options.limits, "limits of the plan");
        let context = self.device.context().clone();
        stream.require_no_capture(&context)?;
        self.reserve(&plan)?;
        let results = self.results(&plan)?;
        let mut outputs = vec![];
        for task in &mut plan.tasks {
            let output = std::mem::replace(&mut task.output, Output::nothing());
            outputs.push((output, task.bytes));
        }
        let mut addresses = vec![];
        for (output, bytes) in &mut outputs {
            addresses.push(output.address(&self.copying, &context, *bytes)?);
        }
        stream.precedes(&context, &[&self.copying, &self.decoding])?;
        // A slice that others use was waited for on the copy stream.
        self.decoding.join(&self.copying)?;
        Ok(Load(Some(Running {
            loader: self,
            plan: Arc::new(plan),
            outputs: outputs.into_iter().map(|(output, _)| output).collect(),
            addresses,
            results,
            copied: VecDeque::new(),
            next_piece: 0,
            next_group: 0,
            next_chunk: 0,
            jobs: vec![],
        })))
    }

    /// Allocates what the plan needs and earlier loads did not.
    fn reserve(&mut self, plan: &LoadPlan) -> Result<(), GpuError> {
        let context = self.device.context();
        let options = &self.options;
        let buffers = plan
            .pieces()
            .len()
            .min(options.pieces_in_work + options.pieces_in_copy);
        while self.buffers < buffers {
            let length = options.limits.piece_bytes as usize;
            self.pool.put(PinnedBuffer::new(context, length)?);
            self.buffers += 1;
        }
        let (scratch, header) = (plan.most_scratch_bytes(), plan.most_header_bytes());
        for slot in self.slots.iter_mut().take(plan.groups.len()) {
            let has = slot
                .scratch
                .as_ref()
                .map_or(0, |memory| memory.memory().len());
            if (has as u64) < scratch {
                // The old memory is freed first.
                slot.scratch = None;
                slot.scratch = Some(uninitialized(&self.decoding, scratch)?);
            }
            let has = slot.header.as_ref().map_or(0, |header| header.host.len());
            if (has as u64) < header {
                slot.header = None;
                slot.header = Some(Header {
                    host: PinnedBuffer::new(context, header as usize)?,
                    device: uninitialized(&self.decoding, header)?,
                });
            }
        }
        Ok(())
    }

    /// Memory for the status word of each group, which is set, and for all checksums.
    fn results(&self, plan: &LoadPlan) -> Result<DeviceBuffer<u8>, GpuError> {
        let status_bytes = STATUS_BYTES * plan.groups.len() as u64;
        let checksum_bytes = CHECKSUM_BYTES * plan.output_chunks();
        let bytes = status_bytes + checksum_bytes;
        let results = uninitialized(&self.decoding, bytes.max(STATUS_BYTES))?;
        const { assert!(status::GOOD == u64::MAX) };
        let (at, length) = (results.address(), status_bytes as usize);
        // SAFETY: the memory has so many bytes, and nobody else uses it.
        unsafe { result::memset_d8_async(at, 0xff, length, self.decoding.cu_stream())? };
        // Both streams use the memory from now on.
        self.decoding.synchronize()?;
        Ok(results)
    }
}

/// Device memory of at least a byte.
fn uninitialized(stream: &Arc<CudaStream>, bytes: u64) -> Result<DeviceBuffer<u8>, GpuError> {
    // SAFETY: bytes have any value. Copies write what kernels interpret, and kernels may read more,
    // as the preconditions of `TensorJob` say.
    let memory = unsafe { stream.alloc::<u8>(bytes.max(1) as usize)? };
    Ok(DeviceBuffer::new(memory, stream))
}

/// A load in progress. Dropping it waits for what was enqueued. Forgetting it leaks its memory and
/// the outputs.
#[derive(Debug)]
#[must_use = "outputs are complete and checked when `finish` has returned"]
pub struct Load(Option<Running>);

#[derive(Debug)]
struct Running {
    loader: Loader,
    plan: Arc<LoadPlan>,
    outputs: Vec<Output>,
    /// The addresses of the outputs.
    addresses: Vec<u64>,
    results: DeviceBuffer<u8>,
    /// Buffers that the device copies from, oldest first.
    copied: VecDeque<PinnedBuffer>,
    next_piece: usize,
    next_group: usize,
    /// Number of the next group's first chunk among all checksums.
    next_chunk: u64,
    /// The jobs of the groups that have launches.
    jobs: Vec<GroupJobs>,
}

/// What the results of a group are about.
#[derive(Debug)]
struct GroupJobs {
    group: usize,
    first_chunk: u64,
    jobs: Jobs,
}

/// The end of a load: everything is decoded, and nothing uses the outputs any more.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The loader, for another load.
    pub loader: Loader,
    /// The outputs in the order of the tasks; None for those that were given as addresses.
    pub outputs: Vec<Option<CudaSlice<u8>>>,
    /// The bad chunks that were found, at most one for each group. `tensor` is the task's number.
    pub bad_chunks: Vec<BadChunk>,
    /// The CRC-32 of each output; None for bytes that were copied as they are.
    pub checksums: Vec<Option<u32>>,
}

impl Load {
    fn running(&mut self) -> &mut Running {
        self.0.as_mut().expect("only `finish` takes it")
    }

    /// The plan, whose [pieces](LoadPlan::pieces) have to be uploaded.
    pub fn plan(&self) -> Arc<LoadPlan> {
        let running = self.0.as_ref().expect("only `finish` takes it");
        running.plan.clone()
    }

    /// The buffers to read pieces into.
    pub fn pool(&self) -> Arc<PinnedPool> {
        let running = self.0.as_ref().expect("only `finish` takes it");
        running.loader.pool.clone()
    }

    /// Copies the next piece to the device. The buffer begins with its bytes. Waits if more copies
    /// are enqueued than [`LoaderOptions::pieces_in_copy`].
    ///
    /// # Errors
    /// The errors of the driver.
    ///
    /// # Panics
    /// If all pieces were uploaded, or the buffer is shorter than the piece.
    pub fn upload(&mut self, piece: PinnedBuffer) -> Result<(), GpuError> {
        self.running().upload(piece)
    }

    /// Waits for everything, and returns what was found.
    ///
    /// # Errors
    /// The errors of the driver, including those of launches.
    ///
    /// # Panics
    /// If a piece was not uploaded.
    pub fn finish(mut self) -> Result<Loaded, GpuError> {
        let results = self.running().complete()?;
        let running = self.0.take().expect("only this takes it");
        Ok(running.report(&results))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(running) = &self.0 {
            let _copies = WaitAtEnd(&running.loader.copying);
            let _launches = WaitAtEnd(&running.loader.decoding);
        }
    }
}

impl Running {
    fn upload(&mut self, buffer: PinnedBuffer) -> Result<(), GpuError> {
        let plan = self.plan.clone();
        let piece = &plan.pieces()[self.next_piece];
        assert!(buffer.len() as u64 >= piece.extent().length);
        // Groups without stored bytes come first.
        while plan.groups[self.next_group].pieces().end <= self.next_piece {
            self.launch_group()?;
        }
        let group = &plan.groups[self.next_group];
        let slot = &self.loader.slots[self.next_group % SLOTS];
        let copying = &self.loader.copying;
        if self.next_piece == group.pieces().start {
            copying.wait(&slot.decoded)?;
        }
        self.copied.push_back(buffer);
        let buffer = self.copied.back().expect("it was just added");
        let scratch = slot.scratch.as_ref().map_or(0, DeviceBuffer::address);
        for (range, to) in &piece.copies {
            let to = match *to {
                Destination::Scratch(offset) => scratch + offset,
                Destination::Output { task, offset } => self.addresses[task] + offset,
            };
            let bytes = &buffer[range.clone()];
            // SAFETY: the destination has these bytes: the plan places them within the scratch
            // memory that was reserved, or within a tensor, and outputs are as long as tensors.
            // Nobody else uses it: the copy stream has waited for the launches of the slot's last
            // group and for the caller's stream. The buffer is kept until the copy is done. Plans
            // run on the CPU in `parts_of_every_form_join_to_the_tensor` and
            // `long_tensors_without_records_are_divided_at_blocks`.
            unsafe { result::memcpy_htod_async(to, bytes, copying.cu_stream())? };
        }
        buffer.note_copies(copying)?;
        self.next_piece += 1;
        if self.next_piece == group.pieces().end {
            self.launch_group()?;
        }
        while self.copied.len() > self.loader.options.pieces_in_copy
            && let Some(oldest) = self.copied.front()
        {
            oldest.wait()?;
            self.loader
                .pool
                .put(self.copied.pop_front().expect("it is there"));
        }
        Ok(())
    }

    /// Decodes and checks the next group, whose pieces are all enqueued.
    fn launch_group(&mut self) -> Result<(), GpuError> {
        let number = self.next_group;
        self.next_group += 1;
        let plan = self.plan.clone();
        let group = &plan.groups[number];
        if !group.has_launches() {
            return Ok(());
        }
        let Loader {
            device,
            copying,
            decoding,
            kernels,
            slots,
            ..
        } = &mut self.loader;
        let slot = &mut slots[number % SLOTS];
        let scratch = slot.scratch.as_ref().expect("it was reserved").address();
        let header = slot.header.as_mut().expect("it was reserved");
        let at = GroupAddresses {
            scratch,
            header: header.device.address(),
        };
        let mut jobs = plan.jobs(group, at, &self.addresses)?;
        kernels.load_for(device, &jobs)?;
        header.host.wait()?;
        let length = group.header_bytes() as usize;
        plan.write_header(group, &jobs, &mut header.host[..length]);
        let bytes = &header.host[..length];
        // SAFETY: the memory was reserved for the longest header, earlier launches that read it are
        // on the same stream, and the host's copy stays until the next wait for it.
        unsafe { result::memcpy_htod_async(at.header, bytes, decoding.cu_stream())? };
        header.host.note_copies(decoding)?;
        decoding.join(copying)?;
        let status = self.results.address();
        let launches = JobLaunches {
            kernels,
            plan: &jobs,
            jobs: at.header,
            status: status + STATUS_BYTES * number as u64,
        };
        let first_chunk = self.next_chunk;
        let checksums = status + STATUS_BYTES * plan.groups.len() as u64;
        let checksums = checksums + CHECKSUM_BYTES * first_chunk;
        // SAFETY: the index of each tensor was checked, and is uploaded from the checked copy; the
        // plan places parts so that they are aligned and, in the order of the streams, readable;
        // outputs are aligned and long enough, and nobody else uses them. All memory is owned by
        // this load until its streams were waited for.
        unsafe { launches.check_chunks(decoding)? };
        // SAFETY: as above.
        unsafe { launches.decode(decoding)? };
        // SAFETY: as above. The launches before write the outputs, or copies did, for which the
        // stream waits. Each group has words of its own.
        unsafe { launches.checksums(decoding, checksums)? };
        slot.decoded.record(decoding)?;
        self.next_chunk += u64::from(jobs.output_chunks());
        // They are in device memory.
        jobs.jobs = vec![];
        self.jobs.push(GroupJobs {
            group: number,
            first_chunk,
            jobs,
        });
        Ok(())
    }

    /// Launches what is left, waits, and returns the results.
    fn complete(&mut self) -> Result<Vec<u8>, GpuError> {
        let (pieces, groups) = (self.plan.pieces().len(), self.plan.groups.len());
        assert_eq!(self.next_piece, pieces, "pieces that were uploaded");
        while self.next_group < groups {
            self.launch_group()?;
        }
        self.loader.copying.synchronize()?;
        let results = self.loader.decoding.clone_dtoh(self.results.memory())?;
        self.loader.decoding.synchronize()?;
        Ok(results)
    }

    /// Interprets the results of a load whose streams were waited for.
    fn report(mut self, results: &[u8]) -> Loaded {
        for buffer in self.copied.drain(..) {
            self.loader.pool.put(buffer);
        }
        let (statuses, checksums) =
            results.split_at(STATUS_BYTES as usize * self.plan.groups.len());
        let (statuses, _) = statuses.as_chunks();
        let (words, _) = checksums.as_chunks();
        let words: Vec<u32> = words.iter().map(|&word| u32::from_ne_bytes(word)).collect();
        let mut bad_chunks = vec![];
        let mut checksums = vec![0; self.plan.tasks.len()];
        for GroupJobs {
            group,
            first_chunk,
            jobs,
        } in &self.jobs
        {
            let tasks = self.plan.groups[*group].tasks();
            if let Some(report) = status::read(u64::from_ne_bytes(statuses[*group])) {
                let bad = jobs.bad_chunk(report);
                let tensor = tasks[bad.tensor];
                bad_chunks.push(BadChunk { tensor, ..bad });
            }
            let words = &words[*first_chunk as usize..];
            combine(jobs, &tasks, words, &mut checksums);
        }
        let tasks = self.plan.tasks.iter().zip(checksums);
        let checksums_of_tensors = tasks.map(|(task, checksum)| match task.source {
            Source::Tensor(_) => Some(checksum),
            Source::Bytes(_) => None,
        });
        let checksums_of_tensors = checksums_of_tensors.collect();
        Loaded {
            loader: self.loader,
            outputs: self.outputs.into_iter().map(Output::into_slice).collect(),
            bad_chunks,
            checksums: checksums_of_tensors,
        }
    }
}
