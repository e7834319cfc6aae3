//! Tensors of a file to device memory of the caller.

use std::sync::{Mutex, PoisonError};

use unweight_format::Tensor;
use unweight_gpu::cudarc::driver::CudaSlice;
use unweight_gpu::load::{
    CallerStream, Load, LoadPlan, LoadReads, LoadTask, Loaded, Loader, LoaderOptions, PinnedBuffer,
};
use unweight_gpu::{GpuError, KeptContext, Output};

use super::CudaDevice;
use super::decode::confirm;
use super::load_memory::{LoadMemory, tensor_bytes};
use crate::checkpoint::File;
use crate::container::Container;
use crate::safetensors::{SafetensorsFile, SourceTensor};
use crate::threads::{Items, Threads, in_order};
use crate::{Checkpoint, Error, Executor, Model, Storage};

/// A tensor to load, and where to.
#[derive(Debug)]
pub struct CudaTarget<'n> {
    /// The name of the tensor.
    pub name: &'n str,
    /// Device memory for the tensor's original bytes, exactly as long as the tensor:
    /// [`Output::at_address`] for memory of the caller.
    pub output: Output,
}

/// Loads tensors of files to device memory. Share it between loads: it keeps its pinned buffers,
/// its scratch memory on the device, and its streams.
///
/// A load reads the file in pieces on the threads of the [`Checkpoint`], into pinned memory that
/// its memory budget bounds. Pieces are copied to scratch memory on the device, at most some 100
/// MiB, and decoded from there by launches for many tensors each. Reading, copying and decoding
/// overlap. Tensors that are stored as they are, and those of safetensors files, are copied
/// straight to their outputs.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use unweight::gpu::load::CallerStream;
/// use unweight::{Checkpoint, CudaDevice, CudaLoader, CudaOptions, CudaTarget, OpenOptions};
///
/// let device = CudaDevice::open(0, &CudaOptions::new())?;
/// let loader = CudaLoader::new(&device);
/// let checkpoint = Checkpoint::open("model.unw", &OpenOptions::new())?;
/// let stream = device.stream();
/// let mut targets = Vec::new();
/// for tensor in checkpoint.tensors() {
///     let output = stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?.into();
///     targets.push(CudaTarget { name: tensor.name(), output });
/// }
/// let weights = loader.load(&checkpoint, targets, &CallerStream::from(stream.clone()))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CudaLoader {
    device: CudaDevice,
    /// Loaders that no load uses.
    idle: Mutex<Vec<Loader>>,
}

impl CudaLoader {
    /// A loader for this device. It allocates what its loads need.
    pub fn new(device: &CudaDevice) -> CudaLoader {
        CudaLoader {
            device: device.clone(),
            idle: Mutex::default(),
        }
    }

    /// The device.
    pub const fn device(&self) -> &CudaDevice {
        &self.device
    }

    /// Loads tensors into their outputs, and returns the outputs that were given as slices, in
    /// their order. The work begins behind what is on `stream`, and is complete when this returns.
    ///
    /// All checksums of every tensor are checked, on the device. What the device finds is confirmed
    /// by the CPU, whose error is returned. The content of all outputs is unspecified after an
    /// error.
    ///
    /// The CUDA context that is current on the calling thread stays so.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::WrongLength`] for an output of another length than its tensor;
    /// the errors of [`Tensor::read_bytes_into`](crate::Tensor::read_bytes_into), or for
    /// safetensors files those of
    /// [`CheckpointTensor::read_bytes_into`](crate::CheckpointTensor::read_bytes_into);
    /// [`Error::Device`], including out of memory; [`Error::Disagreement`].
    pub fn load(
        &self,
        checkpoint: &Checkpoint,
        targets: Vec<CudaTarget<'_>>,
        stream: &CallerStream,
    ) -> Result<Vec<CudaSlice<u8>>, Error> {
        match checkpoint.file() {
            File::Unweight(model) => self.load_model(model, targets, stream),
            File::Safetensors(file) => {
                let load = |targets, outputs: &mut Outputs| {
                    self.load_plain(file, targets, stream, outputs)
                };
                with_outputs(targets, load)
            }
        }
    }

    /// Same as [`CudaLoader::load`], for an open container.
    ///
    /// # Errors
    /// The errors of [`CudaLoader::load`].
    pub fn load_model(
        &self,
        model: &Model,
        targets: Vec<CudaTarget<'_>>,
        stream: &CallerStream,
    ) -> Result<Vec<CudaSlice<u8>>, Error> {
        let load =
            |targets, outputs: &mut Outputs| self.load_sections(model, targets, stream, outputs);
        with_outputs(targets, load)
    }

    fn load_sections(
        &self,
        model: &Model,
        targets: Vec<CudaTarget<'_>>,
        stream: &CallerStream,
        outputs: &mut Outputs,
    ) -> Result<(), Error> {
        let (container, threads) = (model.container(), model.threads());
        let mut tensors = Vec::with_capacity(targets.len());
        for (place, target) in targets.into_iter().enumerate() {
            let tensor = *model.tensor(target.name)?.entry();
            require_length(target.name, tensor.data_bytes(), &target.output)?;
            tensors.push((place, tensor, target.output));
        }
        tensors.sort_by_key(|(_, tensor, _)| tensor.payload().start());
        let longest = tensors.iter().map(|(_, tensor, _)| tensor_bytes(tensor));
        let held = container.held_bytes();
        let memory = LoadMemory::new(
            container.budget(),
            held,
            longest.max().unwrap_or(0),
            threads.count(),
        )?;
        let mut rest = tensors.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut section, mut bytes) = (Vec::new(), 0);
            while let Some((_, tensor, _)) = rest.peek()
                && (section.is_empty()
                    || section.len() < memory.options.limits.group_parts
                        && bytes + tensor_bytes(tensor) <= memory.section_bytes)
            {
                bytes += tensor_bytes(tensor);
                section.extend(rest.next());
            }
            self.load_section(&container, threads, &memory, section, stream, outputs)?;
        }
        Ok(())
    }

    /// Loads tensors whose indexes fit the memory for a section, in the order of their data.
    fn load_section<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        threads: &Threads,
        memory: &LoadMemory,
        section: Vec<(usize, Tensor<'_>, Output)>,
        stream: &CallerStream,
        outputs: &mut Outputs,
    ) -> Result<(), Error> {
        let entries: Vec<Tensor<'_>> = section.iter().map(|(_, tensor, _)| *tensor).collect();
        let places: Vec<usize> = section.iter().map(|(place, ..)| *place).collect();
        let judge =
            |tensor: &Tensor<'_>, report| -> Error { confirm(container, tensor, threads, report) };
        let mut given = section.into_iter();
        let mut tasks = Vec::with_capacity(entries.len());
        let read = |number: u64| {
            let reads = LoadReads::of(entries[number as usize].payload());
            let mut parts = [Vec::new(), Vec::new()];
            for (part, extent) in parts.iter_mut().zip([reads.index, reads.padding]) {
                part.resize(extent.length as usize, 0);
                let read = container.read_extent_into(extent, part);
                read.map_err(|error| error.of_tensor(entries[number as usize].name()))?;
            }
            Ok::<_, Error>(parts)
        };
        in_order(
            threads,
            Items::new(entries.len() as u64),
            read,
            |[index, padding]| {
                let (_, tensor, output) = given.next().expect("each tensor is read once");
                match LoadTask::tensor(&tensor, &index, &padding, output) {
                    Ok(task) => tasks.push(task),
                    Err(report) => return Err(judge(&tensor, report)),
                }
                Ok(())
            },
        )?;
        let loaded = self.run(tasks, threads, memory, stream, |piece, buffer| {
            let read = container.read_extent_into(piece, buffer);
            read.map_err(|error| {
                let before =
                    entries.partition_point(|tensor| tensor.payload().end() <= piece.offset);
                match entries.get(before) {
                    Some(tensor) => error.of_tensor(tensor.name()).into(),
                    None => error.into(),
                }
            })
        })?;
        let bad = loaded
            .bad_chunks
            .iter()
            .min_by_key(|bad| (bad.tensor, bad.chunk));
        let bad_tensor = bad.map_or(usize::MAX, |bad| bad.tensor);
        for (number, (tensor, checksum)) in entries.iter().zip(&loaded.checksums).enumerate() {
            if let Some(&bad) = bad.filter(|_| number == bad_tensor) {
                return Err(judge(tensor, GpuError::BadChunk(bad)));
            }
            if let Some(Err(error)) = checksum.map(|sum| tensor.require_checksum(sum)) {
                return Err(judge(tensor, GpuError::Rule(error)));
            }
        }
        self.keep(loaded, places, outputs);
        Ok(())
    }

    fn load_plain(
        &self,
        file: &SafetensorsFile,
        targets: Vec<CudaTarget<'_>>,
        stream: &CallerStream,
        outputs: &mut Outputs,
    ) -> Result<(), Error> {
        let mut tensors: Vec<(usize, &SourceTensor, Output)> = Vec::with_capacity(targets.len());
        for (place, target) in targets.into_iter().enumerate() {
            let tensor = file.tensor(target.name);
            let tensor = tensor.ok_or_else(|| Error::NoTensor(target.name.to_owned()))?;
            require_length(target.name, tensor.end - tensor.begin, &target.output)?;
            tensors.push((place, tensor, target.output));
        }
        tensors.sort_by_key(|(_, tensor, _)| tensor.begin);
        let threads = file.threads();
        let memory = LoadMemory::new(file.budget(), file.held_bytes(), 0, threads.count())?;
        let (mut places, mut tasks) = (Vec::new(), Vec::new());
        for (place, tensor, output) in tensors {
            places.push(place);
            tasks.push(LoadTask::bytes(file.header().data(tensor), output));
        }
        let loaded = self.run(tasks, threads, &memory, stream, |piece, buffer| {
            file.read_extent_into(piece, buffer)
        })?;
        self.keep(loaded, places, outputs);
        Ok(())
    }

    /// Reads, uploads and decodes, and waits for the end.
    fn run(
        &self,
        tasks: Vec<LoadTask>,
        threads: &Threads,
        memory: &LoadMemory,
        stream: &CallerStream,
        read: impl Fn(unweight_format::Extent, &mut [u8]) -> Result<(), Error> + Sync,
    ) -> Result<Loaded, Error> {
        let plan = LoadPlan::new(tasks, memory.options.limits);
        let loader = self.take(&memory.options)?;
        let mut load: Load = loader.begin(plan, stream)?;
        let (plan, pool) = (load.plan(), load.pool());
        let pieces = Pieces {
            count: plan.pieces().len() as u64,
            in_work: memory.options.pieces_in_work as u64,
        };
        let read_piece = |number: u64, buffer: &mut PinnedBuffer| {
            let extent = plan.pieces()[number as usize].extent();
            read(extent, &mut buffer[..extent.length as usize])
        };
        let upload = |buffer| Ok(load.upload(buffer)?);
        read_pieces(threads, pieces, || pool.take(), read_piece, upload)?;
        Ok(load.finish()?)
    }

    /// A loader with these options, an idle one if there is one.
    fn take(&self, options: &LoaderOptions) -> Result<Loader, Error> {
        let mut idle = self.lock();
        let found = idle.iter().position(|loader| loader.options() == options);
        match found {
            Some(place) => Ok(idle.swap_remove(place)),
            None => {
                // Their memory would not be counted.
                let others = std::mem::take(&mut *idle);
                drop(idle);
                drop(others);
                Ok(Loader::new(self.device.device(), *options)?)
            }
        }
    }

    /// Keeps the loader of a load, and puts the outputs of its tasks in their places.
    fn keep(&self, loaded: Loaded, places: Vec<usize>, outputs: &mut Outputs) {
        self.lock().push(loaded.loader);
        for (place, output) in places.into_iter().zip(loaded.outputs) {
            outputs[place] = output;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Loader>> {
        // The list is whole at all times.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CudaLoader {
    /// Frees the memory. The CUDA context that is current on the thread stays so.
    fn drop(&mut self) {
        let _kept = KeptContext::new();
        drop(std::mem::take(&mut *self.lock()));
    }
}

/// The outputs of targets in their order, where they were given as slices.
type Outputs = [Option<CudaSlice<u8>>];

/// Calls `load` with the targets and places for their outputs, and returns the outputs.
fn with_outputs<'n>(
    targets: Vec<CudaTarget<'n>>,
    load: impl FnOnce(Vec<CudaTarget<'n>>, &mut Outputs) -> Result<(), Error>,
) -> Result<Vec<CudaSlice<u8>>, Error> {
    let _kept = KeptContext::new();
    let mut outputs = Vec::new();
    outputs.resize_with(targets.len(), || None);
    load(targets, &mut outputs)?;
    Ok(outputs.into_iter().flatten().collect())
}

/// The pieces of a file.
#[derive(Clone, Copy, Debug)]
struct Pieces {
    count: u64,
    /// Pieces that may be read at a time, or wait for their upload.
    in_work: u64,
}

/// Reads pieces into free buffers on all threads, and uploads them in order on the caller's.
/// `upload` returns when at most as many buffers are in use by the device as there are beside those
/// in work.
fn read_pieces<B: Send>(
    executor: &dyn Executor,
    pieces: Pieces,
    free: impl Fn() -> Option<B> + Sync,
    read: impl Fn(u64, &mut B) -> Result<(), Error> + Sync,
    upload: impl FnMut(B) -> Result<(), Error>,
) -> Result<(), Error> {
    let items = Items::new(pieces.count).at_most(pieces.in_work).per_task(1);
    let work = |number| {
        let mut buffer = free().expect("as many buffers as pieces in work and in copy");
        read(number, &mut buffer)?;
        Ok(buffer)
    };
    in_order(executor, items, work, upload)
}

fn require_length(name: &str, expected: u64, output: &Output) -> Result<(), Error> {
    match output.bytes() {
        found if found == expected => Ok(()),
        found => Err(Error::WrongLength {
            tensor: name.to_owned(),
            expected,
            found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::*;

    /// Reads on so many threads, with a device that is late by `in_copy` pieces.
    fn uploaded(threads: usize, in_work: u64, in_copy: usize, count: u64) -> Vec<u64> {
        let free: Vec<u64> = vec![u64::MAX; in_work as usize + in_copy];
        let pool = Mutex::new(free);
        let (mut copied, mut uploaded) = (VecDeque::new(), Vec::new());
        let read = |number: u64, buffer: &mut u64| {
            // Pieces end in another order than they begin.
            std::thread::sleep(Duration::from_micros(number * 7919 % 300));
            *buffer = number;
            Ok(())
        };
        let upload = |buffer: u64| {
            uploaded.push(buffer);
            copied.push_back(buffer);
            while copied.len() > in_copy {
                pool.lock().unwrap().extend(copied.pop_front());
            }
            Ok(())
        };
        let take = || pool.lock().unwrap().pop();
        let pieces = Pieces { count, in_work };
        read_pieces(&Threads::new(threads), pieces, take, read, upload).unwrap();
        uploaded
    }

    #[test]
    fn there_is_a_free_buffer_for_every_piece_and_uploads_are_in_order() {
        for threads in [1, 2, 5] {
            for (in_work, in_copy) in [(1, 0), (2, 1), (10, 8)] {
                let all: Vec<u64> = (0..100).collect();
                assert_eq!(uploaded(threads, in_work, in_copy, 100), all);
            }
        }
        assert!(uploaded(2, 2, 1, 0).is_empty());
    }

    #[test]
    fn an_error_of_a_read_or_an_upload_ends_the_load() {
        let pieces = Pieces {
            count: 20,
            in_work: 4,
        };
        let threads = Threads::new(3);
        let bad = |at: u64| {
            move |number: u64| match number == at {
                true => Err(Error::callback("bad")),
                false => Ok(()),
            }
        };
        let read = read_pieces(
            &threads,
            pieces,
            || Some(()),
            |number, ()| bad(7)(number),
            |()| Ok(()),
        );
        assert_eq!(read.unwrap_err().to_string(), "bad");
        let mut number = 0;
        let upload = |()| {
            number += 1;
            bad(9)(number)
        };
        let uploaded = read_pieces(&threads, pieces, || Some(()), |_, ()| Ok(()), upload);
        assert_eq!(uploaded.unwrap_err().to_string(), "bad");
        assert_eq!(number, 9);
    }
}
