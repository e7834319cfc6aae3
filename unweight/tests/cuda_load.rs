//! Loading to a CUDA device. If there is one, it gives the same bytes and the same errors as the
//! CPU.

use std::sync::Arc;

use unweight::cudarc::driver::{CudaSlice, CudaStream};
use unweight::gpu::load::CallerStream;
use unweight::{
    Checkpoint, CompressOptions, CudaDevice, CudaLoader, CudaOptions, CudaTarget, Dtype, Error,
    MemoryBudget, OpenOptions, compress,
};
use unweight_testkit::{ENCODINGS, Random, bf16, forms, safetensors_file, tensor};

/// Byte that fills outputs before a load.
const POISON: u8 = 0xee;

struct OnADevice {
    loader: CudaLoader,
    stream: Arc<CudaStream>,
}

impl OnADevice {
    fn new() -> OnADevice {
        let device = CudaDevice::open(0, &CudaOptions::new()).unwrap();
        OnADevice {
            loader: CudaLoader::new(&device),
            stream: device.device().stream().unwrap(),
        }
    }

    fn load(&self, checkpoint: &Checkpoint, names: &[&str]) -> Result<Vec<Vec<u8>>, Error> {
        let targets = names.iter().map(|&name| {
            let bytes = checkpoint.tensor(name)?.data_bytes() as usize;
            let output = self.stream.clone_htod(&vec![POISON; bytes]).unwrap().into();
            Ok(CudaTarget { name, output })
        });
        let targets = targets.collect::<Result<_, Error>>()?;
        let stream = CallerStream::from(self.stream.clone());
        let loaded = self.loader.load(checkpoint, targets, &stream)?;
        let download = |weights: &CudaSlice<u8>| self.stream.clone_dtoh(weights).unwrap();
        let downloaded = loaded.iter().map(download).collect();
        self.stream.synchronize().unwrap();
        Ok(downloaded)
    }

    /// Loads all tensors in one call, and compares them with those of the CPU.
    fn equals_the_cpu(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let names: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.name()).collect();
        let loaded = self.load(checkpoint, &names)?;
        assert_eq!(loaded.len(), names.len());
        for (name, loaded) in names.iter().zip(loaded) {
            assert!(loaded == checkpoint.tensor(name)?.to_bytes()?, "{name}");
        }
        Ok(())
    }
}

fn source() -> Vec<u8> {
    let weights = |count| Random::new(count as u64).trained_weights(count);
    safetensors_file(&[
        bf16("a", &weights(3)),
        tensor("empty", "F32", &[0, 7], vec![]),
        bf16("w", &weights(3_000_001)),
        tensor("step", "I64", &[], 77u64.to_le_bytes().to_vec()),
        tensor("raw", "U8", &[300_001], Random::new(9).bytes(300_001)),
        bf16("z", &weights(70_000)),
    ])
}

fn open(bytes: &[u8], options: &OpenOptions) -> Checkpoint {
    Checkpoint::open_bytes(bytes, options).unwrap()
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn loads_compressed_and_other_checkpoints() {
    let device = OnADevice::new();
    let source = source();
    device
        .equals_the_cpu(&open(&source, &OpenOptions::new()))
        .unwrap();
    for encoding in ENCODINGS {
        for log2 in [12, 15] {
            let options = CompressOptions::new()
                .encoding(encoding)
                .chunk_size_log2(log2);
            let file = compress(&source, &options).unwrap();
            for threads in [1, 7] {
                let options = OpenOptions::new().threads(threads);
                device.equals_the_cpu(&open(&file, &options)).unwrap();
            }
        }
    }
    let file = compress(&source, &CompressOptions::new()).unwrap();
    let checkpoint = open(&file, &OpenOptions::new());
    let some = device.load(&checkpoint, &["z", "empty", "a", "z"]).unwrap();
    for (name, loaded) in ["z", "empty", "a", "z"].iter().zip(some) {
        assert!(loaded == checkpoint.tensor(name).unwrap().to_bytes().unwrap());
    }
    assert!(device.load(&checkpoint, &[]).unwrap().is_empty());
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn loads_any_type_and_forms_and_finds_damage() {
    let device = OnADevice::new();
    for &dtype in Dtype::ALL {
        for forms in forms::forms_of(dtype) {
            let weights = forms::weights(forms, 3 * 4099, 1);
            let file = forms::file_of(forms, 12, &weights);
            let checkpoint = open(&file, &OpenOptions::new());
            assert!(
                device.load(&checkpoint, &["w"]).unwrap() == [weights],
                "{forms:?}"
            );
            let tensor = checkpoint.model().unwrap().tensor("w").unwrap();
            let payload = *tensor.entry().payload();
            for part in [
                payload.plain(),
                payload.palettes(),
                payload.record_ends(),
                payload.records(),
            ] {
                if part.length == 0 {
                    continue;
                }
                let mut damaged = file.clone();
                damaged[(part.offset + part.length / 2) as usize] ^= 0x15;
                let checkpoint = open(&damaged, &OpenOptions::new());
                let cpu = checkpoint.tensor("w").unwrap().to_bytes().unwrap_err();
                let gpu = device.load(&checkpoint, &["w"]).unwrap_err();
                assert_eq!(cpu.to_string(), gpu.to_string(), "{forms:?}");
                assert!(gpu.rule().is_some() && gpu.tensor() == Some("w"), "{gpu}");
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn small_budgets_suffice_or_are_refused() {
    let device = OnADevice::new();
    let file = compress(&source(), &CompressOptions::new()).unwrap();
    let (mut budget, mut refused) = (0, 0);
    loop {
        let options = OpenOptions::new()
            .threads(3)
            .memory(MemoryBudget::of_bytes(budget));
        let loaded = Checkpoint::open_bytes(&file[..], &options)
            .and_then(|checkpoint| device.load(&checkpoint, &["w", "a", "raw", "step"]));
        match loaded {
            Ok(loaded) => break assert_eq!(loaded.len(), 4),
            Err(Error::OverBudget(over)) => {
                assert!(over.needed_bytes > budget);
                budget = over.needed_bytes;
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 1 && budget < 1 << 20, "{budget}");
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn wrong_targets_are_errors() {
    let device = OnADevice::new();
    let file = compress(&source(), &CompressOptions::new()).unwrap();
    let checkpoint = open(&file, &OpenOptions::new());
    let target = |name, bytes: usize| CudaTarget {
        name,
        output: device.stream.alloc_zeros::<u8>(bytes).unwrap().into(),
    };
    let stream = CallerStream::from(device.stream.clone());
    let load = |target| {
        device
            .loader
            .load(&checkpoint, vec![target], &stream)
            .unwrap_err()
    };
    assert!(matches!(load(target("nothing", 8)), Error::NoTensor(_)));
    let length = load(target("a", 7));
    assert!(
        matches!(
            length,
            Error::WrongLength {
                expected: 6,
                found: 7,
                ..
            }
        ),
        "{length}"
    );
}

#[test]
#[ignore = "needs a GPU: run with --include-ignored where there is one"]
fn threads_share_a_loader() {
    let device = &OnADevice::new();
    let file = compress(&source(), &CompressOptions::new()).unwrap();
    let checkpoint = &open(&file, &OpenOptions::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..5 {
                    device.equals_the_cpu(checkpoint).unwrap();
                }
            });
        }
    });
}
