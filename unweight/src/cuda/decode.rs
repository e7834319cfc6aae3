//! Decoding of coded tensors on a device, with confirmation of the device's errors by the CPU.

use unweight_cpu::fast::Output;
use unweight_format::Tensor;
use unweight_gpu::cudarc::driver::CudaSlice;
use unweight_gpu::{GpuError, decode_verified};

use super::{CudaDevice, CudaReader, Disagreement};
use crate::container::{Container, decode_tensor, decode_tensor_into};
use crate::{Error, Executor, MemoryBudget, Purpose, ReadError, Storage};

/// Bytes passed to the output at a time: the same as the CPU for BF16 at the largest chunk size.
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
            if !tensor.forms().is_coded() {
                decode_tensor(container, &tensor, executor, &mut output)?;
                continue;
            }
            let download = |weights: &_| self.download(weights);
            let decoded: Result<_, E> = self.decode(container, &tensor, executor, download);
            decoded?.chunks(PIECE_BYTES).try_for_each(&mut output)?;
        }
        Ok(())
    }

    /// Decodes a coded tensor on the device, and returns the result of `download` for its weights
    /// there.
    fn decode<S, T, E>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        executor: &dyn Executor,
        download: impl FnOnce(&CudaSlice<u8>) -> Result<T, GpuError>,
    ) -> Result<T, E>
    where
        S: Storage + ?Sized,
        E: From<ReadError> + From<GpuError> + From<Disagreement>,
    {
        match self.decode_unconfirmed(container, tensor, download)? {
            Ok(decoded) => Ok(decoded),
            // The buffers of the tensor have been freed before the CPU decodes it.
            Err(report) => Err(confirm(container, tensor, executor, report)),
        }
    }

    /// Decodes a tensor on the device. The inner error is the device's, and the CPU has not yet
    /// confirmed it.
    fn decode_unconfirmed<S: Storage + ?Sized, T>(
        &self,
        container: &Container<'_, S>,
        tensor: &Tensor<'_>,
        download: impl FnOnce(&CudaSlice<u8>) -> Result<T, GpuError>,
    ) -> Result<Result<T, GpuError>, ReadError> {
        let mut buffer = Vec::new();
        let payload = container
            .read_extent(tensor.payload().extent(), &mut buffer)
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
        if !tensor.forms().is_coded() {
            let output = Output::from(bytes);
            return Ok(decode_tensor_into(container, tensor, executor, output)?);
        }
        self.require_memory(container, tensor, payload_bytes(tensor))?;
        let device = &self.device;
        let download = |weights: &_| device.download_into(weights, bytes);
        device.decode(container, tensor, executor, download)
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
        if !tensor.forms().is_coded() {
            return Ok(decode_tensor_into(container, tensor, executor, output)?);
        }
        let needed = payload_bytes(tensor) + decoded_bytes(tensor);
        self.require_memory(container, tensor, needed)?;
        let device = &self.device;
        let download = |weights: &_| {
            output.fill(&device.download(weights)?);
            Ok(())
        };
        device.decode(container, tensor, executor, download)
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

/// The part of a tensor that a report of the device is about.
#[derive(Clone, Copy)]
enum Suspect {
    Chunk(u64),
    Tensor,
}

impl Suspect {
    /// None if the report is not about the tensor.
    fn of(report: &GpuError) -> Option<Suspect> {
        match report {
            GpuError::BadChunk(bad) => Some(Suspect::Chunk(bad.chunk)),
            GpuError::Rule(_) => Some(Suspect::Tensor),
            _ => None,
        }
    }
}

/// Converts a report of the device. A report about the file becomes the CPU's error, with position
/// and values. Any other report stays as it is.
pub(super) fn confirm<S, E>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    executor: &dyn Executor,
    report: GpuError,
) -> E
where
    S: Storage + ?Sized,
    E: From<ReadError> + From<GpuError> + From<Disagreement>,
{
    match Suspect::of(&report) {
        Some(suspect) => judge(container, tensor, executor, suspect, report),
        None => report.into(),
    }
}

/// The CPU's error of a part of a tensor, or a disagreement with the report if it finds none.
fn judge<S, E>(
    container: &Container<'_, S>,
    tensor: &Tensor<'_>,
    executor: &dyn Executor,
    suspect: Suspect,
    report: GpuError,
) -> E
where
    S: Storage + ?Sized,
    E: From<ReadError> + From<Disagreement>,
{
    let decoded = match suspect {
        Suspect::Chunk(number) if number < tensor.payload().chunk_count() => {
            decode_chunk(container, tensor, number)
        }
        _ => decode_tensor(container, tensor, executor, |_| Ok(())),
    };
    match decoded {
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
    tensor: &Tensor<'_>,
    number: u64,
) -> Result<(), ReadError> {
    let mut buffer = Vec::new();
    let index = container.index(tensor, &mut buffer)?;
    let weights = tensor.payload().chunk(number).weights as usize;
    let mut bytes = vec![0; tensor.dtype().weight_bytes() * weights];
    container.decode_chunk(&index, number, &mut bytes[..])
}

/// Host memory for a coded tensor's payload while it is uploaded and checked.
fn payload_bytes(tensor: &Tensor<'_>) -> u64 {
    let payload = tensor.payload();
    match tensor.forms().is_coded() {
        true => payload.extent().length + CHECKSUM_BYTES * payload.chunk_count(),
        false => 0,
    }
}

/// Size of a coded tensor's decoded bytes.
fn decoded_bytes(tensor: &Tensor<'_>) -> u64 {
    match tensor.forms().is_coded() {
        true => tensor.data_bytes(),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use half::bf16;
    use unweight_format::Rule;

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
        let end = with_tensor(&file, |_, tensor| tensor.payload().end());
        file[end as usize - 1] ^= 1;
        file
    }

    fn with_tensor<T>(file: &[u8], then: impl FnOnce(&Model, &Tensor<'_>) -> T) -> T {
        let model = OpenOptions::new().open_bytes(file).unwrap();
        let tensor = model.tensor("w").unwrap();
        assert_eq!(tensor.entry().payload().chunk_count(), 2);
        then(&model, tensor.entry())
    }

    /// The error of this part of the tensor, which the device reports to be bad.
    fn judged(file: &[u8], suspect: Suspect) -> Error {
        with_tensor(file, |model, tensor| {
            let (container, threads) = (model.container(), Threads::new(1));
            judge(&container, tensor, &threads, suspect, bad_tensor())
        })
    }

    /// The device's report of a wrong tensor checksum.
    fn bad_tensor() -> GpuError {
        let wrong = with_tensor(&file(), |_, tensor| tensor.require_checksum(0));
        GpuError::Rule(wrong.unwrap_err())
    }

    #[test]
    fn the_cpu_says_what_is_bad_where_the_device_finds_something() {
        let file = damaged();
        let expected = OpenOptions::new().open_bytes(&file[..]).unwrap().verify();
        let expected = expected.unwrap_err();
        assert_eq!(expected.rule(), Some(Rule::RecordCrc));
        for suspect in [Suspect::Chunk(1), Suspect::Tensor] {
            let error = judged(&file, suspect);
            assert_eq!(error.to_string(), expected.to_string());
            assert_eq!(error.rule(), expected.rule());
            assert_eq!(error.tensor(), Some("w"));
        }
    }

    #[test]
    fn a_report_that_the_cpu_does_not_confirm_is_a_disagreement() {
        assert!(matches!(Suspect::of(&bad_tensor()), Some(Suspect::Tensor)));
        // The first chunk of the damaged file is good, and no tensor has a third one.
        for (file, suspect) in [
            (file(), Suspect::Chunk(0)),
            (file(), Suspect::Chunk(2)),
            (file(), Suspect::Tensor),
            (damaged(), Suspect::Chunk(0)),
        ] {
            let text = bad_tensor().to_string();
            let error = judged(&file, suspect);
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
            let error = with_tensor(&file, |model, tensor| {
                let (container, threads) = (model.container(), Threads::new(1));
                confirm::<_, Error>(&container, tensor, &threads, GpuError::NoDriver)
            });
            assert!(matches!(error, Error::Device(GpuError::NoDriver)));
            assert_eq!((error.tensor(), error.rule()), (None, None));
            assert_eq!(error.to_string(), GpuError::NoDriver.to_string());
            assert!(error.source().is_none(), "its text is in the message");
        }
    }
}
