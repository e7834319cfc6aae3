//! The same on a GPU. Without one, this says that it was skipped: see `main`.

mod restore;

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream};
use half::bf16;
use restore::{Kernels, hold_to_the_corpus};
use unweight_cpu::{Container, OpenFile, ReadError, Serial, decode_tensor, encode_tensor};
use unweight_format::write::{ContainerWriter, Declaration};
use unweight_format::{CodedPlanes, Dtype, Encoding, Payload, Rule, SourceKind, Tensor};
use unweight_gpu::{
    Batch, Device, EncodeBatch, GpuError, Output, Resident, Source, TranscodeBatch,
    longest_payload_bytes,
};

struct OnAGpu {
    device: Device,
    stream: Arc<CudaStream>,
}

fn rule(error: GpuError) -> Rule {
    match error {
        GpuError::Rule(error) => error.rule,
        GpuError::BadChunk { bad, .. } => bad.rule,
        other => panic!("{other}"),
    }
}

/// Bytes of the output's poison, and of the guard behind it.
const POISON: u8 = 0xee;
const GUARD_BYTES: usize = 256;

impl OnAGpu {
    fn decoded(&self, planes: &CodedPlanes, payload: &[u8]) -> Result<(Vec<u8>, u32), GpuError> {
        let stream = &self.stream;
        let resident = Resident::upload(stream, planes, payload)?;
        let bytes = 2 * planes.weights() as usize;
        let mut memory = stream.clone_htod(&vec![POISON; bytes + GUARD_BYTES])?;
        let output = Output::slice(&mut memory, stream);
        let mut batch = Batch::to_weights(&self.device, stream, vec![(&resident, output)])?;
        batch.check_chunks(stream)?;
        batch.decode(stream)?;
        let verdict = batch.verdict(stream);
        let checksum = batch.checksums(stream)?[0];
        drop(batch);
        let mut decoded = stream.clone_dtoh(&memory)?;
        assert!(decoded[bytes..].iter().all(|&byte| byte == POISON));
        decoded.truncate(bytes);
        verdict?;
        Ok((decoded, checksum))
    }
}

impl Kernels for OnAGpu {
    fn decode(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<Vec<u8>, Rule> {
        let (decoded, checksum) = self.decoded(planes, payload).map_err(rule)?;
        tensor
            .require_checksum(checksum)
            .map_err(|error| error.rule)?;
        Ok(decoded)
    }
}

fn names_and_shapes(tensors: &[Vec<bf16>]) -> (Vec<String>, Vec<[u64; 1]>) {
    let names: Vec<String> = (0..tensors.len())
        .map(|number| format!("t{number:06}"))
        .collect();
    let shapes: Vec<[u64; 1]> = tensors
        .iter()
        .map(|weights| [weights.len() as u64])
        .collect();
    (names, shapes)
}

fn declarations<'a>(names: &'a [String], shapes: &'a [[u64; 1]]) -> Vec<Declaration<'a>> {
    (names.iter().zip(shapes))
        .map(|(name, shape)| Declaration::new(name, Dtype::Bf16, shape))
        .collect()
}

fn file_of(tensors: &[Vec<bf16>], encoding: Encoding, chunk_size_log2: u8) -> Vec<u8> {
    file_with(tensors, encoding, |_| chunk_size_log2)
}

/// As `file_of`, with a chunk size for each tensor.
fn file_with(
    tensors: &[Vec<bf16>],
    encoding: Encoding,
    chunk_size_log2: impl Fn(usize) -> u8,
) -> Vec<u8> {
    let (names, shapes) = names_and_shapes(tensors);
    let declared = declarations(&names, &shapes);
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    for (number, weights) in tensors.iter().enumerate() {
        let log2 = chunk_size_log2(number);
        encode_tensor(&mut writer, &weights[..], encoding, log2, &Serial).unwrap();
    }
    writer.finish().unwrap()
}

/// The tensors of a container, all of them coded, on the device.
fn residents(
    container: &Container<'_, [u8]>,
    file: &[u8],
    stream: &Arc<CudaStream>,
) -> Vec<Resident> {
    let upload = |tensor: Tensor<'_>| {
        let Payload::Coded(planes) = tensor.payload() else {
            panic!("raw")
        };
        let payload = Resident::extent(planes).of(file).unwrap();
        Resident::upload(stream, planes, payload).unwrap()
    };
    container.directory().tensors().map(upload).collect()
}

fn weights(count: usize, seed: u64) -> Vec<bf16> {
    let mut state = seed;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count)
        .map(|_| {
            // A normal variable, near enough.
            let sum: f32 = (0..12).map(|_| random()).sum();
            bf16::from_f32((sum - 6.0) * 0.02)
        })
        .collect()
}

fn bytes_of(weights: &[bf16]) -> Vec<u8> {
    weights
        .iter()
        .flat_map(|weight| weight.to_le_bytes())
        .collect()
}

fn every_size_around_a_step_and_a_chunk(gpu: &OnAGpu) {
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        for log2 in [12, 15, 16] {
            let sizes = [
                1usize << log2,
                (3 << log2) - 1,
                (2 << log2) + 1,
                (1 << log2) + 255,
                (1 << log2) + 256,
                (1 << log2) + 257,
            ];
            let tensors: Vec<_> = sizes
                .iter()
                .map(|&size| weights(size, size as u64))
                .collect();
            let file = file_of(&tensors, encoding, log2);
            let restored =
                restore::restore(gpu, &file).unwrap_or_else(|_| panic!("{encoding:?} {log2}"));
            assert!(
                restored
                    == tensors
                        .iter()
                        .flat_map(|weights| bytes_of(weights))
                        .collect::<Vec<_>>()
            );
        }
    }
}

fn many_tensors_in_one_launch_and_many_streams(gpu: &OnAGpu) {
    let tensors: Vec<_> = (0..40)
        .map(|number| weights(20_000 + 777 * number, number as u64 + 1))
        .collect();
    let file = file_of(&tensors, Encoding::Huffman, 12);
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = Container::parse(&open).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let stream = gpu.device.stream().unwrap();
                let residents = residents(&container, &file, &stream);
                let mut memory: Vec<_> = tensors
                    .iter()
                    .map(|weights| stream.clone_htod(&vec![POISON; 2 * weights.len()]).unwrap())
                    .collect();
                let outputs = memory
                    .iter_mut()
                    .map(|memory| Output::slice(memory, &stream));
                let mut batch = Batch::to_weights(
                    &gpu.device,
                    &stream,
                    residents.iter().zip(outputs).collect(),
                )
                .unwrap();
                batch.check_chunks(&stream).unwrap();
                batch.decode(&stream).unwrap();
                batch.verdict(&stream).unwrap();
                let checksums = batch.checksums(&stream).unwrap();
                drop(batch);
                for ((weights, memory), (tensor, checksum)) in tensors
                    .iter()
                    .zip(&memory)
                    .zip(container.directory().tensors().zip(checksums))
                {
                    tensor.require_checksum(checksum).unwrap();
                    assert!(stream.clone_dtoh(memory).unwrap() == bytes_of(weights));
                }
            });
        }
    });
}

/// Weights whose exponents fall into `kind`s of patterns: codes of all lengths, patches, verbatim records, one exponent alone.
fn awkward_weights(count: usize, kind: usize) -> Vec<bf16> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ kind as u64;
    let random = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    });
    let exponent = |place: usize, random: u64| match kind {
        0 => 126 - random.trailing_zeros().min(40),
        1 => 126 - random.trailing_zeros().min(9) - place as u32 / 30_000 % 80,
        2 => (random >> 40) as u32 % 256,
        3 => 127,
        4 => (random >> 40) as u32 % 17 + 100,
        // Ever more patches, up to where a record turns verbatim.
        _ if (random >> 50) % 100 < place as u64 / 4_096 % 20 * 8 => (random >> 40) as u32 % 90,
        _ => (random >> 40) as u32 % 16 + 100,
    };
    let weight = |(place, random): (usize, u64)| {
        bf16::from_bits((exponent(place, random) << 7) as u16 | (random >> 32) as u16 & 0x807f)
    };
    random.take(count).enumerate().map(weight).collect()
}

/// The container that the device's planes make; raw where coding would not pay.
fn file_by(
    gpu: &OnAGpu,
    tensors: &[Vec<bf16>],
    sources: &[CudaSlice<u8>],
    encoding: Encoding,
    log2: u8,
) -> Vec<u8> {
    let stream = &gpu.stream;
    let lengths: Vec<_> = tensors
        .iter()
        .map(|weights| longest_payload_bytes(weights.len() as u64, log2) as usize)
        .collect();
    let mut memory: Vec<_> = lengths
        .iter()
        .map(|length| {
            stream
                .clone_htod(&vec![POISON; length + GUARD_BYTES])
                .unwrap()
        })
        .collect();
    let outputs = memory
        .iter_mut()
        .map(|memory| Output::slice(memory, stream));
    let sources = sources.iter().map(|source| Source::slice(source, stream));
    let tasks = sources.zip(outputs).collect();
    let mut batch = EncodeBatch::new(&gpu.device, stream, tasks, encoding, log2).unwrap();
    // Twice: the second must begin as the first did.
    batch.encode(stream).unwrap();
    batch.encode(stream).unwrap();
    let encoded = batch.encoded(stream).unwrap();
    drop(batch);
    let (names, shapes) = names_and_shapes(tensors);
    let declared = declarations(&names, &shapes);
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    for (((encoded, memory), length), weights) in
        encoded.iter().zip(&memory).zip(lengths).zip(tensors)
    {
        let payload = stream.clone_dtoh(memory).unwrap();
        assert!(payload[length..].iter().all(|&byte| byte == POISON));
        let coded = encoded.write(&payload, &mut writer).unwrap();
        if !coded {
            let mut raw = writer.raw().unwrap();
            raw.write(&bytes_of(weights)).unwrap();
            raw.finish().unwrap();
        }
    }
    writer.finish().unwrap()
}

fn encoded_files_are_the_reference_s(gpu: &OnAGpu) {
    for encoding in [Encoding::Huffman, Encoding::Palette] {
        for log2 in 12..=16 {
            let sizes = [
                1usize,
                2,
                255,
                257,
                4_095,
                4_097,
                (1 << log2) - 1,
                1 << log2,
                (3 << log2) + 1,
                300_000,
            ];
            let mut tensors: Vec<_> = sizes
                .iter()
                .map(|&size| weights(size, size as u64 + 7))
                .collect();
            for kind in 0..6 {
                tensors.extend(sizes.iter().map(|&size| awkward_weights(size, kind)));
            }
            let sources: Vec<_> = tensors
                .iter()
                .map(|weights| gpu.stream.clone_htod(&bytes_of(weights)).unwrap())
                .collect();
            let file = file_by(gpu, &tensors, &sources, encoding, log2);
            assert!(
                file == file_of(&tensors, encoding, log2),
                "{encoding:?}, chunks of 2^{log2}"
            );
        }
    }
}

/// Every size around a warp, a step and a chunk, in all kinds of distributions.
fn many_tensors(log2: impl Fn(usize) -> u8) -> Vec<Vec<bf16>> {
    let mut tensors = vec![];
    for kind in 0..7 {
        for around in 0..11 {
            let chunk = 1usize << log2(tensors.len());
            let size = [
                1,
                255,
                257,
                4_095,
                4_097,
                chunk - 1,
                chunk,
                chunk + 1,
                chunk + 257,
                3 * chunk - 31,
                300_000,
            ][around];
            tensors.push(match kind {
                6 => weights(size, size as u64 + 7),
                _ => awkward_weights(size, kind),
            });
        }
    }
    tensors
}

/// The container with this one's coded tensors transcoded by the device, all in one launch of each kernel.
fn transcoded_by(
    gpu: &OnAGpu,
    container: &Container<'_, [u8]>,
    file: &[u8],
    to: Encoding,
) -> Vec<u8> {
    let stream = &gpu.stream;
    let mut residents = vec![];
    for tensor in container.directory().tensors() {
        if let Payload::Coded(planes) = tensor.payload() {
            let payload = Resident::extent(planes).of(file).unwrap();
            residents.push(Resident::upload(stream, planes, payload).unwrap());
        }
    }
    let room = |resident: &Resident| {
        let planes = resident.planes();
        let longest = longest_payload_bytes(planes.weights(), planes.chunk_size_log2());
        vec![POISON; longest as usize + GUARD_BYTES]
    };
    let mut memory: Vec<_> = residents
        .iter()
        .map(|resident| stream.clone_htod(&room(resident)).unwrap())
        .collect();
    let outputs = memory
        .iter_mut()
        .map(|memory| Output::slice(memory, stream));
    let tasks = residents.iter().zip(outputs).collect();
    let mut batch = TranscodeBatch::new(&gpu.device, stream, tasks, to).unwrap();
    // Twice: the second must begin as the first did.
    batch.transcode(stream).unwrap();
    batch.check_chunks(stream).unwrap();
    batch.transcode(stream).unwrap();
    batch.verdict(stream).unwrap();
    let transcoded = batch.transcoded(stream).unwrap();
    drop(batch);
    let tensors = || container.directory().tensors();
    let declared = tensors().map(|tensor| Declaration::from(&tensor)).collect();
    let mut writer = ContainerWriter::new(Vec::new(), SourceKind::None, &[], declared).unwrap();
    let mut of_coded = transcoded.iter().zip(&memory);
    for tensor in tensors() {
        if let Payload::Coded(_) = tensor.payload() {
            let (transcoded, memory) = of_coded.next().unwrap();
            tensor.require_checksum(transcoded.checksum).unwrap();
            let payload = stream.clone_dtoh(memory).unwrap();
            let guard = &payload[payload.len() - GUARD_BYTES..];
            assert!(guard.iter().all(|&byte| byte == POISON));
            if transcoded.write(&payload, &mut writer).unwrap() {
                continue;
            }
        }
        let mut raw = writer.raw().unwrap();
        decode_tensor(container, &tensor, &Serial, |bytes| {
            raw.write(bytes).unwrap();
            Ok::<_, ReadError>(())
        })
        .unwrap();
        raw.finish().unwrap();
    }
    writer.finish().unwrap()
}

fn transcoded_files_are_the_reference_s(gpu: &OnAGpu) {
    let chunk_sizes: [fn(usize) -> u8; 3] = [|number| 12 + (number / 2 % 5) as u8, |_| 14, |_| 15];
    for chunk_size in chunk_sizes {
        let tensors = many_tensors(chunk_size);
        for (from, to) in [
            (Encoding::Huffman, Encoding::Palette),
            (Encoding::Palette, Encoding::Huffman),
            (Encoding::Huffman, Encoding::Huffman),
        ] {
            let file = file_with(&tensors, from, chunk_size);
            let open = OpenFile::read(file.as_slice()).unwrap();
            let container = Container::parse(&open).unwrap();
            let expected = unweight_cpu::transcode(&container, to, Vec::new(), &Serial).unwrap();
            assert!(
                transcoded_by(gpu, &container, &file, to) == expected,
                "{from:?} to {to:?}"
            );
        }
    }
}

/// Gives a tensor's weights if it can be transcoded to the other encoding, or else the rule that transcoding found broken.
struct Transcoding<'a>(&'a OnAGpu);

impl Transcoding<'_> {
    fn checksum(&self, planes: &CodedPlanes, payload: &[u8]) -> Result<u32, GpuError> {
        let Transcoding(OnAGpu { device, stream }) = self;
        let to = match planes.encoding() {
            Encoding::Huffman => Encoding::Palette,
            _ => Encoding::Huffman,
        };
        let resident = Resident::upload(stream, planes, payload)?;
        let longest = longest_payload_bytes(planes.weights(), planes.chunk_size_log2()) as usize;
        let mut memory = stream.clone_htod(&vec![POISON; longest + GUARD_BYTES])?;
        let tasks = vec![(&resident, Output::slice(&mut memory, stream))];
        let mut batch = TranscodeBatch::new(device, stream, tasks, to)?;
        batch.check_chunks(stream)?;
        batch.transcode(stream)?;
        let verdict = batch.verdict(stream);
        let transcoded = batch.transcoded(stream)?;
        drop(batch);
        let guard = &stream.clone_dtoh(&memory)?[longest..];
        assert!(guard.iter().all(|&byte| byte == POISON));
        verdict?;
        Ok(transcoded[0].checksum)
    }
}

impl Kernels for Transcoding<'_> {
    fn decode(
        &self,
        tensor: &Tensor<'_>,
        planes: &CodedPlanes,
        payload: &[u8],
    ) -> Result<Vec<u8>, Rule> {
        let checksum = self.checksum(planes, payload).map_err(rule)?;
        tensor
            .require_checksum(checksum)
            .map_err(|error| error.rule)?;
        self.0.decode(tensor, planes, payload)
    }
}

/// 2^31 weights and a few: past what 32-bit numbers of bytes or of weights can say. It takes 8 GB of memory and 7 of the device's.
fn more_than_2_to_the_31_weights(gpu: &OnAGpu) {
    let piece = weights(1 << 20, 31);
    let mut tensor: Vec<bf16> = (0..1 << 11).flat_map(|_| piece.iter().copied()).collect();
    tensor.extend(&piece[..12_345]);
    let file = file_of(std::slice::from_ref(&tensor), Encoding::Huffman, 15);
    drop(tensor);
    let open = OpenFile::read(file.as_slice()).unwrap();
    let container = Container::parse(&open).unwrap();
    let tensor = container.directory().tensor(0).unwrap();
    let Payload::Coded(planes) = tensor.payload() else {
        panic!("raw")
    };
    let stream = &gpu.stream;
    let payload = Resident::extent(planes).of(&file).unwrap();
    let resident = Resident::upload(stream, planes, payload).unwrap();
    let mut memory = stream
        .alloc_zeros::<u8>(tensor.data_bytes() as usize)
        .unwrap();
    let output = Output::slice(&mut memory, stream);
    let mut batch = Batch::to_weights(&gpu.device, stream, vec![(&resident, output)]).unwrap();
    batch.check_chunks(stream).unwrap();
    batch.decode(stream).unwrap();
    batch.verdict(stream).unwrap();
    let checksum = batch.checksums(stream).unwrap()[0];
    tensor.require_checksum(checksum).unwrap();
}

type Test = (&'static str, fn(&OnAGpu));

/// Tests as a list, not by the harness: a harness counts a test that returns early as passed. Arguments choose those whose names hold one of them.
fn main() {
    let device = match Device::open(0) {
        Ok(device) => device,
        Err(error) => {
            println!("skipped, all of it: {error}");
            return;
        }
    };
    let stream = device.stream().unwrap();
    let gpu = OnAGpu { device, stream };
    let mut tests: Vec<Test> = vec![
        (
            "a_gpu_gives_the_corpus_and_the_reference_s_verdicts",
            |gpu| hold_to_the_corpus(gpu),
        ),
        (
            "every_size_around_a_step_and_a_chunk",
            every_size_around_a_step_and_a_chunk,
        ),
        (
            "many_tensors_in_one_launch_and_many_streams",
            many_tensors_in_one_launch_and_many_streams,
        ),
        (
            "encoded_files_are_the_reference_s",
            encoded_files_are_the_reference_s,
        ),
        (
            "transcoded_files_are_the_reference_s",
            transcoded_files_are_the_reference_s,
        ),
        (
            "transcoding_the_corpus_gives_the_reference_s_verdicts",
            |gpu| hold_to_the_corpus(&Transcoding(gpu)),
        ),
    ];
    let large: Test = (
        "more_than_2_to_the_31_weights",
        more_than_2_to_the_31_weights,
    );
    match std::env::var_os("UNWEIGHT_LARGE_TESTS") {
        Some(_) => tests.push(large),
        None => println!("{}: skipped, UNWEIGHT_LARGE_TESTS is not set", large.0),
    }
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    tests.retain(|(name, _)| chosen.is_empty() || chosen.iter().any(|part| name.contains(part)));
    for (name, test) in &tests {
        test(&gpu);
        println!("{name}: ok");
    }
    println!("{} passed on {}", tests.len(), gpu.device.name().unwrap());
}
