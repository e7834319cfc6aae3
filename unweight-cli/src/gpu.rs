//! `--gpu`: coded tensors are decoded by `unweight-gpu`. Everything else is `unweight-cpu`'s, the last word on what is bad too.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use half::bf16;
use unweight::{
    Executor, MemoryBudget, Purpose, ReadError, Storage,
    container::{Container, decode_tensor},
};
use unweight_format::{CodedPlanes, Payload, RecordEnds, Tensor};
use unweight_gpu::cudarc::driver::{CudaSlice, CudaStream};
use unweight_gpu::{
    Batch, Device, DeviceOptions, DeviceTensor, GpuError, search_system_folders_only,
};

use crate::failure::Failure;
use crate::unw_file::RestoreError;

/// As much as the CPU hands over at a time, at the largest chunk size.
const PIECE_BYTES: usize = 2 << 16;
/// What is held of each chunk's checksum.
const CHECKSUM_BYTES: u64 = 4;

/// A device, and the stream that all work is done on.
pub(crate) struct Gpu {
    pub(crate) device: Device,
    pub(crate) stream: Arc<CudaStream>,
}

impl Gpu {
    /// The device of this number, for the command whose argument it is.
    pub(crate) fn open(ordinal: usize) -> Result<Gpu, GpuError> {
        // Before the first library is looked for: the program may run in a model's folder, and that has none to offer.
        search_system_folders_only()?;
        let mut options = DeviceOptions::default();
        options.kernel_cache = kernel_cache(|name| env::var_os(name));
        let device = Device::open_with(ordinal, &options)?;
        let stream = device.stream()?;
        Ok(Gpu { device, stream })
    }

    /// As [`unweight::container::restore`], in its order of checks and with its verdicts. `asked_for`, if anything, bounds what is held on the
    /// host of one tensor: its payload and what it is decoded to.
    pub(crate) fn restore<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        asked_for: Option<MemoryBudget>,
        executor: &impl Executor,
        mut output: impl FnMut(&[u8]) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        container
            .require_room_to_restore()
            .map_err(ReadError::from)?;
        if let Some(budget) = asked_for {
            budget
                .require(Purpose::Restore, host_bytes(container))
                .map_err(ReadError::from)?;
        }
        container.require_zero_padding()?;
        output(&container.checked_source()?)?;
        for tensor in container.directory().tensors() {
            match tensor.payload() {
                Payload::Coded(planes) => {
                    let decoded = self.decode(container, &tensor, planes, executor)?;
                    decoded.chunks(PIECE_BYTES).try_for_each(&mut output)?;
                }
                Payload::Raw(_) => decode_tensor(container, &tensor, executor, &mut output)?,
            }
        }
        Ok(())
    }

    fn decode<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        executor: &impl Executor,
    ) -> Result<Vec<u8>, RestoreError> {
        let error = match self.decode_unconfirmed(container, tensor, planes)? {
            Ok(decoded) => return Ok(decoded),
            Err(error) => error,
        };
        // What is bad, the CPU says, with place and values. Nothing of the tensor is held any more.
        match &error {
            GpuError::BadChunk { bad, .. } => decode_chunk(container, planes, bad.chunk.into()),
            GpuError::Rule(_) => decode_tensor(container, tensor, executor, |_| Ok(())),
            _ => return Err(RestoreError::Failed(failed(error))),
        }
        .map_err(|error| error.of_tensor(tensor.name()))?;
        Err(RestoreError::Failed(disagreement(tensor, &error)))
    }

    /// The inner error is the device's, and what it says of the file is still to be confirmed.
    fn decode_unconfirmed<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
    ) -> Result<Result<Vec<u8>, GpuError>, ReadError> {
        let mut buffer = Vec::new();
        let payload = container
            .read_extent(DeviceTensor::extent(planes), &mut buffer)
            .map_err(|error| error.of_tensor(tensor.name()))?;
        Ok(self.decode_payload(tensor, planes, payload))
    }

    fn decode_payload(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<Vec<u8>, GpuError> {
        let weights = self.decode_on_device(tensor, planes, payload)?;
        let decoded = self.stream.clone_dtoh(&weights)?;
        self.stream.synchronize()?;
        Ok(decoded)
    }

    /// The weights in device memory, every checksum checked.
    pub(crate) fn decode_on_device(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<CudaSlice<u8>, GpuError> {
        let stream = &self.stream;
        let coded = Arc::new(DeviceTensor::upload(&self.device, planes, payload)?);
        let weights = stream.alloc_zeros::<u8>(tensor.data_bytes() as usize)?;
        let mut batch = Batch::to_weights(&self.device, vec![(coded, weights)])?;
        batch.check_chunks(stream)?;
        batch.decode(stream)?;
        batch.status()?;
        tensor.require_checksum(batch.checksums()?[0])?;
        Ok(batch.into_outputs()?.remove(0))
    }
}

/// Where kernels are kept that had to be compiled: `UNWEIGHT_KERNEL_CACHE`, a folder, or `off`; otherwise in the user's cache folder, as the XDG Base
/// Directory Specification says. Relative paths mean nothing there.
fn kernel_cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let folder = |name| {
        set(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    match set("UNWEIGHT_KERNEL_CACHE") {
        Some(value) if value == "off" => None,
        Some(_) => folder("UNWEIGHT_KERNEL_CACHE"),
        None => folder("XDG_CACHE_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".cache")))
            .map(|caches| caches.join("unweight/kernels")),
    }
}

/// The most that is held on the host at a time, beside what the CPU's part needs.
fn host_bytes<S: Storage + ?Sized>(container: &Container<'_, S>) -> u64 {
    let tensors = container.directory().tensors();
    let coded = tensors.filter_map(|tensor| match tensor.payload() {
        Payload::Coded(planes) => {
            let checksums = CHECKSUM_BYTES * planes.chunk_count();
            Some(DeviceTensor::extent(planes).length + tensor.data_bytes() + checksums)
        }
        Payload::Raw(_) => None,
    });
    container.header().directory().length + coded.max().unwrap_or(0)
}

/// Decodes one chunk on the CPU, for its verdict alone.
fn decode_chunk<S: Storage + ?Sized>(
    container: &Container<'_, S>,
    planes: &CodedPlanes,
    number: u64,
) -> Result<(), ReadError> {
    let ends = container.record_ends(planes)?;
    let ends = RecordEnds::parse(planes, &ends)?;
    let shape = planes.chunk(number);
    let mut weights = vec![bf16::ZERO; shape.weights as usize];
    container.decode_chunk(planes, &shape, ends.record(number), &mut weights)
}

/// What a command says where the device is not there, or fails.
pub(crate) fn failed(error: impl Into<GpuError>) -> Failure {
    let error = error.into();
    Failure::Io(format!("GPU: {error}; run without --gpu to use the CPU"))
}

fn disagreement(tensor: &Tensor<'_>, error: &GpuError) -> Failure {
    Failure::Io(format!(
        "internal error: of tensor {:?} the GPU says \"{error}\", but the CPU finds nothing wrong with it; run without --gpu",
        tensor.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_kept_where_the_user_says_or_in_the_cache_folder() {
        let kept = |variables: &[(&str, &str)]| {
            let folder = kernel_cache(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            });
            folder.map(|path| path.to_str().unwrap().to_owned())
        };
        let home = ("HOME", "/home/a");
        let in_home = Some("/home/a/.cache/unweight/kernels".to_owned());
        assert_eq!(kept(&[home]), in_home);
        assert_eq!(kept(&[home, ("XDG_CACHE_HOME", "")]), in_home);
        assert_eq!(kept(&[home, ("XDG_CACHE_HOME", "caches")]), in_home);
        let in_caches = Some("/caches/unweight/kernels".to_owned());
        assert_eq!(kept(&[home, ("XDG_CACHE_HOME", "/caches")]), in_caches);
        assert_eq!(kept(&[home, ("UNWEIGHT_KERNEL_CACHE", "off")]), None);
        assert_eq!(kept(&[home, ("UNWEIGHT_KERNEL_CACHE", "here")]), None);
        let there = Some("/there".to_owned());
        assert_eq!(kept(&[home, ("UNWEIGHT_KERNEL_CACHE", "/there")]), there);
        assert_eq!(kept(&[]), None);
    }
}
