//! How often the bytes of a source are read, and files of many small tensors.

use unweight::container::Encoder;
use unweight::{CompressOptions, Dtype, Encoding, Serial, compress};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{Extent, SourceKind};
use unweight_testkit::{Random, Tensor, TestStorage, bytes_of, restored, safetensors_file, tensor};

/// The bytes that are read to encode a tensor of these bytes, without the first few that a guess
/// takes.
fn read_bytes(dtype: Dtype, data: &[u8]) -> u64 {
    let storage = TestStorage::new(data);
    let shape = [8 * data.len() as u64 / dtype.bits()];
    let declared = vec![Declaration::new("w", dtype, &shape)];
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let all = Extent {
        offset: 0,
        length: data.len() as u64,
    };
    let encoding = Encoding::Huffman;
    Encoder::default()
        .encode_tensor(&mut writer, &storage, all, encoding, 12, &Serial)
        .unwrap();
    assert!(restored(&writer.finish().unwrap()).unwrap() == data);
    storage.take_read_bytes()
}

#[test]
fn a_tensor_is_read_no_more_often_than_needed() {
    let mut random = Random::new(1);
    let times = |dtype, data: &[u8]| {
        let read = read_bytes(dtype, data);
        let guess = read % data.len() as u64;
        assert!(guess <= 8 * 256 * dtype.weight_bytes() as u64, "{guess}");
        read / data.len() as u64
    };
    let trained = bytes_of(&random.trained_weights(100_000));
    assert_eq!(times(Dtype::Bf16, &trained[..2 * 32_768]), 1);
    assert_eq!(times(Dtype::Bf16, &trained), 2);
    assert_eq!(times(Dtype::Bf16, &vec![0; 200_000]), 2);
    let noise = random.bytes(150_000);
    assert_eq!(times(Dtype::Bf16, &noise), 1);
    assert_eq!(times(Dtype::F6E2M3, &noise), 1);
}

#[test]
fn a_tensor_whose_first_weights_mislead_is_read_a_third_time() {
    const COUNT: usize = 200_000;
    // The steps of the sample, which are 17 steps apart, at each eighth of the tensor.
    let guessed: Vec<usize> = (0..8)
        .map(|part| (COUNT / 8 * part).div_ceil(17 * 256))
        .collect();
    for noisy_bits in [0x0f, 0xff] {
        let mut random = Random::new(4);
        let weight = |place: usize| {
            let step = place / 256;
            let is_guessed = step.is_multiple_of(17) && guessed.contains(&(step / 17));
            match is_guessed {
                true => random.bits() as u8 & noisy_bits | 0x30 & !noisy_bits,
                false => 0x30 | place as u8 & 0x10,
            }
        };
        let weights: Vec<u8> = (0..COUNT).map(weight).collect();
        let read = read_bytes(Dtype::U8, &weights);
        assert_eq!(read, 3 * COUNT as u64 + 8 * 256, "{noisy_bits:x}");
    }
}

#[test]
fn files_of_many_small_tensors_stay_small() {
    let mut random = Random::new(2);
    for (count, weights, percent) in [(20_000, 1, 250), (3_000, 64, 140)] {
        let tensors: Vec<Tensor> = (0..count)
            .map(|number| {
                let data = bytes_of(&random.trained_weights(weights));
                let name = format!("model.layers.{number}.weight");
                tensor(&name, "BF16", &[weights as u64], data)
            })
            .collect();
        let source = safetensors_file(&tensors);
        let file = compress(&source, &CompressOptions::new()).unwrap();
        let found = 100 * file.len() / source.len();
        assert!(found <= percent, "{found} %");
        assert!(restored(&file).unwrap() == source);
    }
}
