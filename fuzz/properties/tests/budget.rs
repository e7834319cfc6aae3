//! The memory budget, compared with a counting allocator: the allowed memory is not exceeded, and a
//! refusal comes before the allocation.

mod counting;

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::LazyLock;

use counting::{Allocated, STORED, allocated, stored};
use unweight::safetensors::Header;
use unweight::{
    Coalesce, CompressOptions, MemoryBudget, OverBudget, Purpose, ReadError, Serial,
    container::{Container, Encoder, OpenFile, TransferError, decode_tensor_into, transcode},
    read_extent,
};
use unweight_format::write::{ContainerWriter, Sink};
use unweight_format::{Dtype, Encoding, SourceKind};
use unweight_testkit::{
    Form, Random, Records, TestStorage, any_weights, bytes_of, container, container_of,
    safetensors_file, tensor, trained_like, with_header,
};

/// An operation on a file. Returns the error if memory was the reason for a refusal.
type Operation = fn(&TestStorage<'_>, MemoryBudget) -> Option<OverBudget>;

const OPERATIONS: [(&str, Operation); 6] = [
    ("restore", restore),
    ("decode each tensor in place", decode_in_place),
    ("read ranges of bytes", read_ranges),
    ("read long ranges", read_long_ranges),
    ("transcode to huffman", |file, budget| {
        transcode_to(file, budget, Encoding::Huffman)
    }),
    ("transcode to palette", |file, budget| {
        transcode_to(file, budget, Encoding::Palette)
    }),
];

fn over(error: ReadError) -> OverBudget {
    match error {
        ReadError::OverBudget(over) => {
            assert_eq!(ReadError::from(over).rule(), None);
            over
        }
        other => panic!("{other}"),
    }
}

/// Calls `work` with the container.
fn with(
    file: &TestStorage<'_>,
    budget: MemoryBudget,
    work: impl FnOnce(&Container<'_, TestStorage<'_>>) -> Result<(), ReadError>,
) -> Option<OverBudget> {
    let done = || {
        let open = OpenFile::read_with(file, |_| budget)?;
        let mut container = open.container();
        if MERGES_READS.get() {
            container = container.with_coalesce(Coalesce::new());
        }
        assert_eq!(container.budget(), budget);
        work(&container)
    };
    done().err().map(over)
}

fn restore(file: &TestStorage<'_>, budget: MemoryBudget) -> Option<OverBudget> {
    with(file, budget, |container| {
        unweight::container::restore(container, &Serial, |_| Ok::<_, ReadError>(()))
    })
}

thread_local! {
    /// Whether reads are merged.
    static MERGES_READS: Cell<bool> = const { Cell::new(false) };
    /// The caller owns the buffer, so it is allocated before counting begins.
    static LENT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn lent<T>(bytes: u64, then: impl FnOnce(&mut [u8]) -> T) -> T {
    LENT.with_borrow_mut(|lent| then(&mut lent[..bytes as usize]))
}

fn decode_in_place(file: &TestStorage<'_>, budget: MemoryBudget) -> Option<OverBudget> {
    with(file, budget, |container| {
        for tensor in container.directory().tensors() {
            lent(tensor.data_bytes(), |weights| {
                decode_tensor_into(container, &tensor, &Serial, weights)
            })?;
        }
        Ok(())
    })
}

fn read_ranges(file: &TestStorage<'_>, budget: MemoryBudget) -> Option<OverBudget> {
    with(file, budget, |container| {
        for tensor in container.directory().tensors() {
            // The ranges are short and long, and begin at odd bytes.
            let bytes = tensor.data_bytes();
            for range in [0..bytes, bytes / 3..bytes / 2, bytes.min(1)..bytes] {
                let mut output = [0; 512];
                let end = range.end.min(range.start + 512);
                let output = &mut output[..(end - range.start) as usize];
                container.read_bytes(&tensor, range.start..end, output)?;
            }
        }
        Ok(())
    })
}

fn read_long_ranges(file: &TestStorage<'_>, budget: MemoryBudget) -> Option<OverBudget> {
    with(file, budget, |container| {
        for tensor in container.directory().tensors() {
            let bytes = tensor.data_bytes();
            for range in [0..bytes, bytes / 3..bytes - bytes / 3] {
                lent(range.end - range.start, |output| {
                    container.read_bytes(&tensor, range, output)
                })?;
            }
        }
        Ok(())
    })
}

/// A sink that accepts everything and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    type Error = Infallible;

    fn write_at(&mut self, _: u64, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> Result<(), Infallible> {
        Ok(())
    }
}

fn transcode_to(
    file: &TestStorage<'_>,
    budget: MemoryBudget,
    encoding: Encoding,
) -> Option<OverBudget> {
    with(file, budget, |container| {
        match transcode(container, encoding, Nowhere, &Serial) {
            Ok(Nowhere) => Ok(()),
            Err(TransferError::Read(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    })
}

/// Runs `work` on a new thread, which has no buffers of an earlier run.
fn counted<T: Send>(work: impl FnOnce() -> T + Send) -> (T, Allocated) {
    std::thread::scope(|scope| {
        let work = || {
            LENT.set(vec![0; 1 << 21]);
            allocated(work)
        };
        scope.spawn(work).join().unwrap()
    })
}

/// A container of a safetensors file with this JSON, whose tensors have no bytes.
fn container_of_json(json: &str) -> Vec<u8> {
    let options = CompressOptions::new().threads(1);
    unweight::compress(&with_header(json, &[]), &options).unwrap()
}

/// JSON texts that need much memory for their length.
fn greedy_headers() -> Vec<String> {
    let tensors = |shape: &str, count: u32| -> String {
        let tensors = (0..count)
            .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,0]}}"#));
        format!("{{{}}}", tensors.collect::<Vec<_>>().join(","))
    };
    let metadata: Vec<String> = (0..20_000).map(|i| format!(r#""{i:x}":"""#)).collect();
    vec![
        "{}".to_owned(),
        tensors("0", 1),
        tensors("0", 10_000),
        tensors(&format!("{}0", "0,".repeat(63)), 3_000),
        format!(r#"{{"__metadata__":{{{}}}}}"#, metadata.join(",")),
    ]
}

/// Files with all kinds of needs: few and many chunks, small and large ones, and files that are
/// nearly only a directory or a source.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for encoding in STORED {
        for (weights, chunk_size_log2) in [
            (1, 12),
            (300, 16),
            (1 << 16, 12),
            (70_000, 15),
            (200_000, 16),
        ] {
            let name = format!("{weights} weights, {encoding:?}, 2^{chunk_size_log2}");
            let file = stored(&trained_like(weights), encoding, chunk_size_log2);
            files.push((name, file));
        }
    }
    for (dtype, weights, chunk_size_log2) in [
        (Dtype::F8E4M3, 70_000, 12),
        (Dtype::F8E4M3, 300, 16),
        (Dtype::F16, 70_000, 15),
        (Dtype::F32, 70_000, 12),
        (Dtype::I64, 70_000, 16),
        (Dtype::I64, 9_000, 12),
    ] {
        let data = any_weights(dtype, weights, &mut Random::new(7));
        for seed in 0..3 {
            let form = Form {
                records: Records::Odd { seed },
                ..Form::canonical(Encoding::Huffman, chunk_size_log2)
            };
            let shape = [weights as u64];
            let tensor = tensor("w", dtype.name(), &shape, data.clone()).stored(form);
            let name = format!("{weights} weights, {dtype}, odd {seed}, 2^{chunk_size_log2}");
            files.push((name, container(&[tensor], false)));
        }
    }
    let headers = greedy_headers().into_iter();
    files.extend(headers.map(|json| (format!("{json:.60}…"), container_of_json(&json))));
    files
}

/// The smallest budget with which an operation is not refused, according to its errors.
fn least_budget(file: &TestStorage<'_>, operation: Operation) -> MemoryBudget {
    let mut budget = MemoryBudget::of_bytes(0);
    // Each refused step reports its own need.
    while let Some(over) = operation(file, budget) {
        assert_eq!(over.allowed_bytes, budget.bytes());
        assert!(over.needed_bytes > over.allowed_bytes, "{over}");
        budget = MemoryBudget::of_bytes(over.needed_bytes);
    }
    budget
}

/// Every file, with the smallest budget of each operation on it.
static NEEDS: LazyLock<
    Vec<(
        String,
        TestStorage<'static>,
        [MemoryBudget; OPERATIONS.len()],
    )>,
> = LazyLock::new(|| {
    let of_file = |(name, bytes)| {
        let file = TestStorage::new(bytes).resizing_first();
        let least = OPERATIONS.map(|(_, operation)| counted(|| least_budget(&file, operation)).0);
        (name, file, least)
    };
    files().into_iter().map(of_file).collect()
});

/// Every operation on every file, with the names of both and the smallest budget.
fn needs() -> impl Iterator<
    Item = (
        String,
        &'static TestStorage<'static>,
        Operation,
        MemoryBudget,
    ),
> {
    NEEDS.iter().flat_map(|(name, file, budgets)| {
        let operations = OPERATIONS.iter().zip(budgets);
        operations.map(move |((what, operation), &least)| {
            (format!("{name}, {what}"), file, *operation, least)
        })
    })
}

#[test]
fn allocations_stay_within_the_least_budget_that_is_not_refused() {
    for (name, file, operation, least) in needs() {
        let (refused, found) = counted(|| operation(file, least));
        assert_eq!(refused, None, "{name}");
        assert!(
            found.peak <= least.bytes(),
            "{name}: {found:?} within {least:?}"
        );
    }
}

#[test]
fn merged_reads_stay_within_the_budget_and_refuse_nothing() {
    for (name, file, operation, least) in needs() {
        for quarters in [4, 6, 16] {
            let budget = MemoryBudget::of_bytes(least.bytes() * quarters / 4);
            let merging = || {
                MERGES_READS.set(true);
                operation(file, budget)
            };
            let (refused, found) = counted(merging);
            assert_eq!(refused, None, "{name}");
            assert!(
                found.peak <= budget.bytes(),
                "{name}: {found:?} within {budget:?}"
            );
        }
    }
}

#[test]
fn what_needs_a_byte_more_than_is_allowed_is_refused_before_it_is_allocated() {
    for (name, file, operation, least) in needs() {
        let budget = MemoryBudget::of_bytes(least.bytes() - 1);
        let (refused, found) = counted(|| operation(file, budget));
        let refused = refused.unwrap_or_else(|| panic!("{name}"));
        assert_eq!(refused.needed_bytes, least.bytes(), "{name}");
        assert!(found.peak <= budget.bytes(), "{name}: {found:?}");
        let message = refused.to_string();
        for number in [refused.needed_bytes, refused.allowed_bytes] {
            assert!(message.contains(&number.to_string()), "{message}");
        }
    }
}

#[test]
fn a_file_that_is_restored_is_refused_before_anything_is_handed_out() {
    for (name, file, least) in &*NEEDS {
        let mut handed_out = 0;
        let budget = MemoryBudget::of_bytes(least[0].bytes() - 1);
        let refused = with(file, budget, |container| {
            unweight::container::restore(container, &Serial, |bytes| {
                handed_out += bytes.len();
                Ok::<_, ReadError>(())
            })
        });
        assert!(refused.is_some() && handed_out == 0, "{name}");
    }
}

#[test]
fn a_directory_that_is_too_long_costs_no_more_than_the_header() {
    for (name, bytes) in files() {
        let directory_bytes = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
        let file = TestStorage::new(bytes).resizing_first();
        // A case is a budget, and the number of bytes that are read and allocated before the
        // refusal.
        let mut cases = vec![(0, 0), (63, 0)];
        if directory_bytes > 0 {
            cases.push((64 + 2 * directory_bytes - 1, 64));
        }
        for (allowed, header_bytes) in cases {
            let budget = MemoryBudget::of_bytes(allowed);
            let (refused, found) = counted(|| restore(&file, budget));
            assert_eq!(refused.unwrap().purpose, Purpose::Open, "{name}");
            assert!(found.total <= header_bytes, "{name}: {found:?}");
            assert_eq!(file.take_read_bytes(), header_bytes, "{name}");
        }
    }
}

#[test]
fn the_default_is_enough_for_every_file() {
    for (name, file, _, least) in needs() {
        let default = MemoryBudget::for_length(file.bytes.len() as u64);
        assert!(least.bytes() <= default.bytes(), "{name}: {least:?}");
    }
}

/// The needs grow with the directory, the source section and the record ends. All of these have
/// limits: section 9 has those of the first two, and each record end needs a chunk.
#[test]
fn the_default_is_enough_at_every_limit() {
    for power in 0..64 {
        let default = MemoryBudget::for_length(1 << power).bytes();
        let section = (1 << power).min(1u64 << 28);
        // The shortest stored chunk has a bit for each of 4,096 weights, and 16 bytes and a record
        // end for each coded field.
        let records = (1u64 << power >> 9).min(1 << 25);
        let tensors = section / 48;
        let chunk = (512 << 10) + 7 * (64 << 10) + 8 * (64u64 << power.min(13));
        // The need is the directory twice, the writer's state, and the record ends of input and
        // output.
        let tensors = 2 * section + 128 * tensors + 16 * records + chunk;
        // Compression keeps the counts of 2^15 chunks of a tensor.
        let counts = 100 * records.min(1 << 15) + (16 << 10);
        let compress = 18 * section + 4096 + 128 * section / 48 + 8 * records + counts + 2 * chunk;
        assert!(compress <= default, "2^{power}");
        // Only a long file can have both a large directory and a large source section.
        let source = 2 * section + 17 * section + 4096;
        assert!(tensors <= default && source <= default, "2^{power}");
    }
}

#[test]
fn the_default_grows_with_the_file_up_to_the_limits_of_the_format() {
    let budget = |length| MemoryBudget::for_length(length).bytes();
    assert_eq!(budget(0), 16 << 20);
    assert_eq!(budget(1000), (16 << 20) + 24_000);
    assert_eq!(budget(u64::MAX), budget(1 << 28));
    assert!(budget(u64::MAX) < 7 << 30);
}

#[test]
fn more_memory_is_more_chunks_in_work() {
    let file = TestStorage::new(container_of(&trained_like(1 << 19), Encoding::Huffman, 15))
        .resizing_first();
    let chunks = |budget| {
        let open = OpenFile::read_with(&file, |_| budget).unwrap();
        let container = open.container();
        let tensor = container.directory().tensor(0).unwrap();
        container.chunks_in_work(&tensor)
    };
    let least = chunks(MemoryBudget::of_bytes(1000))
        .unwrap_err()
        .needed_bytes;
    assert_eq!(chunks(MemoryBudget::of_bytes(least)), Ok(1));
    let of_one = (512 << 10) + (16 << 15);
    for count in 1..100 {
        let budget = |extra: u64| MemoryBudget::of_bytes(least + (count - 1) * of_one + extra);
        assert_eq!(chunks(budget(0)), Ok(count));
        assert_eq!(chunks(budget(of_one - 1)), Ok(count));
    }
}

/// Same as `unweight compress`. Returns the error if memory was the reason for a refusal.
fn compress(
    file: &TestStorage<'_>,
    budget: MemoryBudget,
    chunk_size_log2: u8,
) -> Option<OverBudget> {
    let length = u64::from_le_bytes(file.bytes[..8].try_into().unwrap());
    if let Err(over) = Header::require_within(budget, 8 + length) {
        return Some(over);
    }
    let mut source = Vec::new();
    let begin = unweight_format::Extent {
        offset: 0,
        length: 8 + length,
    };
    read_extent(file, begin, &mut source).unwrap();
    let header = Header::parse(&source).unwrap();
    if let Err(over) = header.chunks_in_work(budget, chunk_size_log2) {
        return Some(over);
    }
    let mut declared = Vec::with_capacity(header.tensors.len());
    declared.extend(header.tensors.iter().map(|tensor| tensor.declaration()));
    let kind = SourceKind::Safetensors;
    let mut writer = ContainerWriter::new(Nowhere, kind, &source, declared).unwrap();
    let encoder = Encoder::default();
    for tensor in &header.tensors {
        let (data, encoding) = (header.data(tensor), Encoding::Huffman);
        encoder
            .encode_tensor(&mut writer, file, data, encoding, chunk_size_log2, &Serial)
            .unwrap();
    }
    writer.finish().unwrap();
    None
}

#[test]
fn compressing_stays_within_the_least_budget_that_is_not_refused() {
    let of_tensor = |dtype: &str, elements: usize| {
        let mut random = Random::new(elements as u64);
        // Half of the tensor's exponents are equal, so it begins coded. Noise at its end makes it
        // raw.
        let mut weights = random.weights_of(&[127], elements / 2);
        weights.extend(random.random_weights(elements.div_ceil(2)));
        safetensors_file(&[tensor("w", dtype, &[elements as u64], bytes_of(&weights))])
    };
    let mut files: Vec<Vec<u8>> = greedy_headers()
        .iter()
        .map(|json| with_header(json, &[]))
        .collect();
    for weights in [1, 5_000, 1 << 17] {
        files.push(of_tensor("BF16", weights));
        files.push(of_tensor("F16", weights));
        for dtype in [Dtype::F8E5M2, Dtype::F32, Dtype::I64, Dtype::F6E2M3] {
            let data = any_weights(dtype, 3 * weights, &mut Random::new(3));
            let elements = 8 * data.len() as u64 / dtype.bits();
            files.push(safetensors_file(&[tensor(
                "w",
                dtype.name(),
                &[elements],
                data,
            )]));
        }
    }
    for bytes in files {
        let default = MemoryBudget::for_length(bytes.len() as u64);
        let file = TestStorage::new(bytes).resizing_first();
        for chunk_size_log2 in [12, 15, 16] {
            let mut budget = MemoryBudget::of_bytes(0);
            while let (Some(over), found) = counted(|| compress(&file, budget, chunk_size_log2)) {
                assert!(found.peak <= budget.bytes(), "{found:?} within {budget:?}");
                assert!(over.needed_bytes > budget.bytes());
                budget = MemoryBudget::of_bytes(over.needed_bytes);
            }
            let (_, found) = counted(|| compress(&file, budget, chunk_size_log2));
            assert!(found.peak <= budget.bytes(), "{found:?} within {budget:?}");
            assert!(budget.bytes() <= default.bytes());
        }
    }
}

/// The budget for a chunk in work exceeds its need. That excess must not hide the memory that is
/// kept for every chunk of a tensor.
#[test]
fn compressing_needs_more_for_each_chunk_as_it_keeps_more() {
    // All chunks are alike, so only their number differs.
    let [few, many] = [64u64, 560].map(|chunks| {
        let bytes = chunks << 13;
        // The header has the same length for any number of chunks.
        let json = format!(
            r#"{{"w":{{"dtype":"BF16","shape":[{:8}],"data_offsets":[0,{bytes:8}]}}}}"#,
            bytes / 2
        );
        let weight = |i: u64| (0x3f80 | (i << 7 & 0x380) as u16).to_le_bytes();
        let data: Vec<u8> = (0..bytes / 2).flat_map(weight).collect();
        let file = TestStorage::new(with_header(&json, &data)).resizing_first();
        let refused = counted(|| compress(&file, MemoryBudget::of_bytes(1 << 18), 12)).0;
        let needed = refused.unwrap().needed_bytes;
        let budget = MemoryBudget::of_bytes(needed);
        let (refused, found) = counted(|| compress(&file, budget, 12));
        assert_eq!(refused, None);
        (needed, found.peak)
    });
    let (needed, taken) = (many.0 - few.0, many.1 - few.1);
    assert!(taken >= 496 * 100, "{taken}");
    assert!(needed >= taken, "{needed}, {taken}");
}

#[test]
fn an_open_file_uses_its_buffers_again_and_gives_them_back() {
    let file = TestStorage::new(container_of(&trained_like(1 << 16), Encoding::Huffman, 16))
        .resizing_first();
    let budget = MemoryBudget::for_length(file.bytes.len() as u64);
    let ((), found) = counted(|| {
        let open = OpenFile::read_with(&file, |_| budget).unwrap();
        let verify = || {
            let container = open.container();
            unweight::container::restore(&container, &Serial, |_| Ok::<_, ReadError>(())).unwrap();
        };
        let ((), anew) = allocated(verify);
        let ((), again) = allocated(verify);
        // Kept buffers need no new allocation.
        assert!(
            again.total + (300 << 10) < anew.total,
            "{again:?}, {anew:?}"
        );
    });
    assert!(found.peak < 2 << 20, "{found:?}");
    assert_eq!(found.held, 0, "{found:?}");
}
