//! Decoding of coded tensors on a device, with confirmation of the device's errors by the CPU.

use half::bf16;
use unweight_cpu::fast::Output;
use unweight_format::{CodedPlanes, Payload, RecordEnds, Tensor};
use unweight_gpu::cudarc::driver::CudaSlice;
use unweight_gpu::{DeviceTensor, GpuError, decode_verified};

use super::{CudaDevice, CudaReader, Disagreement};
use crate::container::{Container, decode_tensor, decode_tensor_into};
use crate::{Error, Executor, MemoryBudget, Purpose, ReadError, Storage};

/// Bytes passed to the output at a time: the same as the CPU at the largest chunk size.
const PIECE_BYTES: usize = 2 << 16;
/// Host memory for the checksum of each chunk.
const CHECKSUM_BYTES: u64 = 4;

impl CudaDevice {
    /// Same as [`container::restore`](crate::container::restore), with the same order of checks and
    /// the same errors. `host_budget`, if given, bounds the host memory for one tensor: its payload
    /// and its decoded bytes.
    ///
    /// # Errors
    /// The errors of [`container::restore`](crate::container::restore); a [`GpuError`] if the
    /// device fails; a [`Disagreement`].
    pub fn restore<S, E>(
        &self,
        container: &Container<'_, S>,
        host_budget: Option<MemoryBudget>,
        executor: &dyn Executor,
        mut output: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E>
    where
        S: Storage + ?Sized,
        E: From<ReadError> + From<GpuError> + From<Disagreement> + Send,
    {
        container
            .require_memory_to_restore()
            .map_err(ReadError::from)?;
        if let Some(budget) = host_budget {
            let tensors = container.directory().tensors();
            let longest = tensors.map(|tensor| payload_bytes(&tensor) + decoded_bytes(&tensor));
            let needed = container.held_bytes() + longest.max().unwrap_or(0);
            budget
                .require(Purpose::Restore, needed)
                .map_err(ReadError::from)?;
        }
        container.require_zero_padding()?;
        output(&container.checked_source()?)?;
        for tensor in container.directory().tensors() {
            match tensor.payload() {
                Payload::Coded(planes) => {
                    let download = |weights: &_| self.download(weights);
                    let decoded: Result<_, E> =
                        self.decode(container, &tensor, planes, executor, download);
                    decoded?.chunks(PIECE_BYTES).try_for_each(&mut output)?;
                }
                Payload::Raw(_) => decode_tensor(container, &tensor, executor, &mut output)?,
            }
        }
        Ok(())
    }

    /// Decodes a tensor on the device, and returns the result of `download` for its weights there.
    fn decode<S, T, E>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        executor: &dyn Executor,
        download: impl FnOnce(&CudaSlice<u8>) -> Result<T, GpuError>,
    ) -> Result<T, E>
    where
        S: Storage + ?Sized,
        E: From<ReadError> + From<GpuError> + From<Disagreement>,
    {
        match self.decode_unconfirmed(container, tensor, planes, download)? {
            Ok(decoded) => Ok(decoded),
            // The buffers of the tensor have been freed before the CPU decodes it.
            Err(report) => Err(confirm(container, tensor, planes, executor, report)),
        }
    }

    /// Decodes a tensor on the device. The inner error is the device's, and the CPU has not yet
    /// confirmed it.
    fn decode_unconfirmed<S: Storage + ?Sized, T>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        download: impl FnOnce(&CudaSlice<u8>) -> Result<T, GpuError>,
    ) -> Result<Result<T, GpuError>, ReadError> {
        let mut buffer = Vec::new();
        let payload = container
            .read_extent(DeviceTensor::extent(planes), &mut buffer)
            .map_err(|error| error.of_tensor(tensor.name()))?;
        let decoded = decode_verified(&self.device, &self.stream, tensor, payload);
        Ok(decoded.and_then(|weights| download(&weights)))
    }

    fn download(&self, weights: &CudaSlice<u8>) -> Result<Vec<u8>, GpuError> {
        let decoded = self.stream.clone_dtoh(weights)?;
        self.stream.synchronize()?;
        Ok(decoded)
    }

    fn download_into(&self, weights: &CudaSlice<u8>, bytes: &mut [u8]) -> Result<(), GpuError> {
        self.stream.memcpy_dtoh(weights, bytes)?;
        Ok(self.stream.synchronize()?)
    }
}

impl CudaReader {
    /// Decodes a whole tensor into `bytes`, which must be as long as the tensor.
    pub(crate) fn read_into<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        executor: &dyn Executor,
        bytes: &mut [u8],
    ) -> Result<(), Error> {
        let Payload::Coded(planes) = tensor.payload() else {
            let output = Output::from(bytes);
            return Ok(decode_tensor_into(container, tensor, executor, output)?);
        };
        self.require_memory(container, tensor, payload_bytes(tensor))?;
        let device = &self.device;
        let download = |weights: &_| device.download_into(weights, bytes);
        device.decode(container, tensor, planes, executor, download)
    }

    /// Same as [`CudaReader::read_into`], but into memory that may be uninitialised. The device
    /// copies into a separate buffer first.
    pub(crate) fn read_into_output<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        executor: &dyn Executor,
        mut output: Output<'_>,
    ) -> Result<(), Error> {
        let Payload::Coded(planes) = tensor.payload() else {
            return Ok(decode_tensor_into(container, tensor, executor, output)?);
        };
        let needed = payload_bytes(tensor) + decoded_bytes(tensor);
        self.require_memory(container, tensor, needed)?;
        let device = &self.device;
        let download = |weights: &_| {
            output.fill(&device.download(weights)?);
            Ok(())
        };
        device.decode(container, tensor, planes, executor, download)
    }

    /// Checks that the host budget suffices for the CPU's part and for this many bytes of the
    /// tensor.
    fn require_memory<S: Storage + ?Sized>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        tensor_bytes: u64,
    ) -> Result<(), Error> {
        container.chunks_in_work(tensor)?;
        match self.host_budget {
            Some(budget) => {
                let needed = container.held_bytes() + tensor_bytes;
                Ok(budget.require(Purpose::Tensor, needed)?)
            }
            None => Ok(()),
        }
    }
}

/// Converts a report of the device. A report about the file becomes the CPU's error, with position
/// and values. Any other report stays as it is.
fn confirm<S, E>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    planes: &CodedPlanes,
    executor: &dyn Executor,
    report: GpuError,
) -> E
where
    S: Storage + ?Sized,
    E: From<ReadError> + From<GpuError> + From<Disagreement>,
{
    let confirmed = match &report {
        GpuError::BadChunk(bad) if bad.chunk < planes.chunk_count() => {
            decode_chunk(container, planes, bad.chunk)
        }
        GpuError::BadChunk(_) | GpuError::Rule(_) => {
            decode_tensor(container, tensor, executor, |_| Ok(()))
        }
        _ => return report.into(),
    };
    match confirmed {
        Err(error) => error.of_tensor(tensor.name()).into(),
        Ok(()) => {
            let tensor = tensor.name().to_owned();
            Disagreement { tensor, report }.into()
        }
    }
}

/// Decodes one chunk on the CPU, only to get its error.
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

/// Host memory for a coded tensor's payload while it is uploaded and checked.
fn payload_bytes(tensor: &Tensor<'_>) -> u64 {
    match tensor.payload() {
        Payload::Coded(planes) => {
            DeviceTensor::extent(planes).length + CHECKSUM_BYTES * planes.chunk_count()
        }
        Payload::Raw(_) => 0,
    }
}

/// Size of a coded tensor's decoded bytes.
fn decoded_bytes(tensor: &Tensor<'_>) -> u64 {
    match tensor.payload() {
        Payload::Coded(_) => tensor.data_bytes(),
        Payload::Raw(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use unweight_format::Rule;
    use unweight_gpu::BadChunk;

    use super::*;
    use crate::{CompressOptions, Model, OpenOptions, Threads, Writer};

    /// A file with two chunks in tensor "w".
    fn file() -> Vec<u8> {
        let weights: Vec<_> = (0..5000)
            .map(|number| bf16::from_f32((number as f32).sin()))
            .collect();
        let options = CompressOptions::new().chunk_size_log2(12);
        let writer = Writer::with_options(options).tensor("w", &[5000], &weights);
        writer.finish(Vec::new()).unwrap()
    }

    /// The file with its last record damaged.
    fn damaged() -> Vec<u8> {
        let mut file = file();
        let end = with_planes(&file, |_, _, planes| planes.records().end());
        file[end as usize - 1] ^= 1;
        file
    }

    fn with_planes<T>(file: &[u8], then: impl FnOnce(&Model, &Tensor<'_>, &CodedPlanes) -> T) -> T {
        let model = OpenOptions::new().open_bytes(file).unwrap();
        let tensor = model.tensor("w").unwrap();
        let Payload::Coded(planes) = tensor.entry().payload() else {
            panic!("w is raw")
        };
        assert_eq!(planes.chunk_count(), 2);
        then(&model, tensor.entry(), planes)
    }

    fn confirmed(file: &[u8], report: GpuError) -> Error {
        with_planes(file, |model, tensor, planes| {
            confirm(&model.container(), tensor, planes, &Threads::new(1), report)
        })
    }

    fn bad_chunk(chunk: u64) -> GpuError {
        GpuError::BadChunk(BadChunk {
            tensor: 0,
            chunk,
            rule: Rule::RecordCrc,
        })
    }

    /// The device's report of a wrong tensor checksum.
    fn bad_tensor() -> GpuError {
        let wrong = with_planes(&file(), |_, tensor, _| tensor.require_checksum(0));
        GpuError::Rule(wrong.unwrap_err())
    }

    #[test]
    fn the_cpu_says_what_is_bad_where_the_device_finds_something() {
        let file = damaged();
        let expected = OpenOptions::new().open_bytes(&file[..]).unwrap().verify();
        let expected = expected.unwrap_err();
        assert_eq!(expected.rule(), Some(Rule::RecordCrc));
        for report in [bad_chunk(1), bad_tensor()] {
            let error = confirmed(&file, report);
            assert_eq!(error.to_string(), expected.to_string());
            assert_eq!(error.rule(), expected.rule());
            assert_eq!(error.tensor(), Some("w"));
        }
    }

    #[test]
    fn a_report_that_the_cpu_does_not_confirm_is_a_disagreement() {
        // The first chunk of the damaged file is good, and no tensor has a third one.
        for (file, report) in [
            (file(), bad_chunk(0)),
            (file(), bad_chunk(2)),
            (file(), bad_tensor()),
            (damaged(), bad_chunk(0)),
        ] {
            let text = report.to_string();
            let error = confirmed(&file, report);
            assert!(matches!(error, Error::Disagreement(_)), "{error}");
            assert_eq!((error.tensor(), error.rule()), (Some("w"), None));
            let message = error.to_string();
            assert!(message.contains(&text), "{message}");
            assert!(error.source().is_none(), "its text is in the message");
        }
    }

    #[test]
    fn failures_of_the_device_say_nothing_of_the_file() {
        for file in [file(), damaged()] {
            let error = confirmed(&file, GpuError::NoDriver);
            assert!(matches!(error, Error::Device(GpuError::NoDriver)));
            assert_eq!((error.tensor(), error.rule()), (None, None));
            assert_eq!(error.to_string(), GpuError::NoDriver.to_string());
            assert!(error.source().is_none(), "its text is in the message");
        }
    }
}
