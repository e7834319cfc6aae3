//! A CUDA device as a backend. If there is one, it gives the same bytes and the same errors as the
//! CPU. If there is none, an error says so.

use std::error::Error as _;
use std::mem::MaybeUninit;

use half::bf16;
use unweight::gpu::GpuError;
use unweight::{
    Backend, CompressOptions, CudaDevice, CudaOptions, Dtype, Encoding, Error, MemoryBudget, Model,
    OpenOptions, Writer, compress,
};
use unweight_testkit::{ENCODINGS, Random, bf16, coded_payloads, forms, safetensors_file, tensor};

/// A device number that no machine has.
const NO_SUCH_DEVICE: usize = 60_000;

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_everything_once() {
    let error = CudaDevice::open(NO_SUCH_DEVICE, &CudaOptions::new()).unwrap_err();
    let Error::Device(cause) = &error else {
        panic!("{error:?}")
    };
    assert!(
        matches!(cause, GpuError::NoDriver | GpuError::NoDevice { .. }),
        "{cause:?}"
    );
    assert_eq!(error.to_string(), cause.to_string());
    assert!(error.source().is_none(), "its text is in the message");
    assert_eq!((error.rule(), error.tensor()), (None, None));
}

#[test]
fn a_device_can_be_sent_and_shared() {
    fn is_shareable<T: Clone + Send + Sync + 'static>() {}
    is_shareable::<CudaDevice>();
    is_shareable::<Backend>();
}

fn weights(count: usize) -> Vec<bf16> {
    let mut weights = Random::new(0).trained_weights(count);
    // Exponent 0 is outside the palette of trained weights.
    if let Some(first) = weights.first_mut() {
        *first = bf16::ZERO;
    }
    weights
}

/// A safetensors file with BF16 tensors "a" and "w", and an I64 tensor "step".
fn source() -> Vec<u8> {
    safetensors_file(&[
        bf16("a", &weights(3)),
        bf16("w", &weights(100_001)),
        tensor("step", "I64", &[], 77u64.to_le_bytes().to_vec()),
    ])
}

fn device() -> CudaDevice {
    CudaDevice::open(0, &CudaOptions::new()).unwrap()
}

fn on(device: &CudaDevice) -> OpenOptions {
    OpenOptions::new().backend(Backend::Cuda(device.clone()))
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_everything_is_what_the_cpu_gives() {
    let (source, device) = (source(), device());
    for encoding in ENCODINGS {
        let options = CompressOptions::new()
            .encoding(encoding)
            .chunk_size_log2(12);
        let file = compress(&source, &options).unwrap();
        let model = on(&device).open_bytes(&file[..]).unwrap();
        model.verify().unwrap();
        let mut restored = Vec::new();
        model.restore(&mut restored).unwrap();
        assert!(restored == source, "{encoding}");
        let cpu = OpenOptions::new().open_bytes(&file[..]).unwrap();
        for (tensor, expected) in model.tensors().zip(cpu.tensors()) {
            let expected = expected.to_bytes().unwrap();
            assert!(tensor.to_bytes().unwrap() == expected);
            let mut uninit = vec![MaybeUninit::uninit(); expected.len()];
            tensor.read_bytes_into_uninit(&mut uninit).unwrap();
        }
        let w = model.tensor("w").unwrap();
        assert!(w.to_vec().unwrap() == weights(100_001));
        assert_eq!(w.range(4095..4097).unwrap(), weights(4097)[4095..]);
        let transcoded = model.transcode(Encoding::Palette, Vec::new()).unwrap();
        on(&device)
            .open_bytes(transcoded)
            .unwrap()
            .verify()
            .unwrap();
    }
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_any_type_and_forms_are_what_the_cpu_gives() {
    let device = device();
    for &dtype in Dtype::ALL {
        for forms in forms::forms_of(dtype) {
            let weights = forms::weights(forms, 3 * 4099, 1);
            let file = forms::file_of(forms, 12, &weights);
            let model = on(&device).open_bytes(&file[..]).unwrap();
            model.verify().unwrap();
            let tensor = model.tensor("w").unwrap();
            assert!(tensor.to_bytes().unwrap() == weights, "{forms:?}");
            if !forms.is_coded() {
                continue;
            }
            let mut damaged = file;
            let records = tensor.entry().payload().records();
            damaged[(records.offset + records.length / 2) as usize] ^= 0x15;
            let [cpu, gpu] = [OpenOptions::new(), on(&device)].map(|options| {
                let model = options.open_bytes(&damaged[..]).unwrap();
                model.verify().unwrap_err().to_string()
            });
            assert_eq!(cpu, gpu, "{forms:?}");
        }
    }
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_threads_share_it() {
    let device = device();
    let file = compress(&source(), &CompressOptions::new()).unwrap();
    let model = &on(&device).open_bytes(file).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let w = model.tensor("w").unwrap();
                for _ in 0..20 {
                    assert!(w.to_vec().unwrap() == weights(100_001));
                }
                model.verify().unwrap();
            });
        }
    });
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_bad_files_break_the_rules_that_the_cpu_names() {
    let device = device();
    let options = CompressOptions::new().chunk_size_log2(12);
    let whole = compress(&source(), &options).unwrap();
    let coded = coded_payloads(&whole);
    let payload = coded.last().expect("w is coded");
    let parts = [
        payload.plain(),
        payload.palettes(),
        payload.record_ends(),
        payload.records(),
    ];
    let offsets = parts.map(|part| (part.offset..part.end()).step_by(997));
    for offset in offsets.into_iter().flatten() {
        let mut file = whole.clone();
        file[offset as usize] ^= 0x15;
        let [cpu, gpu] = [OpenOptions::new(), on(&device)].map(|options| {
            let model = options.open_bytes(&file[..]).unwrap();
            let tensor = model.tensor("w").unwrap().to_bytes().unwrap_err();
            let whole = model.verify().unwrap_err();
            [tensor, whole].map(|error| (error.rule(), error.to_string()))
        });
        assert_eq!(cpu, gpu, "byte {offset}");
        assert!(gpu.iter().all(|(rule, _)| rule.is_some()), "{gpu:?}");
    }
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn with_a_device_a_given_budget_counts_a_tensor_on_the_host() {
    let device = device();
    // The tensor needs more memory than the CPU's part.
    let weights = weights(2_000_000);
    let writer = Writer::new().tensor("w", &[2_000_000], &weights);
    let file = writer.finish(Vec::new()).unwrap();
    let least = |operation: &dyn Fn(&Model) -> Result<(), Error>| {
        let mut budget = 0;
        loop {
            let options = on(&device).memory(MemoryBudget::of_bytes(budget));
            match options
                .open_bytes(&file[..])
                .and_then(|model| operation(&model))
            {
                Ok(()) => return budget,
                Err(Error::OverBudget(over)) => {
                    assert!(over.needed_bytes > budget);
                    budget = over.needed_bytes;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let verified = least(&|model| model.verify());
    let read = least(&|model| model.tensor("w")?.to_bytes().map(drop));
    // The buffer for the decoded tensor belongs to the caller, so it does not count.
    assert_eq!(verified, read + 4_000_000);
    let file_bytes = file.len() as u64;
    assert!(read.abs_diff(file_bytes) < 4096, "{read} of {file_bytes}");
}
