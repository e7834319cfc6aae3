//! Plans of loads, run on memory of the host with the kernels on fibers of the CPU: pieces are
//! copied from a file as a load copies them, and groups decoded from there.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]
#![cfg(target_arch = "x86_64")]

use unweight::container::OpenFile;
use unweight_format::{Dtype, Extent, Forms, Rule};
use unweight_gpu::Output;
use unweight_gpu::host::{
    Destination, GOOD, GroupAddresses, GroupRun, LaunchRange, copies, crc_constants, groups, read,
};
use unweight_gpu::load::{LoadLimits, LoadPlan, LoadReads, LoadTask};
use unweight_gpu_host::{DeviceMemory, FieldsMemory, Launch};
use unweight_testkit::forms::{differing_forms, file_of, weights};
use unweight_testkit::{container, tensor};

/// Limits that divide even short tensors.
const SMALL: LoadLimits = LoadLimits {
    piece_bytes: 5000,
    part_bytes: 9000,
    group_bytes: 20_000,
    group_parts: 3,
};

/// A file in memory, and its tensors as tasks with outputs of the host.
fn tasks(file: &[u8]) -> (Vec<LoadTask>, Vec<(DeviceMemory, usize)>, Vec<u32>) {
    let open = OpenFile::read(file).unwrap();
    let (mut tasks, mut outputs, mut checksums) = (vec![], vec![], vec![]);
    for tensor in open.container().directory().tensors() {
        let output = DeviceMemory::poisoned(tensor.data_bytes() as usize);
        let reads = LoadReads::of(tensor.payload());
        let [index, padding] = [reads.index, reads.padding].map(|extent| extent.of(file).unwrap());
        // SAFETY: the memory has these bytes, and lives as long as the tasks.
        let to = unsafe { Output::at_address(output.address(), tensor.data_bytes()) };
        tasks.push(LoadTask::tensor(&tensor, index, padding, to).unwrap());
        outputs.push((output, tensor.data_bytes() as usize));
        checksums.push(tensor.checksum());
    }
    (tasks, outputs, checksums)
}

/// Loads a file, and returns the tensors' bytes and the status of each group.
fn load(file: &[u8], limits: LoadLimits) -> (Vec<Vec<u8>>, Vec<u64>) {
    let (tasks, outputs, checksums) = tasks(file);
    let addresses: Vec<u64> = outputs.iter().map(|(output, _)| output.address()).collect();
    let plan = LoadPlan::new(tasks, limits);
    let (mut statuses, mut found) = (vec![], vec![0; addresses.len()]);
    for group in groups(&plan) {
        let scratch = DeviceMemory::poisoned(group.scratch_bytes() as usize);
        for piece in &plan.pieces()[group.pieces()] {
            let Extent { length, .. } = piece.extent();
            assert!(length <= limits.piece_bytes);
            let bytes = piece.extent().of(file).unwrap();
            for (range, to) in copies(piece) {
                let to = match *to {
                    Destination::Scratch(offset) => scratch.address() + offset,
                    Destination::Output { task, offset } => addresses[task] + offset,
                };
                let from = &bytes[range.clone()];
                // SAFETY: the plan places copies within the scratch memory and the outputs, which
                // AddressSanitizer and the guards of `DeviceMemory` check.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to as *mut u8, from.len()) };
            }
        }
        let header = DeviceMemory::poisoned(group.header_bytes() as usize);
        let at = GroupAddresses {
            scratch: scratch.address(),
            header: header.address(),
        };
        let mut bytes = vec![0; group.header_bytes() as usize];
        let run_of_group = GroupRun::new(&plan, group, at, &addresses, &mut bytes);
        // SAFETY: the memory is as long.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), header.as_mut_ptr(), bytes.len()) };
        statuses.push(run(&run_of_group, header.address(), &mut found));
    }
    for (found, expected) in found.iter().zip(checksums) {
        if statuses.iter().all(|&status| status == GOOD) {
            assert_eq!(*found, expected);
        }
    }
    // Memory of no bytes has one.
    let decoded = outputs.iter();
    let decoded = decoded.map(|(output, length)| output.bytes()[..*length].to_vec());
    (decoded.collect(), statuses)
}

/// Runs the launches of a group, and adds the checksums of its parts. Returns its status.
fn run(group: &GroupRun, jobs_at: u64, found: &mut [u32]) -> u64 {
    let constants = crc_constants().as_ptr().cast();
    let mut status = GOOD;
    let launch = |range: LaunchRange| Launch {
        jobs: (jobs_at + range.jobs_offset) as *const _,
        job_count: range.job_count,
        chunk_count: range.chunk_count,
        seed: 5,
    };
    for decoder in group.decoders() {
        let launch = launch(decoder.range);
        // SAFETY: the jobs are those that the plan made, and the memory lives as long as this runs.
        unsafe {
            launch.check_chunks(constants, &mut status);
            match decoder.weight_bytes {
                None => launch.decode(decoder.stage_bytes, false, &mut status),
                Some(weight_bytes) => {
                    let memory = FieldsMemory {
                        stage_bytes: decoder.stage_bytes,
                        most_fields: decoder.most_fields,
                    };
                    launch.decode_fields(weight_bytes, memory, &mut status);
                }
            }
        }
    }
    if group.blocks().chunk_count > 0 {
        // SAFETY: as above.
        unsafe { launch(group.blocks()).check_blocks(constants, &mut status) };
    }
    let mut sums = vec![0; group.outputs().chunk_count as usize];
    if !sums.is_empty() {
        // SAFETY: as above, and there is a word for each chunk.
        unsafe { launch(group.outputs()).checksum_weights(constants, &mut sums) };
    }
    group.combine(&sums, found);
    status
}

/// Weights of five whole chunks and a short one.
const WEIGHTS: usize = (5 << 12) + 777;

#[test]
fn parts_of_every_form_join_to_the_tensor() {
    for forms in differing_forms() {
        let weights = weights(forms, WEIGHTS, 1);
        let file = file_of(forms, 12, &weights);
        for limits in [SMALL, LoadLimits::default()] {
            let (decoded, statuses) = load(&file, limits);
            assert!(statuses.iter().all(|&status| status == GOOD), "{forms:?}");
            assert!(decoded[0] == weights, "{forms:?}");
        }
    }
}

#[test]
fn long_tensors_without_records_are_divided_at_blocks() {
    for (dtype, bits) in [(Dtype::Bf16, 0), (Dtype::F32, 0), (Dtype::Bf16, 0x003)] {
        let forms = Forms::from_bits(dtype, bits).unwrap();
        let weights = weights(forms, (1 << 20) + 77, 2);
        let file = file_of(forms, 12, &weights);
        let (decoded, statuses) = load(&file, SMALL);
        assert!(statuses.len() > 1 && statuses.iter().all(|&status| status == GOOD));
        assert!(decoded[0] == weights, "{forms:?}");
        // A block checksum, and a byte of the last block.
        let places = {
            let open = OpenFile::read(&file[..]).unwrap();
            let payload = *open.container().directory().tensor(0).unwrap().payload();
            [
                payload.block_checksums().end() - 1,
                payload.plain().end() - 50,
            ]
        };
        for place in places {
            let mut damaged = file.clone();
            damaged[place as usize] ^= 1;
            let (_, statuses) = load(&damaged, SMALL);
            let report = read(*statuses.last().unwrap()).map(|report| report.rule);
            assert_eq!(report, Some(Rule::BlockCrc), "{forms:?}");
        }
    }
}

#[test]
fn many_tensors_share_pieces_and_groups() {
    let exponent = Forms::from_bits(Dtype::Bf16, 0x001).unwrap();
    let lengths = [0, 1, 5, 70, 4096, 3, 9000, 0, 40_000, 12, 256];
    let tensors: Vec<_> = lengths
        .iter()
        .enumerate()
        .map(|(number, &length)| {
            let form = unweight_testkit::Form {
                encoding: unweight_format::Encoding::Huffman,
                chunk_size_log2: 12,
                records: unweight_testkit::Records::Forms {
                    bits: if number % 3 == 0 { 0 } else { exponent.bits() },
                    seed: number as u64,
                },
            };
            let weights = weights(exponent, length, number as u64);
            let name = format!("{number:02}");
            (
                tensor(&name, "BF16", &[length as u64], weights.clone()).stored(form),
                weights,
            )
        })
        .collect();
    let (stored, expected): (Vec<_>, Vec<_>) = tensors.into_iter().unzip();
    let file = container(&stored, false);
    for limits in [SMALL, LoadLimits::default()] {
        let (decoded, statuses) = load(&file, limits);
        assert!(statuses.iter().all(|&status| status == GOOD));
        assert!(decoded == expected);
    }
    let plan = LoadPlan::new(tasks(&file).0, LoadLimits::default());
    assert_eq!((groups(&plan).len(), plan.pieces().len()), (1, 1));
}

#[test]
fn a_bad_chunk_is_found_in_the_group_that_has_it() {
    let forms = Forms::from_bits(Dtype::Bf16, 0x001).unwrap();
    let file = file_of(forms, 12, &weights(forms, WEIGHTS, 1));
    let (_, statuses) = load(&file, SMALL);
    let open = OpenFile::read(&file[..]).unwrap();
    let end = open
        .container()
        .directory()
        .tensor(0)
        .unwrap()
        .payload()
        .end();
    let mut damaged = file.clone();
    damaged[end as usize - 1] ^= 1;
    let (_, with_damage) = load(&damaged, SMALL);
    let groups = statuses.len();
    assert!(groups > 1);
    assert_eq!(with_damage[..groups - 1], statuses[..groups - 1]);
    assert_eq!(read(with_damage[groups - 1]).unwrap().rule, Rule::RecordCrc);
}
